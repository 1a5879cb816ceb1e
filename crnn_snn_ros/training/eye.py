"""The eye alone, taught by glimpses: where things are, before anything is known of driving.

album --draw--> page --eye--> features --linear readout--> nearness at every bearing, and its change

The eye is what a network has before its memory. The readout must tell how far the robot could go
now along each bearing, and how that changes within half a second, so that the eye has to see what
moves, and where the eye is told how the robot itself moves, to hand that on; it is thrown away at
the end. Before the first step it is fitted to the eye as that is, or an
eye that knows something would first be pulled to where a readout that knows nothing happens to be.
What comes after the eye stays as it was drawn, to be learned from drives.

On integers (``on_integers``) the eye computes as it will when it is deployed, and learns by that;
what comes after it may stay float meanwhile.

A step draws from the courses that are due by then, and waits for them: the result does not depend
on how fast they come. What was cut off goes on from the state that it left, over the same glimpses,
which are taken again unless an album keeps them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.processes import stream
from crnn_snn_ros.sim.suites import DAGGER_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS
from crnn_snn_ros.training import state
from crnn_snn_ros.training.album import TARGETS, Album, Page, Photographer, altered
from crnn_snn_ros.training.config import EyeConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.dagger import suite_of
from crnn_snn_ros.training.loop import follow, parameter_groups, rate_factor
from crnn_snn_ros.training.network import INPUT_SCALE, Crnn, Network
from crnn_snn_ros.training.probe import distance

HELD_OUT = 24  # courses to judge by
TOLD_EVERY = 200  # steps
SEEN_AT_ONCE = 64  # glimpses, where nothing is learned
FITTED = 64  # batches by which the readout is fitted before the first step
RIDGE = 1e-4  # of the mean power of a feature
CALIBRATING = 128  # glimpses by which the scales of integers are chosen
LEAST_M = 0.01  # a path that is told to be shorter counts as one of this length
TOUCHING_M, CLOSE_M = 0.2, 1.2  # errors are told of free paths in between
CHANGE_WEIGHT = 5.0  # of what changes, which is little, beside what is there
WHEELS_WEIGHT = 1.0  # of the robot's own way, beside what is there
SIDES = 2  # of the robot, each of which goes its way
CHANGED = 0.02  # of nearness, or more, is looked at when changes are judged
FREE = ("processes", "device", "save_seconds")  # may differ when a run goes on

Told = Callable[[int, float, Crnn, dict[str, float]], object]


class Pupil:
    """An eye that learns.

    Args:
        network: Whose; its eye is trained in place.
        config: How.
        wheels: It is told how the robot moves, and must hand that on.

    Raises:
        ConfigError: it has no layer before its memory.
    """

    def __init__(self, network: Crnn, config: EyeConfig, *, wheels: bool = False) -> None:
        names = network.eye
        if not names:
            raise ConfigError("a network without layers before its memory has no eye to teach")
        self._network, self._config, self._source = network, config, names[-1]
        eye = Network(network.input_shape, {name: network.nodes[name] for name in names})
        device = next(network.parameters()).device
        with torch.no_grad():
            empty = torch.zeros(1, 1, *network.input_shape, device=device)
            size = eye.eval()(empty).activations[self._source].numel()
        self._wheels = wheels
        readout = nn.Linear(size, TARGETS + SIDES * wheels, device=device)
        self._learning = nn.ModuleDict({"eye": eye, "readout": readout})
        self._average = copy.deepcopy(self._learning)
        groups = parameter_groups(self._learning, config.learning_rate, config.weight_decay)
        self._rates = [group["lr"] for group in groups]
        self._optimizer = torch.optim.AdamW(groups)
        self.step = 0

    def learn(self, page: Page) -> Tensor:
        """One step; its loss, on the device."""
        self._learning.train()
        amp = self._config.amp and not self._network.has_integers
        with torch.autocast(page.pixels.device.type, torch.bfloat16, enabled=amp):
            told = self._told(self._learning, page.pixels)
        now, change, wheels = torch.split(told.float(), self._parts, dim=1)
        true_now, true_change, true_wheels = self._targets(page)
        loss = functional.mse_loss(now, true_now)
        loss = loss + CHANGE_WEIGHT * functional.mse_loss(change, true_change)
        if self._wheels:
            loss = loss + WHEELS_WEIGHT * functional.mse_loss(wheels, true_wheels)
        factor = rate_factor(self.step, self._config.steps)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self.step += 1
        follow(self._average, self._learning, min(self._config.ema, self.step / (self.step + 10)))
        return loss.detach()

    @torch.no_grad()
    def fit_readout(self, pages: Iterable[Page]) -> None:
        """Read from the eye as it is what a linear readout can, by ridge regression."""
        self._learning.eval()
        pairs = [
            (self._features(self._learning, page.pixels), torch.cat(self._targets(page), 1))
            for page in pages
        ]
        seen, targets = (torch.cat(part).double() for part in zip(*pairs, strict=True))
        seen = functional.pad(seen, (0, 1), value=1.0)
        inner = seen.T @ seen
        inner.diagonal().add_(RIDGE * inner.diagonal().mean())
        found = torch.linalg.solve(inner, seen.T @ targets).T.float()
        for part in (self._learning, self._average):
            readout = part["readout"]
            assert isinstance(readout, nn.Linear)
            readout.weight.copy_(found[:, :-1])
            readout.bias.copy_(found[:, -1])

    @torch.no_grad()
    def judge(self, page: Page) -> dict[str, float]:
        """Errors of the average, as ``teach`` tells them."""
        self._average.eval()
        parts = torch.split(page.pixels, SEEN_AT_ONCE)
        told = torch.cat([self._told(self._average, part) for part in parts])
        now, change, wheels = torch.split(told, self._parts, dim=1)
        true_now, true_change, true_wheels = self._targets(page)
        missed = change - true_change
        found = {
            "now": float((now - true_now).square().mean()),
            "change": float(missed.square().mean()),
        }
        moves = true_change.abs() >= CHANGED
        if moves.any():
            unexplained = missed[moves].square().sum() / true_change[moves].square().sum()
            found["seen_moving"] = 1.0 - float(unexplained)
        if self._wheels:
            found["wheels"] = float((wheels - true_wheels).square().mean().sqrt())
        true, said = distance(true_now), distance(now).clamp(min=LEAST_M)
        close = (true > TOUCHING_M) & (true < CLOSE_M)
        if close.any():
            ratio = (said[close] / true[close]).log().abs().cpu().numpy()
            found["ratio"], found["ratio90"] = map(float, np.quantile(ratio, (0.5, 0.9)))
        return found

    def averaged(self) -> Crnn:
        """The network with its eye as averaged: a copy, on the CPU."""
        network = copy.deepcopy(self._network).cpu().eval()
        network.load_state_dict(self._average["eye"].state_dict(), strict=False)
        return network

    def save(self) -> dict[str, Tensor]:
        """All that changes."""
        return (
            state.named("learning", self._learning.state_dict())
            | state.named("average", self._average.state_dict())
            | state.named("optimizer", state.moments(self._optimizer))
        )

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Go on from what ``save`` gave after so many steps."""
        parts = state.parts(tensors)
        self._learning.load_state_dict(parts["learning"])
        self._average.load_state_dict(parts["average"])
        state.restore_moments(self._optimizer, parts["optimizer"])
        self.step = step

    @property
    def _parts(self) -> list[int]:
        """How much is told of what."""
        return [BEARINGS, BEARINGS, SIDES * self._wheels]

    def _targets(self, page: Page) -> tuple[Tensor, Tensor, Tensor]:
        """Nearness now, how it changes until soon (N, BEARINGS each), and the way of both sides."""
        now, soon = page.nearness[:, :BEARINGS], page.nearness[:, BEARINGS:]
        wheels = page.pixels[:, -1, 0, [0, -1]].float() * INPUT_SCALE  # the input itself says it
        return now, soon - now, wheels if self._wheels else wheels[:, :0]

    def _told(self, learning: nn.ModuleDict, pixels: Tensor) -> Tensor:
        told: Tensor = learning["readout"](self._features(learning, pixels))
        return told

    def _features(self, learning: nn.ModuleDict, pixels: Tensor) -> Tensor:
        features: Tensor = learning["eye"](pixels[:, None]).activations[self._source]
        return features.flatten(1)


