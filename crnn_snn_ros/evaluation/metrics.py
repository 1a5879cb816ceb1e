"""Figures of merit of a replayed drive. scikit-learn where it has the metric."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.evaluation.replay import Estimate, Recording

Floats = NDArray[np.float32] | NDArray[np.float64]
COLLISION_THRESHOLD = 0.5


def summarise(recording: Recording, steering_rad: Floats, collision: Floats) -> dict[str, Any]:
    """Metrics of a replay, as ``crnn-snn replay --json`` prints them.

    Args:
        recording: A replay of n > 0 frames.
        steering_rad: True steering (n,), NaN where unknown.
        collision: True collision label (n,), 0 or 1, NaN where unknown.

    Returns:
        One value per network; None where there is no label or no such network.
    """
    networks = {"float": recording.float_net, "qann": recording.qann, "snn": recording.snn}
    known = np.isfinite(steering_rad)
    constant = float(np.std(steering_rad[known].astype(np.float64))) if known.any() else None
    steering = {name: _rmse(estimates, steering_rad) for name, estimates in networks.items()}
    predictions = [answer.prediction for answer in recording.answers]
    return {
        "frames": len(predictions),
        "labelled_frames": int(known.sum()),
        "fps": len(predictions) / recording.pipeline_s,
        "steering_rmse": {**steering, "predict_mean": constant},
        "collision_auroc": {n: _collision(e, collision, "auroc") for n, e in networks.items()},
        "collision_f1": {n: _collision(e, collision, "f1") for n, e in networks.items()},
        "qann_snn_differences": sum(
            a != b for a, b in zip(recording.qann, recording.snn, strict=True)
        ),
        "settled_fraction": float(np.mean([p.settled for p in predictions])),
        "settle_steps_mean": float(np.mean([p.settle_steps for p in predictions])),
        "spikes_per_frame": float(np.mean([p.spikes for p in predictions])),
        "synaptic_operations_per_frame": float(np.mean(recording.operations)),
        "input_operations_per_frame": recording.input_operations,
        "dense_operations_per_frame": recording.dense_operations,
    }


def _rmse(estimates: list[Estimate], truth: Floats) -> float | None:
    """Root mean squared steering error in rad over labelled frames."""
    known = np.isfinite(truth)
    if not estimates or not known.any():
        return None
    steering = np.array([estimate.steering_rad for estimate in estimates])
    errors = steering[known] - truth[known].astype(np.float64)
    return float(np.sqrt(np.mean(np.square(errors))))


def _collision(estimates: list[Estimate], truth: Floats, metric: str) -> float | None:
    """AUROC or F1 of the collision probability over labelled frames."""
    known = np.isfinite(truth)
    if not estimates or not known.any():
        return None
    try:
        from sklearn.metrics import f1_score, roc_auc_score
    except ImportError:
        raise ConfigError(
            "collision metrics need scikit-learn: pip install 'crnn_snn_ros[report]'"
        ) from None
    labels = truth[known] >= 0.5
    scores = np.array([estimate.collision_probability for estimate in estimates])[known]
    if metric == "f1":
        return float(f1_score(labels, scores >= COLLISION_THRESHOLD, zero_division=0.0))
    return float(roc_auc_score(labels, scores)) if len(set(labels)) == 2 else None
