"""Start the simulator, and the node that drives in it.

ros2 launch crnn_snn_ros simulation.launch.py model:=my.snn suite:=movers

With drive:=false only the simulator starts: drive in it with a node of your own.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.io.model_file import load
from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros import lockstep
from crnn_snn_ros.ros.dds import profile_environment
from crnn_snn_ros.ros.parameters import model_path
from crnn_snn_ros.sim.session import pictures_for
from crnn_snn_ros.sim.suites import driving

ARGUMENTS = {
    "model": ("", "model file or name of a shipped one; empty: the default"),
    "suite": ("static", "what the courses ask for: static, movers, rush, crowd, narrow or looks"),
    "seed": ("2000", "of the first course; the next one has the next"),
    "courses": ("0", "how many; 0: no end"),
    "lockstep": ("false", "the world waits for the node, frame by frame"),
    "camera_height": (
        "0.22",
        "of the camera above the ground, m; 0: each course draws one, and does not tell the node",
    ),
    "camera_pitch": ("0.05", "how far down the camera looks, rad"),
    "camera_fov": ("", "its horizontal field of view, rad; empty: what the model is made for"),
    "speed": ("1.0", "of the node where it expects no collision, m/s"),
    "drive": ("true", "start the node too"),
    "simulator_file": ("", "other parameters of the simulator; config/simulator.yaml has them all"),
    "params_file": (
        str(resource_path("config", "collision_avoidance.yaml")),
        "other parameters of the node",
    ),
    "namespace": ("", "namespace of both and their topics"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """Simulator and node, with the arguments that were given."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    locked = given["lockstep"].lower() == "true"
    pictures = _pictures(given["model"])
    mount = {
        "camera_height": float(given["camera_height"]),
        "camera_pitch": float(given["camera_pitch"]),
        "camera_fov": float(given["camera_fov"] or 0.0),
    }
    world: dict[str, Any] = {
        "suite": given["suite"],
        "seed": int(given["seed"]),
        "courses": int(given["courses"]),
        "lockstep": locked,
        "stamped": locked,
        **mount,
    }
    files = [given["simulator_file"]] if given["simulator_file"] else []
    nodes = [_node("simulator", given, [pictures, *files, world])]
    if given["drive"].lower() == "true":
        driver: dict[str, Any] = {
            **(_locked(given["namespace"]) if locked else {}),
            **asdict(driving(float(given["speed"]))),  # as `crnn-snn simulate` drives
            "allow_untrained": True,  # nothing moves
            "use_sim_time": True,
            "stamped": locked,
            **mount,
        }
        if given["model"]:
            driver["model"] = ParameterValue(given["model"], value_type=str)
        nodes.append(_node("collision_avoidance", given, [given["params_file"], driver]))
    return nodes


def _pictures(model: str) -> dict[str, int | float]:
    """Settings of the simulator by which it shows the model what that is made for."""
    try:
        return pictures_for(load(model_path(model)))
    except CrnnSnnError:
        return {}  # the node will say what is wrong with it


def _locked(namespace: str) -> dict[str, Any]:
    """What the node needs to be told in lockstep, which has no use for the steady clock."""
    inside = "/".join(part for part in namespace.split("/") if part)
    topic = f"/{inside}/image" if inside else "/image"
    return {
        name.replace("./image.", f".{topic}."): yaml.safe_load(text)
        for name, text in lockstep.SETTINGS.items()
    }


def _node(name: str, given: dict[str, str], parameters: list[Any]) -> Node:
    # Large images are lost in the default shared memory; a profile of the user's own comes first.
    return Node(
        package="crnn_snn_ros",
        executable=name,
        name=name,
        namespace=given["namespace"],
        parameters=parameters,
        additional_env=profile_environment(),
        output="screen",
    )
