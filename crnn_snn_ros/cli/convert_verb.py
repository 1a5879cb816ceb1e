"""``crnn-snn convert``."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from crnn_snn_ros.cli.output import STDOUT, print_json, print_table
from crnn_snn_ros.core.errors import ConfigError


def convert_verb(checkpoint: Positional[Path], out: Positional[Path], json: bool = False) -> int:
    """Convert a trained network into a spiking one without loss, or refuse.

    Example: crnn-snn convert out/train/qat.safetensors model.snn

    Args:
        checkpoint: qat.safetensors of crnn-snn train.
        out: The model file to write.
        json: One JSON object on stdout.
    """
    from rich.table import Table

    from crnn_snn_ros.core.bounds import ACCUMULATOR_LIMIT
    from crnn_snn_ros.core.graph import Neurons
    from crnn_snn_ros.evaluation.synops import OperationCounter
    from crnn_snn_ros.io.model_file import save
    from crnn_snn_ros.training.checkpoint import load
    from crnn_snn_ros.training.convert import convert
    from crnn_snn_ros.training.model_card import to_model

    if out.resolve() == checkpoint.resolve():
        raise ConfigError(f"{out} is the checkpoint itself: give the model another name")
    trained = load(checkpoint)
    conversion = convert(trained.network)
    model = to_model(trained, conversion)
    out.parent.mkdir(parents=True, exist_ok=True)
    digest = save(out, model)
    graph, bounds = conversion.graph, conversion.bounds
    result = {
        "model": str(out),
        "sha256": digest,
        "size_bytes": out.stat().st_size,
        "settling_steps_bound": bounds.settling_steps,
        "accumulator_bound": bounds.accumulator,
        "accumulator_limit": ACCUMULATOR_LIMIT,
        "dense_operations_per_frame": OperationCounter(graph).dense(),
        "checked_frames": conversion.checked_frames,
        "mismatches": sum(conversion.mismatches.values()),
    }
    if json:
        print_json({**result, "layer_mismatches": conversion.mismatches})
        return 0
    table = Table("layer", "counts", "thresholds", "settled by step", "mismatches")
    for node in graph.nodes:
        counts = thresholds = ""
        if isinstance(node, Neurons):
            counts = f"{node.n_min}..{node.n_max}"
            thresholds = f"{node.threshold.min()}..{node.threshold.max()}"
        steps, wrong = bounds.layer_steps[node.name], conversion.mismatches[node.name]
        table.add_row(node.name, counts, thresholds, str(steps), str(wrong))
    STDOUT.print(table)
    print_table(f"model {out}", result)
    return 0
