"""``crnn-snn info``."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json
from crnn_snn_ros.core.errors import ConfigError


def info_verb(model: Positional[Path], picture: Path | None = None, json: bool = False) -> int:
    """Show the model card: input, levels, bounds, training data and licence, metrics, hash.

    Example: crnn-snn info models/donkeycar_mit.snn --picture architecture.svg

    Args:
        model: The model file.
        picture: Also draw the network on one page, an .svg file.
        json: The whole header as one JSON object on stdout.
    """
    import yaml

    from crnn_snn_ros.io.model_file import read

    if picture is not None and picture.suffix != ".svg":
        raise ConfigError(f"--picture {picture}: only .svg is drawn")
    loaded, card = read(model)
    if picture is not None:
        from crnn_snn_ros.evaluation.architecture import draw

        draw(picture, loaded, model.name, card)
    if json:
        print_json(card)
        return 0
    card["layers"] = [node["name"] for node in card.pop("graph")["nodes"]]
    del card["tensors"]
    text = yaml.safe_dump(card, sort_keys=False, default_flow_style=None, width=100)
    print("".join(char if char.isprintable() or char == "\n" else "?" for char in text), end="")
    return 0
