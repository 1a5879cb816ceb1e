"""Options of the network and of its training; imports nothing heavy, so that --help is fast."""

from __future__ import annotations

from dataclasses import dataclass

from crnn_snn_ros.core.errors import ConfigError


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
        if not 1 <= self.bits <= 8:
            raise ConfigError(f"bits is {self.bits}, allowed is 1 to 8")
        sizes = (*self.input_shape, self.stem_channels, *self.block_channels, *self.hidden)
        if min(sizes) < 1 or not self.block_channels or not self.hidden:
            raise ConfigError(f"network sizes must be positive and not empty, got {self}")
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

    float_epochs: int = 80
    qat_epochs: int = 80
    window: int = 16  # frames of back-propagation through time
    streams: int = 8  # parallel pieces of a drive
    learning_rate: float = 2e-3
    qat_learning_rate: float = 5e-4
    weight_decay: float = 1e-3
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        counts = (self.float_epochs, self.qat_epochs, self.window, self.streams)
        if min(counts) < 1:
            raise ConfigError(f"epochs, window and streams must be at least 1, got {counts}")
        if min(self.learning_rate, self.qat_learning_rate) <= 0.0 or self.weight_decay < 0.0:
            raise ConfigError("learning rates must be positive and weight decay not negative")
