"""What MuJoCo draws on without a window.

MuJoCo's own ``Renderer`` makes an OpenGL context for each model, whose programs are compiled anew
for it: as much work as a hundred pictures. Here a thread keeps its context from model to model.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError

NO_GL = (
    "the simulator cannot draw: {reason}; "
    "install OSMesa (apt-get install libosmesa6) and set MUJOCO_GL=osmesa"
)
NO_MUJOCO = "the simulator needs MuJoCo: pip install 'crnn_snn_ros[sim]'"
MOST_GEOMS = 400  # in a picture


def load_mujoco() -> Any:
    """MuJoCo, told to draw in memory where no display is there and nothing else was asked for.

    Raises:
        ConfigError: it is not installed, or cannot find what it draws with.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "osmesa")
        # Draw in the calling thread: processes side by side would only get in each other's way.
        os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        import mujoco
    except ModuleNotFoundError:
        raise ConfigError(NO_MUJOCO) from None
    except Exception as error:  # it loads OpenGL, whose absence shows in many ways
        raise ConfigError(NO_GL.format(reason=_brief(error))) from None
    return mujoco


class Canvas:
    """Pictures of one model by one of its cameras. Of one thread, as OpenGL is.

    Args:
        model: MuJoCo's; its textures may be written anew, see ``upload_textures``.
        camera: name of the camera.
        width, height: of the pictures, pixels.
        shadows: whether lights that cast shadows do.

    Raises:
        ConfigError: what MuJoCo draws with is missing; the message says what to install.
    """

    def __init__(self, model: Any, camera: str, width: int, height: int, *, shadows: bool) -> None:
        self._mujoco = mujoco = load_mujoco()
        self._model = model
        self._size = height, width
        try:
            self._gl = _kept_gl(mujoco, width, height)
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        except Exception as error:  # each way of drawing fails in a way of its own
            raise ConfigError(NO_GL.format(reason=_brief(error))) from None
        self._scene = mujoco.MjvScene(model, maxgeom=MOST_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        # Not mirrored in floors: it doubles the cost, and no texture here reflects.
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        self._option = mujoco.MjvOption()
        self._rect = mujoco.MjrRect(0, 0, width, height)

    def upload_textures(self) -> None:
        """Show the textures that the model holds now."""
        self._begin()
        for texture in range(self._model.ntex):
            self._mujoco.mjr_uploadTexture(self._model, self._context, texture)

    def draw(self, data: Any) -> NDArray[np.uint8]:
        """A picture of the model as ``data`` places it: (height, width, 3) uint8 RGB, a new array.

        Raises:
            RuntimeError: it was closed.
        """
        mujoco = self._mujoco
        self._begin()
        mujoco.mjv_updateScene(
            self._model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )  # fmt: skip
        mujoco.mjr_render(self._rect, self._scene, self._context)
        upside_down = np.empty((*self._size, 3), np.uint8)
        mujoco.mjr_readPixels(upside_down, None, self._rect, self._context)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Free what the model took of the OpenGL context; further pictures are refused."""
        if self._context is not None:
            _kept.make_current(self._gl)
            self._context.free()
            self._context = None

    def _begin(self) -> None:
        if self._context is None:
            raise RuntimeError("nothing can be drawn after close")
        _kept.make_current(self._gl)
        offscreen = self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN
        self._mujoco.mjr_setBuffer(offscreen, self._context)


class _Kept(threading.local):
    """The OpenGL contexts of a thread."""

    def __init__(self) -> None:
        self.by_size: dict[tuple[int, int], Any] = {}
        self.current: Any = None

    def make_current(self, context: Any) -> None:
        """Draw in a context from now on; to be told again of the same one costs time."""
        if self.current is not context:
            context.make_current()
            self.current = context


_kept = _Kept()


@atexit.register  # later modules are gone that freeing them needs
def _free_kept() -> None:
    for context in _kept.by_size.values():
        context.free()


def _kept_gl(mujoco: Any, width: int, height: int) -> Any:
    """This thread's OpenGL context for pictures of a size, made current."""
    size = width, height
    if size not in _kept.by_size:
        _kept.by_size[size] = mujoco.GLContext(width, height)
    context = _kept.by_size[size]
    _kept.make_current(context)
    return context


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
