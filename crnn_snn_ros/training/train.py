"""Training: a float warm-up, then quantization-aware training on the grids of the conversion.

fresh network --float phase--> fold, calibrate --quantized phase--> ready for conversion

Where ``memory_epochs`` asks for it, the recurrent layers go on alone after each phase (``memory``).
A process may be killed at any moment: where it stood was written a while before, and a run that
goes on from there ends with the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.io.atomic import remove_unfinished
from crnn_snn_ros.training import memory, state
from crnn_snn_ros.training.board import Board
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, load, save
from crnn_snn_ros.training.config import AugmentConfig, NetworkConfig, TrainConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.drives import calibration_frames, labelled_heads, require_judge
from crnn_snn_ros.training.evaluate import Figures, evaluate
from crnn_snn_ros.training.log import Epoch, Log
from crnn_snn_ros.training.loop import Loop
from crnn_snn_ros.training.loss import Loss, share_of_collisions
from crnn_snn_ros.training.network import AnyNetwork, Crnn
from crnn_snn_ros.training.ranks import ALONE, Ranks, own_device, share_statistics
from crnn_snn_ros.training.seen import look_at
from crnn_snn_ros.training.settle import settle
from crnn_snn_ros.training.streams import Streams

FEATURES = "features_"  # folder of what the recurrent layers learn from, while they do
PHASES = ("float", "qat", "float_memory", "qat_memory")


def train(
    drives: Sequence[Drive],
    validation: Sequence[Drive],
    network: NetworkConfig,
    config: TrainConfig,
    origin: Origin,
    out: Path,
    on_epoch: Callable[[Epoch], object] = print,
    start: Crnn | None = None,
    *,
    resume: bool = False,
    ranks: Ranks = ALONE,
    seen: bool = False,
) -> Checkpoint:
    """Train a network in both phases; write ``float.safetensors``, ``qat.safetensors``, a CSV log.

    Args:
        drives: Training sequences.
        validation: Sequences that choose the best epoch of each phase.
        network: Size and number formats.
        config: How to train.
        origin: What the checkpoints say of the data and the command.
        out: Folder to write into, made where missing.
        on_epoch: Called after every epoch.
        start: A float network of the same size to go on from; None: a fresh one.
        resume: Go on where a run with the same arguments was cut off, if it was.
        ranks: The processes that train together; the first one writes.
        seen: As for ``Trainer``.

    Returns:
        The quantized checkpoint.

    Raises:
        ConfigError: no such device here, ``start`` has another size, or ``out`` holds a run that
            was cut off and either is of other arguments or not to be gone on with.
        DataError: there is no labelled frame, or training diverged.
    """
    finished = out / "qat.safetensors"
    if resume and finished.exists() and not (out / state.NAME).exists():
        splits = {"train": drives, "validation": validation}
        asked = state.described(asdict(network), asdict(config), splits, start)
        return _same_run(load(finished), finished, network, origin, state.digest_of(asked))
    trainer = Trainer(
        drives, validation, network, config, origin, out, on_epoch, start,
        resume=resume, ranks=ranks, seen=seen,
    )  # fmt: skip
    result = trainer.quantized_phase(trainer.float_phase().network)
    trainer.close()
    return result


class _Task(NamedTuple):
    """What one phase learns from."""

    phase: str
    drives: Sequence[Drive]
    validation: Sequence[Drive]
    config: TrainConfig
    looks: AugmentConfig | None
    hidden: float = 0.0  # of each frame


class Trainer:
    """The phases of training on one data set; arguments and errors as for ``train``.

    Args:
        seen: The drives are what the eye hands on (``seen.load_both``), which then never learns:
            no phase of the whole network may have epochs.
    """

    def __init__(
        self,
        drives: Sequence[Drive],
        validation: Sequence[Drive],
        network: NetworkConfig,
        config: TrainConfig,
        origin: Origin,
        out: Path,
        on_epoch: Callable[[Epoch], object],
        start: Crnn | None = None,
        *,
        resume: bool = False,
        ranks: Ranks = ALONE,
        seen: bool = False,
    ) -> None:
        assert not seen or config.float_epochs == 0
        self._device = own_device(choose_device(config.device))
        self._heads = labelled_heads(drives, "train", ways=network.ways)
        require_judge(config.metric, validation, ways=network.ways)
        self._drives, self._validation = drives, validation
        self._network, self._start = network, start
        self._config, self._origin, self._out, self._ranks = config, origin, out, ranks
        self._of = state.described(
            asdict(network), asdict(config), {"train": drives, "validation": validation}, start
        )
        self._seen = seen
        self._path = out / state.NAME
        self._saved = self._cut_off(resume)
        torch.set_num_threads(config.threads)
        torch.backends.cudnn.allow_tf32 = False  # fake-quantized integers must stay exact
        self._loss = Loss(ranks, share_of_collisions(drives) if config.balance else None)
        self._log = Log(out / "log.csv" if ranks.first else None, on_epoch)
        if self._saved is not None:
            self._log.restore(self._saved.facts["epochs"])
        self._board: Board | None = None
        if config.tensorboard and ranks.first:
            self._board = Board(out / "tensorboard", len(self._log.epochs))
        out.mkdir(parents=True, exist_ok=True)
        if ranks.first:
            names = (state.NAME, "float.safetensors", "qat.safetensors", "log.csv")
            remove_unfinished(out / name for name in names)
            for folder in out.glob(f"{FEATURES}*"):  # of a run that was killed
                rmtree(folder)

    def float_phase(self) -> Checkpoint:
        """Train in floating point, and write ``float.safetensors``."""
        if self._stands_at("qat", "qat_memory"):
            return load(self._out / "float.safetensors")
        torch.manual_seed(self._config.seed)
        network = Crnn(self._network)
        if self._start is not None:
            taught = self._config.phases["float"] or self._config.phases["float_memory"]
            if not taught and not network.answers_as(self._start):
                raise ConfigError(
                    "the checkpoint to go on from has a steering head of another form (ways or one "
                    "angle, or ways of before), so this one must be taught; give --float-epochs or "
                    "--memory-epochs"
                )
            network.take_over(self._start)
        return self._phase(network.to(self._device), "float")

    def quantized_phase(self, network: Crnn) -> Checkpoint:
        """Fold, calibrate and train on integers, and write ``qat.safetensors``."""
        quantized = fold_bn(network.eval()).to(self._device)
        frames = torch.from_numpy(calibration_frames(self._drives)).to(self._device)
        (memory.Tail(quantized) if self._seen else quantized).calibrate(frames)
        quantized.quantized = True
        return self._phase(quantized, "qat")

    def close(self) -> None:
        """All is done: nothing is left to go on from."""
        if self._ranks.first:
            self._path.unlink(missing_ok=True)
        if self._board is not None:
            self._board.close()

    def _phase(self, network: Crnn, phase: str) -> Checkpoint:
        """Train the whole network, then its recurrent layers alone, and write the checkpoint."""
        config, alone = self._config, f"{phase}_memory"
        if self._stands_at(alone):
            result = load(self._out / f"{phase}.safetensors")
        else:
            task = _Task(phase, self._drives, self._validation, config, config.augment)
            result = self._save(phase, phase, self._fit(network, task))
        if config.phases[alone] == 0:
            return result
        return self._save(phase, alone, self._remember(result.network.to(self._device), alone))

    def _remember(self, network: Crnn, phase: str) -> Crnn:
        config = memory.long_windows(self._config)
        with self._seen_by(network.eval()) as (learned, judged):
            hidden = 0.0 if network.quantized else config.memory_dropout  # counts stay whole
            task = _Task(phase, learned, judged, config, None, hidden)
            tail = self._fit(memory.Tail(network), task)
        network.load_state_dict(tail.state_dict(), strict=False)
        return network

    @contextmanager
    def _seen_by(self, network: Crnn) -> Iterator[tuple[Sequence[Drive], Sequence[Drive]]]:
        """What the eye of a network hands on of the drives of both splits."""
        if self._seen:
            yield self._drives, self._validation
            return
        with TemporaryDirectory(prefix=FEATURES, dir=self._out) as folder:
            mirror = self._config.augment.mirror
            yield (
                look_at(network, self._drives, Path(folder, "train"), mirror=mirror),
                look_at(network, self._validation, Path(folder, "validation"), mirror=False),
            )

    def _trained_before(self, phase: str) -> bool:
        """Whether a phase begins with a network that may be better than all it makes of it."""
        return phase.endswith("_memory") or (phase == "float" and self._start is not None)

    def _stands_at(self, *phases: str) -> bool:
        return self._saved is not None and self._saved.phase in phases

    def _cut_off(self, resume: bool) -> state.State | None:
        """The state that a run which was cut off has left, if this one is to go on with it."""
        if not resume:
            if self._path.exists():
                raise ConfigError(
                    f"{self._path} is of a run that was cut off: go on with it by --resume, "
                    "or remove the file"
                )
            return None
        saved = state.read(self._path)
        if saved is not None:
            state.require_same(self._path, saved.of, self._of)
        return saved

    def _fit(self, network: AnyNetwork, task: _Task) -> AnyNetwork:
        """Run one task and return the network at its best epoch."""
        config = task.config
        epochs = config.phases[task.phase]
        if epochs == 0:
            return network
        share_statistics(network, self._ranks)
        rng = np.random.default_rng((config.seed, PHASES.index(task.phase)))
        streams = self._streams(task, rng, task.hidden)
        loop = Loop(network, streams, config, epochs, self._loss, self._ranks)
        if self._stands_at(task.phase):
            self._restore(loop)
        else:
            if self._trained_before(task.phase):
                self._judge(loop, task)
            self._store(loop, task.phase)
        while not loop.finished:
            loop.learn()
            if loop.at_end_of_epoch:
                self._judge(loop, task)
            (waited,) = self._ranks.as_first(time.monotonic() - self._stored_at)
            if waited >= config.save_seconds:
                self._store(loop, task.phase)
        return loop.result()

    def _streams(self, task: _Task, rng: np.random.Generator, hidden: float) -> Streams:
        config, ranks = task.config, self._ranks
        return Streams(
            task.drives, config.window, config.streams, rng, task.looks,
            (ranks.number, ranks.count), config.piece, self._device, hidden,
        )  # fmt: skip

    def _judge(self, loop: Loop[AnyNetwork], task: _Task) -> None:
        if task.hidden > 0.0:
            rng = np.random.default_rng((self._config.seed, PHASES.index(task.phase), loop.epoch))
            settle(loop.judged, self._streams(task, rng, 0.0))
        found: list[float | None] = [None] * len(Figures._fields)
        if self._ranks.first:
            found = list(evaluate(loop.judged, task.validation))
        told = self._ranks.as_first(*(math.nan if value is None else value for value in found))
        figures = Figures(told[0], *(None if math.isnan(value) else value for value in told[1:]))
        if not math.isfinite(figures.validation_loss):
            self.close()
            raise DataError(
                f"the loss is {figures.validation_loss} in {task.phase} epoch {loop.epoch}; "
                "lower the learning rate"
            )
        epoch = Epoch(task.phase, loop.epoch, loop.epochs, loop.train_loss, *figures)
        loop.close_epoch(epoch)
        self._log.add(epoch)
        if self._board is not None:
            self._board.add(epoch, loop.rate, loop.judged)

    def _store(self, loop: Loop[AnyNetwork], phase: str) -> None:
        tensors, facts = loop.save()
        facts["epochs"] = self._log.epochs
        if self._ranks.first:
            state.write(self._path, state.State(phase, self._of, facts, tensors))
        self._stored_at = time.monotonic()

    def _restore(self, loop: Loop[AnyNetwork]) -> None:
        assert self._saved is not None
        try:
            loop.restore(self._saved.tensors, self._saved.facts)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise state.damaged(self._path, error) from error
        self._stored_at = time.monotonic()

    def _save(self, name: str, phase: str, network: Crnn) -> Checkpoint:
        figures = self._log.best(phase, self._config.metric)
        asked = state.digest_of(self._of)
        result = Checkpoint(network.eval(), self._origin, self._heads, figures, asked)
        if self._ranks.first:
            save(self._out / f"{name}.safetensors", result)
        return result


def _same_run(
    checkpoint: Checkpoint, path: Path, network: NetworkConfig, origin: Origin, asked: str
) -> Checkpoint:
    """What a run that is to be gone on with, but has ended, gave."""
    if (checkpoint.network.config, checkpoint.origin) != (network, origin):
        raise ConfigError(f"{path} has been trained already, in another way; choose another folder")
    if checkpoint.asked not in ("", asked):  # of before this was written down
        raise ConfigError(
            f"{path} has been trained already, by other labels, by other options or from another "
            "network; choose another folder"
        )
    return checkpoint
