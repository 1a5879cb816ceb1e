"""Pictures show what is there, where it is; what draws them is freed."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sim_support import course, needs_pictures

from crnn_snn_ros.sim.course import Mover, Shape
from crnn_snn_ros.sim.generate import KINDS, generate
from crnn_snn_ros.sim.geometry import cast
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.scene import Scene

ROOT = Path(__file__).resolve().parents[1]
START = (0.0, 0.0, 0.0)


def level_look(seed: int = 5) -> Look:
    """A look whose camera is level and over the middle of the robot."""
    look = Look.from_seed(seed)
    camera = dataclasses.replace(look.camera, pitch_rad=0.0, forward_m=0.0, height_m=0.25)
    return dataclasses.replace(look, camera=camera)


def difference(obstacle: Shape, look: Look) -> np.ndarray:
    """Columns whose picture an obstacle changes."""
    with Scene(course(), look, 192, 128) as empty, Scene(course(obstacle), look, 192, 128) as full:
        changed = np.abs(full.render(START, 0.0).astype(int) - empty.render(START, 0.0)).max(axis=2)
    return np.flatnonzero((changed > 8).any(axis=0))


@needs_pictures
@pytest.mark.parametrize("y", [-0.8, 0.0, 0.9])
def test_an_obstacle_is_seen_where_it_stands(y: float) -> None:
    look = level_look()
    post = Shape("cylinder", 2.0, y, 0.0, 0.2, 0.2, 0.8)
    columns = difference(post, look)
    focal = look.camera.focal_px(192)
    bearings = np.arctan2(y, 2.0) + np.array([1.0, -1.0]) * np.arcsin(0.2 / np.hypot(2.0, y))
    expected = 96.0 - focal * np.tan(bearings)  # left is positive, and a low column
    assert abs(columns[0] - expected[0]) < 2.5
    assert abs(columns[-1] + 1 - expected[1]) < 2.5


@needs_pictures
def test_repainted_is_as_if_made_anew() -> None:
    hall = course(Shape("box", 1.5, -0.3, 0.5, 0.4, 0.15, 0.6))
    first, second = (Look.from_seed(seed) for seed in (5, 6))
    stays = {name: getattr(first, name) for name in ("texture_sizes_m", "ceiling_m", "sky")}
    with (
        Scene(hall, first, 96, 64) as scene,
        Scene(hall, dataclasses.replace(second, **stays), 96, 64) as anew,
    ):
        before = scene.render(START, 0.0)
        scene.repaint(second)
        assert np.array_equal(scene.render(START, 0.0), anew.render(START, 0.0))
        scene.repaint(first)
        assert np.array_equal(scene.render(START, 0.0), before)
        assert not np.array_equal(anew.render(START, 0.0), before)


@needs_pictures
def test_rays_and_pixels_agree_on_what_is_near() -> None:
    """A box turned by some angle hides the columns that rays to it pass through."""
    look = level_look(8)
    box = Shape("box", 1.5, -0.3, 0.5, 0.4, 0.15, 0.6)
    columns = difference(box, look)
    focal = look.camera.focal_px(192)
    bearings = np.arctan2(95.5 - np.arange(192), focal)
    empty, full = (cast(np.zeros(2), bearings, c.at(0.0), 8.0)[0] for c in (course(), course(box)))
    hidden = np.flatnonzero(full < empty - 1e-6)
    assert abs(columns[0] - hidden[0]) <= 2
    assert abs(columns[-1] - hidden[-1]) <= 2


@needs_pictures
def test_movers_move_in_the_picture() -> None:
    shape = Shape("cylinder", 0.0, 0.0, 0.0, 0.2, 0.2, 1.0)
    mover = Mover(shape, (2.0, -1.0), (2.0, 1.0), 0.5, 0.0)
    with Scene(course(movers=(mover,)), level_look(), 96, 64) as scene:
        first, again, later = (scene.render(START, t) for t in (0.0, 8.0, 2.0))
    assert np.array_equal(first, again)  # there and back
    assert not np.array_equal(first, later)


@needs_pictures
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_neither_black_nor_flat(kind: str) -> None:
    for seed in range(1000, 1004):
        for held_out in (False, True):
            made = generate(kind, seed)
            with Scene(made, Look.from_seed(seed, held_out), 96, 64) as scene:
                image = scene.render(made.start, 0.0)
            assert image.shape == (64, 96, 3)
            assert image.dtype == np.uint8
            assert 15.0 < image.mean() < 240.0, (seed, held_out)
            assert image.std() > 4.0, (seed, held_out)


@needs_pictures
def test_a_closed_scene_draws_no_more() -> None:
    scene = Scene(course(), Look.from_seed(0), 16, 16)
    scene.render(START, 0.0)
    scene.close()
    scene.close()
    with pytest.raises(RuntimeError, match="close"):
        scene.render(START, 0.0)


@needs_pictures
def test_sixty_courses_leave_memory_flat() -> None:
    code = """
