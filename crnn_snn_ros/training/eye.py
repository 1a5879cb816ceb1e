"""The eye alone, taught by glimpses: where things are, before anything is known of driving.

courses --worker processes--> glimpses --album on the device--> batches --> eye --> readout --> loss

The eye is what a network has before its memory. A linear readout of what it hands on says how near
the next thing is at every bearing, now and half a second from now (so that it must tell what moves);
it is thrown away at the end. What is after the eye stays as it was drawn, to be learned from drives.

A step draws from the courses that are due by then and waits where they are not there yet, so that
the result does not depend on how fast they come.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract, see_all
from crnn_snn_ros.io.processes import stream
from crnn_snn_ros.sim.glimpses import FRAMES, take_glimpses
from crnn_snn_ros.sim.suites import DAGGER_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS, Setup
from crnn_snn_ros.training.config import EyeConfig
from crnn_snn_ros.training.dagger import SUITE_OF
from crnn_snn_ros.training.loop import follow, rate_factor
from crnn_snn_ros.training.network import Crnn, Network
from crnn_snn_ros.training.probe import distance, nearness

TARGETS = 2 * BEARINGS  # nearness now, and soon
HELD_OUT = 24  # courses to judge by
TOLD_EVERY = 200  # steps
TOUCHING_M, CLOSE_M = 0.2, 1.2  # errors of ranges are told of what is in between


class Page(NamedTuple):
    """Some glimpses, as a network sees them."""

    pixels: Tensor  # int8 (N, FRAMES, C, H, W)
    nearness: Tensor  # float32 (N, FRAMES, TARGETS)

    def to(self, device: torch.device) -> Page:
        """The same elsewhere."""
        return Page(self.pixels.to(device), self.nearness.to(device))


@dataclass(frozen=True)
class Photographer:
    """Makes a page of a course; picklable, for worker processes."""

    contract: InputContract
    rate_hz: float
    glimpses: int

    def __call__(self, course: tuple[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and nearness of a suite and a seed, as of a ``Page``."""
        setup = Setup(camera=(self.contract.width, self.contract.height), rate_hz=self.rate_hz)
        taken = take_glimpses(*course, self.glimpses, setup)
        pixels = np.stack([np.stack(list(see_all(iter(f), self.contract))) for f in taken.frames])
        ranges = torch.from_numpy(np.concatenate([taken.ranges_m, taken.soon_m], axis=-1))
        return pixels, nearness(ranges).numpy()


class Album:
    """All glimpses so far, on one device, filled while others look into it.

    Args:
        pages: how many there will be.
        glimpses: of each.
        shape: of a frame, (C, H, W).
        device: where.
    """

    def __init__(
        self, pages: int, glimpses: int, shape: tuple[int, ...], device: torch.device
    ) -> None:
        count = pages * glimpses
        self._glimpses = glimpses
        self._pixels = torch.empty((count, FRAMES, *shape), dtype=torch.int8, device=device)
        self._nearness = torch.empty((count, FRAMES, TARGETS), device=device)
        self._filled = 0
        self._grown = threading.Condition()
        self._failure: BaseException | None = None

    def fill(self, pages: Iterator[tuple[np.ndarray, np.ndarray]]) -> threading.Thread:
        """Take pages as they come, in a thread of its own."""
        thread = threading.Thread(target=self._fill, args=(pages,), daemon=True)
        thread.start()
        return thread

    def _fill(self, pages: Iterator[tuple[np.ndarray, np.ndarray]]) -> None:
        failure: BaseException | None = None
        try:
            for number, (pixels, near) in enumerate(pages):
                place = slice(number * self._glimpses, (number + 1) * self._glimpses)
                self._pixels[place].copy_(torch.from_numpy(pixels))
                self._nearness[place].copy_(torch.from_numpy(near))
                with self._grown:
                    self._filled = number + 1
                    self._grown.notify_all()
        except BaseException as error:  # told where it is waited for
            failure = error
        with self._grown:
            self._failure = failure
            self._grown.notify_all()

    @property
    def filled(self) -> int:
        return self._filled

    def draw(self, random: np.random.Generator, pages: int, count: int) -> Page:
        """``count`` glimpses out of the first ``pages``, once these are there."""
        with self._grown:
            self._grown.wait_for(lambda: self._filled >= pages or self._failure is not None)
            if self._failure is not None:
                raise self._failure
        index = torch.from_numpy(random.integers(0, pages * self._glimpses, count))
        index = index.to(self._pixels.device)
        return Page(self._pixels[index], self._nearness[index])


