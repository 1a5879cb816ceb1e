"""``crnn-snn simulate``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from crnn_snn_ros.cli.output import STDOUT, print_json, progress_bar
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.core.mount import STANDARD_FOV_DEG, MountConfig

if TYPE_CHECKING:
    from crnn_snn_ros.core.command import ControlConfig
    from crnn_snn_ros.io.preprocess import InputContract
    from crnn_snn_ros.sim.figures import Summary
    from crnn_snn_ros.sim.suites import Outcome, PolicyFactory, Setup


Name = Literal["expert", "teacher", "straight", "unsteered", "float", "qann", "snn", "forgetful"]
MOST_SHOWN, FEWEST_SHOWN = 12, 3  # courses in a report


@dataclass(frozen=True)
class RecordConfig:
    """How drives are recorded.

    Args:
        record: Write every drive as a bag into this folder, with the teacher's labels, and
            data.yaml for train, with the input and the camera of the model, if one is given; needs
            a single policy. Drives that are there already are left as they are. The teacher is the
            fastest: it drives by what it labels.
        noise: Disturb the yaw rate of a recorded driver by this much, rad/s.
        scan_rays: Record a laser scanner of so many rays, a full circle, as /scan.
        look_frames: After so many recorded frames the same course looks otherwise; 0: never.
    """

    record: Path | None = None
    noise: float = 0.0
    scan_rays: int = 0
    look_frames: int = 0

    def check(self, drivers: int, seeds: str) -> None:
        """Refuse what cannot be recorded.

        Raises:
            ConfigError: several drive, or the courses are those of the last measurement.
        """
        if self.record is None:
            if self.scan_rays or self.look_frames:
                raise ConfigError(
                    "--scan-rays and --look-frames are for drives that are recorded: give --record"
                )
        elif drivers != 1:
            raise ConfigError(f"--record needs one of --policies, got {drivers}")
        elif seeds == "test":
            raise ConfigError("--record with --seeds test: nothing may be trained on these courses")


def simulate_verb(
    model: Positional[Path | None] = None,
    suite: Literal["static", "movers", "rush", "crowd", "narrow", "looks"] = "static",
    courses: int = 20,
    seeds: Literal["train", "dagger", "validation", "test"] = "validation",
    passed_over: int = 0,
    policies: tuple[Name, ...] = ("expert", "straight", "snn"),
    float_checkpoint: Path | None = None,
    speed: float = 1.0,
    camera: Annotated[MountConfig, tyro.conf.arg(name="")] = MountConfig(),  # noqa: B008
    report: Path | None = None,
    recorded: Annotated[RecordConfig, tyro.conf.arg(name="")] = RecordConfig(),
    processes: int = 1,
    scheduler: str | None = None,
    engine: str = "auto",
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Judge a model in closed loop: how often it gets through, what it hits, how fast it is.

    Example: crnn-snn simulate model.snn --suite movers --courses 100 --processes 2

    Args:
        model: The model file; without it only expert, teacher and straight drive.
        suite: What the courses ask for.
        courses: How many, from the first of the seeds on that is not passed over.
        seeds: Which courses; those of "test" are for the last measurement only.
        passed_over: Leave so many of the first of these seeds out.
        policies: Who drives. expert: privileged, sees the plan; teacher: what networks learn to
            imitate, it knows of the plan what a camera could; straight: ahead at 1 m/s. Of the
            model: snn, the spiking network; qann, the quantized one that it was; unsteered, the
            speeds of the spiking one without its steering; forgetful, the spiking one with its
            recurrent state cleared at every frame. float: the network of --float-checkpoint.
        float_checkpoint: float.safetensors that the model was made from.
        speed: Of the model where it expects no collision, m/s.
        camera: One mount on all courses; without it each course draws one, as its other looks.
        report: Write an HTML page of courses where the spiking network failed, a dozen at most, or
            of the first three where it never did: path on the map, pictures, what it said.
        recorded: What to keep of the drives.
        processes: Courses to simulate at the same time.
        scheduler: Address of a Dask scheduler, whose workers do it instead (docs/scale_out.md).
        engine: Engine of the spiking network.
        device: auto, cpu or cuda.
        json: One JSON object on stdout.
    """
    try:
        from crnn_snn_ros.sim import suites
        from crnn_snn_ros.sim.figures import summarize
        from crnn_snn_ros.sim.record import Recording, record_suite
    except ImportError as error:
        raise ConfigError(f"{error}; pip install 'crnn_snn_ros[sim]'") from None

    from crnn_snn_ros.io.processes import Workers

    workers = Workers(processes, scheduler)
    chosen = _seeds(seeds, passed_over, courses)
    drivers = _drivers(
        policies, model, float_checkpoint, suites.driving(speed), engine, device, camera
    )
    recorded.check(len(drivers), seeds)
    if report is not None:
        _require_reportable("snn" in drivers)
    runs: dict[str, list[Outcome]] = {}
    begun = time.monotonic()
    with progress_bar(len(drivers) * courses, quiet=json) as bar:
        for name, (policy, setup) in drivers.items():
            run = partial(suites.run_suite, policy)
            if recorded.record is not None:
                setup = replace(setup, draw=True)
                recording = Recording(
                    recorded.record,
                    "validation" if seeds == "validation" else "train",
                    recorded.noise,
                    recorded.scan_rays,
                    _contract(name, model, float_checkpoint),
                    recorded.look_frames,
                )
                driver = None if name == "teacher" else policy  # one teacher drives and labels
                run = partial(record_suite, driver, recording=recording)
            runs[name] = run(
                suite,
                chosen,
                setup,
                workers=workers,
                progress=lambda _: bar.update(bar.task_ids[0], advance=1),
            )
    kept = None
    if recorded.record is not None:
        ((name, outcomes),) = runs.items()
        kept = _kept(outcomes, drivers[name][1].rate_hz, time.monotonic() - begun)
    if report is not None and runs["snn"]:
        assert model is not None
        _report(report, model, suite, runs["snn"], speed, camera)
    summaries = {name: summarize(outcomes) for name, outcomes in runs.items() if outcomes}
    same = runs["qann"] == runs["snn"] if {"qann", "snn"} <= runs.keys() else None
    if json:
        table = {name: summary._asdict() for name, summary in summaries.items()}
        span = [chosen[0], chosen[-1]]
        result = {"suite": suite, "courses": courses, "seeds": span, "policies": table}
        print_json({**result, "qann_is_snn": same, "recorded": kept})
    elif not summaries:
        STDOUT.print(f"All these drives are in {recorded.record} already; nobody drove.")
    else:
        _print(f"{suite}, {courses} courses of the {seeds} seeds", summaries)
        if kept is not None:
            told = f"{kept['frames']} frames with labels, {kept['per_s']:.0f} a second"
            STDOUT.print(f"Recorded {told}.")
        if same is not None:
            word = "the same, bit for bit" if same else "NOT the same"
            STDOUT.print(f"Poses of the quantized and of the spiking network: {word}.")
    return 1 if same is False else 0


