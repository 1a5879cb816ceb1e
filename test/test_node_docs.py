"""What ships beside the node agrees with it: documentation, layouts, the replay launch file."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path
from shutil import which

import pytest
import yaml

from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import parameters, process

ROOT = Path(__file__).parents[1]
NODE = "crnn_snn_ros"
REPLAY = ROOT / "launch" / "replay.launch.py"


def topics() -> set[str]:
    """Topics that the node publishes, in the root namespace, as its code names them."""
    source = "".join((ROOT / "crnn_snn_ros/ros" / name).read_text() for name in ("outputs.py",))
    named = re.findall(r'_publisher\(\w+, "([^"]+)"', source)
    assert len(named) == 7
    return {name.replace("~/", "/collision_avoidance/") for name in named} | {"/diagnostics"}


def absolute(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"


def test_documentation_has_the_table_of_parameters():
    assert parameters.markdown() in (ROOT / "docs" / "node.md").read_text()


def test_the_unit_of_systemd_is_that_of_the_documentation():
    text = resource_path("config", "collision_avoidance.service").read_text()
    assert text in (ROOT / "docs" / "robot.md").read_text()
    assert f"/{NODE}/lib/{NODE}/collision_avoidance --ros-args" in text
    assert "KillSignal=SIGINT" in text
    assert f"RestartPreventExitStatus={process.BAD_INPUT}\n" in text


@pytest.mark.skipif(which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_has_nothing_to_say_of_the_unit(tmp_path):
    unit = resource_path("config", "collision_avoidance.service")
    spoiled = tmp_path / "spoiled.service"
    spoiled.write_text(unit.read_text().replace("Restart=on-failure", "Restart=perhaps"))
    said = [
        subprocess.run(
            ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, timeout=60
        ).stderr
        for file in (unit, spoiled)
    ]
    assert str(unit) not in said[0], said[0]
    assert "spoiled.service" in said[1], "else this test could not see a unit that is refused"


def test_foxglove_layout_shows_topics_that_there_are():
    layout = json.loads(resource_path("config", "foxglove.json").read_text())
    panels = layout["configById"]
    shown = re.findall(r'"([A-Z]\w+!\w+)"', json.dumps(layout["layout"]))
    assert sorted(shown) == sorted(panels)
    known = {absolute(name) for name in topics()}
    used = {panels["Image!debug"]["imageMode"]["imageTopic"]}
    for panel in panels.values():
        used |= {"/" + p["value"].split("/")[1].split(".")[0] for p in panel.get("paths", [])}
        used |= {panel["topicToRender"]} if "topicToRender" in panel else set()
    assert used <= known
    assert len(used) == 5


def test_rviz_shows_topics_that_there_are():
    config = yaml.safe_load(resource_path("config", "collision_avoidance.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    used = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert used == {"/collision_avoidance/debug_image", "/obstacles"}
    assert used <= {absolute(name) for name in topics()}
    frame = config["Visualization Manager"]["Global Options"]["Fixed Frame"]
    assert frame == parameters.known()["base_frame"][0]


def assigned(file: Path, name: str) -> ast.Dict:
    """A dictionary that a launch file has under a name."""
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            assert isinstance(statement.value, ast.Dict)
            return statement.value
    raise AssertionError(f"{file} has no {name}")


def keys(told: ast.Dict) -> set[str]:
    return {ast.literal_eval(key) for key in told.keys if key is not None}


def test_replay_launch_file_names_what_exists():
    """Always run, also where there is no launch: read the file, do not execute it."""
    tree = ast.parse(REPLAY.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (included,) = (call for call in calls if ast.unparse(call.func) == "IncludeLaunchDescription")
    files = [call.args for call in calls if ast.unparse(call.func) == "resource_path"]
    assert len(files) == 1
    assert "additional_env=profile_environment()" in ast.unparse(tree)
    for kind, name in files:
        assert resource_path(ast.literal_eval(kind), ast.literal_eval(name)).is_file()
    (given,) = (node for node in ast.walk(included) if isinstance(node, ast.Dict))
    taken = assigned(ROOT / "launch" / "collision_avoidance.launch.py", "ARGUMENTS")
    assert keys(given) <= keys(taken)
    assert keys(assigned(REPLAY, "ARGUMENTS")) == {"bag", "mode", "rate"}


def test_arguments_of_the_launch_file_are_parameters_of_the_node():
    file = ROOT / "launch" / "collision_avoidance.launch.py"
    told = assigned(file, "PARAMETERS")
    kinds = {
        ast.literal_eval(k): ast.unparse(v) for k, v in zip(told.keys, told.values, strict=True)
    }
    assert kinds.pop("use_sim_time") == "bool"
    assert kinds == {name: type(parameters.known()[name][0]).__name__ for name in kinds}
    assert keys(told) <= keys(assigned(file, "ARGUMENTS"))


@pytest.mark.parametrize(("mode", "trusting"), [("observe", True), ("drive", False)])
def test_replay_launch_file_under_launch(mode, trusting, tmp_path):
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import get_launch_description_from_python_launch_file
    from launch_ros.utilities import evaluate_parameters

    description = get_launch_description_from_python_launch_file(str(REPLAY))
    context = LaunchContext()
    context.launch_configurations.update(bag=str(tmp_path), mode=mode, model="my.snn")
    waiting, found = list(description.entities), {}
    while waiting:  # as the launch service does
        entity = waiting.pop(0)
        found[type(entity).__name__] = entity
        if type(entity).__name__ not in ("Node", "ExecuteProcess"):
            waiting = [*(entity.visit(context) or ()), *waiting]
    assert {"Node", "ExecuteProcess"} <= set(found)
    parts = evaluate_parameters(context, found["Node"]._Node__parameters)
    given = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}
    assert given == {
        "model": "my.snn",
        "mode": mode,
        "allow_untrained": trusting,
        "use_sim_time": True,
    }
