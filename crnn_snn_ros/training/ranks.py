"""The processes that train one network together, as ``torchrun`` starts them; mostly there is one.

All hold the same weights. Each sees its share of the streams; sums over all of them are exchanged
(of gradients, losses, labels and batch statistics), so that they learn what one alone would have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.training.layers import LinearBranch

BACKENDS = "cpu:gloo,cuda:nccl"


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this is."""

    number: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and prints."""
        return self.number == 0

    def add_up(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over all processes, in place; without a gradient."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def as_first(self, *values: float) -> list[float]:
        """The numbers that the first process has; every process must ask."""
        if self.count == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64)
        distributed.broadcast(told, 0)
        numbers: list[float] = told.tolist()
        return numbers

    @contextmanager
    def one_before_others(self) -> Iterator[None]:
        """The first process goes through, then all others: they find what it has left in files."""
        if self.count > 1 and not self.first:
            distributed.barrier()
        yield
        if self.count > 1 and self.first:
            distributed.barrier()


ALONE = Ranks()


def is_parallel() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the other processes that ``torchrun`` started, if it did.

    Raises:
        ConfigError: its environment is not whole, or the others are not there.
    """
    if not is_parallel():
        yield ALONE
        return
    # Imported later (torch's optimizers do), its functions would keep the process group as their
    # default: the group's threads would outlive it, and now and then abort an exiting process.
    import_module("torch.distributed.nn.functional")
    try:
        backends = BACKENDS if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backends)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the processes of torchrun do not find each other: {reason}") from None
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Of several GPUs the one for this process, unless one was named."""
    if device.type == "cuda" and device.index is None and is_parallel():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def share_statistics(network: nn.Module, ranks: Ranks) -> None:
    """Let batch norms normalise over the frames of all processes."""
    if ranks.count == 1:
        return
    for branch in network.modules():
        if isinstance(branch, LinearBranch) and branch.norm is not None:
            assert isinstance(branch.norm, nn.BatchNorm1d | nn.BatchNorm2d)
            branch.norm = SharedNorm(branch.norm, ranks)


class SharedNorm(nn.BatchNorm2d):
    """A batch norm over all processes; torch has one for GPUs only.

    Args:
        norm: Whose parameters and statistics it takes over.
        ranks: The processes.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.to(norm.weight.device)
        self.load_state_dict(norm.state_dict())
        self._ranks = ranks

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (M, channels, ...) of this process by the statistics of all processes."""
        assert self.running_mean is not None
        assert self.running_var is not None
        if not self.training:
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        x = x.float()
        each = [dimension for dimension in range(x.ndim) if dimension != 1]
        shape = (-1, *(1,) * (x.ndim - 2))
        count = self._ranks.add_up(torch.tensor(x.numel() / x.shape[1], device=x.device))
        mean = _add_up(x.sum(each), self._ranks) / count
        centred = x - mean.reshape(shape)
        variance = _add_up(centred.square().sum(each), self._ranks) / count
        with torch.no_grad():
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1.0)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        gain = self.weight * (variance + self.eps).rsqrt()
        return centred * gain.reshape(shape) + self.bias.reshape(shape)


class _AddUp(torch.autograd.Function):
    """A sum over processes. Each of them used it, so each one's gradient counts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.add_up(x.clone())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.add_up(grad.clone()), None


def _add_up(x: Tensor, ranks: Ranks) -> Tensor:
    total: Tensor = _AddUp.apply(x, ranks)  # type: ignore[no-untyped-call]
    return total
