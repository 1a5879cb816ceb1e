"""The node ``collision_avoidance``: camera images in, velocity commands out.

    image ---> frame ---> pipeline.step ---> supervisor.answer ---> cmd_vel, steering, ...
    steady clock, every 25 ms -------------> supervisor.tick -----> cmd_vel (zero)

A thin shell: what a frame means is in ``pipeline``, what may leave in ``core.supervisor``. Here are
only topics, threads, and the lock that keeps a stop from being overtaken by an older command.
Images, watchdog, services and reports each have a callback group, so none waits for another, and
nothing on the way to a command writes to the terminal, which may block.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Done
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from crnn_snn_ros.core import supervisor
from crnn_snn_ros.core.command import INITIAL, ControlConfig
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.health import Sample, health, keep
from crnn_snn_ros.core.supervisor import Mode, Reason, Step
from crnn_snn_ros.pipeline import Answer, Pipeline, PipelineState
from crnn_snn_ros.ros import messages, parameters, process
from crnn_snn_ros.ros.outputs import Outputs

WATCHDOG_S = 0.025
REPORT_S = 1.0  # also when the log is written
FINISH_S = 2.0  # what the frame under way may take before the process leaves it behind
THREADS = 4  # one for each callback group
NEWEST_ONLY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


class CollisionAvoidance(LifecycleNode):
    """Lifecycle node around a ``Pipeline``; raises ConfigError if a parameter is wrong."""

    def __init__(self) -> None:
        super().__init__("collision_avoidance")
        parameters.declare(self)
        self._config = parameters.read(self, parameters.NodeConfig)
        self._lock = threading.Lock()  # of the status and of publishing what follows from it
        self._computing = threading.Lock()  # held while a frame is being answered
        self._status = supervisor.INITIAL._replace(enabled=self._config.enabled)
        self._pipeline: Pipeline | None = None
        self._state: PipelineState | None = None  # None: begin anew
        self._images: Subscription | None = None
        self._outputs: Outputs | None = None  # while configured
        self._frame_id = ""
        self._samples: list[Sample] = []
        self._facts: dict[str, str] = {}
        self._remark = self._refusal = ""
        self._news: deque[str] = deque(maxlen=20)  # for the log
        self._image_group = MutuallyExclusiveCallbackGroup()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # ~/reset shares the group of the images, so it never cuts into a frame.
        self.create_service(Trigger, "~/reset", self._on_reset, callback_group=self._image_group)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        watch = partial(self._take, supervisor.tick)
        for period_s, callback in ((WATCHDOG_S, watch), (REPORT_S, self._on_report)):
            group = MutuallyExclusiveCallbackGroup()
            self.create_timer(period_s, callback, callback_group=group, clock=steady)
        self.add_on_set_parameters_callback(self._judge_parameters)
        self.add_post_set_parameters_callback(self._adopt_parameters)

    def start(self) -> None:
        """Configure and activate, where parameter ``autostart`` says so.

        Raises:
            ConfigError: the model or a parameter is refused.
        """
        if self._config.autostart:
            if self.trigger_configure() != Done.SUCCESS:
                raise ConfigError(self._refusal)
            self.trigger_activate()

    def finish(self) -> bool:
        """Send the final zero command and see it acknowledged; False if a frame is stuck."""
        self._take(supervisor.shutdown)
        if self._outputs is not None:
            self._outputs.flush(timeout_s=1.0)
        return self._computing.acquire(timeout=FINISH_S)

    def on_configure(self, _: LifecycleState) -> Done:
        """Load and check the model; refuse with a reason in the log."""
        try:
            self._config = parameters.read(self, parameters.NodeConfig)
            control = parameters.read(self, ControlConfig)
            torch.set_num_threads(self._config.threads)
            self._pipeline, self._facts, self._remark = parameters.build(self._config, control)
        except Exception as error:  # the edge: rclpy would swallow it
            self._refusal = str(error) or repr(error)
            self._news.append(f"cannot configure: {self._refusal}")
            return Done.FAILURE
        self._outputs = Outputs(self, stamped=self._config.stamped)
        return Done.SUCCESS

    def on_activate(self, _: LifecycleState) -> Done:
        """Wait for frames."""
        self._state = None
        self._take(supervisor.activate)
        topic, kind = self.resolve_topic_name("image"), Image
        if self._config.image_transport == "compressed":
            topic, kind = f"{topic}/compressed", CompressedImage
        self._images = self.create_subscription(
            kind,
            topic,
            self._on_image,
            NEWEST_ONLY,
            callback_group=self._image_group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._news.append(f"waiting for images on {topic}")
        return Done.SUCCESS

    def on_deactivate(self, _: LifecycleState) -> Done:
        """Stop first, then stop listening."""
        self._take(supervisor.deactivate)
        self.destroy_subscription(self._images)
        return Done.SUCCESS

    def on_cleanup(self, _: LifecycleState) -> Done:
        """Forget the model."""
        with self._lock:
            outputs, self._outputs, self._pipeline = self._outputs, None, None
        if outputs is not None:
            outputs.destroy()
        return Done.SUCCESS

    def on_shutdown(self, _: LifecycleState) -> Done:
        """Stop for good."""
        self._take(supervisor.shutdown)
        return Done.SUCCESS

    def _take(
        self, step: Callable[..., Step], *event: object, header: Header | None = None
    ) -> None:
        """Take one step of the supervisor and publish the command that follows from it."""
        with self._lock:
            before = self._status
            now_ns = time.monotonic_ns()
            self._status, command = step(before, *event, now_ns, self._config.timeouts)
            if command is not None and self._outputs is not None:
                self._outputs.command(command, header or self._header_now())
            if (self._status.mode, self._status.reason) != (before.mode, before.reason):
                self._news.append(messages.state_text(self._status))

    def _on_image(self, message: Image | CompressedImage) -> None:
        with self._computing:
            pipeline, begun_ns = self._pipeline, time.monotonic_ns()
            if pipeline is None or not supervisor.listening(self._status):
                return
            try:
                state = self._begin(pipeline, message.header, begun_ns)
                answer, state = pipeline.step(messages.frame(message), state)
            except DataError as error:
                self._fail(Reason.BAD_FRAME, error)
            except Exception as error:  # the edge: whatever it is, stop, and live on
                self._state = None
                self._fail(Reason.ENGINE_FAILURE, error)
            else:
                self._state = state
                self._answer(answer, message.header, begun_ns)

    def _begin(self, pipeline: Pipeline, header: Header, now_ns: int) -> PipelineState:
        with self._lock:
            stopped = self._status.mode is not Mode.DRIVING
            self._status = supervisor.begin(self._status, now_ns)
            self._frame_id = header.frame_id
        state = self._state or pipeline.initial_state()
        # Somebody stopped the robot: it must not jump back to the speed it had.
        return state._replace(control=INITIAL) if stopped else state

    def _answer(self, answer: Answer, header: Header, begun_ns: int) -> None:
        prediction = answer.prediction
        self._take(supervisor.answer, prediction, answer.command, header=header)
        now_ns = time.monotonic_ns()
        sample = Sample(now_ns, now_ns - begun_ns, prediction.settle_steps, prediction.spikes)
        self._samples = keep(self._samples, sample)
        with self._lock:
            if self._outputs is not None:
                self._outputs.prediction(prediction, header)

    def _fail(self, reason: Reason, error: Exception) -> None:
        self._take(supervisor.fault, reason)
        self._news.append(f"{reason.value}: {error}")

    def _on_report(self) -> None:
        now = health(self._samples, time.monotonic_ns())
        header, name = self._header_now(), self.get_fully_qualified_name()
        report = messages.diagnostics(name, header, self._status, now, self._facts, self._remark)
        self._diagnostics.publish(report)
        while self._news:
            self.get_logger().info(self._news.popleft())

    def _on_enable(self, ask: SetBool.Request, reply: SetBool.Response) -> SetBool.Response:
        self._take(supervisor.set_enabled, ask.data)
        reply.success, reply.message = True, messages.state_text(self._status)
        return reply

    def _on_reset(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        self._state = None
        reply.success, reply.message = True, "the next frame begins a new sequence"
        return reply

    def _judge_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            parameters.check_changes(self, changes, configured=self._pipeline is not None)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _adopt_parameters(self, _: list[Parameter]) -> None:
        self._config = parameters.read(self, parameters.NodeConfig)
        if self._pipeline is not None:
            self._pipeline.config = parameters.read(self, ControlConfig)

    def _header_now(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see ``process.run`` for the exit codes."""
    return process.run(CollisionAvoidance, args, THREADS)


if __name__ == "__main__":
    sys.exit(main())
