"""Many bags labelled and drawn, over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.bag_writer import require_new
from crnn_snn_ros.data.labels.labelling import Labels, Outputs, label_bag, topics, write_labels
from crnn_snn_ros.data.labels.rules import NAMES, Rules
from crnn_snn_ros.data.labels.sensors import Mount
from crnn_snn_ros.data.labels.tube import RobotShape
from crnn_snn_ros.data.steering import SteeringConfig
from crnn_snn_ros.evaluation.label_picture import write_picture
from crnn_snn_ros.io.processes import HERE, Workers, spread

Summary = dict[str, Any]
Told = Callable[[int], None]  # messages of the bag at hand that were copied


@dataclass(frozen=True)
class Labelling:
    """How bags are labelled, and where the result goes: ``folder/BAG``, ``folder/BAG.RULE.png``."""

    folder: Path
    rules: Rules
    robot: RobotShape
    mount: Mount
    outputs: Outputs
    steering: str | None = None  # topic
    steering_config: SteeringConfig | None = None
    image_topic: str | None = None

    def target(self, bag: Path) -> Path:
        """The labelled bag."""
        return self.folder / (bag.stem if bag.is_file() else bag.name)

    def picture(self, bag: Path, rule: str) -> Path:
        """Of a rule."""
        target = self.target(bag)
        return target.parent / f"{target.name}.{rule}.png"


def label_bags(
    bags: Sequence[Path],
    labelling: Labelling,
    workers: Workers = HERE,
    progress: Callable[[Summary], object] | None = None,
    told: Told | None = None,
) -> list[Summary]:
    """Label bags, and draw a picture for each rule.

    Args:
        bags: Of different names.
        labelling: How.
        workers: Who does it; the results do not depend on it.
        progress: Called with the summary of each bag.
        told: Called while a bag is copied, where this process does it.

    Returns:
        For each bag ``bag``, ``frames``, ``labelled``, ``unlabelled``, ``positive``, ``steering``,
        ``rules`` and ``pictures``.

    Raises:
        ConfigError: two bags have one name, or there is none.
        DataError: a place is taken, or as ``label_bag`` and ``write_labels``.
    """
    targets = [labelling.target(bag) for bag in bags]
    if not bags or len(set(targets)) < len(targets):
        names = ", ".join(bag.name for bag in bags) or "none"
        raise ConfigError(f"expected bags of different names, got {names}")
    for target in targets:
        require_new(target)
    run = partial(_label, labelling, None if workers.elsewhere else told)
    return spread(run, bags, workers, progress, made=partial(_files, labelling))


def _files(labelling: Labelling, bag: Path) -> list[Path]:
    return [labelling.target(bag), *(labelling.picture(bag, rule) for rule in NAMES)]


def _label(labelling: Labelling, told: Told | None, bag: Path) -> Summary:
    labels = label_bag(
        bag,
        labelling.rules,
        labelling.robot,
        labelling.mount,
        labelling.steering,
        labelling.steering_config,
        labelling.outputs.tolerance_s,
        labelling.image_topic,
    )
    topics(labels, labelling.outputs)  # what is wrong with their names is said before all work
    pictures = []
    for one in labels.rules:
        path = labelling.picture(bag, one.judged.rule)
        write_picture(labels, one, labelling.robot, labelling.mount, path)
        pictures.append(str(path))
    # The bag comes last: where it is, all is done, and a run that was cut off can be repeated.
    write_labels(labels, labelling.target(bag), labelling.outputs, told)
    return {"bag": str(labelling.target(bag)), **_summary(labels), "pictures": pictures}


def _summary(labels: Labels) -> Summary:
    rules = {
        one.judged.rule: {
            "topic": one.judged.topic,
            **_counts(one.collision),
            "suspicious": [{"frame": s.begin, "to": s.end, "why": s.why} for s in one.suspicions],
        }
        for one in labels.rules
    }
    steered = None if labels.steering is None else int(np.isfinite(labels.steering).sum())
    frames = len(labels.stamps_ns)
    return {"frames": frames, **_counts(labels.collision), "steering": steered, "rules": rules}


def _counts(values: NDArray[np.floating]) -> dict[str, int]:
    known = ~np.isnan(values)
    return {
        "labelled": int(known.sum()),
        "unlabelled": int((~known).sum()),
        "positive": int((values[known] > 0.5).sum()),
    }
