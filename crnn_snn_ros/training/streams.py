"""Drives as parallel streams of windows, for truncated back-propagation through time.

drives --cut--> pieces --shuffle--> queue --> stream 1 ... stream N --> a window of all, a step each

A step sees pieces of as many drives as there are streams, and a stream soon goes on to another
piece. Frames of a drive are near-copies: the longer a stream stays with one, the less a step can
learn. (Measured on simulated drives, at the same number of frames: steering RMSE .24 rad with 16
streams and pieces of 256 frames, .20 with 64 streams and pieces of 16. And of two runs of 205,000
frames, 64 pieces of 16 frames in windows of 4: .192 and collision entropy .193; 128 pieces of 2
frames: .187 and .168.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.ways import WAYS
from crnn_snn_ros.data.dataset import Sequence as Drive
from crnn_snn_ros.data.scans import BEARINGS
from crnn_snn_ros.training.augment import Look, augment
from crnn_snn_ros.training.config import AugmentConfig
from crnn_snn_ros.training.gallery import Gallery, View

SHORTEST_PIECE = 2  # frames; one alone has nothing to remember


class Chunk(NamedTuple):
    """One window of all streams: the tensors of a training step."""

    pixels: Tensor  # (N, T, C, H, W), int8, or of whatever kind the frames are
    steering_rad: Tensor  # (N, T), NaN where there is no label
    collision: Tensor  # (N, T), NaN where there is no label
    ranges_m: Tensor  # (N, T, BEARINGS), NaN where there is no scan
    way_costs: Tensor  # (N, T, WAYS), NaN where there is no such label
    fresh: Tensor  # bool (N,): a new piece begins here, so nothing is remembered


def kept(carry: Mapping[str, Tensor], fresh: Tensor) -> dict[str, Tensor]:
    """What is remembered of the window before, (N, ...) each: nothing where a new piece begins."""
    return {
        name: torch.where(fresh.reshape(-1, *(1,) * (state.ndim - 1)), 0.0, state)
        for name, state in carry.items()
    }


class _Piece(NamedTuple):
    drive: int  # its number
    start: int
    stop: int


class _Stream:
    """A place in a piece, seen in one look."""

    def __init__(self, piece: _Piece, look: Look | None) -> None:
        self.piece, self.look = piece, look
        self.at = piece.start
        self.under_way = False

    def skip(self, frames: int) -> None:
        """Begin later, but with some frames left."""
        self.at = max(self.piece.start, min(self.at + frames, self.piece.stop - SHORTEST_PIECE))

    def advance(self, frames: int) -> None:
        """Leave a window behind."""
        self.at += frames
        self.under_way = True

    def window(self, drive: Drive, frames: int) -> tuple[Tensor, ...]:
        """The next frames and labels; past the end the last frame stays, without a label."""
        index = np.minimum(np.arange(self.at, self.at + frames), self.piece.stop - 1)
        labelled = index == np.arange(self.at, self.at + frames)
        steering, collision = (
            np.where(labelled, labels[index], np.float32(np.nan))
            for labels in (drive.steering_rad, drive.collision)
        )
        rows = [
            _rows(table, columns, index, labelled)
            for table, columns in ((drive.ranges_m, BEARINGS), (drive.way_costs, WAYS))
        ]
        seen = drive.frames[index]
        if self.look is not None:
            told = self.look(seen, steering, collision, self.at)
            return *told, *(table.flip(1) if self.look.mirrored else table for table in rows)
        pixels, steered, judged = map(torch.from_numpy, (seen, steering, collision))
        return pixels, steered, judged, *rows

    @property
    def finished(self) -> bool:
        return self.at >= self.piece.stop


def _rows(
    table: NDArray[np.float32] | None,
    columns: int,
    index: NDArray[np.intp],
    labelled: NDArray[np.bool_],
) -> Tensor:
    """Rows (frames, columns) of a label, NaN where there is none."""
    rows = torch.full((len(index), columns), torch.nan)
    if table is not None:
        rows[labelled] = torch.from_numpy(table[index[labelled]])
    return rows


class Streams:
    """Endless windows of drives.

    Every process of a parallel training walks all streams, but looks only at the frames of its own
    share of them: together they see what one process alone would.

    Args:
        drives: Contiguous stretches of frames.
        window: Frames in a chunk; fewer where no drive is so long.
        streams: Pieces N that are walked at the same time; fewer where there are not so many.
        rng: Draws where drives are cut, the order of the pieces, and the look of each.
        looks: Limits of the look; None: as they are.
        share: Which part of the streams to see, (number, of so many).
        piece: Windows of a drive after which its stream goes on to another; so long is nothing
            forgotten.
        device: Where chunks are learned from; where it pays, it looks at the frames itself.
        hidden: Share of the values of a frame, the same ones in all frames of a window, that are
            zero; the others are larger, so that their sum stays. Frames are then float32.

    Attributes:
        steps: Chunks in which as many frames go by as the drives have.
        seen: Numbers of the streams that are in a chunk.

    Raises:
        DataError: no drive has two frames, or there are fewer streams than shares.
    """

    def __init__(
        self,
        drives: Sequence[Drive],
        window: int,
        streams: int,
        rng: np.random.Generator,
        looks: AugmentConfig | None = AugmentConfig(),  # noqa: B008
        share: tuple[int, int] = (0, 1),
        piece: int = 4,
        device: torch.device = torch.device("cpu"),  # noqa: B008
        hidden: float = 0.0,
    ) -> None:
        self._drives = [drive for drive in drives if len(drive) >= SHORTEST_PIECE]
        if not self._drives:
            raise DataError("the train split is too short: no drive of it has two frames")
        self._rng, self._looks, self._hidden = rng, looks, hidden
        self._gallery = Gallery.where_it_pays(self._drives, looks, device)
        self._window = min(window, max(len(drive) for drive in self._drives))
        total = sum(len(drive) for drive in self._drives)
        self._length = piece * self._window
        self._queue: list[_Piece] = []
        self._streams: list[_Stream] = []
        pieces = self._cut()
        self.count = min(streams, len(pieces))
        self.steps = -(-total // (self.count * self._window))
        number, of = share
        if self.count < of:
            raise DataError(f"{self.count} streams are too few for {of} processes; run fewer")
        self.seen = range(number * self.count // of, (number + 1) * self.count // of)

    def __next__(self) -> Chunk:
        """The next window of every stream; one whose piece is over goes on with another."""
        if not self._streams:
            self._streams = [self._begin() for _ in range(self.count)]
            for number, stream in enumerate(self._streams):  # not all of them end at once
                windows = -(-(stream.piece.stop - stream.at) // self._window)
                stream.skip(number % windows * self._window)
        self._streams = [self._begin() if old.finished else old for old in self._streams]
        fresh = torch.tensor([not self._streams[number].under_way for number in self.seen])
        pixels, steering, collision, ranges, way_costs = self._look()
        if self._hidden > 0.0:
            pixels = self._hide(pixels)
        for stream in self._streams:
            stream.advance(self._window)
        return Chunk(pixels, steering, collision, ranges, way_costs, fresh)

    def state(self) -> dict[str, Any]:
        """Where all streams are, and what will be drawn: JSON."""
        streams = [
            [stream.piece, stream.at, stream.under_way, stream.look and stream.look._asdict()]
            for stream in self._streams
        ]
        return {"rng": self._rng.bit_generator.state, "queue": self._queue, "streams": streams}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self._rng.bit_generator.state = state["rng"]
        self._queue = [_Piece(*piece) for piece in state["queue"]]
        self._streams = []
        for piece, at, under_way, look in state["streams"]:
            stream = _Stream(_Piece(*piece), look and Look.of(look))
            stream.at, stream.under_way = at, under_way
            self._streams.append(stream)

    def _hide(self, pixels: Tensor) -> Tensor:
        kept = self._rng.random((self.count, 1, *pixels.shape[2:])) >= self._hidden
        mine = torch.from_numpy(kept[self.seen.start : self.seen.stop]).to(pixels.device)
        return pixels.float() * mine / (1.0 - self._hidden)

    def _look(self) -> tuple[Tensor, ...]:
        """The windows of this share, stacked."""
        streams = [self._streams[number] for number in self.seen]
        if self._gallery is not None:
            views = [View(s.piece.drive, s.at, s.piece.stop, s.look) for s in streams]
            return self._gallery.windows(views, self._window)
        seen = [s.window(self._drives[s.piece.drive], self._window) for s in streams]
        return tuple(map(torch.stack, zip(*seen, strict=True)))

    def _begin(self) -> _Stream:
        if not self._queue:
            self._queue = self._cut()
            self._rng.shuffle(self._queue)
        look = None if self._looks is None else augment(self._rng, self._looks)
        return _Stream(self._queue.pop(), look)

    def _cut(self) -> list[_Piece]:
        """All drives, each cut from another frame on, so that windows do not always meet there."""
        pieces = []
        for number, drive in enumerate(self._drives):
            first = int(self._rng.integers(0, min(self._window, max(1, len(drive) // 4))))
            for start in range(first, len(drive) - SHORTEST_PIECE + 1, self._length):
                pieces.append(_Piece(number, start, min(start + self._length, len(drive))))
        return pieces
