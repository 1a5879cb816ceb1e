"""Simulated drives as bags: what ``train`` learns from, in the form of any recorded drive.

| topic | type | |
|---|---|---|
| ``/image/compressed`` | sensor_msgs/CompressedImage | PNG, what the camera saw, nothing lost |
| ``/steering`` | std_msgs/Float32 | label: what the teacher would steer, rad, left positive |
| ``/collision`` | std_msgs/Float32 | label: share of its full speed that the teacher would not go |
| ``/way_costs`` | std_msgs/Float32MultiArray | label: what each way to steer costs the teacher |
| ``/cmd_vel`` | geometry_msgs/TwistStamped | what drove |
| ``/camera_mount`` | std_msgs/Float32MultiArray | height m, pitch rad, field of view rad |
| ``/scan`` | sensor_msgs/LaserScan | a full circle, where it was asked for |

Whoever drives, the labels are the teacher's: a drive by the network itself is a round of DAgger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.types import Command, Frame
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import CAMERA_MOUNT, read_info
from crnn_snn_ros.data.data_config import load_data_config
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.processes import HERE, Workers, spread
from crnn_snn_ros.sim import scan
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.simulator import Observation, Simulator
from crnn_snn_ros.sim.suites import (
    SUITES,
    Outcome,
    Policy,
    PolicyFactory,
    Run,
    Setup,
    teacher,
)

NOISE_STREAM = 7  # of the seed: noise of the driver, apart from geometry, movers and looks
NOISE_MEMORY_S = 0.7
MAX_RAYS = 3600
MAX_NOISE_RADPS = 5.0
OTHER_LOOKS = 1_000_000  # added to a seed for each further look of its course
SCAN = "/scan"
WAYS_TOPIC = "/way_costs"
SOURCE = "crnn_snn_ros simulator"
SPLIT = "split"  # what a bag notes of what it is for


class Wandering:
    """A policy whose yaw rate is disturbed, so that its drives show how to come back.

    The noise is an Ornstein-Uhlenbeck process: smooth, forgotten after ``NOISE_MEMORY_S``.

    Args:
        policy: who drives.
        seed: of the noise.
        spread_radps: its standard deviation.
        rate_hz: commands a second.
    """

    def __init__(self, policy: Policy, seed: int, spread_radps: float, rate_hz: float) -> None:
        self._policy = policy
        self._seed = np.random.SeedSequence([seed, NOISE_STREAM])
        self._spread = spread_radps
        self._keep = math.exp(-1.0 / (rate_hz * NOISE_MEMORY_S))
        self.reset()

    def reset(self) -> None:
        """Begin the same noise anew."""
        self._policy.reset()
        self._rng = np.random.default_rng(self._seed)
        self._noise = 0.0

    def act(self, observation: Observation) -> Command:
        """The policy's command, disturbed."""
        fresh = self._spread * math.sqrt(1.0 - self._keep**2)
        self._noise = self._keep * self._noise + fresh * float(self._rng.standard_normal())
        command = self._policy.act(observation)
        return command._replace(angular_radps=command.angular_radps + self._noise)


@dataclass(frozen=True)
class Recording:
    """How courses are recorded.

    Args:
        folder: where the bags go, one for each course.
        split: "train" or "validation": what they are for.
        noise_radps: the driver's yaw rate is disturbed by this much.
        scan_rays: of a laser scanner, a full circle; 0: none.
        contract: for ``data.yaml``, how a network is to see the drives; None: in colours, as the
            camera gives them.
        look_frames: after so many frames all looks otherwise, as in another world of the same plan;
            0: never. The fewer, the less a network can learn a course by its looks.

    Raises:
        ConfigError: a number is out of range.
    """

    folder: Path
    split: str = "train"
    noise_radps: float = 0.0
    scan_rays: int = 0
    contract: InputContract | None = None
    look_frames: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise_radps <= MAX_NOISE_RADPS:
            raise ConfigError(
                f"noise is {self.noise_radps} rad/s, allowed is 0 to {MAX_NOISE_RADPS:g}"
            )
        if not 0 <= self.scan_rays <= MAX_RAYS:
            raise ConfigError(f"rays of a scan are {self.scan_rays}, allowed is 0 to {MAX_RAYS}")
        if self.look_frames < 0:
            raise ConfigError(f"frames of a look are {self.look_frames}, allowed is 0 or more")


class Drive(NamedTuple):
    """A course that is to be recorded."""

    recording: Recording
    suite: str  # a key of ``SUITES``
    seed: int

    @property
    def bag(self) -> Path:
        """Where it goes."""
        return self.recording.folder / f"{self.suite}_{self.seed}"


