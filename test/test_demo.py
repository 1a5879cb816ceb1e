"""The demonstration as a user starts it: simulator, node and witness over real DDS."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest
from ros_peer import DOMAIN, ROOT
from sim_support import needs_pictures

from crnn_snn_ros.core.mount import small_robot
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.pipeline import load_pipeline
from crnn_snn_ros.ros import demo
from crnn_snn_ros.ros.demo_display import Screen, display
from crnn_snn_ros.sim.session import parse_playlist
from crnn_snn_ros.sim.suites import SUITES, Outcome, PipelinePolicy, Setup, driving, run_course
from crnn_snn_ros.sim.trace import ROW, Row, Trace, load_trace, make_trace, trace_course

pytestmark = pytest.mark.timeout(300)  # processes that import torch, on a busy machine
MODEL = resource_path("models", demo.MODEL)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@needs_pictures
def test_over_dds_it_is_the_drive_of_the_in_process_loop(tmp_path, capsys):
    """Bit for bit: same pictures, predictions, commands, poses and ends, over two courses."""
    courses = parse_playlist("static:2000 movers:2002")
    options = ["--model", str(MODEL), "--courses", " ".join(map(str, courses))]
    assert demo.main([*options, "--out", str(tmp_path)]) == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    pipeline = load_pipeline(MODEL, config=driving())
    contract, rate_hz = pipeline.contract, pipeline.frame_rate_hz
    setup = Setup.of(contract, rate_hz, small_robot(contract.fov_deg))
    for (suite, seed), told in zip(courses, summary["courses"], strict=True):
        over_dds = load_trace(tmp_path / told["trace"])
        alone = trace_course(pipeline, suite, seed, setup)
        course, look = SUITES[suite].course(seed), setup.seen(SUITES[suite].look(seed))
        outcome = run_course(lambda _: PipelinePolicy(pipeline), course, look, setup)
        assert over_dds.outcome == alone.outcome == outcome
        assert_same(over_dds, alone)
        assert told["frames"] == len(alone.rows)
        assert {name: told[name] for name in outcome._fields} == outcome._asdict()
        assert cv2.imread(str(tmp_path / told["map"])) is not None
    assert (summary["held"], summary["final_stop"], summary["not_settled"]) == (True, True, 0)
    assert summary["exit_codes"] == {"node": 0, "simulator": 0}
    assert summary["frames_answered"] == sum(told["frames"] for told in summary["courses"])
    lines = capsys.readouterr().out
    assert f"{summary['succeeded']} of 2 courses" in lines
    assert "movers:2002  room" in lines


def assert_same(one: Trace, other: Trace) -> None:
    assert np.array_equal(one.thumbnails, other.thumbnails)
    assert np.array_equal(np.diff(one.rows["stamp_ns"]), np.diff(other.rows["stamp_ns"]))
    for name in set(ROW.names) - {"stamp_ns", "yaw_rad"}:
        assert np.array_equal(one.rows[name], other.rows[name]), name
    # The heading crosses as a quaternion, without whole turns.
    turned = np.cos(one.rows["yaw_rad"] - other.rows["yaw_rad"])
    assert turned == pytest.approx(1.0, abs=1e-12)
    assert len(one.rows) > 60, "too short to say anything"
    assert len(np.unique(one.rows["angular_radps"])) > 50, "the model must say something"
    assert one.rows["speed_mps"].max() > 0.4


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--model", "no_such.snn"], "no_such.snn"),
        (["--model", "{}/damaged.snn"], "damaged.snn"),
        (["--courses", "easy:1"], "playlist has 'easy:1'"),
        (["--courses", " "], "--courses names none"),
    ],
)
def test_what_it_refuses(options, line, tmp_path, capsys):
    (tmp_path / "damaged.snn").write_bytes(b"nothing")
    options = [option.format(tmp_path) for option in options]
    assert demo.main([*options, "--out", str(tmp_path)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told


def test_a_run_holds_only_if_all_of_it_did():
    first = Row(1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, True, 5, 100, 0.0, 0.0)
    image = np.zeros((8, 8, 3), np.uint8)
    report = {"latency_p50_ms": "1.00", "latency_p99_ms": "2.00"}
    for settled, stopped, codes in itertools.product((True, False), (True, False), (0, 1)):
        outcome = Outcome(1, "room", "contact", 1.0, 2.0, "")
        trace = make_trace("static", outcome, [first, first._replace(settled=settled)], [image] * 2)
        summary = demo.summarize(demo.Run([trace], report, stopped, (codes, 0), 1.0))
        assert summary["held"] == (settled and stopped and codes == 0)
        assert summary["succeeded"] == 0, "told, not a condition"
        assert summary["not_settled"] == (not settled)


def row(time_s: float, x_m: float) -> Row:
    return Row(round(1e9 * time_s), x_m, 0.0, 0.0, 0.7, 0.0, -0.1, 0.25, True, 9, 1, 0.8, 0.0)


def test_the_table_follows_the_courses(capsys):
    tables: list[list[tuple[str, ...]]] = []
    courses = parse_playlist("static:1 movers:2")
    said: list[str] = []
    screen = Screen(courses, ("corridor", "room"), lambda t: tables.append(list(t)), said.append)
    for time_s, x_m in ((1.0, 0.0), (3.0, 0.0), (3.05, 0.1), (3.1, 0.3)):  # it began anew at 3 s
        screen.row(row(time_s, x_m))
    assert tables[-1][0][:4] == ("static:1", "corridor", "0.1", "0.3")
    screen.results([Outcome(1, "corridor", "goal", 20.0, 25.0, "")])
    for time_s, x_m in ((5.2, 8.0), (5.25, 8.5)):
        screen.row(row(time_s, x_m))
    second = tables[-1][1]
    assert second == (
        "movers:2", "room", "0.1", "0.5", "0.70", "-0.10", "0.25", "9", "drives",
    )  # fmt: skip
    screen.results([Outcome(1, "corridor", "goal", 20.0, 25.0, "")])
    screen.results([Outcome(1, "corridor", "goal", 20.0, 25.0, "")])
    assert tables[-1][0][2:5] == ("25.0", "20.0", "0.80")
    assert tables[-1][0][-1] == "goal"
    assert said == ["static:1  corridor  25.0 s  20.0 m  0.80 m/s  goal"], "told once"
    with display(courses, ("corridor", "room")) as plain:  # nobody watches a captured stdout
        plain.results([Outcome(1, "corridor", "contact", 1.0, 2.0, "")])
    assert "CONTACT" in capsys.readouterr().out
