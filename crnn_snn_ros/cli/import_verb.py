"""``crnn-snn import``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from crnn_snn_ros.cli.output import print_columns, print_json, print_table, progress_bar
from crnn_snn_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from crnn_snn_ros.data.importers import ImportSummary

Format = Literal[
    "donkeycar", "donkeycar-json", "dronet", "jetbot", "jetbot-xy", "csv", "video", "bag"
]


def import_verb(
    source: Positional[Path],
    out: Positional[Path],
    format: Format | None = None,
    rate: float | None = None,
    start: float = 0.0,
    max_steering: float = 0.4363,
    steering_scale: float = 1.0,
    columns: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    table: Path | None = None,
    percent: bool = False,
    origin: str = "",
    licence: str = "",
    jobs: int = 1,
    scheduler: str | None = None,
    json: bool = False,
) -> int:
    """Turn recordings into bags: a folder, a video, an archive of a folder, or a damaged bag.

    Example: crnn-snn import tub.tar.gz mit --rate 20 --licence MIT

    Args:
        source: The recording.
        out: Folder of the bag; of several drives, the folder of their bags and of data.yaml.
        format: What the source is; without it, it is looked at. donkeycar: a v4 tub;
            donkeycar-json: an older one; jetbot: folders free/ and blocked/; jetbot-xy: the point
            to drive to in the file's name (JetRacer too); dronet: images/ with labels.txt or
            sync_steering.txt; csv: pictures with a CSV; video: with or without a CSV; bag: Rosbag2
            or ROS 1, damaged perhaps: what is whole is saved, what is lost is counted.
        rate: Frames per second to stamp evenly; without it the recorded stamps are kept.
        start: Time of the first frame, seconds since 1970, where nothing recorded it.
        max_steering: Wheel angle in rad at full lock, of sources that record -1..1.
        steering_scale: Radians, positive to the left, per recorded unit of the others.
        columns: Of a CSV, ROLE=COLUMN ...; roles: image, frame, time_s, time_ms, time_ns, steering,
            collision, throttle, session.
        words: Words in a label's column, WORD=NUMBER ...
        table: The CSV, where it is not beside the video or the only one of the folder.
        percent: Points in file names are 0..100, not pixels.
        origin: Where the recording came from; kept in the bag.
        licence: Its licence; kept in the bag.
        jobs: Number of processes to spread the drives over; the bags do not depend on it.
        scheduler: Address of a Dask scheduler, whose workers do it instead (docs/scale_out.md).
        json: One JSON object on stdout.
    """
    from crnn_snn_ros.data.importers import ImportOptions, import_recordings
    from crnn_snn_ros.data.salvage import is_bag
    from crnn_snn_ros.io.processes import Workers

    if format == "bag" or (format is None and is_bag(source)):
        return _save(source, out, json)
    workers = Workers(jobs, scheduler)
    options = ImportOptions(
        rate_hz=rate,
        start_s=start,
        max_steering_rad=max_steering,
        steering_scale=steering_scale,
        columns=_pairs(columns, "--columns"),
        words={word: _number(value) for word, value in _pairs(words, "--words").items()},
        table=table,
        percent=percent,
        source_name=origin,
        licence=licence,
    )
    with progress_bar(None, quiet=json) as bar:
        summaries = import_recordings(
            source,
            out,
            options,
            format,
            progress=lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total),
            workers=workers,
        )
    _print(summaries, out, json)
    return 0


def _save(source: Path, out: Path, json: bool) -> int:
    from crnn_snn_ros.data.salvage import salvage

    with progress_bar(None, quiet=json) as bar:
        saved = salvage(source, out, progress=lambda n: bar.update(bar.task_ids[0], completed=n))
    if json:
        print_json({"bag": str(out), **asdict(saved), "saved": saved.saved, "lost": saved.lost})
        return 0
    head = ("topic", "saved", "lost", "undecodable", "suspect")
    rows = [
        (name, str(topic.saved), topic.lost_text, str(topic.undecodable), str(topic.suspect))
        for name, topic in saved.topics.items()
    ]
    print_columns(f"bag {out}", head, rows)
    for note in saved.notes:
        print(note)
    return 0


def _print(summaries: list[ImportSummary], out: Path, json: bool) -> None:
    results = [_plain(summary) for summary in summaries]
    if len(results) == 1:
        if json:
            print_json(results[0])
        else:
            print_table(f"bag {out}", results[0])
        return
    if json:
        print_json({"folder": str(out), "bags": results})
        return
    shown = ("frames", "deleted", "missing", "damaged", "duration_s", "rate_hz")
    rows = [
        (Path(result["bag"]).name, *(f"{result[name]:.4g}" for name in shown)) for result in results
    ]
    print_columns(f"{len(results)} bags in {out}, and data.yaml", ("bag", *shown), rows)


def _plain(summary: ImportSummary) -> dict[str, Any]:
    return {**asdict(summary), "topics": list(summary.topics)}


def _pairs(words: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} {word}: expected NAME=VALUE")
        pairs[name] = value
    return pairs


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--words: {text!r} is not a number") from None