def teach(
    network: Crnn,
    config: EyeConfig,
    contract: InputContract,
    rate_hz: float,
    path: Path,
    on_progress: Told,
    album_folder: Path | None = None,
) -> None:
    """Teach the eye of a network.

    Args:
        network: Whose; float.
        config: How.
        contract: What the network is to see.
        rate_hz: Frames a second.
        path: Of the state to go on from when it is cut off; removed at the end.
        on_progress: Called now and then, and at the end, with the step, the loss since, the network
            as it is then, and its errors on glimpses of validation courses: squared ones of
            nearness ``now`` and of its ``change``, the share of changes that it knows of
            (``seen_moving``), how far off the robot's own way is where it is told (``wheels``, root
            mean square, as a share of 0.128 m in a period), and ``ratio`` and ``ratio90``, median
            and 90th percentile of the absolute logarithm of free paths told by true ones, of what
            is near.
        album_folder: Where glimpses are kept, and found by a later run; None: nowhere.

    Raises:
        ConfigError: nothing can be drawn on this machine, no such device, a network without eye, or
            the state is of other options.
        CrnnSnnError: a process died.
    """
    device = choose_device(config.device)
    network.to(device)
    if config.on_integers or network.has_integers:
        torch.backends.cudnn.allow_tf32 = False  # integers must stay exact
    asked = {name: value for name, value in asdict(config).items() if name not in FREE}
    described = state.plain(asked | {"the network to begin with": state.digest(network)})
    saved = state.read(path)
    if saved is not None:
        state.require_same(path, saved.of, described)
    pages = stream(
        Photographer(contract, rate_hz, config.glimpses, album_folder),
        _courses(config),
        config.workers,
    )
    held_out = [next(pages) for _ in range(HELD_OUT)]
    judged = Page(
        *(torch.from_numpy(np.concatenate(part)).to(device) for part in zip(*held_out, strict=True))
    )
    album = Album(config.courses, config.glimpses, network.input_shape, device)
    album.fill(pages)
    try:
        if config.on_integers and not network.on_integers:
            first = album.draw(np.random.default_rng(config.seed), config.due(0), CALIBRATING)
            network = with_eye_on_integers(network, first.pixels[:, None])
        pupil = Pupil(network, config, wheels=contract.wheels)
        random = np.random.default_rng(config.seed)
        if saved is None:
            drawn = (album.draw(random, config.due(0), config.batch) for _ in range(FITTED))
            pupil.fit_readout(altered(page, random, config.light) for page in drawn)
        losses = [] if saved is None else _restore(saved, path, pupil, random)
        stored_at = time.monotonic()
        while pupil.step < config.steps:
            page = album.draw(random, config.due(pupil.step), config.batch)
            losses.append(pupil.learn(altered(page, random, config.light)))
            if pupil.step % TOLD_EVERY == 0 or pupil.step == config.steps:
                loss = float(torch.stack(losses).mean())
                on_progress(pupil.step, loss, pupil.averaged(), pupil.judge(judged))
                losses = []
            if time.monotonic() - stored_at >= config.save_seconds:
                facts = {"step": pupil.step, "random": random.bit_generator.state,
                         "losses": [float(loss) for loss in losses]}  # fmt: skip
                state.write(path, state.State("eye", described, facts, pupil.save()))
                stored_at = time.monotonic()
    finally:
        album.close()
    path.unlink(missing_ok=True)


