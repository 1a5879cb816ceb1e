"""What ships beside the node agrees with it: documentation, layouts, the replay launch file."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import parameters

ROOT = Path(__file__).parents[1]
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


def test_replay_launch_file_names_what_exists():
    """Always run, also where there is no launch: read the file, do not execute it."""
    tree = ast.parse(REPLAY.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (node,) = (call for call in calls if ast.unparse(call.func) == "Node")
    named = {
        k.arg: ast.literal_eval(k.value) for k in node.keywords if isinstance(k.value, ast.Constant)
    }
    assert named["package"] == "crnn_snn_ros"
    assert f"{named['executable']} = crnn_snn_ros.ros.node:main" in (ROOT / "setup.py").read_text()
    files = [call.args for call in calls if ast.unparse(call.func) == "resource_path"]
    assert len(files) == 2
    for kind, name in files:
        assert resource_path(ast.literal_eval(kind), ast.literal_eval(name)).is_file()
    (settings,) = (
        statement.value
        for statement in ast.walk(tree)
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "settings"
    )
    assert isinstance(settings, ast.Dict)
    names = {ast.literal_eval(key) for key in settings.keys if key is not None}
    assert names <= {*parameters.known(), "use_sim_time"}


def test_replay_launch_file_under_launch(tmp_path):
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(REPLAY))
    (start,) = [e for e in description.entities if type(e).__name__ == "OpaqueFunction"]
    context = LaunchContext()
    context.launch_configurations["bag"] = str(tmp_path)
    for entity in description.entities:
        if entity is not start:
            entity.visit(context)
    kinds = [type(action).__name__ for action in start.visit(context)]
    assert kinds == ["Node", "ExecuteProcess"]
