"""The demonstration as a user starts it: simulator, node and witness over real DDS."""

from __future__ import annotations

import json

import cv2
import pytest
from ros_peer import DOMAIN, ROOT, small_model
from sim_support import needs_pictures

from crnn_snn_ros.ros import demo
from crnn_snn_ros.ros.demo_display import Screen, display
from crnn_snn_ros.sim.session import parse_playlist
from crnn_snn_ros.sim.suites import Outcome
from crnn_snn_ros.sim.trace import Row, load_trace


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@needs_pictures
def test_it_drives_and_writes_what_happened(tmp_path, capsys):
    model, out = small_model(tmp_path / "small.snn"), tmp_path / "demo"
    options = ["--model", str(model), "--courses", "static:2000 looks:2002", "--out", str(out)]
    assert demo.main(options) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["held"], summary["final_stop"], summary["not_settled"]) == (True, True, 0)
    assert summary["exit_codes"] == {"node": 0, "simulator": 0}
    assert [course["kind"] for course in summary["courses"]] == ["corridor", "room"]
    assert sum(course["frames"] for course in summary["courses"]) == summary["frames_answered"]
    for course in summary["courses"]:
        trace = load_trace(out / course["trace"])
        assert (trace.suite, trace.outcome.seed) == (course["suite"], course["seed"])
        assert len(trace.rows) == course["frames"]
        assert cv2.imread(str(out / course["map"])) is not None
    told = capsys.readouterr().out
    assert f"{summary['succeeded']} of 2 courses" in told
    assert "looks:2002  room" in told


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--model", "no_such.snn"], "no_such.snn"),
        (["--courses", "easy:1"], "playlist has 'easy:1'"),
        (["--courses", " "], "--courses names none"),
    ],
)
def test_what_it_refuses(options, line, tmp_path, capsys):
    assert demo.main([*options, "--out", str(tmp_path)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told


@needs_pictures
def test_a_node_that_refuses_is_not_waited_for(tmp_path, capsys):
    damaged = tmp_path / "damaged.snn"
    damaged.write_bytes(b"nothing")
    assert demo.main(["--model", str(damaged), "--out", str(tmp_path)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "damaged.snn" in told


def row(time_s: float, x_m: float) -> Row:
    return Row(round(1e9 * time_s), x_m, 0.0, 0.0, 0.7, 0.0, -0.1, 0.25, True, 9, 1, 0.8, 0.0)


def test_the_table_follows_the_courses(capsys):
    tables: list[list[tuple[str, ...]]] = []
    courses = parse_playlist("static:1 movers:2")
    said: list[str] = []
    screen = Screen(courses, ("corridor", "room"), lambda t: tables.append(list(t)), said.append)
    for time_s, x_m in ((1.0, 0.0), (1.05, 0.1), (1.1, 0.3), (3.2, 8.0), (3.25, 8.5)):
        screen.row(row(time_s, x_m))
    first, second = tables[-1]
    assert first[:4] == ("static:1", "corridor", "  0.1 s", "  0.3 m")
    assert second == (
        "movers:2", "room", "  0.1 s", "  0.5 m", "0.70 m/s", "-0.10 rad", "0.25", "9", "drives",
    )  # fmt: skip
    screen.results([Outcome(1, "corridor", "goal", 20.0, 25.0)])
    screen.results([Outcome(1, "corridor", "goal", 20.0, 25.0)])
    assert tables[-1][0][2:5] == (" 25.0 s", " 20.0 m", "0.80 m/s mean")
    assert tables[-1][0][-1] == "goal"
    assert len(said) == 1, "a result is told once"
    with display(courses, ("corridor", "room")) as plain:  # nobody watches a captured stdout
        plain.results([Outcome(1, "corridor", "contact", 1.0, 2.0)])
    assert "CONTACT" in capsys.readouterr().out