def _kept(outcomes: list[Outcome], rate_hz: float, seconds: float) -> dict[str, float]:
    """How many frames were recorded, and how many a second by all processes together."""
    frames = sum(round(outcome.time_s * rate_hz) for outcome in outcomes)
    return {"frames": frames, "per_s": frames / seconds}


def _require_reportable(spiking: bool) -> None:
    """Refuse a report that could not be written, before anybody drives."""
    if not spiking:
        raise ConfigError("--report shows the spiking network: give a model, and snn to --policies")
    try:
        import crnn_snn_ros.evaluation.report.closed_loop  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"--report: {error}; pip install 'crnn_snn_ros[report]'") from None


def _report(
    path: Path,
    model: Path,
    suite: str,
    runs: list[Outcome],
    speed: float,
    camera: MountConfig,
) -> None:
    from crnn_snn_ros.evaluation.report.closed_loop import write_traces
    from crnn_snn_ros.pipeline import load_pipeline
    from crnn_snn_ros.sim.suites import driving
    from crnn_snn_ros.sim.trace import trace_course

    failed = [outcome.seed for outcome in runs if not outcome.succeeded][:MOST_SHOWN]
    shown = failed or [outcome.seed for outcome in runs][:FEWEST_SHOWN]
    pipeline = load_pipeline(model, device="cpu", config=driving(speed))
    setup = _setup(pipeline.contract, pipeline.frame_rate_hz, camera)
    traces = [trace_course(pipeline, suite, seed, setup) for seed in shown]
    what = f"{len(failed)} courses without success" if failed else "some of its courses"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_traces(path, traces, model, title=f"{model.name} on {suite}", subtitle=what)


