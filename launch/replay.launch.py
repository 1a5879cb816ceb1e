"""Play a bag into the node: predictions of a recorded drive, live.

ros2 launch crnn_snn_ros replay.launch.py bag:=drives/first image:=/camera/image_raw model:=my.snn

Frames may be lost on the way; to evaluate a model take `crnn-snn replay`, which loses none.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import EqualsSubstitution, LaunchConfiguration

from crnn_snn_ros.io.resources import resource_path
from crnn_snn_ros.ros.dds import profile_environment

ARGUMENTS = {  # beside those of collision_avoidance.launch.py, but use_sim_time and allow_untrained
    "bag": (None, "recording to play"),
    "mode": (
        "observe",
        "observe: predictions; drive: commands too, so keep the robot off the floor",
    ),
    "rate": ("1.0", "times the speed of the recording"),
}


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs: the node, and the player, whose end is the end of all."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            str(resource_path("launch", "collision_avoidance.launch.py"))
        ),
        launch_arguments={
            "use_sim_time": "true",  # of the bag
            "mode": LaunchConfiguration("mode"),
            "allow_untrained": EqualsSubstitution(LaunchConfiguration("mode"), "observe"),
        }.items(),
    )
    # Played at once, the first frames would be gone before the node listens.
    play = ["ros2", "bag", "play", LaunchConfiguration("bag"), "--clock", "100", "--delay", "5"]
    player = ExecuteProcess(
        cmd=[*play, "--rate", LaunchConfiguration("rate")],
        additional_env=profile_environment(),
        output="screen",
        on_exit=Shutdown(reason="the bag is at its end"),
    )
    return LaunchDescription([*declared, node, player])
