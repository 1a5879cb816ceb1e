"""Threads that cross each other in the node: no older command overtakes a stop."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace

import pytest
from node_here import here
from ros_peer import frames, small_model

from crnn_snn_ros import pipeline
from crnn_snn_ros.core.assist import assist
from crnn_snn_ros.core.engines import make_engine
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.io.model_file import header, load, save
from crnn_snn_ros.ros import messages
from crnn_snn_ros.ros import node as node_module

SETTINGS = {"decimate": False, "min_rate": 0.0, "go_threshold": 0.99, "stop_threshold": 1.0}
LATER_S = 0.05  # long enough for another thread to get in, if it can


@pytest.fixture
def model(tmp_path):
    return small_model(tmp_path / "small.snn")


def show(node, count=1, seed=1):
    for frame in frames(count, seed):
        node._on_image(messages.image(frame._replace(stamp_ns=time.time_ns())))


def test_good_frames_move_it(model):
    with here(model=model, **SETTINGS) as node:
        node.start()
        show(node, 6)
        assert node._guard.outputs.commands[0] == STOP
        assert node._guard.outputs.commands[-1].linear_mps > 0.0


def corrupt(message):
    message.data = message.data[:-1]


def older(message):
    message.header.stamp = messages.stamp(messages.stamp_ns(message.header) - 400_000_000)


def of_another_camera(message):
    message.header.frame_id = "rear"


@pytest.mark.parametrize("spoil", [corrupt, older, of_another_camera])
def test_good_and_bad_frames_by_turns_never_move_it(spoil, model):
    with here(model=model, **SETTINGS) as node:
        node.start()
        for number in range(40):
            message = messages.image(frames(1, number)[0]._replace(stamp_ns=time.time_ns()))
            if number % 2:
                spoil(message)
            node._on_image(message)
        assert node._guard.status.answered == 20
        assert set(node._guard.outputs.commands) == {STOP}
        show(node, 6)
        assert node._guard.outputs.commands[-1].linear_mps > 0.0


def test_a_zero_that_is_asked_for_while_a_command_is_made_is_the_last(model, monkeypatch):
    wanted, threads = Command(0.3, 0.1), []

    def slow(*arguments):
        made = assist(*arguments)
        if made.linear_mps > 0.0:
            threads.append(threading.Thread(target=node._on_wanted, args=(STOP,)))
            threads[-1].start()
            time.sleep(LATER_S)
        return made

    with here(model=model, mode="assist", **SETTINGS) as node:
        node.start()
        monkeypatch.setattr(node_module, "assist", slow)
        node._on_wanted(wanted)
        while not threads:
            show(node)
        threads[0].join()
        *_, before, last = node._guard.outputs.commands
        assert before.linear_mps > 0.0
        assert last == STOP


def test_nonsense_that_is_asked_for_stops_without_a_frame(model):
    with here(model=model, mode="assist", **SETTINGS) as node:
        node.start()
        node._on_wanted(Command(0.3, 0.1))
        show(node, 6)
        assert node._guard.outputs.commands[-1].linear_mps > 0.0
        node._on_wanted(Command(float("nan"), 0.0))
        assert node._guard.outputs.commands[-1] == STOP


def test_a_frame_from_before_deactivation_leaves_nothing_behind(model):
    going, leave = threading.Event(), threading.Event()
    with here(model=model, **SETTINGS) as node:
        node.start()
        show(node, 6)
        step = node._pipeline.step

        def stalled(*arguments):
            going.set()
            assert leave.wait(10.0)
            return step(*arguments)

        node._pipeline.step = stalled
        busy = threading.Thread(target=show, args=(node,))
        busy.start()
        assert going.wait(10.0)
        node.trigger_deactivate()
        activation = threading.Thread(target=node.trigger_activate)
        activation.start()
        time.sleep(LATER_S)
        leave.set()
        busy.join()
        activation.join()
        assert node._guard.listening
        assert node._state is None, "it would be taken for the memory of the new sequence"
        assert node._guard.outputs.commands[-1] == STOP


def test_an_engine_that_hangs_forbids_activation(model, monkeypatch):
    monkeypatch.setattr(node_module, "FINISH_S", LATER_S)
    with here(model=model, **SETTINGS) as node:
        node.start()
        node.trigger_deactivate()
        with node._computing:
            assert node.trigger_activate() != node_module.Done.SUCCESS
        assert not node._guard.listening
        assert node.trigger_activate() == node_module.Done.SUCCESS


@pytest.mark.parametrize("held_by", ["parameter", "service"])
def test_who_is_held_is_still_held_when_configured_anew(held_by, model):
    from rclpy.parameter import Parameter
    from std_srvs.srv import SetBool

    with here(model=model, autostart=False, **SETTINGS) as node:
        if held_by == "parameter":
            assert node.set_parameters([Parameter("enabled", value=False)])[0].successful
        node.trigger_configure()
        node.trigger_activate()
        if held_by == "service":
            node._on_enable(SetBool.Request(data=False), SetBool.Response())
            node.trigger_deactivate()
            node.trigger_cleanup()
            node.trigger_configure()
            node.trigger_activate()
        show(node, 6)
        assert set(node._guard.outputs.commands) == {STOP}
        node._on_enable(SetBool.Request(data=True), SetBool.Response())
        show(node, 6)
        assert node._guard.outputs.commands[-1].linear_mps > 0.0


def test_diagnostics_name_the_bytes_that_were_loaded(model, tmp_path, monkeypatch):
    """The file may be replaced, by the next training perhaps, while the node configures."""
    other = tmp_path / "other.snn"
    save(other, replace(load(model), frame_rate_hz=19.0))
    loaded, later = (header(path)["sha256"] for path in (model, other))
    assert loaded != later

    def replacing_the_file(*given):
        os.replace(other, model)
        return make_engine(*given)

    monkeypatch.setattr(pipeline, "make_engine", replacing_the_file)
    with here(model=model, **SETTINGS) as node:
        node.start()
        assert header(model)["sha256"] == later
        assert node._pipeline.model.frame_rate_hz == 20.0
        assert node._reports.facts["model_sha256"] == loaded
