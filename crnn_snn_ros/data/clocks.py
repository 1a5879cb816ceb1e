"""Two clocks in one bag: messages without a header only know when the bag received them.

In a simulation that is the computer's time, while the sensors' stamps are those of ``/clock``. Then
the time of receipt is carried over to the sensors' clock by what was received together with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crnn_snn_ros.data.bags import Signal, raw_messages
from crnn_snn_ros.data.messages import header_stamp, message_store

APART_S = 60.0  # transport never takes so long: it is another clock

Stamps = NDArray[np.int64]


class Clock(NamedTuple):
    """Times of receipt and the stamps that came with them; empty: there is one clock only."""

    received_ns: Stamps  # (n,), growing
    stamps_ns: Stamps  # (n,)

    def stamp(self, received_ns: Stamps) -> Stamps:
        """Times of receipt on the sensors' clock, (n,).

        Example:
            >>> clock = Clock(np.array([1000, 2000]), np.array([0, 500]))
            >>> clock.stamp(np.array([1000, 1500])).tolist()
            [0, 250]
        """
        if not len(self.received_ns):
            return received_ns
        # Counted from the beginning: a double holds nanoseconds of a drive, but not of 1970.
        elapsed = (self.received_ns - self.received_ns[0]).astype(np.float64)
        passed = (self.stamps_ns - self.stamps_ns[0]).astype(np.float64)
        at = (received_ns - self.received_ns[0]).astype(np.float64)
        inside = np.interp(at, elapsed, passed)
        # Before the first and after the last both clocks run alike.
        outside = np.minimum(at - elapsed[0], 0.0) + np.maximum(at - elapsed[-1], 0.0)
        return np.asarray(np.rint(inside + outside).astype(np.int64) + self.stamps_ns[0])

    def carry(self, signal: Signal) -> Signal:
        """A signal of messages without header on the sensors' clock."""
        return Signal(self.stamp(signal.stamps_ns), signal.values)


ONE_CLOCK = Clock(np.empty(0, np.int64), np.empty(0, np.int64))


def read_clock(path: Path, topic: str) -> Clock:
    """The clock of a topic's stamps; ``ONE_CLOCK`` where it is that of the receipt.

    Raises:
        DataError: the bag is damaged.
    """
    received: list[int] = []
    stamps: list[int] = []
    for connection, received_ns, raw in raw_messages(path, topic):
        content = message_store().deserialize_cdr(raw, connection.msgtype)
        stamp_ns = header_stamp(content)
        if stamp_ns and (not received or received_ns > received[-1]):
            received.append(received_ns)
            stamps.append(stamp_ns)
    clock = Clock(np.array(received, np.int64), np.array(stamps, np.int64))
    if not received or abs(np.median(clock.received_ns - clock.stamps_ns)) < APART_S * 1e9:
        return ONE_CLOCK
    return clock
