"""Networks with drawn weights, quantized and ready for conversion: to time, not to drive with."""

from __future__ import annotations

import numpy as np
import torch

from crnn_snn_ros.core.graph import MIN_THRESHOLD
from crnn_snn_ros.core.verify import random_video
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.layers import LinearBranch, NeuronLayer
from crnn_snn_ros.training.network import AnyNetwork, Crnn
from crnn_snn_ros.training.quantize import MAX_WEIGHT

# 41 million multiply-accumulates a frame
LARGE = NetworkConfig(
    input_shape=(3, 88, 136), stem_channels=32, block_channels=(32, 64, 128), hidden=(64, 32)
)
CALIBRATION_FRAMES = 16


def untrained(config: NetworkConfig, seed: int = 0) -> Crnn:
    """A network as training begins with it, but quantized.

    Args:
        config: Its size.
        seed: Of its weights and of the video that its scales are chosen from.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Crnn(config)
    return quantized(network.eval(), seed)


@torch.no_grad()
def quantized(network: AnyNetwork, seed: int = 0) -> AnyNetwork:
    """Fold a float network and choose its scales on generated video."""
    network = fold_bn(network)
    frames = np.stack(list(random_video(network.input_shape, CALIBRATION_FRAMES, seed)))
    network.calibrate(torch.from_numpy(frames[None]).float())
    scales = network.scales()
    for name, layer in network.layers():
        for branch in layer.branches if isinstance(layer, NeuronLayer) else ():
            if isinstance(branch, LinearBranch):  # as training would have to, for a threshold to be
                largest = MAX_WEIGHT * scales[name] / scales[branch.source] / MIN_THRESHOLD
                branch.weight.clamp_(-0.995 * largest, 0.995 * largest)
    network.quantized = True
    return network