def altered(page: Page, random: np.random.Generator, light: float) -> Page:
    """A page mirrored by halves, each glimpse in another light."""
    device, count = page.pixels.device, len(page.pixels)

    def drawn(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    mirrored = torch.from_numpy(random.random(count) < 0.5).to(device)
    colours = page.pixels.shape[2] // 3 * 3 or 1
    contrast = 1.0 + 0.25 * light * random.uniform(-1.0, 1.0, (count, 1))
    gain = np.repeat(contrast, page.pixels.shape[2], axis=1)
    gain[:, :colours] *= 1.0 + 0.2 * light * random.uniform(-1.0, 1.0, (count, colours))
    offset = np.zeros_like(gain)
    offset[:, :colours] = 25.0 * light * random.uniform(-1.0, 1.0, (count, 1))
    seen = page.pixels.float() * drawn(gain)[:, None, :, None, None]
    seen = (seen + drawn(offset)[:, None, :, None, None]).round_().clamp_(-128.0, 127.0)
    pixels = torch.where(mirrored[:, None, None, None, None], seen.flip(-1), seen)
    near = page.nearness.unflatten(-1, (2, BEARINGS))
    near = torch.where(mirrored[:, None, None, None], near.flip(-1), near).flatten(-2)
    return Page(pixels, near)


class Pupil:
    """An eye that learns.

    Args:
        network: Whose eye; trained in place.
        steps: How many there will be.
        rate: Highest learning rate.
        decay: Of weights.
        ema: Decay of averaged weights, which are what is judged and kept.
    """

    def __init__(
        self, network: Crnn, steps: int, rate: float, decay: float = 1e-3, ema: float = 0.998,
        amp: bool = False,
    ) -> None:  # fmt: skip
        self.network = network
        names = network.eye
        if not names:
            raise ConfigError("a network without layers before its memory has no eye to teach")
        self.source = names[-1]
        eye = Network(network.input_shape, {name: network.nodes[name] for name in names})
        device = next(network.parameters()).device
        with torch.no_grad():
            empty = torch.zeros(1, 1, *network.input_shape, device=device)
            features = eye.eval()(empty).activations[self.source].numel()
        self._learning = nn.ModuleDict(
            {"eye": eye, "readout": nn.Linear(features, TARGETS, device=device)}
        )
        self._average = copy.deepcopy(self._learning)
        weights = [p for p in self._learning.parameters() if p.ndim > 1]
        others = [p for p in self._learning.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}],
            lr=rate,
        )
        self._rate, self._steps, self._ema, self._amp = rate, steps, ema, amp
        self.step = 0

    def learn(self, page: Page) -> Tensor:
        """One step; its loss, on the device."""
        self._learning.train()
        with torch.autocast(page.pixels.device.type, torch.bfloat16, enabled=self._amp):
            told = self._told(self._learning, page.pixels)
        loss = (told.float() - page.nearness).square().mean()
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rate_factor(self.step, self._steps)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        self.step += 1
        follow(self._average, self._learning, min(self._ema, self.step / (self.step + 10)))
        return loss.detach()

    @torch.no_grad()
    def judge(self, page: Page) -> dict[str, float]:
        """Error of the average on glimpses that it does not learn from."""
        self._average.eval()
        told = torch.cat([self._told(self._average, part) for part in page.pixels.split(64)])
        error = (told - page.nearness).square().unflatten(-1, (2, BEARINGS)).mean((0, 1, 3))
        found = {"now": float(error[0]), "soon": float(error[1])}
        true, said = (distance(near[..., :BEARINGS]) for near in (page.nearness, told))
        close = (true < CLOSE_M) & (true > TOUCHING_M)
        if close.any():
            ratio = (said[close] / true[close]).log().abs().cpu().numpy()
            found["ratio"], found["ratio90"] = map(float, np.quantile(ratio, (0.5, 0.9)))
        return found

    def averaged(self) -> Crnn:
        """The network with its eye as averaged, on the CPU: a copy."""
        network = copy.deepcopy(self.network).cpu().eval()
        network.load_state_dict(self._average["eye"].state_dict(), strict=False)
        return network

    def _told(self, learning: nn.ModuleDict, pixels: Tensor) -> Tensor:
        features = learning["eye"](pixels).activations[self.source]
        return learning["readout"](features.flatten(2))


def teach(
    network: Crnn,
    config: EyeConfig,
    contract: InputContract,
    rate_hz: float,
    on_progress: Callable[[int, float, Crnn, dict[str, float]], object],
) -> None:
    """Teach the eye of a network.

    Args:
        network: Whose; float.
        config: How.
        contract: What the network is to see.
        rate_hz: Frames a second.
        on_progress: Called now and then, and at the end, with the step, the loss since, the network
            as it is then, and its errors on glimpses of validation courses: squared ones of
            nearness ``now`` and ``soon``, and ``ratio`` and ``ratio90``, median and 90th percentile
            of the absolute logarithm of ranges told by true ones, of what is near.

    Raises:
        ConfigError: nothing can be drawn on this machine, no such device, or a network without eye.
        CrnnSnnError: a process died.
    """
    device = choose_device(config.device)
    network.to(device)
    pupil = Pupil(
        network, config.steps, config.learning_rate, config.weight_decay, config.ema, config.amp
    )
    photographer = Photographer(contract, rate_hz, config.glimpses)
    album = Album(config.courses, config.glimpses, network.input_shape, device)
    random = np.random.default_rng(config.seed)
    with closing(stream(photographer, _courses(config.courses), config.workers)) as pages:
        held_out = [next(pages) for _ in range(HELD_OUT)]
        judged = Page(*(torch.from_numpy(np.concatenate(part)).to(device)
                        for part in zip(*held_out, strict=True)))  # fmt: skip
        filling = album.fill(pages)
        losses: list[Tensor] = []
        for step in range(config.steps):
            page = album.draw(random, config.due(step), config.batch)
            losses.append(pupil.learn(altered(page, random, config.light)))
            if (step + 1) % TOLD_EVERY == 0 or step + 1 == config.steps:
                loss = float(torch.stack(losses).mean())
                on_progress(step + 1, loss, pupil.averaged(), pupil.judge(judged))
                losses = []
        filling.join()


def _courses(count: int) -> list[tuple[str, int]]:
    seeds = [seed for seed in TRAIN_SEEDS if seed not in VALIDATION_SEEDS]
    seeds = [*VALIDATION_SEEDS[-HELD_OUT:], *[*seeds, *DAGGER_SEEDS][:count]]
    return [(SUITE_OF[seed % len(SUITE_OF)], seed) for seed in seeds]
