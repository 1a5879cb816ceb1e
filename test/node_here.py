"""The node in the process of the test: its callbacks are called by hand, its commands are kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from ros_peer import DOMAIN, arguments

from crnn_snn_ros.core.types import Command
from crnn_snn_ros.ros.node import CollisionAvoidance
from crnn_snn_ros.ros.outputs import Outputs


class Recorder(Outputs):
    """The node's own publishers, and a list of the commands."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.commands: list[Command] = []

    def command(self, command: Command, header: Any) -> None:
        self.commands.append(command)
        super().command(command, header)


@contextmanager
def here(**parameters: object) -> Iterator[CollisionAvoidance]:
    """The node in this process, spun by nobody; its ``_guard.outputs`` is a Recorder."""
    context = Context()
    settings = {"allow_untrained": True, **parameters}
    rclpy.init(
        args=arguments(**settings),
        context=context,
        domain_id=DOMAIN,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    with patch("crnn_snn_ros.ros.node.Outputs", Recorder):
        node = CollisionAvoidance(context=context)
        try:
            yield node
        finally:
            node.destroy_node()
            context.try_shutdown()
