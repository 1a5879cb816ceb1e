"""Options of the network and of its training; imports nothing heavy, so that --help is fast."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from crnn_snn_ros.core.errors import ConfigError, closest
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG
from crnn_snn_ros.io.processes import Workers

MAX_SIZE = 65536  # of any one dimension
MAX_LAYERS = 32  # residual blocks, recurrent layers, dense ones
WAYS_SCALES = (2.0, 0.5)  # of ``core.ways``; networks are taught by the first
MAX_COURSES = 3600  # of the simulator, for the expert and for the network each
SuiteName = Literal["static", "movers", "rush", "crowd", "narrow"]  # ``looks`` are held out
KindName = Literal["corridor", "room", "open"]  # of a course
MIXTURE: tuple[SuiteName, ...] = ("movers", "rush", "movers", "narrow")


class HiddenLayer(NamedTuple):
    """A layer between the eye and the heads."""

    name: str
    neurons: int
    recurrent: bool


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
    dense: tuple[int, ...] = ()  # layers without memory, between the first of these and the others
    pool: bool = True  # of 2x2 places after the last block, where that leaves none out
    bits: int = 3  # a layer counts to 2^bits - 1
    signed_hidden: bool = True  # IndRNN counts in [-L, L], or in [0, L] like ReLU
    layer_bits: tuple[tuple[str, int], ...] = ()  # (layer, bits) where a layer has bits of its own
    ways: bool = False  # steering is what every way would cost (``core.ways``), not one angle
    ways_scale: float = WAYS_SCALES[0]  # by which it tells of them

    def __post_init__(self) -> None:
        _check_bits("bits", self.bits)
        if len(self.input_shape) != 3:
            raise ConfigError(f"input {self.input_shape} is not (channels, height, width)")
        if max(len(self.block_channels), len(self.hidden), len(self.dense)) > MAX_LAYERS:
            raise ConfigError(f"more than {MAX_LAYERS} blocks, recurrent or dense layers")
        sizes = (
            *self.input_shape, self.stem_channels, *self.block_channels, *self.hidden, *self.dense
        )  # fmt: skip
        if not self.block_channels or not self.hidden:
            raise ConfigError("a network needs at least one block and one recurrent layer")
        for size in sizes:
            if type(size) is not int or not 1 <= size <= MAX_SIZE:
                raise ConfigError(f"network size {size!r:.40} is not a whole 1..{MAX_SIZE}")
        if min(self.input_shape[1:]) < 2 ** (len(self.block_channels) + 1):
            raise ConfigError(
                f"input {self.input_shape} is too small for {len(self.block_channels)} blocks"
            )
        if self.ways_scale not in WAYS_SCALES:
            raise ConfigError(f"ways_scale {self.ways_scale!r:.40} is not one of {WAYS_SCALES}")
        for pair in self.layer_bits:
            self._check_layer(*pair)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that spike."""
        blocks = range(1, len(self.block_channels) + 1)
        return ("stem", *(f"block{n}{part}" for n in blocks for part in "ab"),
                *(layer.name for layer in self.after_the_eye))  # fmt: skip

    @property
    def after_the_eye(self) -> tuple[HiddenLayer, ...]:
        """The layers between the eye and the heads, in order."""
        first, *others = (
            HiddenLayer(f"rnn{n}", size, recurrent=True)
            for n, size in enumerate(self.hidden, start=1)
        )
        dense = (
            HiddenLayer(f"dense{n}", size, recurrent=False)
            for n, size in enumerate(self.dense, start=1)
        )
        return first, *dense, *others

    def n_max(self, layer: str) -> int:
        """Largest spike count L of a layer."""
        return int(2 ** dict(self.layer_bits).get(layer, self.bits) - 1)

    def _check_layer(self, layer: object, bits: object) -> None:
        if layer not in self.layers:
            raise ConfigError(
                f"layer-bits: '{layer!s:.40}'{closest(layer, self.layers)} is not a layer; "
                f"allowed are {', '.join(self.layers)}"
            )
        _check_bits(f"layer-bits of {layer}", bits)


