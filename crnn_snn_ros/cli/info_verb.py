"""``crnn-snn info``."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json


def info_verb(model: Positional[Path], json: bool = False) -> int:
    """Show the model card: input, levels, bounds, training data and licence, metrics, hash.

    Example: crnn-snn info models/donkeycar_mit.snn

    Args:
        model: The model file.
        json: The whole header as one JSON object on stdout.
    """
    import yaml

    from crnn_snn_ros.io.model_file import header

    card = header(model)
    if json:
        print_json(card)
        return 0
    card["layers"] = [node["name"] for node in card.pop("graph")["nodes"]]
    del card["tensors"]
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=100)
    print("".join(char if char.isprintable() or char == "\n" else "?" for char in text), end="")
    return 0
