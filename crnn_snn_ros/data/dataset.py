"""``DATA.yaml`` -> sequences of network inputs with their labels.

bag --read_frames--> image --see--> int8 input --cache--> memory map --split--> Sequence

A drive is decoded once. Memory stays bounded however long it is: frames go through one by one,
and what training reads is mapped from the cache's file. Labels are 16 bytes each.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.types import Frame, elapsed_s
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data import cache
from crnn_snn_ros.data.bags import Signal, find_image_topic, read_frames, read_signal
from crnn_snn_ros.data.data_config import BagConfig, DataConfig, load_data_config
from crnn_snn_ros.data.scans import BEARINGS, read_scans
from crnn_snn_ros.data.steering import read_steering
from crnn_snn_ros.data.tables import Table, read_way_costs
from crnn_snn_ros.io.identity import identity
from crnn_snn_ros.io.preprocess import InputContract, Past, see
from crnn_snn_ros.io.processes import HERE, Workers, spread

__all__ = ["DataConfig", "Sequence", "load_data_config", "load_sequences", "synchronise"]

CACHE_VERSION = 2  # raise it whenever decoding or preprocessing changes
RATE_TOLERANCE = 0.2  # of the median frame period
SEEN_AT_ONCE = 64  # frames that features are made of; more do not fit into the cache of a CPU

Floats = NDArray[np.float32]
Stamps = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sequence:
    """A contiguous stretch of one drive."""

    name: str  # bag and split
    frames: NDArray[Any]  # int8 (N, C, H, W), or features of them; memory-mapped, read-only
    stamps_ns: Stamps  # (N,), never running back
    steering_rad: Floats  # (N,), positive to the left, NaN where absent
    collision: Floats  # (N,), 0..1, NaN where absent
    ranges_m: Floats | None = None  # (N, BEARINGS), NaN where absent; None: without a scanner
    way_costs: Floats | None = None  # (N, WAYS) of ``core.ways``, likewise

    def __len__(self) -> int:
        """Frames."""
        return len(self.stamps_ns)

    def __getitem__(self, part: slice) -> Sequence:
        """A part of it; nothing is copied."""
        return Sequence(
            self.name,
            self.frames[part],
            self.stamps_ns[part],
            self.steering_rad[part],
            self.collision[part],
            None if self.ranges_m is None else self.ranges_m[part],
            None if self.way_costs is None else self.way_costs[part],
        )


class Features(Protocol):
    """What is kept of frames instead of them; picklable, to be made in other processes."""

    @property
    def key(self) -> str:
        """Tells it from all others that make something else of the same frames."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what it makes of one frame, float16."""

    def __call__(self, frames: NDArray[np.int8]) -> NDArray[np.float16]:
        """Of frames (N, C, H, W), (N, *shape)."""


def load_sequences(
    config: DataConfig,
    split: str,
    cache_dir: Path,
    workers: Workers = HERE,
    features: Features | None = None,
) -> list[Sequence]:
    """The parts of all bags that belong to ``split``: one sequence for each contiguous stretch.

    A stretch ends where the node would forget what it saw (``core.types.elapsed_s``).

    A label belongs to a frame when it is the nearest and at most half a frame period away, or the
    bag's own tolerance.

    Args:
        config: the data set.
        split: a key of ``config.splits``.
        cache_dir: where decoded frames are kept; made when missing.
        workers: who decodes the bags that are not there yet.
        features: what the sequences are to hold instead of frames, which are then not kept.

    Raises:
        ConfigError: the split is not in the configuration.
        DataError: a bag is damaged, its stamps run back, its median rate is not
            ``frame_rate_hz`` within 20 %, a topic is missing, a label is out of range, or the
            split has no frame of a bag.
    """
    if split not in config.splits:
        raise ConfigError(f"split '{split}' is not in the data set: {', '.join(config.splits)}")
    bags = [bag for bag in config.bags if bag.split in (None, split)]
    if workers.elsewhere:
        spread(partial(_decode, config.contract, cache_dir, features), bags, workers)
    return [
        part for bag in bags for part in _load_sequences(config, bag, split, cache_dir, features)
    ]


def synchronise(signal: Signal, stamps_ns: Stamps, tolerance_ns: int) -> Floats:
    """The signal's value nearest to each stamp, NaN where none is within the tolerance.

    Of two equally near values the earlier one is taken.

    Args:
        signal: in the order of its stamps.
        stamps_ns: int64 (N,).
        tolerance_ns: largest distance, inclusive.

    Returns:
        float32 (N,).
    """
    if len(signal.stamps_ns) == 0:
        return np.full(len(stamps_ns), np.nan, np.float32)
    nearest, near = _nearest(signal.stamps_ns, stamps_ns, tolerance_ns)
    return np.where(near, signal.values[nearest], np.nan).astype(np.float32)