@dataclass(frozen=True)
class SizeConfig:
    """How large a network is, as the command line asks for it."""

    stem_channels: int = NetworkConfig.stem_channels
    block_channels: tuple[int, ...] = NetworkConfig.block_channels  # each but the first halves
    hidden: tuple[int, ...] = NetworkConfig.hidden  # IndRNN layers
    dense: tuple[int, ...] = NetworkConfig.dense  # layers between the first of these and the others
    pool: bool = NetworkConfig.pool  # average of 2x2 places after the last block, if even


@dataclass(frozen=True)
class SightConfig:
    """What a network is to see, as the command line asks for it."""

    width: int = 96  # of a frame, pixels
    height: int = 64
    fov_deg: float = STANDARD_FOV_DEG  # horizontal field of view, about which its cameras are
    motion: int = 2  # frames over which a channel of its own tells what has changed; 0: none
    mount: bool = False  # three more channels tell how the camera is mounted
    steady: bool = False  # the robot's own turning is left out of the motion; needs mount
    floor: bool = False  # and so is what its driving does to the floor; needs steady
    wheels: bool = False  # one more channel tells how the robot itself moves; needs steady


def _check_bits(what: str, bits: object) -> None:
    if type(bits) is not int or not 1 <= bits <= 8:
        raise ConfigError(f"{what} is {bits!s:.40}, allowed is 1 to 8")


@dataclass(frozen=True)
class AugmentConfig:
    """How far the frames that are trained on may be altered; 0: not at all.

    Every piece of a drive gets one look, drawn within these limits, so that it stays a plausible
    video; only noise is another one in each frame.

    Raises:
        ConfigError: a value is out of range.
    """

    mirror: bool = True  # half of the pieces, with the steering's sign
    light: float = 1.0  # times: contrast 25 %, brightness 25 grey levels, colour 20 %
    blur_px: float = 0.0  # standard deviation of a Gaussian, in pixels of the input
    noise: float = 0.0  # standard deviation, in grey levels
    occlusion: float = 0.0  # side of what sticks to the lens of every second piece, of the frame's
    shift: float = 0.0  # of the view to any side, as a share of the frame; steering stays
    zoom: float = 0.0  # of the view, in or out, as a share

    def __post_init__(self) -> None:
        limits = {"light": 3.0, "blur_px": 8.0, "noise": 64.0, "occlusion": 0.8, "shift": 0.4,
                  "zoom": 0.4}  # fmt: skip
        for name, most in limits.items():
            if not 0.0 <= getattr(self, name) <= most:
                raise ConfigError(
                    f"augment.{name} is {getattr(self, name)}, allowed is 0 to {most}"
                )

    @property
    def only_light(self) -> bool:
        """Whether a pixel becomes what it becomes whatever is around it."""
        return not (self.blur_px or self.noise or self.occlusion or self.shift or self.zoom)


