"""A node that listens to others, in a context of its own; it listens while it waits.

It is on the shipped DDS profile, because it may be the camera. Fast DDS reads the profile when a
process has its first participant, and never again: this must be the first, or the images are lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.ros.dds import profile_environment

SPIN_S = 0.05


class Participant:
    """Listens, until it is closed.

    Args:
        name: of the node.
    """

    def __init__(self, name: str) -> None:
        os.environ.update(profile_environment())
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node: Any = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._news_s = time.monotonic()

    def news(self) -> None:
        """Something came for which it is worth to wait on."""
        self._news_s = time.monotonic()

    def listen_until(self, ready: Callable[[], bool], patience_s: float, what: str) -> None:
        """Listen until ``ready``.

        Raises:
            CrnnSnnError: with ``what``, when there was no news for ``patience_s``.
        """
        self.news()
        while not ready():
            if time.monotonic() > self._news_s + patience_s:
                raise CrnnSnnError(f"{what} within {patience_s:g} s")
            self._executor.spin_once(timeout_sec=SPIN_S)

    def meet(
        self,
        heard: Sequence[str],
        told: Sequence[Any],
        check: Callable[[], object],
        timeout_s: float,
    ) -> None:
        """Wait until others publish all topics of ``heard`` and listen to all of ``told``.

        Args:
            heard: topics.
            told: publishers.
            check: called now and then; raises where waiting is in vain.
            timeout_s: to wait at most.

        Raises:
            CrnnSnnError: they did not come.
        """

        def met() -> bool:
            check()
            published = all(self.node.count_publishers(topic) for topic in heard)
            return published and all(publisher.get_subscription_count() for publisher in told)

        topics = ", ".join(heard)
        self.listen_until(met, timeout_s, f"no node was found that publishes {topics}")

    def listen_for(self, duration_s: float) -> None:
        """Only listen."""
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=SPIN_S)

    def close(self) -> None:
        """Leave the network."""
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()
