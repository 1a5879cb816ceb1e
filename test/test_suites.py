"""Suites: reproducible however they are run, and figures by textbook arithmetic."""

from __future__ import annotations

import pytest
from model_samples import GOLDEN
from sim_support import needs_pictures

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import Command, Frame
from crnn_snn_ros.io.processes import Workers
from crnn_snn_ros.pipeline import Answer, FrameLoop, PipelineState, load_pipeline
from crnn_snn_ros.sim.course import KINDS
from crnn_snn_ros.sim.figures import byar, summarize, wilson
from crnn_snn_ros.sim.simulator import CONTACT, GOAL, TIMEOUT, Simulator
from crnn_snn_ros.sim.suites import (
    BLIND,
    SUITES,
    TEST_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    ModelDriver,
    Outcome,
    PipelinePolicy,
    Setup,
    Straight,
    run_course,
    run_suite,
)

BLINDLY = Setup(draw=False)
# A model of no sense, and a control law that drives whatever it says.
BOLD = ControlConfig(v_max_mps=1.0, stop_threshold=1.0, go_threshold=0.99, go_frames=1)


def test_each_suite_has_every_kind_and_what_it_asks_for() -> None:
    for name, suite in SUITES.items():
        courses = [suite.course(seed) for seed in range(1000, 1010)]
        kinds = [course.kind for course in courses]
        assert set(kinds) == set(KINDS)
        assert kinds.count("corridor") == 6
        moving = [bool(course.movers) for course in courses]
        assert all(moving) == (name in ("rush", "crowd"))
        assert any(moving) == (name in ("movers", "rush", "crowd", "looks"))
        assert suite.look(1000).shadows == (name == "looks")
    assert not set(TEST_SEEDS) & set(TRAIN_SEEDS)
    assert set(VALIDATION_SEEDS) <= set(TRAIN_SEEDS)  # which is why training leaves them out
    with pytest.raises(ConfigError, match="static, movers, rush, crowd, narrow, looks"):
        run_suite(BLIND["straight"], "easy", range(3))


@needs_pictures
def test_a_network_drives_the_same_way_twice() -> None:
    """In one process and in another, by the pipeline that the node runs."""
    small = Setup(camera=(24, 18))
    driver = ModelDriver(str(GOLDEN), BOLD)
    here = run_suite(driver, "static", (1000, 1002), small)
    there = run_suite(driver, "static", (1000, 1002), small, Workers(2))
    assert here == there
    assert [outcome.seed for outcome in here] == [1000, 1002]
    assert all(outcome.distance_m > 0.0 for outcome in here)


@needs_pictures
def test_the_policy_is_the_pipeline() -> None:
    pipeline = load_pipeline(GOLDEN, config=BOLD)
    state = pipeline.initial_state()
    suite = SUITES["static"]
    with Simulator(suite.course(1000), suite.look(1000), camera=(24, 18)) as simulator:
        policy = PipelinePolicy(pipeline)
        for _ in range(12):
            seen = simulator.observation
            assert seen.frame is not None
            answer, state = pipeline.step(seen.frame, state)
            command = policy.act(seen)
            assert command == answer.command
            simulator.step(command)
        policy.reset()
        assert policy.act(seen) == PipelinePolicy(pipeline).act(seen)
    with Simulator(suite.course(1000), None) as blind, pytest.raises(ConfigError, match="look"):
        policy.act(blind.observation)


@needs_pictures
def test_unsteered_keeps_only_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the network is told that it went straight ahead, as it did."""
    pipeline = load_pipeline(GOLDEN, config=BOLD)
    told, steering = [], []

    def step(frame: Frame, state: PipelineState) -> tuple[Answer, PipelineState]:
        answer, after = FrameLoop.step(pipeline, frame, state)
        told.append(after.moving)
        steering.append(answer.command)
        return answer, after

    monkeypatch.setattr(pipeline, "step", step)
    suite = SUITES["static"]
    with Simulator(suite.course(1000), suite.look(1000), camera=(24, 18)) as simulator:
        policy = PipelinePolicy(pipeline, steers=False)
        for _ in range(6):
            command = policy.act(simulator.observation)
            assert command == steering[-1]._replace(angular_radps=0.0)
            simulator.step(command)
    assert all(command.angular_radps for command in steering)
    assert told[-1].moved.ahead_m > 0.0
    assert not any(moving.rate_radps or moving.moved.turned_rad for moving in told)


def test_straight_keeps_only_the_speed() -> None:
    with Simulator(SUITES["static"].course(1000), None) as simulator:
        assert Straight(0.4).act(simulator.observation) == Command(0.4, 0.0)


def test_run_course_is_run_suite_of_one() -> None:
    course = SUITES["narrow"].course(1003)
    outcome = run_course(BLIND["straight"], course, None)
    assert [outcome] == run_suite(BLIND["straight"], "narrow", [1003], BLINDLY)
    assert outcome.finished == CONTACT
    assert not outcome.succeeded


def test_figures() -> None:
    runs = [
        Outcome(1, "corridor", GOAL, 20.0, 25.0, ""),
        Outcome(2, "corridor", GOAL, 20.0, 20.0, ""),
        Outcome(3, "corridor", CONTACT, 5.0, 5.0, ""),
        Outcome(4, "room", TIMEOUT, 5.0, 60.0, ""),
    ]
    found = summarize(runs)
    assert (found.courses, found.success, found.collisions, found.timeouts) == (4, 0.5, 1, 0.25)
    assert found.collisions_per_km == pytest.approx(20.0)
    assert found.mean_speed == pytest.approx(50.0 / 110.0)
    assert found.success_ci95 == wilson(2, 4)
    for name in ("success", "collisions_per_km", "mean_speed", "timeouts"):
        low, high = getattr(found, f"{name}_ci95")
        assert low <= getattr(found, name) <= high
    with pytest.raises(ConfigError, match="nothing to summarize"):
        summarize([])


def test_intervals_are_those_of_the_tables() -> None:
    # Newcombe 1998, table I: 81 of 263, and 15 of 148.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(20, 20)[1] == pytest.approx(1.0)
    # Exact Poisson limits of 10 events are 4.80 and 18.39, of none 0 and 3.69.
    assert byar(10) == pytest.approx((4.80, 18.39), abs=0.03)
    assert byar(0) == pytest.approx((0.0, 3.69), abs=0.1)