def with_eye_on_integers(network: Crnn, pixels: Tensor) -> Crnn:
    """A copy whose eye computes with the integers of the conversion, scaled to suit some pixels.

    Args:
        network: Float.
        pixels: Network inputs, (N, T, C, H, W).
    """
    folded = fold_bn(network.eval())
    folded.calibrate(pixels)
    on_integers = copy.deepcopy(network)
    for name in network.eye:
        on_integers.nodes[name] = folded.nodes[name]
    on_integers.put_on_integers(name for name, _ in network.neurons() if name in network.eye)
    return on_integers


def _restore(
    saved: state.State, path: Path, pupil: Pupil, random: np.random.Generator
) -> list[Tensor]:
    """Go on where a run was cut off; the losses not told of yet."""
    try:
        pupil.restore(saved.tensors, saved.facts["step"])
        random.bit_generator.state = saved.facts["random"]
        return [torch.tensor(loss) for loss in saved.facts["losses"]]
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise state.damaged(path, error) from error


def _courses(config: EyeConfig) -> list[tuple[str, int]]:
    """Suite and seed of the courses to judge by, and of those to learn from."""
    known = [seed for seed in TRAIN_SEEDS if seed not in VALIDATION_SEEDS]
    seeds = [*VALIDATION_SEEDS[-HELD_OUT:], *[*known, *DAGGER_SEEDS][: config.courses]]
    return [(suite_of(seed, config.suites), seed) for seed in seeds]
