"""A few steps of training, as one of the processes that torchrun starts or alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from training_samples import bar_drive, blinded, small_config

from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.loop import Loop
from crnn_snn_ros.training.loss import Loss
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.ranks import joined, share_statistics
from crnn_snn_ros.training.streams import Streams


def three_steps() -> dict[str, Any]:
    """Losses, and every tensor of the state: weights, batch statistics, moments, carry."""
    with joined() as ranks:
        torch.manual_seed(0)
        network = Crnn(small_config())
        share_statistics(network, ranks)
        drives = [bar_drive(30), blinded(bar_drive(30, seed=1), "collision"), bar_drive(22, seed=2)]
        config, share = TrainConfig(), (ranks.number, ranks.count)
        streams = Streams(drives, 6, 5, np.random.default_rng(0), config.augment, share)
        loop = Loop(network, streams, config, 1, Loss(ranks, 0.3), ranks)
        for _ in range(3):
            loop.learn()
        tensors, facts = loop.save()
        values = {name: value.double().flatten().tolist() for name, value in tensors.items()}
        return {"losses": facts["losses"], "tensors": values, "first": ranks.first}


def own_threads() -> list[str]:
    """Names of the threads of this process, as Linux tells them."""
    return sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))


if __name__ == "__main__":
    result = three_steps() | {"threads": own_threads()}
    if result["first"]:
        print(json.dumps(result))
