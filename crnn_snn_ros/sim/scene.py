"""Course and look -> pictures from the robot's camera, by MuJoCo without a window.

One thread only, as its canvas. Close the scene when done.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.sim.canvas import Canvas, load_mujoco
from crnn_snn_ros.sim.course import Course, Shape
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.textures import SIDE

_CAMERA = "robot"
_SIDES = 20  # of the prism that stands for a cylinder
_SHAPE = "shape"  # begins the name of what has a tint, before its number
_FLOOR, _CEILING, _WALLS, _OBSTACLES, _MOVERS = 0, 1, (2, 3), (4, 5, 6), 7


class Scene:
    """The pictures of one course.

    Args:
        course: what there is to see.
        look: how it looks.
        width, height: of the pictures, pixels.

    Raises:
        ConfigError: MuJoCo or what it draws with is missing; the message says what to install.

    Example::

        with Scene(course, Look.from_seed(course.seed), 96, 64) as scene:
            image = scene.render((0.0, 0.0, 0.0), time_s=0.0)
    """

    def __init__(self, course: Course, look: Look, width: int, height: int) -> None:
        self._mujoco = load_mujoco()
        self._course = course
        self.model = _model(self._mujoco, course, look, width, height)
        self._data = self._mujoco.MjData(self.model)
        self._size = width, height
        self._canvas = Canvas(self.model, _CAMERA, width, height, shadows=look.shadows)

    def repaint(self, look: Look) -> None:
        """Show the same course in another look, at a small part of what a new scene costs.

        The ceiling or sky, what a texture spans, and whether there are shadows stay.
        """
        _paint(self._mujoco, self.model, look, *self._size)
        self._canvas.upload_textures()

    def render(self, pose: tuple[float, float, float], time_s: float) -> NDArray[np.uint8]:
        """What an ideal camera sees from the robot.

        Args:
            pose: x m, y m, yaw rad, of the middle of the robot's footprint.
            time_s: places the movers.

        Returns:
            (height, width, 3) uint8 RGB, a new array.
        """
        x, y, yaw = pose
        data = self._data
        data.mocap_pos[0] = (x, y, 0.0)
        data.mocap_quat[0] = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
        # The sun goes along, so that its shadow map need only cover what is near.
        data.mocap_pos[1, :2] = (x, y)
        if self._course.movers:
            data.mocap_pos[2:, :2] = self._course.mover_positions(np.asarray(time_s))
        self._mujoco.mj_kinematics(self.model, data)
        self._mujoco.mj_camlight(self.model, data)
        return self._canvas.draw(data)

    def close(self) -> None:
        """Free what it draws with; further pictures are refused."""
        self._canvas.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _model(mujoco: Any, course: Course, look: Look, width: int, height: int) -> Any:
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    _set_visual(spec, look, width, height)
    for number in range(len(look.textures)):
        _add_material(mujoco, spec, f"m{number}")
    if look.ceiling_m is None:
        spec.add_texture(
            name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=look.sky[0], rgb2=look.sky[1], width=64, height=64,
        )  # fmt: skip
    _add_floor(mujoco, spec, course, look)
    _add_robot_and_sun(mujoco, spec, look)
    shapes = [(s, _WALLS[i % 2 if i >= 4 else 0]) for i, s in enumerate(course.walls)]
    shapes += [(s, _OBSTACLES[i % 3]) for i, s in enumerate(course.obstacles)]
    for number, (shape, material) in enumerate(shapes):
        placed = (shape.x_m, shape.y_m, 0.0)
        _add_shape(mujoco, spec, spec.worldbody, shape, placed, number, material, look)
    for number, mover in enumerate(course.movers, start=len(shapes)):
        body = spec.worldbody.add_body(name=f"mover{number}", mocap=True)
        _add_shape(mujoco, spec, body, mover.shape, (0.0, 0.0, 0.0), number, _MOVERS, look)
    model = spec.compile()
    _paint(mujoco, model, look, width, height)
    return model


def _paint(mujoco: Any, model: Any, look: Look, width: int, height: int) -> None:
    """Give a compiled model a look: its textures, tints, light and camera."""
    for number, pixels in enumerate(look.textures):
        first = int(model.tex_adr[model.texture(f"m{number}").id])
        model.tex_data[first : first + pixels.size] = pixels.ravel()
    for name in (model.geom(number).name for number in range(model.ngeom)):
        if name.startswith(_SHAPE):
            tint = look.tints[int(name.removeprefix(_SHAPE)) % len(look.tints)]
            model.geom(name).rgba = (*tint, 1.0)
    x, y, z = look.light_direction
    sun, fill = model.light("sun"), model.light("fill")
    sun.pos, sun.dir, sun.diffuse = (-9 * x, -9 * y, -9 * z), (x, y, z), look.diffuse
    fill_dir = np.array([-x, -y, -0.3])
    fill.dir, fill.diffuse, fill.ambient = (
        fill_dir / np.linalg.norm(fill_dir), look.fill, look.ambient,
    )  # fmt: skip
    camera = look.camera
    # MuJoCo's cameras look along -z with y up; the robot's x is ahead, tilted down by the pitch.
    sin, cos = math.sin(camera.pitch_rad), math.cos(camera.pitch_rad)
    axes = np.array([(0.0, -1.0, 0.0), (sin, 0.0, cos), (-cos, 0.0, sin)]).T
    quat = np.zeros(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    eye = model.camera(_CAMERA)
    eye.pos, eye.quat = (camera.forward_m, 0.0, camera.height_m), quat
    eye.fovy = math.degrees(camera.vertical_fov_rad(width, height))


def _set_visual(spec: Any, look: Look, width: int, height: int) -> None:
    spec.stat.extent = 1.0  # so that the distances below are metres
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 60.0
    spec.visual.map.shadowclip = 6.0
    spec.visual.quality.shadowsize = 1024 if look.shadows else 0
    spec.visual.quality.offsamples = 4
    spec.visual.headlight.active = 0
    spec.visual.global_.offwidth = width
    spec.visual.global_.offheight = height


def _add_material(mujoco: Any, spec: Any, name: str) -> None:
    spec.add_texture(  # its pixels are written into the model once that is compiled
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=SIDE, height=SIDE, nchannel=3,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
    )  # fmt: skip
    material = spec.add_material(name=name, specular=0.05, shininess=0.05, texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _add_floor(mujoco: Any, spec: Any, course: Course, look: Look) -> None:
    low_x, low_y, high_x, high_y = course.bounds
    middle = ((low_x + high_x) / 2, (low_y + high_y) / 2)
    half = (0.5 * (high_x - low_x) + 12.0, 0.5 * (high_y - low_y) + 12.0)
    levels = [("floor", 0.0, 1.0, _FLOOR)]
    if look.ceiling_m is not None:
        levels.append(("ceiling", look.ceiling_m, -1.0, _CEILING))
    for name, z, up, material in levels:
        spec.material(f"m{material}").texrepeat = (1.0 / look.texture_sizes_m[material],) * 2
        spec.worldbody.add_geom(
            name=name, type=mujoco.mjtGeom.mjGEOM_PLANE, pos=(*middle, z),
            quat=(1.0, 0.0, 0.0, 0.0) if up > 0 else (0.0, 1.0, 0.0, 0.0),
            size=(*half, 1.0), material=f"m{material}", contype=0, conaffinity=0,
        )  # fmt: skip


def _add_robot_and_sun(mujoco: Any, spec: Any, look: Look) -> None:
    robot = spec.worldbody.add_body(name="robot", mocap=True)
    robot.add_camera(name=_CAMERA)
    sun = spec.worldbody.add_body(name="sun", mocap=True, pos=(0.0, 0.0, 0.0))
    directional = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    sun.add_light(
        name="sun", type=directional, ambient=(0.0, 0.0, 0.0), specular=(0.1, 0.1, 0.1),
        castshadow=look.shadows,
    )  # fmt: skip
    sun.add_light(  # ambient light too is of this one: what casts shadows gives none there
        name="fill", type=directional, specular=(0.0, 0.0, 0.0), castshadow=False,
    )  # fmt: skip


def _add_shape(
    mujoco: Any,
    spec: Any,
    body: Any,
    shape: Shape,
    placed: tuple[float, float, float],
    number: int,
    material: int,
    look: Look,
) -> None:
    """A prism with its texture wrapped around it at true scale."""
    vertices, normals, texels, faces = _prism(shape, look.texture_sizes_m[material])
    name = f"{_SHAPE}{number}"
    spec.add_mesh(
        name=name, uservert=vertices.ravel(), usernormal=normals.ravel(),
        usertexcoord=texels.ravel(), userface=faces.ravel(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )  # fmt: skip
    body.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=f"m{material}",
        pos=placed, quat=(math.cos(shape.yaw_rad / 2), 0.0, 0.0, math.sin(shape.yaw_rad / 2)),
        contype=0, conaffinity=0,
    )  # fmt: skip


def _prism(
    shape: Shape, texture_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    """Vertices, normals, texture coordinates and triangles; no bottom, which nobody sees."""
    if shape.kind == "cylinder":
        angles = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)
        outline = shape.half_x_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
        outline = signs * (shape.half_x_m, shape.half_y_m)
    count, top = len(outline), shape.height_m
    following = np.roll(outline, -1, axis=0)
    edges = following - outline
    length = np.hypot(*edges.T)
    start = np.concatenate([[0.0], np.cumsum(length)[:-1]])
    corners, outward, wrap = [], [], []
    for point, along, z in (
        (outline, start, 0.0), (following, start + length, 0.0),
        (following, start + length, top), (outline, start, top),
    ):  # fmt: skip
        corners.append(np.column_stack([point, np.full(count, z)]))
        flat = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / length[:, None]
        outward.append(np.column_stack([point if shape.kind == "cylinder" else flat, 0.0 * length]))
        wrap.append(np.column_stack([along, np.full(count, -z)]))
    sides = np.arange(count)
    quads = np.concatenate([np.stack([sides + count * k for k in ks], axis=1)
                            for ks in ((0, 1, 2), (0, 2, 3))])  # fmt: skip
    lid = 4 * count + np.arange(count)
    fan = np.stack([np.full(count - 2, lid[0]), lid[1:-1], lid[2:]], axis=1)
    vertices = np.concatenate([*corners, np.column_stack([outline, np.full(count, top)])])
    normals = np.concatenate([*outward, np.tile((0.0, 0.0, 1.0), (count, 1))])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    texels = np.concatenate([*wrap, outline]) / texture_m
    return vertices, normals, texels, np.concatenate([quads, fan]).astype(np.int32)