def _nearest(
    recorded_ns: Stamps, stamps_ns: Stamps, tolerance_ns: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """For each stamp the number of the recorded one nearest to it, and whether that is near."""
    last = len(recorded_ns) - 1
    after = np.clip(np.searchsorted(recorded_ns, stamps_ns, side="left"), 0, last)
    before = np.maximum(after - 1, 0)
    to_before = np.abs(stamps_ns - recorded_ns[before])
    to_after = np.abs(recorded_ns[after] - stamps_ns)
    nearest = np.where(to_before <= to_after, before, after)
    return nearest, np.minimum(to_before, to_after) <= tolerance_ns


def _decode(
    contract: InputContract, cache_dir: Path, features: Features | None, bag: BagConfig
) -> None:
    """Fill the cache with all of a bag that is not there yet."""
    _frames(bag, contract, cache_dir, features)
    _steering(bag, cache_dir)
    _collision(bag, cache_dir)
    _scans(bag, cache_dir)
    _way_costs(bag, cache_dir)


def _load_sequences(
    config: DataConfig, bag: BagConfig, split: str, cache_dir: Path, features: Features | None
) -> Iterator[Sequence]:
    frames, stamps = _frames(bag, config.contract, cache_dir, features)
    _require_rate(bag.path, stamps, config.frame_rate_hz)
    # Rounded once per boundary, so that splits which touch neither share nor lose a frame.
    span = config.splits[split] if bag.split is None else (0.0, 1.0)
    begin, end = (math.floor(at * len(stamps) + 0.5) for at in span)
    if begin >= end:
        raise DataError(f"bag {bag.path}: split '{split}' is empty, of {len(stamps)} frames")
    every, stamps = stamps, stamps[begin:end]
    steering, collision = _steering(bag, cache_dir), _collision(bag, cache_dir)
    tolerance_s = 0.5 / config.frame_rate_hz if bag.tolerance_s is None else bag.tolerance_s
    tolerance_ns = round(tolerance_s * 1e9)
    for topic, signal in ((bag.steering, steering), (bag.collision, collision)):
        if topic is not None:
            _require_labels(bag.path, topic, signal, every, tolerance_ns)
    whole = Sequence(
        name=f"{bag.path.name}:{split}",
        frames=frames[begin:end],
        stamps_ns=stamps,
        steering_rad=synchronise(steering, stamps, tolerance_ns),
        collision=synchronise(collision, stamps, tolerance_ns),
        ranges_m=_nearest_rows(_scans(bag, cache_dir), stamps, tolerance_ns),
        way_costs=_nearest_rows(_way_costs(bag, cache_dir), stamps, tolerance_ns),
    )
    steps = pairwise(stamps.tolist())
    anew = [number for number, step in enumerate(steps, start=1) if elapsed_s(*step) is None]
    for first, last in pairwise([0, *anew, len(stamps)]):
        yield whole[first:last]


def _frames(
    bag: BagConfig, contract: InputContract, cache_dir: Path, features: Features | None
) -> tuple[NDArray[Any], Stamps]:
    topic = find_image_topic(bag.path, bag.image)
    shape: tuple[int, ...] = (contract.channels, contract.height, contract.width)
    kind: type = np.int8
    key = {
        "version": CACHE_VERSION,
        "opencv": cv2.__version__,
        "bag": _identity(bag.path),
        "topic": topic,
        "contract": dataclasses.asdict(contract),
        "mount": bag.mount,
    }
    if features is not None:
        shape, kind = features.shape, np.float16
        key["features"] = features.key

    def build(folder: Path) -> None:
        stamps: list[int] = []
        sizes: set[tuple[int, int]] = set()

        def recorded() -> Iterator[Frame]:
            frames = read_frames(bag.path, topic, bag.mount, moves=contract.steady)
            for number, frame in enumerate(frames):
                if stamps and frame.stamp_ns < stamps[-1]:
                    raise DataError(
                        f"bag {bag.path}, {topic}: frame {number} is stamped "
                        f"{(stamps[-1] - frame.stamp_ns) * 1e-9:.3f} s before the one ahead of it; "
                        "give each recording a bag of its own"
                    )
                stamps.append(frame.stamp_ns)
                sizes.add(frame.image.shape[:2])
                _require_one(sizes, f"bag {bag.path}, {topic}: frame {number}")
                yield frame

        def seen() -> Iterator[NDArray[np.int8]]:
            past: Past = ()
            for frame in recorded():
                if len(stamps) > 1 and elapsed_s(*stamps[-2:]) is None:
                    past = ()
                try:
                    pixels, past = see(frame.image, contract, past, frame.mount, frame.moved)
                except DataError as error:
                    raise DataError(f"bag {bag.path}, {topic}: {error}") from None
                yield pixels

        rows = seen() if features is None else _made(features, seen())
        cache.write(folder, "frames", rows, shape, kind)
        np.save(folder / "stamps_ns.npy", np.array(stamps, np.int64))

    folder = cache.entry(cache_dir, key, build)
    frames = cache.load(folder, "frames", shape, kind)
    stamps = np.array(cache.load(folder, "stamps_ns", (), np.int64))
    if len(frames) != len(stamps):
        raise DataError(f"{folder} holds {len(frames)} frames, {len(stamps)} stamps: remove it")
    return frames, stamps


def _made(features: Features, frames: Iterator[NDArray[np.int8]]) -> Iterator[NDArray[np.float16]]:
    while some := list(islice(frames, SEEN_AT_ONCE)):
        yield from features(np.stack(some))


def _require_one(sizes: set[tuple[int, int]], where: str) -> None:
    if len(sizes) > 1:
        found = " and ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise DataError(f"{where} has another size, {found}; give each camera a bag of its own")


def _require_labels(
    path: Path, topic: str, signal: Signal, stamps: Stamps, tolerance_ns: int
) -> None:
    if not len(signal.stamps_ns):
        raise DataError(f"bag {path}: {topic} says nothing of the steering (it stood all the time)")
    if np.isnan(synchronise(signal, stamps, tolerance_ns)).all():
        apart_s = float(np.abs(signal.stamps_ns[0] - stamps).min()) * 1e-9
        raise DataError(
            f"bag {path}: no label of {topic} is within {tolerance_ns * 1e-9:g} s of a frame, its "
            f"first one is {apart_s:.4g} s away; is it of another clock (see 'crnn-snn label')?"
        )


def _steering(bag: BagConfig, cache_dir: Path) -> Signal:
    topic, config = bag.steering, bag.steering_config
    if topic is None:
        return _NO_SIGNAL
    read = partial(read_steering, bag.path, topic, config)
    how = dataclasses.asdict(config)
    return _signal(bag, topic, how, read, (-math.pi / 2, math.pi / 2), cache_dir)


def _collision(bag: BagConfig, cache_dir: Path) -> Signal:
    topic = bag.collision
    if topic is None:
        return _NO_SIGNAL
    return _signal(bag, topic, {}, partial(read_signal, bag.path, topic), (0.0, 1.0), cache_dir)


def _scans(bag: BagConfig, cache_dir: Path) -> Table | None:
    return _table(bag, bag.scan, read_scans, BEARINGS, cache_dir)


def _way_costs(bag: BagConfig, cache_dir: Path) -> Table | None:
    return _table(bag, bag.way_costs, read_way_costs, WAYS, cache_dir)


def _table(
    bag: BagConfig,
    topic: str | None,
    read: Callable[[Path, str], Table],
    columns: int,
    cache_dir: Path,
) -> Table | None:
    if topic is None:
        return None
    how = f"{read.__name__} {columns}"
    key = {"version": CACHE_VERSION, "bag": _identity(bag.path), "table": topic, "how": how}

    def build(folder: Path) -> None:
        for name, values in read(bag.path, topic)._asdict().items():
            np.save(folder / f"{name}.npy", values)

    folder = cache.entry(cache_dir, key, build)
    return Table(
        cache.load(folder, "stamps_ns", (), np.int64),
        cache.load(folder, "rows", (columns,), np.float32),
    )


def _nearest_rows(table: Table | None, stamps_ns: Stamps, tolerance_ns: int) -> Floats | None:
    if table is None:
        return None
    nearest, near = _nearest(table.stamps_ns, stamps_ns, tolerance_ns)
    return np.where(near[:, None], table.rows[nearest], np.float32(np.nan))


_NO_SIGNAL = Signal(np.empty(0, np.int64), np.empty(0, np.float64))


def _signal(
    bag: BagConfig,
    topic: str,
    how: dict[str, Any],
    read: Callable[[], Signal],
    limits: tuple[float, float],
    cache_dir: Path,
) -> Signal:
    key = {"version": CACHE_VERSION, "bag": _identity(bag.path), "signal": topic, "how": how}

    def build(folder: Path) -> None:
        recorded = read()
        np.save(folder / "stamps_ns.npy", recorded.stamps_ns)
        np.save(folder / "values.npy", recorded.values)

    folder = cache.entry(cache_dir, key, build)
    signal = Signal(
        cache.load(folder, "stamps_ns", (), np.int64), cache.load(folder, "values", (), np.float64)
    )
    wrong = np.flatnonzero(~((signal.values >= limits[0]) & (signal.values <= limits[1])))
    if len(wrong):
        raise DataError(
            f"bag {bag.path}, {topic}: value {wrong[0]} is {signal.values[wrong[0]]:g}, "
            f"expected {limits[0]:.4g}..{limits[1]:.4g}"
        )
    return signal


def _identity(path: Path) -> list[list[Any]]:
    """What tells one recording from another without reading it: paths, sizes, times of change."""
    try:
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        return [list(identity(file)) for file in files]
    except OSError as error:
        raise DataError(f"bag {path} cannot be read: {error.strerror}") from None


def _require_rate(path: Path, stamps: Stamps, expected_hz: float) -> None:
    if len(stamps) < 2:
        return
    period_s = float(np.median(np.diff(stamps))) * 1e-9
    if abs(period_s * expected_hz - 1.0) > RATE_TOLERANCE:
        found = f"{1.0 / period_s:.4g} Hz" if period_s > 0 else "equal stamps"
        raise DataError(
            f"bag {path} has {found}, frame_rate_hz is {expected_hz:g}: set it to the bag's, or "
            "record the bag at that rate"
        )
