"""Turn tensors that hold integers into integer arrays, refusing what would not be the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.errors import ConversionError
from crnn_snn_ros.core.graph import MIN_THRESHOLD


def to_int8(name: str, values: Tensor) -> NDArray[np.int8]:
    """Weights as int8.

    Raises:
        ConversionError: a value is not an integer of int8.
    """
    return _exact(name, values, np.dtype(np.int8)).astype(np.int8)


def to_int32(name: str, values: Tensor) -> NDArray[np.int32]:
    """Thresholds, biases, recurrent and identity weights as int32.

    Raises:
        ConversionError: a value is not an integer of int32.
    """
    return _exact(name, values, np.dtype(np.int32)).astype(np.int32)


def check_threshold(name: str, limit: Tensor) -> None:
    """Refuse a layer whose weights fit into int8 only with a threshold below the least allowed.

    Raises:
        ConversionError: naming the layer and the channel.
    """
    smallest = float(limit.min())
    if not smallest >= MIN_THRESHOLD:
        raise ConversionError(
            f"layer '{name}', channel {int(limit.argmin())}: its largest weight allows a threshold "
            f"of {smallest:g}, at least {MIN_THRESHOLD} is needed; train longer with quantization, "
            "use fewer bits, or lower the weights by weight decay"
        )


def _exact(name: str, values: Tensor, dtype: np.dtype[np.signedinteger]) -> NDArray[np.float64]:
    array = values.detach().cpu().double().numpy()
    limits = np.iinfo(dtype)
    if not np.array_equal(array, np.clip(np.trunc(array), limits.min, limits.max)):
        raise ConversionError(f"layer '{name}': a parameter is not an integer of {dtype}")
    return array
