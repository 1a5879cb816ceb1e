"""Policies judged on courses: how often they get through, what they hit, how fast they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import NamedTuple, Protocol

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.pipeline import Pipeline, load_pipeline
from crnn_snn_ros.sim.course import Course
from crnn_snn_ros.sim.expert import Expert
from crnn_snn_ros.sim.generate import NARROW, Difficulty, generate
from crnn_snn_ros.sim.looks import Look
from crnn_snn_ros.sim.robot import RobotConfig
from crnn_snn_ros.sim.simulator import TIMEOUT, CONTACT, Observation, Simulator


class Policy(Protocol):
    """What drives."""

    def reset(self) -> None:
        """Forget the run before."""

    def act(self, observation: Observation) -> Command:
        """The command for the next frame's time."""


PolicyFactory = Callable[[Simulator], Policy]
