"""Start the node on a camera.

ros2 launch crnn_snn_ros collision_avoidance.launch.py image:=/camera/image_raw model:=my.snn

A model that must be told how its camera is mounted needs camera_height:=0.22 and the others too.
"""

from __future__ import annotations

from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros.dds import profile_environment

AS_TOLD = "empty: as params_file says"
ARGUMENTS = {
    "image": ("image", "topic of the camera; with image_transport compressed, its base name"),
    "model": ("", f"model file or name of a shipped one; {AS_TOLD}"),
    "mode": ("", f"drive, assist or observe; {AS_TOLD}"),
    "image_transport": ("", f"raw or compressed; {AS_TOLD}"),
    "camera_height": ("", f"of the camera above the ground, m; {AS_TOLD}"),
    "camera_pitch": ("", f"how far down the camera looks, rad; {AS_TOLD}"),
    "camera_fov": ("", f"horizontal field of view of the camera, rad; {AS_TOLD}"),
    "turn_from": ("", f"commands or odom: what tells a steadied model its way; {AS_TOLD}"),
    "odom": ("odom", "topic of the odometry, where turn_from is odom"),
    "allow_untrained": ("", f"true: take a model with an untrained output; {AS_TOLD}"),
    "params_file": (
        str(resource_path("config", "collision_avoidance.yaml")),
        "parameters of the node",
    ),
    "namespace": ("", "namespace of the node and its topics"),
    "use_sim_time": ("false", "take the time from /clock"),
}
PARAMETERS = {  # those of the arguments that are parameters of the node
    "model": str,
    "mode": str,
    "image_transport": str,
    "camera_height": float,
    "camera_pitch": float,
    "camera_fov": float,
    "turn_from": str,
    "allow_untrained": bool,
    "use_sim_time": bool,
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """The node, with the arguments that were given."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    settings: dict[str, Any] = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, kind in PARAMETERS.items()
        if given[name]
    }
    # Large images are lost in the default shared memory; a profile of the user's own comes first.
    node = Node(
        package="crnn_snn_ros",
        executable="collision_avoidance",
        name="collision_avoidance",
        namespace=given["namespace"],
        parameters=[given["params_file"], settings],
        remappings=[(name, given[name]) for name in ("image", "odom")],
        additional_env=profile_environment(),
        output="screen",
    )
    return [node]
