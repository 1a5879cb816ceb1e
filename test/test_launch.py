"""Launch file, parameter file and DDS profile agree with the node."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from ros_peer import DOMAIN

from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import parameters

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch" / "collision_avoidance.launch.py"
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"


def test_parameter_file_has_every_parameter_at_its_default():
    path = resource_path("config", "collision_avoidance.yaml")
    told = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    assert told == {name: default for name, (default, _) in parameters.known().items()}
    types = {name: type(value) for name, value in told.items()}
    assert types == {name: type(default) for name, (default, _) in parameters.known().items()}
    text = " ".join(path.read_text().replace("\n    # ", " ").split())
    for name, (_, meaning) in parameters.known().items():
        mark = "* " if meaning.runtime else ""
        assert f"{mark}{meaning.doc}" in text, name


def test_launch_file_names_what_exists():
    """Always run, also where there is no launch: read the file, do not execute it."""
    tree = ast.parse(LAUNCH.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {
        kw.arg: ast.literal_eval(kw.value)
        for call in calls
        if ast.unparse(call.func) == "Node"
        for kw in call.keywords
        if isinstance(kw.value, ast.Constant)
    }
    assert named["package"] == "crnn_snn_ros"
    assert f"{named['executable']} = crnn_snn_ros.ros.node:main" in (ROOT / "setup.py").read_text()
    files = [
        tuple(map(ast.literal_eval, call.args))
        for call in calls
        if ast.unparse(call.func) == "resource_path"
    ]
    assert len(files) == 2
    for kind, name in files:
        assert resource_path(kind, name).is_file()
    arguments = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARGUMENTS"
    )
    assert isinstance(arguments, ast.Dict)
    names = {ast.literal_eval(key) for key in arguments.keys if key is not None}
    assert names == {"image", "model", "params_file", "namespace", "use_sim_time"}


def test_launch_file_under_launch():
    pytest.importorskip("launch_ros")
    from launch import LaunchContext, LaunchService
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(LAUNCH))
    assert LaunchService is not None
    (start,) = [e for e in description.entities if type(e).__name__ == "OpaqueFunction"]
    context = LaunchContext()
    for entity in description.entities:
        if entity is not start:
            entity.visit(context)
    (node,) = start.visit(context)
    assert type(node).__name__ == "Node"


def segments() -> dict[str, int]:
    return {f.name: f.stat().st_size for f in Path("/dev/shm").glob("fastrtps_*")}


def start_participant(profile: Path) -> tuple[str, set[int]]:
    """Start a DDS participant with a profile; its complaints, and its shared-memory sizes."""
    before = segments()
    code = "import rclpy; rclpy.init(); n = rclpy.create_node('n'); print('up'); input()"
    env = {**os.environ, PROFILE: str(profile), "ROS_DOMAIN_ID": str(DOMAIN)}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = []
        while not said or "up" not in said[-1]:
            said.append(process.stdout.readline())
            assert said[-1], said
        new = {size for name, size in segments().items() if name not in before}
        return "".join(said), new
    finally:
        process.communicate("\n", timeout=20)


@pytest.mark.skipif(
    "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"),
    reason="the profile is Fast DDS's",
)
def test_fast_dds_reads_the_profile(tmp_path):
    profile = resource_path("config", "fastdds.xml")
    said, sizes = start_participant(profile)
    assert "XMLPARSER" not in said
    assert any(size >= 10 * 2**20 for size in sizes), sizes
    spoiled = tmp_path / "spoiled.xml"
    spoiled.write_text(profile.read_text().replace("segment_size>", "segment_sighs>"))
    said, sizes = start_participant(spoiled)
    assert "XMLPARSER" in said, "else this test could not see a profile that is refused"
    assert not any(size >= 10 * 2**20 for size in sizes)
    kinds = {e.text for e in ET.parse(profile).iter() if e.tag.endswith("}type")}
    assert kinds == {"SHM", "UDPv4"}
