"""``crnn-snn label``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_columns, print_json, progress_bar

if TYPE_CHECKING:
    from crnn_snn_ros.evaluation.label_many import Summary


def label_verb(
    bags: Positional[tuple[Path, ...]],
    out: Path = Path("out/labelled"),
    scan: str | None = None,
    range: str | None = None,
    depth: str | None = None,
    camera_info: str | None = None,
    odom: str | None = None,
    contact: str | None = None,
    topic: str | None = None,
    motion: str | None = None,
    image_topic: str | None = None,
    steering: str | None = None,
    yaw_gain: float = 1.5,
    wheelbase: float | None = None,
    max_steering: float = 0.6,
    width: float = 0.36,
    front: float = 0.18,
    height: float = 0.5,
    horizon: float = 1.5,
    least_speed: float = 0.5,
    least_points: int = 1,
    sensor_x: float = 0.0,
    sensor_y: float = 0.0,
    sensor_z: float = 0.2,
    sensor_yaw: float = 0.0,
    sensor_pitch: float = 0.0,
    floor: float = 0.05,
    tolerance: float = 0.1,
    collision_label: str = "/collision",
    steering_label: str = "/steering",
    details: str = "/labels",
    jobs: int = 1,
    scheduler: str | None = None,
    json: bool = False,
) -> int:
    """Label recorded drives by what their other sensors saw, and draw why.

    Example: crnn-snn label drive --out labelled --scan /scan --motion /cmd_vel --width 0.4

    Every rule that is named is asked; a frame is a collision where one of them says so. Look at the
    pictures (OUT/BAG.RULE.png) before you believe it.

    Args:
        bags: Recorded drives.
        out: Folder of the labelled bags and of the pictures.
        scan: LaserScan: something lies in the robot's tube.
        range: Range: the same, of one cone.
        depth: Depth image (16UC1 mm, 32FC1 m): the same, between floor and the robot's height.
        camera_info: CameraInfo of the depth image; without it, camera_info beside it.
        odom: Odometry: the robot was told to drive (--motion) and stood after having moved.
        contact: Bool or number of a bumper, over 0.5 while something is touched.
        topic: A label of yours, 0..1.
        motion: Twist, TwistStamped or Odometry that the tube bends by; without it, it is straight.
        image_topic: The frames to label; needed only where a bag has several image topics.
        steering: Make a steering label of this topic: Twist, TwistStamped, AckermannDrive,
            AckermannDriveStamped, Float32 or Float64.
        yaw_gain: Yaw rate per steering angle of a differential drive, 1/s.
        wheelbase: Distance of a car's axles, m; steering of a Twist is then the wheels' angle.
        max_steering: What a Twist says beyond it is cut, rad.
        width: Of the robot, m, with what it needs on both sides.
        front: From base_link to the front bumper, m.
        height: Of the robot, m; what is higher is no obstacle (depth images).
        horizon: A collision within so many seconds counts.
        least_speed: Of the tube, m/s, however slow the robot is.
        least_points: In the tube at once, to be an obstacle; at least 8 of a depth image.
        sensor_x: Of the range sensor or depth camera, m ahead of base_link.
        sensor_y: The same, m to the left.
        sensor_z: The same, m over the floor.
        sensor_yaw: The same, rad to the left.
        sensor_pitch: The same, rad downwards.
        floor: What is lower, m, is floor (depth images).
        tolerance: From a frame to the sensor's measurement, s.
        collision_label: Topic of the label.
        steering_label: Topic of the steering label.
        details: Prefix of the topics of each rule.
        jobs: Number of processes to spread the bags over; the results do not depend on it.
        scheduler: Address of a Dask scheduler, whose workers do it instead (docs/scale_out.md).
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.data.labels.labelling import Outputs
    from crnn_snn_ros.data.labels.rules import Rules
    from crnn_snn_ros.data.labels.sensors import Mount
    from crnn_snn_ros.data.labels.tube import RobotShape
    from crnn_snn_ros.data.steering import SteeringConfig
    from crnn_snn_ros.evaluation.label_many import Labelling, label_bags
    from crnn_snn_ros.io.processes import Workers

    labelling = Labelling(
        out,
        Rules(scan, range, depth, camera_info, odom, contact, topic, motion),
        RobotShape(width, front, height, horizon, least_speed, least_points),
        Mount(sensor_x, sensor_y, sensor_z, sensor_yaw, sensor_pitch, floor),
        Outputs(collision_label, steering_label, details, tolerance),
        steering,
        SteeringConfig(yaw_gain, wheelbase, max_steering),
        image_topic,
    )
    with progress_bar(len(bags), quiet=json) as bar:
        results = label_bags(
            bags,
            labelling,
            Workers(jobs, scheduler),
            lambda _: bar.advance(bar.task_ids[0]),
            lambda count: bar.update(bar.task_ids[0], note=f"{count} messages copied"),
        )
    if json:
        print_json({"bags": results})
    else:
        _print(results)
    return 0


def _print(results: list[Summary]) -> None:
    head = ("bag", "rule", "frames", "labelled", "positive", "suspicious stretches", "look at")
    rows = []
    for result in results:
        for (name, rule), picture in zip(result["rules"].items(), result["pictures"], strict=True):
            numbers = (result["frames"], rule["labelled"], rule["positive"])
            odd = str(len(rule["suspicious"]))
            rows.append((result["bag"], name, *map(str, numbers), odd, picture))
        total = (result["frames"], result["labelled"], result["positive"])
        rows.append((result["bag"], "all", *map(str, total), "", ""))
    print_columns("labels", head, rows)
