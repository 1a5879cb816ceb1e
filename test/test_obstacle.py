"""Where costmaps are told that something is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn_snn_ros.core.obstacle import HEIGHT_M, SPACING_M, arc


@given(st.floats(0.05, 10.0), st.floats(0.05, 1.5))
def test_an_arc_ahead_without_holes(distance_m, half_angle_rad):
    points = arc(distance_m, half_angle_rad).astype(float)
    x, y, z = points.T
    assert np.hypot(x, y) == pytest.approx(distance_m, rel=1e-5)
    assert set(z) == {float(np.float32(HEIGHT_M))}
    assert (x > 0).all()
    ends = np.arctan2(y, x)[[0, -1]]
    assert ends == pytest.approx([-half_angle_rad, half_angle_rad], rel=1e-4)
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert (gaps <= SPACING_M * 1.001).all()
