"""The node ``collision_avoidance``: camera images in, velocity commands out.

    image ---> gate ---> pipeline.step --(assist)--> supervisor.answer ---> cmd_vel, steering, ...
    odom ---------^                         ^
    cmd_vel_in -----------------------------+------> supervisor.ask
    camera_info -----------------------------------> a remark, where it is not the lens that is told
    steady clock, every 25 ms ---------------------> supervisor.tick -----> cmd_vel (zero)

A thin shell: which frames count is in ``core.gate``, what they mean in ``pipeline``, what may leave
in ``core.supervisor``, and how in ``ros.guard``. Here are only threads. Images, camera_info,
odom, cmd_vel_in, watchdog, services and reports each have a callback group, so none waits for
another; nothing on the way to a command writes to the terminal, which may block.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Done
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from crnn_snn_ros.core import supervisor
from crnn_snn_ros.core.assist import assist
from crnn_snn_ros.core.command import INITIAL, ControlConfig
from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.core.gate import RefusedError
from crnn_snn_ros.core.supervisor import Drop, Reason
from crnn_snn_ros.core.types import STOP, Command
from crnn_snn_ros.pipeline import Pipeline, PipelineState
from crnn_snn_ros.ros import inputs, messages, parameters, process
from crnn_snn_ros.ros.guard import Guard
from crnn_snn_ros.ros.inputs import Inputs
from crnn_snn_ros.ros.intake import ImageMessage, Intake
from crnn_snn_ros.ros.outputs import Outputs
from crnn_snn_ros.ros.reports import Reports

WATCHDOG_S = 0.025
FINISH_S = 2.0  # what the frame under way may take before the process leaves it behind
THREADS = 7  # one for each callback group


class CollisionAvoidance(LifecycleNode):
    """Lifecycle node around a ``Pipeline``; raises ConfigError if a parameter is wrong.

    ``options``, such as a context, are those of rclpy's Node.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("collision_avoidance", **options)
        parameters.declare(self)
        parameters.warn_of_unknown(self)
        self._config = parameters.read(self, parameters.NodeConfig)
        self._computing = threading.Lock()  # held while a frame is being answered
        self._pipeline: Pipeline | None = None
        self._state: PipelineState | None = None  # None: begin anew
        self._intake = Intake(lambda: self.get_clock().now().nanoseconds)
        self._wanted = STOP  # by whoever sends cmd_vel_in
        self._inputs: Inputs | None = None  # while active
        self._frame_id = self._refusal = ""
        self._calibrated_rad: float | None = None  # the camera's field of view, by itself
        self._image_group = MutuallyExclusiveCallbackGroup()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._reports = Reports(self, steady, lambda: self._guard.status)
        self._guard = Guard(lambda: self._config.timeouts, self._header_now, self._reports.tell)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # ~/reset shares the group of the images, so it never cuts into a frame.
        self.create_service(Trigger, "~/reset", self._on_reset, callback_group=self._image_group)
        tick, group = partial(self._guard.take, supervisor.tick), MutuallyExclusiveCallbackGroup()
        self.create_timer(WATCHDOG_S, tick, callback_group=group, clock=steady)
        self.add_on_set_parameters_callback(self._judge_parameters)
        self.add_post_set_parameters_callback(self._adopt_parameters)

    def start(self) -> None:
        """Configure and activate, where parameter ``autostart`` says so.

        Raises:
            ConfigError: the model or a parameter is refused.
        """
        for transition in (self.trigger_configure, self.trigger_activate):
            if self._config.autostart and transition() != Done.SUCCESS:
                raise ConfigError(self._refusal)

    def finish(self) -> bool:
        """Send the final zero command and see it acknowledged; False if a frame is stuck."""
        self._guard.take(supervisor.shutdown)
        if self._guard.outputs is not None:
            self._guard.outputs.flush()
        return self._computing.acquire(timeout=FINISH_S)

    def on_configure(self, _: LifecycleState) -> Done:
        """Load and check the model; refuse with a reason in the log."""
        try:
            self._config = parameters.read(self, parameters.NodeConfig)
            inputs.check(self, self._config)
            torch.set_num_threads(self._config.threads)
            built = parameters.build(self._config, parameters.read(self, ControlConfig))
            self._guard.outputs = Outputs(self, self._config)
        except Exception as error:  # the edge: rclpy would swallow it
            return self._refuse("configure", error)
        self._pipeline, self._reports.facts, self._reports.remark = built
        self._reports.frame_rate_hz = built.pipeline.model.frame_rate_hz
        self._tell_intake(built.pipeline)
        self._guard.allow(self._config.enabled)
        return Done.SUCCESS

    def on_activate(self, _: LifecycleState) -> Done:
        """Wait for frames; refuse with a reason in the log."""
        # A frame of before deactivation may still be computed, and its outcome belongs to it.
        if not self._computing.acquire(timeout=FINISH_S):
            return self._refuse("activate", RuntimeError("the engine is busy with an old frame"))
        try:
            self._begin_anew()
            missed = partial(self._guard.drop, Drop.MISSED)
            self._inputs = Inputs(
                self, self._config, self._on_image, missed, self._image_group, self._on_wanted,
                self._on_odometry, self._on_camera,
            )  # fmt: skip
        except Exception as error:  # the edge: a wrong QoS override, for one
            return self._refuse("activate", error)
        finally:
            self._computing.release()
        self._guard.take(supervisor.activate)
        self._reports.camera = self._inputs.topic
        self._reports.tell(f"waiting for images on {self._inputs.topic}")
        return Done.SUCCESS

    def on_deactivate(self, _: LifecycleState) -> Done:
        """Stop first, then stop listening."""
        self._guard.take(supervisor.deactivate)
        if self._inputs is not None:
            self._inputs.destroy()
        return Done.SUCCESS

    def on_cleanup(self, _: LifecycleState) -> Done:
        """Forget the model."""
        with self._guard.lock:
            outputs, self._guard.outputs, self._pipeline = self._guard.outputs, None, None
        if outputs is not None:
            outputs.flush()  # the zero of a deactivation may still be under way
            outputs.destroy()
        return Done.SUCCESS

    def on_shutdown(self, _: LifecycleState) -> Done:
        """Stop for good."""
        self._guard.take(supervisor.shutdown)
        return Done.SUCCESS

    def _refuse(self, what: str, error: Exception) -> Done:
        self._refusal = str(error) or repr(error)
        self._reports.tell(f"cannot {what}: {self._refusal}")
        return Done.FAILURE

    def _on_image(self, message: ImageMessage) -> None:
        with self._computing:
            pipeline, begun_ns = self._pipeline, time.monotonic_ns()
            if pipeline is None or not self._guard.listening:
                return
            self._reports.frame_came(begun_ns)
            try:
                header = self._intake.admit(message.header)
                if isinstance(header, Drop):
                    self._guard.drop(header)
                else:
                    self._answer(pipeline, message, header, begun_ns)
            except RefusedError as error:
                self._fail(error.reason, error)
            except DataError as error:
                self._fail(Reason.BAD_FRAME, error)
            except Exception as error:  # the edge: whatever it is, stop, and live on
                self._state = None
                self._fail(Reason.ENGINE_FAILURE, error)

    def _answer(
        self, pipeline: Pipeline, message: ImageMessage, header: Header, begun_ns: int
    ) -> None:
        state = self._begin(pipeline, header, begun_ns)
        follows = pipeline.elapsed_s(messages.stamp_ns(header), state) is not None
        frame = self._intake.frame(message, header, state.stamp_ns if follows else None)
        answer, after = pipeline.step(frame, state)
        prediction, command = answer.prediction, answer.command
        with self._guard.lock:  # a zero that is asked for now must not be overtaken
            if self._config.mode == "assist":
                command = assist(self._wanted, command, prediction, pipeline.config)
            left = self._guard.take(supervisor.answer, prediction, command, header=header)
        # A command that did not leave is none that the next one may build upon.
        self._state = after if left == command else after._replace(control=state.control)
        self._reports.answered(prediction, begun_ns)
        with self._guard.lock:
            if (outputs := self._guard.outputs) is not None:
                outputs.prediction(prediction, header, pipeline.config.stop_threshold)
                text = messages.state_text(self._guard.status)
                outputs.picture(frame, prediction, header, text)

    def _begin(self, pipeline: Pipeline, header: Header, now_ns: int) -> PipelineState:
        drives, self._frame_id = self._guard.begin(now_ns), header.frame_id
        state = self._state or pipeline.initial_state()
        # Where somebody stopped the robot it must not jump back to the speed it had.
        return state if drives else state._replace(control=INITIAL)

    def _begin_anew(self) -> None:
        self._state, self._wanted = None, STOP
        self._intake.reset()

    def _fail(self, reason: Reason, error: Exception) -> None:
        self._guard.take(supervisor.fault, reason)
        self._reports.tell(f"{reason.value}: {error}")

    def _on_wanted(self, wanted: Command) -> None:
        with self._guard.lock:
            self._wanted = wanted
            self._guard.take(supervisor.ask, wanted)

    def _on_odometry(self, message: Odometry) -> None:
        try:
            self._intake.hear(message)
        except DataError as error:
            self._fail(Reason.NO_ODOMETRY, error)

    def _on_camera(self, message: CameraInfo) -> None:
        calibrated_rad, pipeline = messages.field_of_view(message), self._pipeline
        if calibrated_rad != self._calibrated_rad and pipeline is not None:
            self._calibrated_rad = calibrated_rad
            self._remark_lens(pipeline)

    def _on_enable(self, ask: SetBool.Request, reply: SetBool.Response) -> SetBool.Response:
        self._guard.take(supervisor.set_enabled, ask.data)
        reply.success, reply.message = True, messages.state_text(self._guard.status)
        return reply

    def _on_reset(self, _: Trigger.Request, reply: Trigger.Response) -> Trigger.Response:
        self._begin_anew()
        reply.success, reply.message = True, "the next frame begins a new sequence"
        return reply

    def _judge_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        return parameters.judge(self, changes, configured=self._pipeline is not None)

    def _adopt_parameters(self, _: list[Parameter]) -> None:
        self._config = parameters.read(self, parameters.NodeConfig)
        if self._pipeline is not None:
            self._pipeline.config = parameters.read(self, ControlConfig)
            self._tell_intake(self._pipeline)

    def _tell_intake(self, pipeline: Pipeline) -> None:
        self._intake.config = self._config.gate(pipeline.model.frame_rate_hz)
        self._intake.mount = self._config.mount(pipeline.contract.fov_deg)
        self._remark_lens(pipeline)
        self._intake.by_odometry = pipeline.contract.steady and self._config.turn_from == "odom"

    def _remark_lens(self, pipeline: Pipeline) -> None:
        self._reports.lens = parameters.lens(
            pipeline.contract, self._intake.mount, self._calibrated_rad
        )

    def _header_now(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node; see ``process.run`` for the exit codes."""
    return process.run(CollisionAvoidance, args, THREADS)


if __name__ == "__main__":
    sys.exit(main())
