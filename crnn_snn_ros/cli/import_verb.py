"""``crnn-snn import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_json, print_table, progress_bar


def import_verb(
    source: Positional[Path],
    out: Positional[Path],
    rate: float | None = None,
    max_steering: float = 0.4363,
    origin: str = "",
    licence: str = "",
    json: bool = False,
) -> int:
    """Turn a Donkeycar v4 tub (a folder, .tar.gz or .zip) into a bag.

    Example: crnn-snn import tub.tar.gz mit --rate 20 --licence MIT

    Args:
        source: The tub.
        out: Folder of the bag, which must not exist.
        rate: Frames per second to stamp evenly; without it the recorded stamps are kept.
        max_steering: Wheel angle in rad at the tub's full lock (angle 1).
        origin: Where the recording came from; kept in the bag.
        licence: Its licence; kept in the bag.
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.data.import_donkeycar import import_donkeycar

    with progress_bar(None, quiet=json) as bar:
        summary = import_donkeycar(
            source,
            out,
            rate_hz=rate,
            max_steering_rad=max_steering,
            source_name=origin or source.name,
            licence=licence,
            progress=lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total),
        )
    result = asdict(summary)
    if json:
        print_json({"bag": str(out), **result})
    else:
        print_table(f"bag {out}", result)
    return 0