METRICS = {  # is more of it better?
    "validation_loss": False,
    "steering_rmse_rad": False,
    "collision_auroc": True,
    "number": True,  # of the epoch: the last one
}


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Raises:
        ConfigError: a value is out of range.
    """

    float_epochs: int = 80  # passes over the data in floating point; 0: none
    qat_epochs: int = 80  # passes with quantization; 0: none
    window: int = 8  # frames of back-propagation through time
    streams: int = 32  # pieces of drives that are walked at the same time, by all processes
    piece: int = 4  # windows in a piece of a drive; the fewer, the more drives a step sees
    memory_epochs: int = 0  # passes after each phase in which the recurrent layers learn alone
    qat_memory_epochs: int | None = None  # those after the quantized phase; None: as many
    memory_window: int = 32  # frames of back-propagation through time in these
    memory_streams: int = 128  # drives that are walked at the same time in these
    memory_dropout: float = 0.0  # share of what they are handed, hidden in each window while float
    learning_rate: float = 2e-3  # of the float phase at its highest
    qat_learning_rate: float = 5e-4  # of the quantized phase at its highest
    weight_decay: float = 1e-3  # of weights, not of biases, scales and recurrent weights
    balance: bool = False  # both classes of collision weigh alike; what is learned stays a chance
    scan_weight: float = 0.0  # of what a laser scanner saw, learned beside
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    metric: str = "validation_loss"  # chooses the epoch; one of METRICS
    patience: int = 0  # epochs without a better one after which a phase ends; 0: never
    ema: float = 0.0  # decay of averaged weights, which are then what is judged and kept; 0: none
    amp: bool = False  # bfloat16 in the float phase; the quantized one is exact, so never
    seed: int = 0  # the same seed on the same machine gives the same network
    threads: int = 1  # of torch; another number rounds otherwise, so other weights come out
    device: str = "auto"  # auto, cpu or cuda
    save_seconds: float = 60.0  # from one state to the next that --resume goes on from; 0: a step
    tensorboard: bool = False  # write OUT/tensorboard; needs the extra [train]

    def __post_init__(self) -> None:
        epochs = tuple(self.phases.values())
        if min(epochs) < 0:
            raise ConfigError(f"epochs are {epochs}, must not be negative")
        counts = (self.streams, self.memory_streams, self.piece, self.threads)
        if min(counts) < 1:
            raise ConfigError(f"streams, piece and threads must be at least 1, got {counts}")
        for name in ("window", "memory_window"):
            frames = getattr(self, name)
            if frames < 2:  # batch norm has nothing to normalise over in a single frame
                raise ConfigError(f"{name} is {frames}, must be at least 2 frames")
        if not 0.0 <= self.memory_dropout < 1.0:
            raise ConfigError(
                f"memory-dropout is {self.memory_dropout}, allowed is 0 to less than 1"
            )
        for rate in (self.learning_rate, self.qat_learning_rate):
            if not 0.0 < rate < math.inf:
                raise ConfigError(f"learning rate is {rate}, must be positive")
        if not 0.0 <= self.weight_decay < math.inf:
            raise ConfigError(f"weight decay is {self.weight_decay}, must not be negative")
        if not 0.0 <= self.scan_weight < math.inf:
            raise ConfigError(f"scan-weight is {self.scan_weight}, must not be negative")
        if self.metric not in METRICS:
            raise ConfigError(
                f"metric '{self.metric:.40}'{closest(self.metric, METRICS)} is not one of "
                + ", ".join(METRICS)
            )
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}, must not be negative")
        if self.patience and self.metric == "number":
            raise ConfigError(
                f"patience is {self.patience}, but by metric 'number' every epoch is better than "
                "the one before: a phase would never end early; leave one of them out"
            )
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"ema is {self.ema}, allowed is 0 to less than 1")
        if not 0.0 <= self.save_seconds < math.inf:
            raise ConfigError(f"save-seconds is {self.save_seconds}, must not be negative")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, must be within 0..2^63")

    @property
    def phases(self) -> dict[str, int]:
        """Epochs of every phase, in their order."""
        return {
            "float": self.float_epochs,
            "float_memory": self.memory_epochs,
            "qat": self.qat_epochs,
            "qat_memory": self.memory_epochs
            if self.qat_memory_epochs is None
            else self.qat_memory_epochs,
        }


@dataclass(frozen=True)
class DaggerConfig:
    """How much is driven, and by whom.

    Raises:
        ConfigError: a value is out of range.
    """

    start: str | None = None  # float checkpoint to go on from, which drives from the first round on
    eye: str | None = None  # checkpoint of ``eye``, whose convolutions stay until quantization
    courses: int = 240  # that the teacher drives
    rounds: int = 3  # in which the network drives
    round_courses: int = 180  # in each of them
    round_epochs: int = 2  # of training after each of them, over all drives so far
    round_kinds: tuple[KindName, ...] = ("corridor", "room", "open")  # of course in them
    suites: tuple[SuiteName, ...] = MIXTURE  # of the courses, in turn
    noise: float = 0.4  # rad/s, of the teacher's yaw rate, so that it shows how to come back
    passed_over: int = 0  # courses that the network of ``start`` has driven before, left out
    scan_rays: int = 0  # of a laser scanner that is recorded too, a full circle
    look_frames: int = 0  # after which a course that is recorded looks otherwise; 0: never
    processes: int = 1  # courses that are driven at the same time
    scheduler: str | None = None  # address of a Dask scheduler, whose workers drive instead

    def __post_init__(self) -> None:
        least = min(self.courses, self.round_courses, self.round_epochs)
        if least < 1 or self.rounds < 0:
            raise ConfigError("courses and epochs must be at least 1, rounds at least 0")
        _check_suites(self.suites)
        kinds = get_args(KindName)
        if not self.round_kinds or not set(self.round_kinds) <= set(kinds):
            told = ", ".join(self.round_kinds) or "none"
            raise ConfigError(f"round-kinds are {told}, of {', '.join(kinds)}")
        driven = self.passed_over + self.rounds * self.round_courses
        if max(self.courses, driven) > MAX_COURSES or self.passed_over < 0:
            raise ConfigError(
                f"{self.courses} courses and {self.rounds} rounds of {self.round_courses}, "
                f"{self.passed_over} passed over, there are seeds for {MAX_COURSES} each"
            )
        if self.start is not None and self.eye is not None:
            raise ConfigError("start and eye both say what to begin with; leave one out")
        if not 0.0 <= self.noise <= 5.0:
            raise ConfigError(f"noise is {self.noise}, allowed is 0 to 5 rad/s")
        if self.look_frames < 0:
            raise ConfigError(f"look_frames is {self.look_frames}, allowed is 0 or more")
        _ = self.workers  # refused now, not after hours

    @property
    def workers(self) -> Workers:
        """Who drives and decodes."""
        return Workers(self.processes, self.scheduler)


@dataclass(frozen=True)
class EyeConfig:
    """How an eye is taught by glimpses, before a network learns to drive.

    Raises:
        ConfigError: a value is out of range.
    """

    courses: int = 400  # that are glimpsed at
    suites: tuple[SuiteName, ...] = MIXTURE  # of the courses, in turn
    glimpses: int = 64  # of each
    at_first: float = 0.05  # share of the courses from which the first steps draw
    steps: int = 6000
    batch: int = 64  # glimpses in a step
    learning_rate: float = 2e-3  # at its highest
    weight_decay: float = 1e-3  # of weights
    ema: float = 0.998  # decay of the averaged weights that are judged and kept
    light: float = 1.0  # of every glimpse that is learned from, as of ``augment``
    amp: bool = False  # bfloat16
    on_integers: bool = False  # it computes with the integers of the conversion from the beginning
    processes: int = 1  # that take glimpses, beside the one that learns
    seed: int = 0
    threads: int = 1  # of torch
    device: str = "auto"  # auto, cpu or cuda
    save_seconds: float = 60.0  # from one state to the next that a repeated run goes on from

    def __post_init__(self) -> None:
        least = min(self.courses, self.glimpses, self.steps, self.batch, self.threads)
        if least < 1:
            raise ConfigError("courses, glimpses, steps, batch and threads must be at least 1")
        _check_suites(self.suites)
        if self.courses > 2 * MAX_COURSES:
            raise ConfigError(f"{self.courses} courses, there are seeds for {2 * MAX_COURSES}")
        if not 0.0 < self.learning_rate < math.inf or not 0.0 <= self.weight_decay < math.inf:
            raise ConfigError("learning rate must be positive, weight decay not negative")
        if not 0.0 <= self.at_first <= 1.0:
            raise ConfigError(f"at-first is {self.at_first}, allowed is 0 to 1")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigError(f"ema is {self.ema}, allowed is 0 to less than 1")
        if not 0.0 <= self.light <= 3.0:
            raise ConfigError(f"light is {self.light}, allowed is 0 to 3")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, must be within 0..2^63")
        if not 0.0 <= self.save_seconds < math.inf:
            raise ConfigError(f"save-seconds is {self.save_seconds}, must not be negative")
        _ = self.workers  # refused now, not later

    @property
    def workers(self) -> Workers:
        """Who takes glimpses."""
        return Workers(self.processes)

    def due(self, step: int) -> int:
        """Courses from which a step draws: few in the first, all from nine tenths on."""
        first = max(1, int(self.courses * self.at_first))
        return min(self.courses, first + int((self.courses - first) * step / (0.9 * self.steps)))


def _check_suites(suites: tuple[SuiteName, ...]) -> None:
    allowed = get_args(SuiteName)
    if not suites or not set(suites) <= set(allowed):
        raise ConfigError(f"suites are {', '.join(suites) or 'none'}, of {', '.join(allowed)}")
