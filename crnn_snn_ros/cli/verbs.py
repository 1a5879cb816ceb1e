"""The verbs by name. Each verb's module imports nothing heavy before it runs, for a fast --help."""

from __future__ import annotations

from collections.abc import Callable

from crnn_snn_ros.cli.bench_verb import bench_verb
from crnn_snn_ros.cli.convert_verb import convert_verb
from crnn_snn_ros.cli.dagger_verb import dagger_verb
from crnn_snn_ros.cli.export_verb import export_verb
from crnn_snn_ros.cli.eye_verb import eye_verb
from crnn_snn_ros.cli.import_verb import import_verb
from crnn_snn_ros.cli.info_verb import info_verb
from crnn_snn_ros.cli.label_verb import label_verb
from crnn_snn_ros.cli.redrive_verb import redrive_verb
from crnn_snn_ros.cli.replay_verb import replay_verb
from crnn_snn_ros.cli.simulate_verb import simulate_verb
from crnn_snn_ros.cli.train_verb import train_verb
from crnn_snn_ros.cli.verify_verb import verify_verb

VERBS: dict[str, Callable[..., int]] = {
    "import": import_verb,
    "label": label_verb,
    "train": train_verb,
    "eye": eye_verb,
    "dagger": dagger_verb,
    "redrive": redrive_verb,
    "convert": convert_verb,
    "verify": verify_verb,
    "replay": replay_verb,
    "simulate": simulate_verb,
    "bench": bench_verb,
    "export": export_verb,
    "info": info_verb,
}
