"""Training over whole sequences: float weights, then all on the grids of the converted network.

batch --network, all 784 steps--> accumulators after the last --cross entropy--> Adam --> average

The average of the weights is what is judged, so that there is a figure to report at any time. All
that changes is in one file, written every few minutes: a run that is cut off goes on from there.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.sequential_mnist.data import Sequences, moved, moves
from benchmarks.sequential_mnist.forms import calibrated, predict, quantize
from benchmarks.sequential_mnist.learner import Learner
from benchmarks.sequential_mnist.model import Size, build
from crnn_snn_ros.evaluation.bench import machine
from crnn_snn_ros.training import state
from crnn_snn_ros.training.loop import follow, rate_factor
from crnn_snn_ros.training.network import Network

FLOAT, QUANTIZED = "float", "quantized"
PHASES = (FLOAT, QUANTIZED)
CALIBRATION = 500  # pictures that batch norms are calibrated on
STATE = "training.safetensors"  # in the folder of a case


@dataclass(frozen=True)
class Plan:
    """How a network is trained."""

    float_epochs: int = 12
    quantized_epochs: int = 2
    batch: int = 32
    rate: float = 4e-3
    quantized_rate: float = 1e-3
    longest_growth: float = 2.0  # of a recurrent layer's state over the whole sequence, in float
    decay: float = 1e-4
    average: float = 0.998
    validation: int = 5000  # pictures at the end of the training part that are not learned from
    judged: int = 1000  # of them on the way
    judge_every: int = 200  # steps
    shift: int = 0  # pixels by which the quantized phase moves pictures, at most, each way


class Point(NamedTuple):
    """One point of the curve."""

    phase: str
    images: int  # learned from since the very beginning
    seconds: float  # of learning
    loss: float  # mean since the point before
    accuracy: float  # of the average, on validation pictures


class Training:
    """One case under way.

    Args:
        folder: Where its state is kept.
        data: The training part; its end is for validation.
        size: Of the network.
        plan: How it is trained.
        seed: Of weights and order.
        device: Where it runs.
        save_seconds: How often the state is written, at least.
        permuted: Whether the data is, as for ``load``.

    Raises:
        DataError: the state in the folder is damaged.
        ConfigError: it is of other options.
    """

    def __init__(
        self,
        folder: Path,
        data: Sequences,
        size: Size,
        plan: Plan,
        seed: int,
        device: torch.device,
        save_seconds: float = 120.0,
        permuted: bool = False,
    ) -> None:
        self.path, self.plan, self.size = folder / STATE, plan, size
        self._device, self._seed, self._save_seconds = device, seed, save_seconds
        self._data, self._held = split(data, plan)
        self._moves = moves(data.pixels.shape[1], plan.shift, permuted=permuted).to(device)
        self._asked: dict[str, Any] = {
            **asdict(size), **asdict(plan), "seed": seed, "pictures": len(data.digits),
        }  # fmt: skip
        self._asked["hidden"] = list(size.hidden)
        self.curve: list[Point] = []
        self.phase, self.step, self.seconds = FLOAT, 0, 0.0
        self.devices: list[str] = []  # on which it has learned, in order
        self.float_average: Network | None = None  # of the float phase, once that is over
        self._losses: list[float] = []
        self._begin(build(size, data.pixels.shape[1], seed).to(device))
        saved = state.read(self.path)
        if saved is not None:
            state.require_same(self.path, saved.of, self._asked)
            self._restore(saved)

    @property
    def epochs(self) -> int:
        """Of this phase."""
        plan = self.plan
        return plan.float_epochs if self.phase == FLOAT else plan.quantized_epochs

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self._data.digits) // self.plan.batch

    @property
    def images(self) -> int:
        """Pictures learned from since the very beginning, each as often as it was."""
        before = 0 if self.phase == FLOAT else self.plan.float_epochs * self.steps
        return (before + self.step) * self.plan.batch

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase == QUANTIZED and self.step >= self.epochs * self.steps

    def run(self, enough: Callable[[], bool]) -> None:
        """Train until the end, or until it is enough for now; the state is on disk afterwards."""
        stored = time.monotonic()
        if not self.finished and _name(self._device) not in self.devices:
            self.devices.append(_name(self._device))
        while not self.finished and not enough():
            begin = time.monotonic()
            if self.step >= self.epochs * self.steps:
                self._quantize()
            self._learn()
            last = self.step >= self.epochs * self.steps
            if self.step % self.plan.judge_every == 0 or last:
                self._judge()
            now = time.monotonic()
            self.seconds += now - begin
            if now - stored > self._save_seconds:
                self.save()
                stored = now
        self.save()

    def trained(self) -> tuple[Network, Network]:
        """The float network, and the quantized one: where its phase has not begun, as it would."""
        if self.phase == QUANTIZED:
            assert self.float_average is not None
            return self.float_average, self._average
        judged = self._judged()
        return judged, quantize(judged)

    def save(self) -> None:
        """Write the state, whole or not at all."""
        tensors: dict[str, Tensor] = {}
        networks = {"network": self._learner.network, "average": self._average}
        if self.float_average is not None:
            networks["float"] = self.float_average
        for part, network in networks.items():
            tensors |= {f"{part}.{name}": value for name, value in network.state_dict().items()}
        for number, moments in self._learner.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        facts = {
            "step": self.step,
            "seconds": self.seconds,
            "devices": self.devices,
            "losses": self._losses,
            "curve": [list(point) for point in self.curve],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state.write(self.path, state.State(self.phase, self._asked, facts, tensors))

    def _restore(self, saved: state.State) -> None:
        parts: dict[str, dict[str, Tensor]] = {}
        for name, value in saved.tensors.items():
            part, _, rest = name.partition(".")
            parts.setdefault(part, {})[rest] = value
        try:
            if saved.phase == QUANTIZED:
                self.float_average = copy.deepcopy(self._average)
                self.float_average.load_state_dict(parts["float"])
                self._begin(quantize(self.float_average))
            self._learner.network.load_state_dict(parts["network"])
            self._average.load_state_dict(parts["average"])
            optimizer = self._learner.optimizer.state_dict()
            for name, value in parts.get("optimizer", {}).items():
                number, _, moment = name.partition(".")
                optimizer["state"].setdefault(int(number), {})[moment] = value
            self._learner.optimizer.load_state_dict(optimizer)
            facts = saved.facts
            self.phase, self.step, self.seconds = saved.phase, facts["step"], facts["seconds"]
            self.curve = [Point(*point) for point in facts["curve"]]
            self._losses, self.devices = facts["losses"], facts["devices"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise state.damaged(self.path, error) from error

    def _begin(self, network: Network) -> None:
        """A phase with this network."""
        plan = self.plan
        rate = plan.quantized_rate if network.quantized else plan.rate
        self._learner = Learner(network, rate, plan.decay, plan.longest_growth)
        self._average = copy.deepcopy(network)

    def _quantize(self) -> None:
        """From the float phase to the quantized one."""
        self.float_average = self._judged()
        self._begin(quantize(self.float_average))
        self.phase, self.step = QUANTIZED, 0

    def _learn(self) -> None:
        rows = self._order()
        pixels, digits = (part[rows].to(self._device) for part in self._data)
        if self.phase == QUANTIZED and self.plan.shift:
            generator = torch.Generator().manual_seed(1000 * self._seed + self.step)
            which = torch.randint(len(self._moves), (len(pixels),), generator=generator)
            pixels = moved(pixels, self._moves, which.to(self._device))
        factor = rate_factor(self.step, self.epochs * self.steps)
        self._losses.append(self._learner.learn(pixels, digits, self.size.window, factor))
        average = min(self.plan.average, self.step / (self.step + 10))
        follow(self._average, self._learner.network, average)
        self.step += 1

    def _order(self) -> Tensor:
        """The pictures of this step: every epoch has its own order, whenever it is asked for."""
        epoch, step = divmod(self.step, self.steps)
        seed = 1000 * (1000 * self._seed + epoch) + PHASES.index(self.phase)
        order = torch.randperm(
            len(self._data.digits), generator=torch.Generator().manual_seed(seed)
        )
        return order[step * self.plan.batch :][: self.plan.batch]

    def _judged(self) -> Network:
        return calibrated(self._average, self.size, self._data.pixels[:CALIBRATION])

    def _judge(self) -> None:
        judged = Sequences(*(part[: self.plan.judged] for part in self._held))
        right = (predict(self._judged(), self.size, judged.pixels) == judged.digits).float().mean()
        loss = sum(self._losses) / max(1, len(self._losses))
        self.curve.append(Point(self.phase, self.images, self.seconds, loss, float(right)))
        self._losses = []
        print(
            f"{self.phase} step {self.step} of {self.epochs * self.steps}: loss {loss:.3f}, "
            f"{float(right):.2%} of {len(judged.digits)} right, {self.seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def _name(device: torch.device) -> str:
    """As a page says what it was trained on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"one thread of {machine()['cpu']}"


def split(data: Sequences, plan: Plan) -> tuple[Sequences, Sequences]:
    """What is learned from, and what it is judged by."""
    held = min(plan.validation, len(data.digits) // 5)
    first = Sequences(*(part[:-held] for part in data))
    return first, Sequences(*(part[-held:] for part in data))
