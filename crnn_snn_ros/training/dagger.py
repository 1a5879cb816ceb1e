"""Training in the loop: the network drives, the teacher says what it would have done there.

teacher drives --> bags --> train --> network drives other courses, teacher labels --> bags --> ...

After S. Ross, G. Gordon, D. Bagnell, "A Reduction of Imitation Learning and Structured Prediction
to No-Regret Online Learning", AISTATS 2011: what an imitator learns from its teacher's drives says
nothing of the places that only its own mistakes lead to.

Every stage leaves a folder of bags or a checkpoint behind and is passed over when that is there:
a run that was cut off is repeated with the same arguments, and goes on where it was, within a
training to the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.errors import ConfigError
from crnn_snn_ros.data.dataset import load_data_config
from crnn_snn_ros.sim.figures import summarize
from crnn_snn_ros.sim.record import Drive, Recording, record_drives
from crnn_snn_ros.sim.simulator import Simulator
from crnn_snn_ros.sim.suites import (
    DAGGER_SEEDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    PipelinePolicy,
    PolicyFactory,
    Setup,
    driving,
    kind_of,
)
from crnn_snn_ros.training import state
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, load
from crnn_snn_ros.training.config import DaggerConfig, NetworkConfig, SuiteName, TrainConfig
from crnn_snn_ros.training.float_loop import kept_float_loop
from crnn_snn_ros.training.log import Epoch
from crnn_snn_ros.training.network import Crnn
from crnn_snn_ros.training.seen import begin_with_eye, load_both, stays, training_beside_eye
from crnn_snn_ros.training.train import Trainer

Told = Callable[[str], object]
VALIDATION_SHARE = 12  # one validation course to so many courses of training


def suite_of(seed: int, suites: Sequence[SuiteName]) -> str:
    """The suite that a course of training is of: by turns."""
    return suites[seed % len(suites)]


def round_seeds(config: DaggerConfig, number: int) -> list[int]:
    """Of the courses that the network drives in a round, the first of which is round 1.

    Raises:
        ConfigError: there are not so many courses of such kinds.
    """
    after = DAGGER_SEEDS[config.passed_over :]
    seeds = [seed for seed in after if kind_of(seed) in config.round_kinds]
    driven = number * config.round_courses
    if len(seeds) < driven:
        raise ConfigError(
            f"{driven} courses by round {number}, and there are {len(seeds)} of --round-kinds "
            + " ".join(config.round_kinds)
        )
    return seeds[driven - config.round_courses : driven]


def is_trained(checkpoint: Path) -> bool:
    """Whether a training has ended with a checkpoint, whose memory perhaps learned after the rest.

    Until then it is there already, beside the state to go on from.
    """
    return checkpoint.exists() and not (checkpoint.parent / state.NAME).exists()


@dataclass(frozen=True)
class CheckpointDriver:
    """Makes the policy of a checkpoint; loads it once in each process.

    Args:
        path: of the checkpoint, float or quantized.
        control: how its predictions become commands.
    """

    path: str
    control: ControlConfig

    def __call__(self, _: Simulator) -> PipelinePolicy:
        """The policy for one course."""
        return PipelinePolicy(kept_float_loop(self.path, self.control))


def dagger(
    network: NetworkConfig,
    training: TrainConfig,
    config: DaggerConfig,
    origin: Origin,
    out: Path,
    told: Told = print,
    on_epoch: Callable[[Epoch], object] = print,
) -> Checkpoint:
    """Drive and train in turns, then quantize; everything is written below ``out``.

    ``drives/`` holds the bags and ``data.yaml``, ``round0/`` to ``roundN/`` the float networks,
    ``qat.safetensors`` the result. A run that has a network to start with has no ``round0/``: the
    teacher drives for later rounds only. Where there is an eye, only what is after it is trained
    before quantization.

    Args:
        network: Size and number formats.
        training: Epochs of the first round (float) and of the last phase (quantized), and how.
        config: What is driven.
        origin: What the checkpoints say of the data and the command.
        out: Folder, made where missing.
        told: Called with a line at the start of every stage.
        on_epoch: Called after every epoch of training.

    Returns:
        The quantized checkpoint.

    Raises:
        ConfigError: nothing can be drawn on this machine, no such device, or nothing is to learn
            beside an eye.
        DataError: a file cannot be written or read, or training diverged.
    """
    if config.eye is not None:
        training = training_beside_eye(training)
    for number in range(1, config.rounds + 1):
        round_seeds(config, number)  # refused at once, not after hours
    run = _Run(network, training, config, origin, out, told, on_epoch)
    driver: PolicyFactory | None = None  # the teacher
    best = run.begin()
    for number in range(config.rounds + 1):
        checkpoint = out / f"round{number}" / "float.safetensors"
        if number == 0 and config.start is not None:
            run.drive(None, 0)
            checkpoint = Path(config.start)
        elif not is_trained(checkpoint):
            run.drive(driver, number)
            run.train(number, best)
        best = load(checkpoint).network
        driver = CheckpointDriver(str(checkpoint), driving())
    assert best is not None
    result = out / "qat.safetensors"
    if not is_trained(result):
        run.quantize(best)
    return load(result)


@dataclass(frozen=True)
class _Run:
    network: NetworkConfig
    training: TrainConfig
    config: DaggerConfig
    origin: Origin
    out: Path
    told: Told
    on_epoch: Callable[[Epoch], object]

    @property
    def eye(self) -> Path | None:
        """Checkpoint with the eye that stays in all rounds."""
        return None if self.config.eye is None else Path(self.config.eye)

    def begin(self) -> Crnn | None:
        """A network that has the eye and knows nothing else; None where there is no eye.

        Raises:
            ConfigError: the eye was taught to see otherwise than this network is to.
        """
        if self.eye is None:
            return None
        taught = load(self.eye)
        return begin_with_eye(taught, self.network, self.origin.contract, self.training.seed)

    def drive(self, driver: PolicyFactory | None, number: int) -> None:
        """Record the courses of a round, and a few to validate on."""
        self.told(f"round {number}: {'the network' if number else 'the teacher'} drives")
        if number > 0:
            seeds, noise = round_seeds(self.config, number), 0.0
        else:
            taught = [seed for seed in TRAIN_SEEDS if seed not in VALIDATION_SEEDS]
            seeds, noise = taught[: self.config.courses], self.config.noise
        drives = self._courses(seeds, "train", noise)
        held_out = -(-len(seeds) // VALIDATION_SHARE)
        apart = -(-max(self.config.courses, self.config.round_courses) // VALIDATION_SHARE)
        judged = VALIDATION_SEEDS[-apart * (number + 1) :][:held_out]
        drives += self._courses(judged, "validation", 0.0)
        self._record(driver, drives)

    def train(self, number: int, start: Crnn | None) -> None:
        """Train on all drives so far, from the network of the round before.

        The last epoch of a round is kept, not the one with the least error on other courses. Most
        of those were driven by networks before it, at whose places the network to begin with is
        hard to beat: a round could end where it began, and its drives would have been for nothing.
        """
        self.told(f"round {number}: training")
        training = self.training
        if number > 0:
            rate = training.learning_rate / 2
            training = replace(
                training, float_epochs=self.config.round_epochs, learning_rate=rate,
                seed=training.seed + number, metric="number", patience=0,
            )  # fmt: skip
        if self.eye is not None:
            training = replace(training, float_epochs=0)
        trainer = self._trainer(training, self.out / f"round{number}", start, self.eye)
        trainer.float_phase()
        trainer.close()

    def quantize(self, trained: Crnn) -> None:
        """The quantized phase, on all drives."""
        self.told("quantization-aware training")
        eye = self.eye if stays(trained, self.training) else None
        trainer = self._trainer(self.training, self.out, trained, eye)
        trainer.quantized_phase(trained)
        trainer.close()

    @property
    def _drives(self) -> Path:
        return self.out / "drives"

    def _courses(self, seeds: Sequence[int], split: str, noise: float) -> list[Drive]:
        recording = Recording(
            self._drives, split, noise, scan_rays=self.config.scan_rays,
            look_frames=self.config.look_frames, contract=self.origin.contract,
        )  # fmt: skip
        return [Drive(recording, suite_of(seed, self.config.suites), seed) for seed in seeds]

    def _record(self, driver: PolicyFactory | None, drives: Sequence[Drive]) -> None:
        setup = Setup.of(self.origin.contract, self.origin.frame_rate_hz)
        outcomes = record_drives(driver, drives, setup, self.config.workers)
        if outcomes:
            summary = summarize(outcomes)
            self.told(
                f"  {len(outcomes)} courses: success {summary.success:.0%}, "
                f"{summary.mean_speed:.2f} m/s"
            )

    def _trainer(
        self, training: TrainConfig, out: Path, start: Crnn | None, eye: Path | None
    ) -> Trainer:
        data, cache = load_data_config(self._drives / "data.yaml"), self.out / "cache"
        drives, validation = load_both(data, cache, eye, training, self.config.workers)
        return Trainer(
            drives, validation, self.network, training, self.origin, out, self.on_epoch, start,
            resume=True, seen=eye is not None,
        )  # fmt: skip