def record_suite(
    policy: PolicyFactory | None,
    suite: str,
    seeds: Iterable[int],
    setup: Setup,
    recording: Recording,
    workers: Workers = HERE,
    progress: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """Record many courses of one suite: ``record_drives`` of its seeds."""
    drives = [Drive(recording, suite, seed) for seed in seeds]
    return record_drives(policy, drives, setup, workers, progress)


def record_drives(
    policy: PolicyFactory | None,
    drives: Sequence[Drive],
    setup: Setup,
    workers: Workers = HERE,
    progress: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """Record many courses, and write ``data.yaml`` of all bags in their folders, for ``train``.

    A course that was recorded before is not driven again, so that a run may be cut off and
    repeated; it is left out of the outcomes.

    Args:
        policy: makes the driver of a course, as for ``suites.run_suite``; None: the teacher drives.
        drives: which courses, where to, and how.
        setup: robot and camera.
        workers: who drives.
        progress: called with each outcome.

    Raises:
        DataError: a bag cannot be written.
        ConfigError: nothing can be drawn on this machine, or as ``require_fits``.
    """
    folders = {drive.recording.folder: drive.recording for drive in drives}
    for recording in folders.values():
        require_fits(recording, setup)
    new = [drive for drive in drives if not drive.bag.exists()]
    run = partial(_record, policy, setup)
    outcomes = spread(run, new, workers, progress, made=lambda drive: (drive.bag,))
    for recording in folders.values():
        write_data_file(recording, setup)
    return outcomes


def require_fits(recording: Recording, setup: Setup) -> None:
    """Refuse a folder whose drives cannot be in one data file with those of this camera.

    Raises:
        ConfigError: it holds drives of another camera, or bags that are none of the simulator.
        DataError: a bag or its ``data.yaml`` cannot be read.
    """
    for bag, about in ((bag, read_info(bag).about) for bag in _bags(recording.folder)):
        if about.get("source") != SOURCE or SPLIT not in about:
            raise ConfigError(f"bag {bag} is no drive of this simulator; record to another folder")
    data = recording.folder / "data.yaml"
    if data.exists():
        config = load_data_config(data)
        pictures = (config.contract.width, config.contract.height), config.contract.fov_deg
        if (*pictures, config.frame_rate_hz) != (setup.camera, setup.fov_deg, setup.rate_hz):
            raise ConfigError(f"{data} is of drives with another camera; record to another folder")


def _bags(folder: Path) -> list[Path]:
    return sorted(metadata.parent for metadata in folder.glob("*/metadata.yaml"))


def _record(policy: PolicyFactory | None, setup: Setup, drive: Drive) -> Outcome:
    return record_course(policy, drive.suite, setup, drive.recording, drive.seed)


def record_course(
    policy: PolicyFactory | None, suite: str, setup: Setup, recording: Recording, seed: int
) -> Outcome:
    """Drive one course from the start to the end, and write it as a bag."""
    course, look = SUITES[suite].course(seed), setup.seen(SUITES[suite].look(seed))
    about = {"source": SOURCE, "licence": "Apache-2.0", "labels": "teacher"}
    about |= {"suite": suite, "seed": str(seed), SPLIT: recording.split}
    about["noise_radps"] = str(recording.noise_radps)
    if recording.look_frames:
        about["look_frames"] = str(recording.look_frames)
    with (
        Simulator(course, look, setup.robot, setup.camera, setup.rate_hz) as simulator,
        BagWriter(Drive(recording, suite, seed).bag, about, again=True) as writer,
    ):
        labels = teacher(simulator, setup.fov_deg)
        steers = labels if policy is None else policy(simulator)
        driver = Wandering(steers, seed, recording.noise_radps, setup.rate_hz)
        run = Run(course)
        looks, frames = _other_looks(seed), 0
        seen = simulator.observation
        while seen.finished is None:
            command = driver.act(seen)
            _write(writer, seen, labels, command)
            if recording.scan_rays:
                _write_scan(writer, simulator, recording.scan_rays)
            frames += 1
            if recording.look_frames and frames % recording.look_frames == 0:
                simulator.change_look(setup.seen(next(looks)))
            seen = simulator.step(command)
            run.add(seen)
    return run.outcome(seen)


def _other_looks(seed: int) -> Iterator[Look]:
    """Looks of a course that changes them, none of which is a course's own."""
    return (Look.from_seed(seed + number * OTHER_LOOKS) for number in count(1))


def write_data_file(recording: Recording, setup: Setup) -> None:
    """Write ``data.yaml`` of all bags in the folder, for ``train``."""
    folder = recording.folder
    bags = [
        {
            "path": bag.name,
            "steering": "/steering",
            "collision": "/collision",
            **({"scan": SCAN} if SCAN in info.topics else {}),
            **({"way_costs": WAYS_TOPIC} if WAYS_TOPIC in info.topics else {}),
            "split": info.about[SPLIT],
        }
        for bag, info in ((bag, read_info(bag)) for bag in _bags(folder))
    ]
    width, height = setup.camera
    content = {
        "bags": bags,
        "splits": {"train": [0.0, 0.5], "validation": [0.5, 1.0]},  # for bags without a split
        "frame_rate_hz": setup.rate_hz,
        "input": asdict(
            recording.contract or InputContract(width, height, "rgb", fov_deg=setup.fov_deg)
        ),
    }
    with replacing(folder / "data.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _write(writer: BagWriter, seen: Observation, expert: Expert, command: Command) -> None:
    frame = seen.frame
    assert frame is not None
    stamp_ns = frame.stamp_ns
    writer.compressed_image("/image/compressed", stamp_ns, "png", _png(frame))
    assert frame.mount is not None
    writer.float32_array(CAMERA_MOUNT, stamp_ns, np.array(frame.mount, np.float32))
    labels = expert.labels(seen.state, seen.time_s)
    writer.float32("/steering", stamp_ns, labels.steering_rad)
    writer.float32("/collision", stamp_ns, labels.collision)
    writer.float32_array(WAYS_TOPIC, stamp_ns, np.array(labels.way_costs, np.float32))
    writer.twist_stamped("/cmd_vel", stamp_ns, command)


def _write_scan(writer: BagWriter, simulator: Simulator, rays: int) -> None:
    frame = simulator.observation.frame
    assert frame is not None
    fields, ranges = scan.circle(simulator.scan(rays), simulator.rate_hz)
    writer.laser_scan(SCAN, frame.stamp_ns, fields, ranges, scan.FRAME)


def _png(frame: Frame) -> bytes:
    # Of pictures with noise the search for repetitions takes time, and finds none.
    how = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)
    done, data = cv2.imencode(".png", frame.image[:, :, ::-1], how)  # OpenCV means BGR
    if not done:
        raise DataError(f"frame of {frame.stamp_ns} ns cannot be encoded as PNG")
    return data.tobytes()
