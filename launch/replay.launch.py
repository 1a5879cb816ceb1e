"""Play a bag into the node: predictions of a recorded drive, live.

ros2 launch crnn_snn_ros replay.launch.py bag:=drives/first image:=/camera/image_raw model:=my.snn

Frames may be lost on the way; to evaluate a model take `crnn-snn replay`, which loses none.
"""

from __future__ import annotations

import os
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from crnn_snn_ros.io.resources import resource_path

PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
ARGUMENTS = {
    "bag": (None, "recording to play"),
    "image": ("image", "topic of the camera in it; with image_transport compressed, its base name"),
    "model": ("", "model file or name of a shipped one; empty: as params_file says"),
    "mode": (
        "observe",
        "observe: predictions; drive: commands too, so keep the robot off the floor",
    ),
    "rate": ("1.0", "times the speed of the recording"),
    "params_file": (
        str(resource_path("config", "collision_avoidance.yaml")),
        "parameters of the node",
    ),
    "namespace": ("", "namespace of the node and its topics"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Any]:
    """The node, and the player, whose end is the end of all."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    settings: dict[str, Any] = {
        "use_sim_time": True,  # of the bag
        "mode": given["mode"],
        "allow_untrained": given["mode"] == "observe",
    }
    if given["model"]:
        settings["model"] = ParameterValue(given["model"], value_type=str)
    # Large images are lost in the default shared memory; a profile of the user's own comes first.
    environment = {PROFILE: os.environ.get(PROFILE) or str(resource_path("config", "fastdds.xml"))}
    node = Node(
        package="crnn_snn_ros",
        executable="collision_avoidance",
        name="collision_avoidance",
        namespace=given["namespace"],
        parameters=[given["params_file"], settings],
        remappings=[("image", given["image"])],
        additional_env=environment,
        output="screen",
    )
    # Played at once, the first frames would be gone before the node listens.
    play = ["ros2", "bag", "play", given["bag"], "--clock", "100", "--delay", "5"]
    player = ExecuteProcess(
        cmd=[*play, "--rate", given["rate"]],
        additional_env=environment,
        output="screen",
        on_exit=Shutdown(reason="the bag is at its end"),
    )
    return [node, player]
