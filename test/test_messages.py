"""Conversions between messages and the core."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ros_peer import SECOND
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from crnn_snn_ros.core import supervisor as sv
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.health import health
from crnn_snn_ros.core.supervisor import INITIAL, Mode, Reason, Status
from crnn_snn_ros.core.types import Command, Frame, Prediction
from crnn_snn_ros.ros import messages

pictures = st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
    lambda size: arrays(np.uint8, (*size, 3))
)


@given(pictures, st.integers(0, 2**31 * SECOND - 1))
def test_a_frame_comes_back_from_its_message(pixels, stamp_ns):
    message = messages.image(Frame(stamp_ns, pixels), "left")
    assert message.header.frame_id == "left"
    back = messages.frame(message)
    assert back.stamp_ns == stamp_ns
    assert np.array_equal(back.image, pixels)


@given(
    st.text(max_size=8),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 200),
    st.binary(max_size=400),
)
def test_no_image_message_does_anything_but_decode_or_be_refused(enc, height, width, step, data):
    message = Image(encoding=enc, height=height, width=width, step=step, data=data)
    for encoding in (enc, "rgb8", "mono8"):
        message.encoding = encoding
        with suppress(DataError):
            assert messages.frame(message).image.shape == (height, width, 3)
    with pytest.raises(DataError):
        messages.frame(CompressedImage(format=enc, data=data))


@pytest.mark.parametrize(("sec", "nanosec"), [(-1, SECOND), (0, SECOND), (-5, 0), (7, 2**32 - 1)])
def test_a_stamp_that_is_no_time_is_refused(sec, nanosec):
    header = Header()
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    with pytest.raises(DataError, match=f"stamp of {sec} s and {nanosec} ns is no time"):
        messages.stamp_ns(header)


def test_commands():
    command, header = Command(0.25, -0.5), Header(frame_id="camera", stamp=messages.stamp(1500))
    plain, stamped = messages.twist(command), messages.twist_stamped(command, header)
    assert (plain.linear.x, plain.angular.z) == (0.25, -0.5)
    assert (stamped.twist, stamped.header) == (plain, header)
    others = (plain.linear.y, plain.linear.z, plain.angular.x, plain.angular.y)
    assert others == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("settled", [True, False])
def test_prediction(settled):
    header = Header(frame_id="camera", stamp=messages.stamp(7 * SECOND + 9))
    message = messages.prediction(Prediction(-0.3, 0.8, settled, 7, 100), header)
    vector = message.vector
    assert (vector.x, vector.y, vector.z) == (-0.3, 0.8, float(settled))
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (7, 9)


def report(status: Status, remark: str = "") -> DiagnosticStatus:
    facts = {"model": "m.snn"}
    return messages.diagnostics("/n", Header(), status, health([], 0), facts, remark).status[0]


def test_diagnostics_levels():
    driving = INITIAL._replace(mode=Mode.DRIVING, reason=None)
    assert report(driving).level == DiagnosticStatus.OK
    assert report(driving, "untrained heads: collision").level == DiagnosticStatus.WARN
    waiting = INITIAL._replace(mode=Mode.WAITING, reason=None)
    for status in (waiting, *(INITIAL._replace(reason=reason) for reason in sv.HOLDS)):
        assert report(status).level == DiagnosticStatus.WARN
    for reason in set(Reason) - sv.HOLDS:
        assert report(INITIAL._replace(reason=reason)).level == DiagnosticStatus.ERROR


def test_diagnostics_say_what_happened():
    status = INITIAL._replace(reason=Reason.BAD_FRAME, counts={Reason.BAD_FRAME: 3}, answered=5)
    message = report(status, "untrained heads: collision")
    values = {value.key: value.value for value in message.values}
    assert message.message == "stopped (bad_frame); untrained heads: collision"
    assert (values["state"], values["reason"]) == ("stopped", "bad_frame")
    assert (values["count_bad_frame"], values["answered"], values["model"]) == ("3", "5", "m.snn")


@pytest.mark.parametrize("count", [0, 1, 21])
def test_a_cloud_is_that_of_sensor_msgs_py(count, monkeypatch):
    """With and without it, read back by itself and by hand."""
    points = np.random.default_rng(2).normal(size=(count, 3)).astype(np.float32)
    header = Header(frame_id="base_link")
    made = [messages.cloud(points, header)]
    point_cloud2 = messages.point_cloud2
    monkeypatch.setattr(messages, "point_cloud2", None)
    made.append(messages.cloud(points, header))
    for cloud in made:
        assert (cloud.header, cloud.height, cloud.width) == (header, 1, count)
        assert (cloud.point_step, cloud.row_step, cloud.is_bigendian) == (12, 12 * count, False)
        assert [(field.name, field.offset) for field in cloud.fields] == [
            ("x", 0),
            ("y", 4),
            ("z", 8),
        ]
        assert bytes(cloud.data) == points.tobytes()
        if point_cloud2 is not None:
            np.testing.assert_array_equal(point_cloud2.read_points_numpy(cloud), points)
