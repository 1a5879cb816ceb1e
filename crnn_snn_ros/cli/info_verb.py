"""``crnn-snn info``."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table


def info_verb(model: Positional[Path], json: bool = False) -> int:
    """Show the model card: input, levels, bounds, training data and licence, metrics, hash.

    Example: crnn-snn info models/default.snn

    Args:
        model: The model file.
        json: The whole header as one JSON object on stdout.
    """
    from crnn_snn_ros.io.model_file import header

    card = header(model)
    if json:
        print_json(card)
        return 0
    graph = card.pop("graph")
    card.pop("tensors")
    print_table(f"model {model}", {"layers": len(graph["nodes"]), **card})
    return 0
