"""Training: a float warm-up, then quantization-aware training on the grids of the conversion.

Truncated back-propagation through time over real sequences: drives are walked in parallel streams,
window by window, and the recurrent state crosses from window to window (detached), as it will cross
from frame to frame on the robot.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crnn_snn_ros.core.device import choose_device
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, save
from crnn_snn_ros.training.config import NetworkConfig, TrainConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.network import HEADS, Crnn
from crnn_snn_ros.training.streams import Streams

CALIBRATION_DRIVES = 16
CALIBRATION_FRAMES = 1024
EVALUATION_WINDOW = 64
Carry = dict[str, Tensor]  # recurrent activations, (N, hidden)

STEERING_WEIGHT = 8.0  # per rad^2: errors of 0.2 rad weigh like the entropy of collision
RECURRENT_LIMIT = 1.0  # of |u|: beyond it an IndRNN explodes in float
LARGEST_GRADIENT = 10.0  # norm: cuts what is out of the ordinary only


class Epoch(NamedTuple):
    """Progress after one epoch."""

    phase: str  # "float" or "qat"
    number: int  # from 1, within the phase
    of: int
    train_loss: float
    validation_loss: float
    steering_rmse_rad: float | None  # on the validation split, None where it has no such label


def train(
    drives: Sequence[Drive],
    validation: Sequence[Drive],
    network: NetworkConfig,
    config: TrainConfig,
    origin: Origin,
    out: Path,
    on_epoch: Callable[[Epoch], object] = print,
    start: Crnn | None = None,
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

    Returns:
        The quantized checkpoint.

    Raises:
        ConfigError: no such device here, or ``start`` has another size.
        DataError: there is no labelled frame, or training diverged.
    """
    trainer = Trainer(drives, validation, config, origin, out, on_epoch)
    warm = trainer.float_phase(network, start)
    return trainer.quantized_phase(warm.network)


class Trainer:
    """The phases of training on one data set; arguments and errors as for ``train``."""

    def __init__(
        self,
        drives: Sequence[Drive],
        validation: Sequence[Drive],
        config: TrainConfig,
        origin: Origin,
        out: Path,
        on_epoch: Callable[[Epoch], object],
    ) -> None:
        self._device = choose_device(config.device)
        self._heads = _labelled_heads(drives, "train")
        _labelled_heads(validation, "validation")
        self._drives, self._validation = drives, validation
        self._config, self._origin, self._out = config, origin, out
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self._rng = np.random.default_rng(config.seed)
        torch.backends.cudnn.allow_tf32 = False  # fake-quantized integers must stay exact
        out.mkdir(parents=True, exist_ok=True)
        self._log = _Log(out / "log.csv", on_epoch)

    def float_phase(self, network: NetworkConfig, start: Crnn | None = None) -> Checkpoint:
        """Train in floating point, and write ``float.safetensors``."""
        net = Crnn(network)
        if start is not None:
            _continue(net, start)
        net = self._fit(net.to(self._device), "float")
        return self._save("float", net)

    def quantized_phase(self, network: Crnn) -> Checkpoint:
        """Fold, calibrate and train on integers, and write ``qat.safetensors``."""
        quantized = fold_bn(network.eval())
        pixels = torch.from_numpy(_calibration_frames(self._drives))
        quantized.calibrate(pixels.to(self._device))
        quantized.quantized = True
        return self._save("qat", self._fit(quantized, "qat"))

    def _fit(self, network: Crnn, phase: str) -> Crnn:
        return _fit(
            network, self._drives, self._validation, self._config, phase, self._rng, self._log
        )

    def _save(self, phase: str, network: Crnn) -> Checkpoint:
        result = Checkpoint(network.eval(), self._origin, self._heads, self._log.best(phase))
        save(self._out / f"{phase}.safetensors", result)
        return result