def _contract(name: str, model: Path | None, checkpoint: Path | None) -> InputContract | None:
    """What the one that drives sees, or would see; None: nobody says."""
    from crnn_snn_ros.io.model_file import load
    from crnn_snn_ros.training.checkpoint import load as load_checkpoint

    if name == "float" and checkpoint is not None:
        return load_checkpoint(checkpoint).origin.contract
    return load(model).contract if model is not None else None


def _seeds(kind: str, passed_over: int, courses: int) -> list[int]:
    from crnn_snn_ros.sim import suites

    ranges = {
        "train": [seed for seed in suites.TRAIN_SEEDS if seed not in suites.VALIDATION_SEEDS],
        "dagger": list(suites.DAGGER_SEEDS),
        "validation": list(suites.VALIDATION_SEEDS),
        "test": list(suites.TEST_SEEDS),
    }
    if not 0 <= passed_over < len(ranges[kind]):
        raise ConfigError(
            f"--passed-over is {passed_over}, allowed is 0 to {len(ranges[kind]) - 1}"
        )
    left = ranges[kind][passed_over:]
    if not 1 <= courses <= len(left):
        raise ConfigError(f"--courses is {courses}, allowed is 1 to {len(left)}")
    return left[:courses]


def _drivers(
    policies: tuple[Name, ...],
    model: Path | None,
    float_checkpoint: Path | None,
    control: ControlConfig,
    engine: str,
    device: str,
    camera: MountConfig,
) -> dict[str, tuple[PolicyFactory, Setup]]:
    """Who drives, by name; those that need a model are left out where there is none."""
    from crnn_snn_ros.io.model_file import load
    from crnn_snn_ros.sim import suites
    from crnn_snn_ros.training.checkpoint import load as load_checkpoint
    from crnn_snn_ros.training.dagger import CheckpointDriver

    if not policies:
        raise ConfigError("--policies names none; leave it out for some of them")
    network = None if model is None else load(model)
    setup = suites.Setup(mount=camera.mount(STANDARD_FOV_DEG))
    if network is not None:
        setup = _setup(network.contract, network.frame_rate_hz, camera)
    blind = suites.BLIND | {"teacher": partial(suites.teacher, fov_deg=setup.fov_deg)}
    drivers: dict[str, tuple[PolicyFactory, Setup]] = {
        name: (blind[name], replace(setup, draw=False)) for name in policies if name in blind
    }
    if float_checkpoint is not None and "float" in policies:
        origin = load_checkpoint(float_checkpoint).origin
        before = CheckpointDriver(str(float_checkpoint), control)
        drivers["float"] = before, _setup(origin.contract, origin.frame_rate_hz, camera)
    elif "float" in policies:
        raise ConfigError("--policies float needs --float-checkpoint")
    if network is not None:
        spiking = suites.ModelDriver(str(model), control, engine, device)
        variants: dict[str, PolicyFactory] = {
            "unsteered": replace(spiking, steers=False),
            "qann": replace(spiking, engine="collapsed"),
            "snn": spiking,
            "forgetful": replace(spiking, memory=False),
        }
        drivers |= {name: (variants[name], setup) for name in variants if name in policies}
    return drivers


def _setup(contract: InputContract, rate_hz: float, camera: MountConfig) -> Setup:
    from crnn_snn_ros.sim.suites import Setup

    return Setup.of(contract, rate_hz, camera.mount(contract.fov_deg))


def _print(title: str, summaries: dict[str, Summary]) -> None:
    from rich.table import Table

    table = Table("policy", "success", "collisions/km", "mean speed", "timeouts", title=title)
    for name, summary in summaries.items():
        table.add_row(
            name,
            _interval(100.0, summary.success, summary.success_ci95, "%"),
            _interval(1.0, summary.collisions_per_km, summary.collisions_per_km_ci95, ""),
            f"{summary.mean_speed:.2f} m/s",
            _interval(100.0, summary.timeouts, summary.timeouts_ci95, "%"),
        )
    STDOUT.print(table)


def _interval(factor: float, value: float, ends: Any, unit: str) -> str:
    low, high = ends
    return f"{value * factor:.1f}{unit} ({low * factor:.1f}..{high * factor:.1f})"