import resource
from crnn_snn_ros.sim.generate import KINDS, generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.scene import Scene
courses = [generate(kind, 1000) for kind in KINDS]
for number in range(72):
    with Scene(courses[number % 3], Look.from_seed(number), 96, 64) as scene:
        for _ in range(2):
            scene.render((0.0, 0.0, 0.1 * number), 0.0)
    if number == 11:
        before = int(open("/proc/self/statm").read().split()[1])
after = int(open("/proc/self/statm").read().split()[1])
print((after - before) * resource.getpagesize() / 2**20)
"""
    grown = float(run(code).stdout)
    assert grown < 40.0, f"{grown:.0f} MiB over 60 courses"


@needs_pictures
def test_scenes_of_a_thread_share_a_context_which_it_frees_at_its_end() -> None:
    code = """
import mujoco
made = []
real = mujoco.GLContext
mujoco.GLContext = lambda *size: made.append(size) or real(*size)
from crnn_snn_ros.sim.generate import generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.scene import Scene
def scene(seed, size):
    return Scene(generate("room", seed), Look.from_seed(seed), *size)
small, large, other = scene(1000, (24, 16)), scene(1000, (48, 32)), scene(1001, (24, 16))
first = small.render((0.0, 0.0, 0.0), 0.0)
large.render((0.0, 0.0, 0.0), 0.0)
assert (other.render((0.0, 0.0, 0.0), 0.0) != first).any()
assert (small.render((0.0, 0.0, 0.0), 0.0) == first).all()
other.close()
assert (small.render((0.0, 0.0, 0.0), 0.0) == first).all()
print(made)
"""
    told = run(code)  # small and large are left open
    assert told.stdout.strip() == "[(24, 16), (48, 32)]"
    assert "Traceback" not in told.stderr


@pytest.mark.skipif(find_spec("mujoco") is None, reason="MuJoCo is not installed: extra [sim]")
def test_without_opengl_one_line_says_what_to_install() -> None:
    code = """
import ctypes
class Loader(ctypes.CDLL):
    def __init__(self, name, *args, **kwargs):
        if "OSMesa" in str(name):
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = ctypes.cdll._dlltype = Loader
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.generate import generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.scene import Scene
try:
    Scene(generate("room", 1000), Look.from_seed(0), 16, 16)
except ConfigError as error:
    print(error)
"""
    said = run(code).stdout.strip()
    assert "apt-get install libosmesa6" in said
    assert "MUJOCO_GL=osmesa" in said
    assert "\n" not in said


def test_without_mujoco_one_line_says_what_to_install() -> None:
    code = """
import sys
sys.modules["mujoco"] = None
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.sim.canvas import load_mujoco
try:
    load_mujoco()
except ConfigError as error:
    print(error)
"""
    assert "pip install 'crnn_snn_ros[sim]'" in run(code).stdout


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MUJOCO_GL": "osmesa", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=100
    )