def _calibration_frames(drives: Sequence[Drive]) -> NDArray[np.int8]:
    """The beginnings of some drives, (N, T, C, H, W), as long as the shortest of them at most."""
    count = min(CALIBRATION_DRIVES, len(drives))
    chosen = [drives[len(drives) * number // count] for number in range(count)]
    frames = min([CALIBRATION_FRAMES // count, *(len(drive) for drive in chosen)])
    return np.stack([drive.frames[:frames] for drive in chosen])


def _continue(network: Crnn, start: Crnn) -> None:
    """Take over what was learned; the scales of activations belong to the number of bits."""
    learned = {
        name: value for name, value in start.state_dict().items() if not name.endswith(".scale")
    }
    expected = {name: value.shape for name, value in network.state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if not name.endswith(".scale")}
    if start.quantized or {name: value.shape for name, value in learned.items()} != expected:
        raise ConfigError(
            "the checkpoint to go on from is not a float network of this size; give "
            "float.safetensors of a run with the same input and layers"
        )
    network.load_state_dict(learned, strict=False)


def _labelled_heads(drives: Sequence[Drive], split: str) -> tuple[str, ...]:
    heads = []
    if any(np.isfinite(drive.steering_rad).any() for drive in drives):
        heads.append("steering")
    if any(np.isfinite(drive.collision).any() for drive in drives):
        heads.append("collision")
    if not heads:
        raise DataError(
            f"no frame of the {split} split has a steering or collision label; "
            "name the label topics in the data file"
        )
    return tuple(heads)


def _fit(
    network: Crnn,
    drives: Sequence[Drive],
    validation: Sequence[Drive],
    config: TrainConfig,
    phase: str,
    rng: np.random.Generator,
    log: _Log,
) -> Crnn:
    """Run one phase and return the network at its best validation loss."""
    epochs = config.float_epochs if phase == "float" else config.qat_epochs
    if epochs == 0:
        return network
    rate = config.learning_rate if phase == "float" else config.qat_learning_rate
    optimizer = torch.optim.AdamW(_parameter_groups(network, rate, config.weight_decay))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs, rate / 50)
    best, best_loss = {}, float("inf")
    streams = Streams(drives, config.window, config.streams, rng)
    carry: Carry = {}
    for number in range(1, epochs + 1):
        network.train()
        losses = []
        for _ in range(streams.steps):
            loss, carry = _step(network, optimizer, streams, carry)
            losses += [] if loss is None else [loss]
        schedule.step()
        validation_loss, rmse = evaluate(network, validation)
        if not math.isfinite(validation_loss):
            raise DataError(
                f"the loss is {validation_loss} in {phase} epoch {number}; lower the learning rate"
            )
        log.add(Epoch(phase, number, epochs, float(np.mean(losses)), validation_loss, rmse))
        if validation_loss < best_loss:
            best_loss = validation_loss
            best = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best)
    return network


def _parameter_groups(network: Crnn, rate: float, decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, scales and recurrent weights do not; scales learn slowly."""
    weights, plain, scales = [], [], []
    for name, parameter in network.named_parameters():
        if name.endswith(".scale"):
            scales.append(parameter)
        elif parameter.ndim > 1:
            weights.append(parameter)
        else:
            plain.append(parameter)
    return [
        {"params": weights, "lr": rate, "weight_decay": decay},
        {"params": plain, "lr": rate, "weight_decay": 0.0},
        {"params": scales, "lr": rate / 5, "weight_decay": 0.0},
    ]


def _step(
    network: Crnn, optimizer: torch.optim.Optimizer, streams: Streams, carry: Carry
) -> tuple[float | None, Carry]:
    """Learn from one window of all streams: its loss, None where nothing is labelled, and state."""
    device = next(network.parameters()).device
    pixels, steering, collision, fresh = (part.to(device) for part in next(streams))
    kept = {name: torch.where(fresh[:, None], 0.0, state) for name, state in carry.items()}
    output = network(pixels, kept)
    carry = {name: state.detach() for name, state in output.carry.items()}
    loss = _loss(output.heads, steering, collision)
    if loss is None:
        return None, carry
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    network.clip_recurrent(RECURRENT_LIMIT)
    return loss.item(), carry


def _loss(heads: dict[str, Tensor], steering_rad: Tensor, collision: Tensor) -> Tensor | None:
    """Weighted squared error of steering plus cross entropy of collision, over labelled frames."""
    parts = []
    known = steering_rad.isfinite()
    if known.any():
        error = functional.mse_loss(heads["steering"][known], steering_rad[known])
        parts.append(STEERING_WEIGHT * error)
    known = collision.isfinite()
    if known.any():
        logits = heads["collision"][known]
        parts.append(functional.binary_cross_entropy_with_logits(logits, collision[known]))
    return torch.stack(parts).sum() if parts else None


@torch.no_grad()
def evaluate(network: Crnn, drives: Sequence[Drive]) -> tuple[float, float | None]:
    """Loss and steering RMSE (rad) over whole drives, state carried through each.

    The loss is NaN, the RMSE None where there is no label for it.
    """
    network.eval()
    losses, errors = [], []
    for drive in drives:
        heads = predict(network, drive)
        steering, collision = _labels(drive)
        loss = _loss(heads, steering, collision)
        if loss is not None:
            losses.append(loss.item())
        known = steering.isfinite()
        errors.append((heads["steering"] - steering)[known].square())
    squared = torch.cat(errors)
    rmse = float(squared.mean().sqrt()) if len(squared) else None
    return float(np.mean(losses)) if losses else float("nan"), rmse


@torch.no_grad()
def predict(network: Crnn, drive: Drive) -> dict[str, Tensor]:
    """Heads over a whole drive, (T,) each on the CPU; memory stays bounded however long it is."""
    device = next(network.parameters()).device
    carry: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor]] = {name: [] for name in HEADS}
    for start in range(0, len(drive.frames), EVALUATION_WINDOW):
        frames = np.array(drive.frames[start : start + EVALUATION_WINDOW])
        output = network(torch.from_numpy(frames)[None].to(device), carry)
        carry = output.carry
        for name, values in output.heads.items():
            parts[name].append(values[0].cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _labels(drive: Drive) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.array(drive.steering_rad)), torch.from_numpy(
        np.array(drive.collision)
    )


class _Log:
    """Every epoch in memory, in a CSV file, and told to the caller."""

    def __init__(self, path: Path, on_epoch: Callable[[Epoch], object]) -> None:
        self._path, self._on_epoch = path, on_epoch
        self._epochs: list[Epoch] = []

    def add(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)
        with replacing(self._path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Epoch._fields)
            writer.writerows(self._epochs)
        self._on_epoch(epoch)

    def best(self, phase: str) -> dict[str, Any]:
        """Metrics of the best epoch of a phase, for the model card."""
        epochs = [epoch for epoch in self._epochs if epoch.phase == phase]
        if not epochs:
            return {}
        return {"validation": min(epochs, key=lambda epoch: epoch.validation_loss)._asdict()}
