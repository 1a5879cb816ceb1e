"""`make demo`: a generated drive through the node, over real DDS, with no robot.

    road drawn here --> image --DDS--> collision_avoidance --DDS--> cmd_vel --> table, summary

The drive is a drawing: commands do not steer it. Until there is a simulator this shows that the
node answers every frame, how fast, and that it ends with a stop; not that it avoids anything.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crnn_snn_ros.core.errors import CrnnSnnError
from crnn_snn_ros.core.types import STOP, Frame
from crnn_snn_ros.io.atomic import replacing
from crnn_snn_ros.ros.lockstep import Player, Reply, node_process
from crnn_snn_ros.ros.parameters import model_path

WIDTH, HEIGHT, RATE_HZ = 320, 240, 20
HORIZON = 90  # px from the top
SAMPLE = "donkeycar_mit.snn"
NOTICE = "This is a generated drive: drawn pictures, no robot and no simulator."
REPORTED = ("latency_p50_ms", "latency_p99_ms", "settle_steps_mean", "settle_steps_max")
Show = Callable[[int, Reply], None]


def road(number: int) -> Frame:
    """Picture ``number`` of the drive: a winding road, and every 10 s an obstacle comes near."""
    time_s = number / RATE_HZ
    image = np.full((HEIGHT, WIDTH, 3), (135, 170, 210), np.uint8)  # RGB
    image[HORIZON:] = (70, 110, 60)
    bend = 0.9 * math.sin(0.5 * time_s) + 0.4 * math.sin(1.3 * time_s)
    depth = np.linspace(0.0, 1.0, HEIGHT - HORIZON) ** 1.5  # 0 at the horizon, 1 at the camera
    middle = WIDTH / 2 + 60 * bend * (1 - depth) ** 2
    half = 6 + 150 * depth
    rows = np.arange(HORIZON, HEIGHT)
    left, right = np.stack([middle - half, rows], 1), np.stack([middle + half, rows], 1)
    cv2.fillPoly(image, [np.concatenate([left, right[::-1]]).astype(np.int32)], (80, 80, 85))
    for row in range(len(rows)):
        if (12 / (depth[row] + 0.15) + 6 * time_s) % 6 < 3:
            width = int(1 + 5 * depth[row])
            cv2.line(
                image,
                (int(middle[row]) - width, int(rows[row])),
                (int(middle[row]) + width, int(rows[row])),
                (235, 235, 220),
            )
    near = max(0.0, (time_s % 10 - 5) / 5)
    if near > 0:
        row = int(near * (len(rows) - 1))
        size = int(4 + 55 * near**2)
        x, y = int(middle[row]), int(rows[row])
        cv2.rectangle(image, (x - size, y - 2 * size), (x + size, y), (190, 60, 40), -1)
    return Frame((number + 1) * 1_000_000_000 // RATE_HZ, image)


def main(args: Sequence[str] | None = None) -> int:
    """Run the demonstration; exit code 0 done, 1 something did not hold, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m crnn_snn_ros.ros.demo", description=NOTICE)
    parser.add_argument("--model", default=SAMPLE, help="model file, or name of a shipped one")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    options = parser.parse_args(args)
    try:
        model = model_path(options.model)
        options.out.mkdir(parents=True, exist_ok=True)
        print(NOTICE, flush=True)
        summary = drive(model, options.frames, options.out)
    except (CrnnSnnError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _write(options.out / "summary.json", summary)
    for name, value in summary.items():
        print(f"{name:>26}  {value}")
    print(f"Written: {options.out / 'summary.json'}. {NOTICE}")
    return 0 if summary["frames_answered"] == options.frames and summary["final_stop"] else 1


def drive(model: Path, count: int, out: Path) -> dict[str, Any]:
    """Play ``count`` pictures through a node of its own and sum up what it answered."""
    started_s = time.monotonic()
    with node_process(out / "node.log", {"model": str(model)}) as process:
        player = Player()
        try:
            player.find_node(alive=lambda: process.poll() is None)
            with _display(count) as show:
                replies = []
                for number in range(count):
                    replies.append(player.ask(road(number)))
                    show(number, replies[-1])
            total = str(count)
            player.spin_until(lambda: player.report.get("answered") == total, 5.0, "no diagnostics")
            exit_code = _stop(process, player)
        finally:
            player.close()
    return {
        "drive": "generated",
        "model": str(model),
        **_figures(replies),
        **{name: float(player.report[name]) for name in REPORTED},
        "final_stop": player.last_command == STOP,
        "node_exit_code": exit_code,
        "wall_s": round(time.monotonic() - started_s, 1),
    }


def _stop(process: subprocess.Popen[bytes], player: Player) -> int:
    """End the node as Ctrl-C does, and listen to its last word."""
    process.send_signal(signal.SIGINT)
    player.spin_until(lambda: process.poll() is not None, 20.0, "the node did not end")
    player.listen(0.3)  # what is still on its way
    return process.wait()


def _figures(replies: list[Reply]) -> dict[str, Any]:
    trips_ms = np.array([reply.round_trip_s for reply in replies]) * 1e3
    return {
        "frames_answered": len(replies),
        "round_trip_ms_p50": round(float(np.percentile(trips_ms, 50)), 2),
        "round_trip_ms_p99": round(float(np.percentile(trips_ms, 99)), 2),
        "not_settled": sum(not reply.settled for reply in replies),
        "max_linear_mps": max(reply.command.linear_mps for reply in replies),
        "max_abs_angular_radps": max(abs(reply.command.angular_radps) for reply in replies),
        "stop_commands": sum(reply.command == STOP for reply in replies),
    }


@contextmanager
def _display(count: int) -> Iterator[Show]:
    """A live table where rich is installed and somebody watches; else a line now and then."""
    try:
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        yield lambda number, reply: _line(number, count, reply)
        return
    if not sys.stdout.isatty():
        yield lambda number, reply: _line(number, count, reply)
        return

    def table(number: int, reply: Reply) -> Table:
        result = Table("frame", "steering", "collision", "speed", "yaw rate", "round trip")
        result.add_row(*_cells(number, count, reply))
        return result

    with Live(refresh_per_second=10) as live:
        yield lambda number, reply: live.update(table(number, reply))


def _cells(number: int, count: int, reply: Reply) -> tuple[str, ...]:
    return (
        f"{number + 1}/{count}",
        f"{reply.steering_rad:+.3f} rad",
        f"{reply.collision_probability:.2f}",
        f"{reply.command.linear_mps:.2f} m/s",
        f"{reply.command.angular_radps:+.2f} rad/s",
        f"{reply.round_trip_s * 1e3:.1f} ms",
    )


def _line(number: int, count: int, reply: Reply) -> None:
    if (number + 1) % 50 == 0 or number + 1 == count:
        print("  ".join(_cells(number, count, reply)), flush=True)


def _write(path: Path, summary: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(summary, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
