"""A converted checkpoint as a model: the graph with all that a user must know of it."""

from __future__ import annotations

from dataclasses import asdict

from crnn_snn_ros import __version__
from crnn_snn_ros.core.ways import SCALES
from crnn_snn_ros.io.model_file import HeadInfo, Model
from crnn_snn_ros.training.checkpoint import Checkpoint
from crnn_snn_ros.training.config import NetworkConfig
from crnn_snn_ros.training.convert import Conversion


def steering_unit(config: NetworkConfig) -> str:
    """Of what a network's steering head says."""
    by_scale = {scale: unit for unit, scale in SCALES.items()}
    return by_scale[config.ways_scale] if config.ways else "rad"


def to_model(trained: Checkpoint, conversion: Conversion) -> Model:
    """The model of a checkpoint and its conversion."""
    config = trained.network.config
    network = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
    units = {"steering": steering_unit(config), "collision": "probability"}
    heads = {
        head.name: HeadInfo(units[head.name], head.name in trained.trained_heads)
        for head in conversion.graph.heads()
    }
    return Model(
        graph=conversion.graph,
        contract=trained.origin.contract,
        frame_rate_hz=trained.origin.frame_rate_hz,
        heads=heads,
        provenance={
            **trained.origin.provenance,
            "network": network,
            "crnn_snn_ros": __version__,
        },
        metrics=trained.metrics,
    )
