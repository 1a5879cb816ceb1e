"""Launch file, parameter file and DDS profile agree with the node."""

from __future__ import annotations

import ast
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import yaml
from ros_peer import DOMAIN

from crnn_snn_ros.core.mount import MountConfig
from crnn_snn_ros.io.model_file import load, save
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import parameters, simulator_node
from crnn_snn_ros.ros.dds import profile_variable
from crnn_snn_ros.sim.suites import driving

ROOT = Path(__file__).parents[1]


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


def test_parameter_file_of_the_simulator_has_every_parameter_at_its_default():
    path = resource_path("config", "simulator.yaml")
    told = yaml.safe_load(path.read_text())["/**"]["ros__parameters"]
    known = simulator_node.known()
    assert told == {name: default for name, (default, _) in known.items()}
    types = {name: type(value) for name, value in told.items()}
    assert types == {name: type(default) for name, (default, _) in known.items()}
    text = " ".join(path.read_text().replace("\n    # ", " ").split())
    assert all(meaning.doc in text for _, meaning in known.values())


@dataclass(frozen=True)
class Shipped:
    """A launch file, and what it must name."""

    name: str
    executables: dict[str, str]  # name: module
    resources: int
    arguments: set[str]


SHIPPED = (
    Shipped(
        "collision_avoidance.launch.py",
        {"collision_avoidance": "node"},
        1,
        {"image", "model", "mode", "image_transport", "allow_untrained", "params_file", "namespace",
         "use_sim_time", "camera_height", "camera_pitch", "camera_fov", "turn_from", "odom"},
    ),
    Shipped(
        "simulation.launch.py",
        {"simulator": "simulator_node", "collision_avoidance": "node"},
        1,
        {"model", "suite", "seed", "courses", "lockstep", "speed", "drive", "simulator_file",
         "params_file", "namespace", "camera_height", "camera_pitch", "camera_fov"},
    ),
)  # fmt: skip
each_launch_file = pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.name)


@each_launch_file
def test_launch_file_names_what_exists(shipped):
    """Always run, also where there is no launch: read the file, do not execute it."""
    tree = ast.parse((ROOT / "launch" / shipped.name).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {
        kw.arg: ast.literal_eval(kw.value)
        for call in calls
        if ast.unparse(call.func) == "Node"
        for kw in call.keywords
        if isinstance(kw.value, ast.Constant)
    }
    assert named["package"] == "crnn_snn_ros"
    text = ast.unparse(tree)
    for executable, module in shipped.executables.items():
        assert f"'{executable}'" in text
        entry = f"{executable} = crnn_snn_ros.ros.{module}:main"
        assert entry in (ROOT / "setup.py").read_text()
    files = [
        tuple(map(ast.literal_eval, call.args))
        for call in calls
        if ast.unparse(call.func) == "resource_path"
    ]
    assert len(files) == shipped.resources
    assert "additional_env=profile_environment()" in text
    for kind, name in files:
        assert resource_path(kind, name).is_file()
    arguments = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARGUMENTS"
    )
    assert isinstance(arguments, ast.Dict)
    names = {ast.literal_eval(key) for key in arguments.keys if key is not None}
    assert names == shipped.arguments


def launched(name, **arguments):
    """The actions of a launch file, with arguments as on the command line."""
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    path = str(ROOT / "launch" / name)
    description = get_launch_description_from_python_launch_file(path)
    (start,) = [e for e in description.entities if type(e).__name__ == "OpaqueFunction"]
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    for entity in description.entities:
        if entity is not start:
            entity.visit(context)
    nodes = start.visit(context)
    assert all(type(node).__name__ == "Node" for node in nodes)
    return context, nodes


def test_launch_file_under_launch():
    context, (node,) = launched("collision_avoidance.launch.py")
    from launch_ros.utilities import evaluate_parameters

    _, settings = evaluate_parameters(context, node._Node__parameters)
    assert settings == {"use_sim_time": False}
    told = {"mode": "assist", "image_transport": "compressed", "allow_untrained": "true"}
    context, (node,) = launched("collision_avoidance.launch.py", **told)
    _, settings = evaluate_parameters(context, node._Node__parameters)
    assert settings == {**told, "allow_untrained": True, "use_sim_time": False}


@pytest.mark.parametrize("lockstep", [False, True])
def test_simulation_under_launch(lockstep):
    """What the file gives the nodes are parameters that they have, of the types that they take."""
    told = {True: "true", False: "false"}[lockstep]
    arguments = {"lockstep": told, "model": "my.snn", "seed": "7", "speed": "1", "suite": "movers"}
    context, nodes = launched("simulation.launch.py", **arguments)
    from launch_ros.utilities import evaluate_parameters

    assert [node.node_executable for node in nodes] == ["simulator", "collision_avoidance"]
    given = []
    for node in nodes:
        parts = evaluate_parameters(context, node._Node__parameters)
        given.append({k: v for part in parts if isinstance(part, dict) for k, v in part.items()})
    world, driver = given
    assert (world["suite"], world["seed"]) == ("movers", 7)
    assert world["lockstep"] is world["stamped"] is driver["stamped"] is lockstep
    assert (driver["model"], driver["v_max_mps"], driver["use_sim_time"]) == ("my.snn", 1.0, True)
    assert asdict(driving(1.0)).items() <= driver.items()
    assert ("frame_timeout" in driver) == lockstep
    for values, known in ((world, simulator_node.known()), (driver, parameters.known())):
        for name, value in values.items():
            if name in known:
                assert type(value) is type(known[name][0]), name
            else:
                assert name == "use_sim_time" or name.startswith("qos_overrides.")
    assert len(launched("simulation.launch.py", drive="false")[1]) == 1


@pytest.mark.parametrize(("named", "fov_rad"), [("", math.radians(115.0)), ("1.9", 1.9)])
def test_simulation_shows_a_model_what_it_is_made_for(tmp_path, named, fov_rad):
    model = load(resource_path("models", "small.snn"))
    wide = replace(model.contract, fov_deg=115.0)
    save(tmp_path / "wide.snn", replace(model, contract=wide, frame_rate_hz=10.0))
    arguments = {"model": str(tmp_path / "wide.snn"), "camera_fov": named}
    context, (world, driver) = launched("simulation.launch.py", **arguments)
    from launch_ros.utilities import evaluate_parameters

    pictures, told = evaluate_parameters(context, world._Node__parameters)
    assert pictures == {"width": 96, "height": 64, "fov_deg": 115.0, "rate_hz": 10.0}
    assert not pictures.keys() & told.keys()
    for mounted in (told, evaluate_parameters(context, driver._Node__parameters)[-1]):
        mount = MountConfig(camera_height=0.2, camera_fov=mounted["camera_fov"]).mount(115.0)
        assert mount.horizontal_fov_rad == fov_rad


def segments() -> dict[str, int]:
    return {str(file): file.stat().st_size for file in Path("/dev/shm").glob("fast*")}


def start_participant(profile: Path) -> tuple[str, set[int]]:
    """Start a DDS participant with a profile; its complaints, and its shared-memory sizes."""
    before = segments()
    code = "import rclpy; rclpy.init(); n = rclpy.create_node('n'); print('up'); input()"
    env = {**os.environ, profile_variable(): str(profile), "ROS_DOMAIN_ID": str(DOMAIN)}
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
        while not said or said[-1] != "up\n":
            said.append(process.stdout.readline())
            assert said[-1], said
        # Others may make segments at the same time, or have some that this process has open too.
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        own = {size for name, size in segments().items() if name in maps and name not in before}
        return "".join(said), own
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
