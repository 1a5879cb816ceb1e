"""Traces: what is written is read back, what is damaged is refused, and the map is of the drive."""

from __future__ import annotations

import json

import numpy as np
import pytest
from model_samples import GOLDEN
from sim_support import needs_pictures

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.sim.maps import draw_map
from crnn_snn_ros.sim.suites import SUITES, Outcome, PipelinePolicy, Setup, run_course
from crnn_snn_ros.sim.trace import (
    EVERY,
    ROW,
    Row,
    Trace,
    draw,
    load_trace,
    make_trace,
    trace_course,
)

BOLD = ControlConfig(v_max_mps=1.0, stop_threshold=1.0, go_threshold=0.99, go_frames=1)


def sample(count: int = 25) -> Trace:
    rng = np.random.default_rng(3)
    course = SUITES["movers"].course(2001)
    rows = []
    for number in range(count):
        x, y, yaw = course.route_pose(0.5 + 0.3 * number)
        said = rng.normal(size=2)
        rows.append(
            Row(10**18 + number * 50_000_000, x, y, yaw, 0.8, *said, 0.3, number % 2 == 0, 7, 900,
                0.8, 1e-300)
        )  # fmt: skip
    images = rng.integers(0, 256, (count, 16, 24, 3), np.uint8)
    return make_trace(
        "movers", Outcome(2001, "corridor", "contact", 1 / 3, 2.5, "f00d"), rows, images
    )


def test_what_is_saved_is_read_back(tmp_path):
    trace = sample()
    trace.save(tmp_path / "trace.npz")
    again = load_trace(tmp_path / "trace.npz")
    assert (again.suite, again.outcome) == (trace.suite, trace.outcome)
    assert again.rows.dtype == ROW
    assert again.rows.tobytes() == trace.rows.tobytes()
    assert np.array_equal(again.thumbnails, trace.thumbnails)
    assert again.thumbnail_rows.tolist() == [0, EVERY, 2 * EVERY, 24]
    assert again.times_s[[0, 1, -1]].tolist() == [0.0, 0.05, 1.2]
    assert [path.name for path in tmp_path.iterdir()] == ["trace.npz"]


def test_what_is_damaged_is_refused(tmp_path):
    path = tmp_path / "trace.npz"
    sample().save(path)
    whole = path.read_bytes()
    with np.load(path) as file:
        parts = dict(file)
    about = json.loads(str(parts["about"]))

    def written(**changes):
        np.savez(path, **{**parts, **changes})

    for data in (b"", whole[:100], whole[: len(whole) // 2], b"x" * 500):
        path.write_bytes(data)
        with pytest.raises(DataError, match="cannot be read as a trace"):
            load_trace(path)
    spoiled = [
        {"about": np.array(json.dumps({**about, "version": 99}))},
        {"about": np.array("no JSON")},
        {"about": np.array("[]")},
        {"about": np.array(json.dumps({"version": 1}))},
        {"about": np.array(json.dumps({**about, "colour": 1}))},
        {"rows": parts["rows"]["x_m"]},
        {"rows": parts["rows"][:0]},
        {"thumbnails": parts["thumbnails"][:, :, :, :2]},
        {"thumbnails": parts["thumbnails"][1:]},
        {"thumbnail_rows": parts["thumbnail_rows"] + 1},
        {"rows": np.array([None])},
    ]
    for changes in spoiled:
        written(**changes)
        with pytest.raises(DataError, match=r"trace\.npz"):
            load_trace(path)
    with pytest.raises(DataError, match=r"absent\.npz"):
        load_trace(tmp_path / "absent.npz")


def test_the_map_shows_the_way_and_the_movers_at_its_end():
    trace = sample()
    path = np.stack([trace.rows["x_m"], trace.rows["y_m"]], axis=1)
    course = SUITES["movers"].course(2001)
    assert np.array_equal(draw(trace), draw_map(course, path, 1.2))
    assert np.array_equal(draw(trace, until=10), draw_map(course, path[:11], 0.5))
    assert not np.array_equal(draw(trace), draw(trace, until=10))
    assert draw(trace, metre_px=20.0).shape[0] < draw(trace).shape[0]


@needs_pictures
def test_a_traced_course_is_the_course_of_the_suites():
    pipeline = load_pipeline(GOLDEN, config=BOLD)
    setup = Setup(camera=(24, 18))
    trace = trace_course(pipeline, "static", 1000, setup)
    suite = SUITES["static"]
    outcome = run_course(
        lambda _: PipelinePolicy(pipeline), suite.course(1000), suite.look(1000), setup
    )
    assert trace.outcome == outcome
    assert trace.times_s[-1] == pytest.approx(outcome.time_s)
    steps = np.hypot(np.diff(trace.rows["x_m"]), np.diff(trace.rows["y_m"]))
    assert steps.sum() == pytest.approx(outcome.distance_m, rel=0.01)
    assert trace.thumbnails.shape[1:] == (18, 24, 3)
    assert trace.rows["settled"].all()
    assert trace.rows["spikes"].min() > 0
