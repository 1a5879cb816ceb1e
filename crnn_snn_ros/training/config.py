"""Options of the network and of its training; imports nothing heavy, so that --help is fast."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.io.processes import Workers

MAX_SIZE = 65536  # of any one dimension
MAX_LAYERS = 32  # residual blocks, recurrent layers
MAX_COURSES = 3600  # of the simulator, for the expert and for the network each


@dataclass(frozen=True)
class NetworkConfig:
    """Size and number formats of a network.

    Raises:
        ConfigError: a value is out of range.
    """

    input_shape: tuple[int, int, int] = (3, 64, 96)  # (channels, height, width)
    stem_channels: int = 16
    block_channels: tuple[int, ...] = (
        16,
        32,
        64,
    )  # the first block keeps the size, others halve it
    hidden: tuple[int, ...] = (64, 32)  # IndRNN layers
    bits: int = 3  # a layer counts to 2^bits - 1
    signed_hidden: bool = True  # IndRNN counts in [-L, L], or in [0, L] like ReLU

    def __post_init__(self) -> None:
        if type(self.bits) is not int or not 1 <= self.bits <= 8:
            raise ConfigError(f"bits is {self.bits}, allowed is 1 to 8")
        if len(self.input_shape) != 3:
            raise ConfigError(f"input {self.input_shape} is not (channels, height, width)")
        if max(len(self.block_channels), len(self.hidden)) > MAX_LAYERS:
            raise ConfigError(f"more than {MAX_LAYERS} blocks or recurrent layers")
        sizes = (*self.input_shape, self.stem_channels, *self.block_channels, *self.hidden)
        if not self.block_channels or not self.hidden:
            raise ConfigError("a network needs at least one block and one recurrent layer")
        for size in sizes:
            if type(size) is not int or not 1 <= size <= MAX_SIZE:
                raise ConfigError(f"network size {size!r:.40} is not a whole 1..{MAX_SIZE}")
        if min(self.input_shape[1:]) < 2 ** (len(self.block_channels) + 1):
            raise ConfigError(
                f"input {self.input_shape} is too small for {len(self.block_channels)} blocks"
            )

    @property
    def n_max(self) -> int:
        """Largest spike count L."""
        return int(2**self.bits - 1)


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Raises:
        ConfigError: a value is out of range.
    """

    float_epochs: int = 80  # passes over the data in floating point; 0: none
    qat_epochs: int = 80  # passes with quantization; 0: none
    window: int = 8  # frames of back-propagation through time
    streams: int = 32  # pieces of drives that are walked at the same time
    learning_rate: float = 2e-3  # at the start of the float phase
    qat_learning_rate: float = 5e-4  # at the start of the quantized phase
    weight_decay: float = 1e-3  # of weights, not of biases, scales and recurrent weights
    seed: int = 0  # the same seed on the same machine gives the same network
    threads: int = 1  # of torch; another number rounds otherwise, so other weights come out
    device: str = "auto"  # auto, cpu or cuda

    def __post_init__(self) -> None:
        if min(self.float_epochs, self.qat_epochs) < 0:
            epochs = (self.float_epochs, self.qat_epochs)
            raise ConfigError(f"epochs are {epochs}, must not be negative")
        if min(self.streams, self.threads) < 1:
            counts = (self.streams, self.threads)
            raise ConfigError(f"streams and threads must be at least 1, got {counts}")
        if self.window < 2:  # batch norm has nothing to normalise over in a single frame
            raise ConfigError(f"window is {self.window}, must be at least 2 frames")
        for rate in (self.learning_rate, self.qat_learning_rate):
            if not 0.0 < rate < math.inf:
                raise ConfigError(f"learning rate is {rate}, must be positive")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight decay is {self.weight_decay}, must not be negative")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, must be within 0..2^63")


@dataclass(frozen=True)
class DaggerConfig:
    """How much is driven, and by whom.

    Raises:
        ConfigError: a value is out of range.
    """

    courses: int = 240  # that the expert drives
    rounds: int = 3  # in which the network drives
    round_courses: int = 180  # in each of them
    round_epochs: int = 2  # of training after each of them, over all drives so far
    noise: float = 0.4  # rad/s, of the expert's yaw rate, so that it shows how to come back
    scan_rays: int = 0  # of a laser scanner that is recorded too, a full circle
    processes: int = 1  # courses that are driven at the same time
    scheduler: str | None = None  # address of a Dask scheduler, whose workers drive instead

    def __post_init__(self) -> None:
        least = min(self.courses, self.round_courses, self.round_epochs)
        if least < 1 or self.rounds < 0:
            raise ConfigError("courses and epochs must be at least 1, rounds at least 0")
        if max(self.courses, self.rounds * self.round_courses) > MAX_COURSES:
            raise ConfigError(
                f"{self.courses} courses and {self.rounds} rounds of {self.round_courses}, "
                f"there are seeds for {MAX_COURSES} each"
            )
        if not 0.0 <= self.noise <= 5.0:
            raise ConfigError(f"noise is {self.noise}, allowed is 0 to 5 rad/s")
        _ = self.workers  # refused now, not after hours

    @property
    def workers(self) -> Workers:
        """Who drives and decodes."""
        return Workers(self.processes, self.scheduler)
