"""Predictions and labels -> figures with their floors. Nothing is read or run here."""

from __future__ import annotations

from typing import Any

import numpy as np

from crnn_snn_ros.evaluation.bootstrap import intervals

Numbers = dict[str, Any]
Told = list[dict[str, np.ndarray]]  # bag by bag, by network: (n, 2) steering and collision
RESAMPLES = 2000


def donkeycar_figures(
    told: Told, before: np.ndarray, truth: np.ndarray, full_lock_rad: float
) -> Numbers:
    """Steering RMSE in the tub's own unit, full lock, with 95 % intervals over stretches of 1 s."""
    lock = truth / full_lock_rad
    errors = {name: values[:, 0] / full_lock_rad - lock for name, values in told[0].items()}
    errors["mean of the frames before"] = before.mean() / full_lock_rad - lock
    errors["mean of the whole drive"] = np.append(before, truth).mean() / full_lock_rad - lock
    errors["mean of these frames"] = lock.mean() - lock
    previous = np.append(before[-1:], truth[:-1]) / full_lock_rad
    errors["the previous true angle"] = previous - lock
    segment = np.arange(len(lock)) // 20
    ends = intervals(
        {name: lambda w, e=error: _rms(e, w) for name, error in errors.items()},
        segment,
        resamples=RESAMPLES,
    )
    every = np.ones(len(lock))
    same = bool((told[0]["qann"] == told[0]["snn"]).all())
    return {
        "frames": len(lock),
        "rmse": {name: [_rms(error, every), ends[name]] for name, error in errors.items()},
        "qann is snn": same,
    }


def jetracer_figures(
    told: dict[str, Told],
    labels: list[dict[str, np.ndarray]],
    before: list[dict[str, np.ndarray]],
    colours: dict[str, list[np.ndarray]],
    names: list[str],
) -> Numbers:
    """Balanced accuracy of left against right, and AUC of blocked against free.

    Args:
        told: by how the state was kept; bag by bag.
        labels: of the test bags; each has steering or collision.
        before: of the training bags.
        colours: (n, 3) mean colours of the frames of "train" and "test" bags, for the floors.
        names: of the test bags.
    """
    turns = [at for at, label in enumerate(labels) if "steering" in label]
    hits = [at for at, label in enumerate(labels) if "collision" in label]
    left = np.concatenate([labels[at]["steering"] > 0 for at in turns])
    blocked = np.concatenate([labels[at]["collision"] > 0.5 for at in hits])
    bursts = _bursts([labels[at]["steering"] for at in turns])
    figures: Numbers = {
        "left": int(left.sum()),
        "right": int((~left).sum()),
        "bursts": int(bursts[-1]) + 1,
        "blocked": int(blocked.sum()),
        "free": int((~blocked).sum()),
        "sessions": names,
        "direction": {},
        "collision": {},
    }
    scores = {
        (how, network): np.concatenate([rows[at][network][:, 0] for at in turns])
        for how, rows in told.items()
        for network in rows[0]
    }
    scores["floor", "mean colour"] = _colour_floor("steering", before, colours, turns)
    ends = intervals(
        {
            key: lambda w, s=score: balanced_accuracy(left, s > 0, w)
            for key, score in scores.items()
        },
        bursts,
        resamples=RESAMPLES,
    )
    for key, score in scores.items():
        accuracy = balanced_accuracy(left, score > 0, np.ones(len(left)))
        figures["direction"][": ".join(key)] = [accuracy, ends[key]]
    for how, rows in told.items():
        for network in rows[0]:
            score = np.concatenate([rows[at][network][:, 1] for at in hits])
            figures["collision"][f"{how}: {network}"] = auc(blocked, score)
    colour = _colour_floor("collision", before, colours, hits)
    figures["collision"]["floor: mean colour"] = auc(blocked, colour)
    figures["qann is snn"] = all(
        bool((row["qann"] == row["snn"]).all()) for rows in told.values() for row in rows
    )
    return figures


def balanced_accuracy(truth: np.ndarray, said: np.ndarray, weight: np.ndarray) -> float | None:
    """Mean of both classes' recalls; None where one of them is not there.

    Example:
        >>> truth = np.array([True, True, True, False])
        >>> balanced_accuracy(truth, np.array([True, True, False, False]), np.ones(4)).__round__(3)
        0.833
    """
    recalls = []
    for kind in (True, False):
        of_kind = weight * (truth == kind)
        if not of_kind.sum():
            return None
        recalls.append(float((of_kind * (said == kind)).sum() / of_kind.sum()))
    return sum(recalls) / 2


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Share of pairs that are in the right order; ties count half.

    Example:
        >>> auc(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]))
        0.75
    """
    above = score[truth][:, None] - score[~truth][None, :]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def _bursts(steering: list[np.ndarray]) -> np.ndarray:
    """Number of the burst of stills that each belongs to: of one side, in one session."""
    begins = [np.append(True, np.diff(one) != 0) for one in steering]
    return np.asarray(np.cumsum(np.concatenate(begins)) - 1)


def _colour_floor(
    label: str,
    before: list[dict[str, np.ndarray]],
    colours: dict[str, list[np.ndarray]],
    chosen: list[int],
) -> np.ndarray:
    """A logistic regression on the mean colour alone: what the light of the day says."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    known = [at for at, one in enumerate(before) if label in one]
    seen = np.concatenate([colours["train"][at] for at in known])
    truth = np.concatenate([before[at][label] > 0.0 for at in known])
    floor = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
    floor.fit(seen, truth)
    return np.asarray(
        floor.decision_function(np.concatenate([colours["test"][at] for at in chosen]))
    )


def _rms(error: np.ndarray, weight: np.ndarray) -> float:
    return float(np.sqrt((weight * error**2).sum() / weight.sum()))
