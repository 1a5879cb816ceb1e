"""The mount of a camera as parameters and options tell it."""

from __future__ import annotations

import math

import pytest

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import CameraMount, MountConfig, field_of_view_rad, small_robot


def test_a_lens_that_is_not_told_is_the_one_that_the_model_is_made_for() -> None:
    assert MountConfig(0.2, 0.1).mount(115.0) == CameraMount(0.2, 0.1, math.radians(115.0))
    assert MountConfig(0.2, 0.1, 1.2).mount(115.0) == CameraMount(0.2, 0.1, 1.2)
    assert MountConfig(camera_fov=1.2).mount(115.0) is None, "no height, so nothing is told"


def test_a_mount_comes_back_from_its_parameters() -> None:
    assert MountConfig.of(small_robot(115.0)).mount(90.0) == small_robot(115.0)


@pytest.mark.parametrize("fov_rad", [-0.1, 0.05, 3.2, 90.0, math.nan])
def test_no_camera_sees_so(fov_rad: float) -> None:
    with pytest.raises(ConfigError, match="camera_fov is"):
        MountConfig(0.2, camera_fov=fov_rad)


def test_the_lens_of_a_calibrated_camera() -> None:
    assert field_of_view_rad(640, 320.0) == pytest.approx(math.pi / 2)
    for uncalibrated in ((640, 0.0), (0, 320.0), (640, math.nan), (640, -1.0)):
        assert field_of_view_rad(*uncalibrated) is None
