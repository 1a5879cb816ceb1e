from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from training_samples import (
    CONTRACT,
    STEERING_PER_COLUMN,
    bar_image,
    bar_path,
    checkpoint,
    quantized_network,
    random_network,
    small_config,
)

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.core.engines import ENGINES, make_engine
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.core.types import Frame
from crnn_snn_ros.evaluation.metrics import summarise
from crnn_snn_ros.evaluation.recording import Recording
from crnn_snn_ros.evaluation.replay import replay
from crnn_snn_ros.io.preprocess import preprocess
from crnn_snn_ros.pipeline import Pipeline, sigmoid
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.float_loop import FloatLoop
from crnn_snn_ros.training.model_card import to_model

PERIOD_NS = 50_000_000


def pipeline(engine: str = "folded", seed: int = 0, **changes) -> Pipeline:
    trained = checkpoint(quantized_network(small_config(**changes), seed))
    model = to_model(trained, convert(trained.network))
    return Pipeline(model, make_engine(engine, model.graph), ControlConfig())


def frames(count: int, gaps: tuple[int, ...] = ()) -> Iterator[Frame]:
    """A bar that wanders; before the frames named in ``gaps`` two seconds pass."""
    columns, widths = bar_path(count, seed=0)
    stamp_ns = 10**18
    for number in range(count):
        stamp_ns += 2_000_000_000 if number in gaps else PERIOD_NS
        yield Frame(stamp_ns, bar_image(columns[number], widths[number]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("signed", [False, True])
def test_snn_and_qann_figures_are_equal_to_the_bit(engine, signed):
    recording = replay(frames(30, gaps=(11,)), pipeline(engine, signed_hidden=signed))
    np.testing.assert_array_equal(recording.rows["snn"], recording.rows["qann"])
    assert len(set(recording.rows["snn"][:, 0])) > 5
    columns, widths = bar_path(30, seed=0)
    truth = (12 - columns) * STEERING_PER_COLUMN
    recording.label(0, truth, (widths > 5).astype(float))
    result = summarise(recording, resamples=0)
    assert result["qann_snn_differences"] == 0
    for name in ("steering_rmse", "collision_auroc", "collision_f1"):
        assert result[name]["snn"] == result[name]["qann"] is not None
    assert result["settled_fraction"] == 1.0
    assert result["fps"] > 0


def test_estimates_are_those_of_the_network_in_training():
    built = pipeline(seed=4)
    network = quantized_network(small_config(), seed=4)
    recording = replay(frames(20), built)
    pixels = np.stack([preprocess(frame.image, CONTRACT) for frame in frames(20)])
    with torch.no_grad():
        heads = network(torch.from_numpy(pixels)[None]).heads
    for number, (steering, collision) in enumerate(recording.rows["snn"].tolist()):
        assert steering == pytest.approx(float(heads["steering"][0, number]), rel=1e-6)
        logit = float(heads["collision"][0, number])
        assert collision == pytest.approx(sigmoid(logit), rel=1e-6)


def test_a_time_gap_starts_anew_in_every_network():
    built = pipeline(seed=1)
    network = FloatLoop(checkpoint(random_network(small_config(), seed=1)))
    whole = replay(frames(24, gaps=(10,)), built, network)
    assert whole.rows["was_reset"].tolist() == [n in (0, 10) for n in range(24)]
    later = list(frames(24, gaps=(10,)))[10:]
    alone = replay(later, built, network)
    for field in ("snn", "qann", "float", "command", "layer_additions", "carry"):
        np.testing.assert_array_equal(alone.rows[field], whole.rows[field][10:])
    without = replay(frames(24), built, network)
    for field in ("snn", "float"):  # so the gap did matter
        assert (without.rows[field][10:] != whole.rows[field][10:]).any()


def test_the_float_network_is_the_one_before_quantization():
    network = random_network(small_config(), seed=6)
    recording = replay(frames(12), pipeline(seed=6), FloatLoop(checkpoint(network)))
    pixels = np.stack([preprocess(frame.image, CONTRACT) for frame in frames(12)])
    with torch.no_grad():
        heads = network(torch.from_numpy(pixels)[None]).heads
    told = recording.rows["float"][:, 0].tolist()
    assert told == pytest.approx(heads["steering"][0].tolist(), rel=1e-4, abs=1e-6)


def test_a_float_network_of_another_input_is_refused():
    other = random_network(small_config(input_shape=(3, 8, 12)))
    with pytest.raises(DataError, match=r"'rgb'.*'grey'"):
        replay(frames(2), pipeline(), FloatLoop(checkpoint(other)))


def test_frames_are_taken_one_by_one():
    taken, done = 0, []

    def counted() -> Iterator[Frame]:
        nonlocal taken
        for frame in frames(9):
            assert taken == len(done)  # never a frame ahead
            taken += 1
            yield frame

    recording = replay(counted(), pipeline(), progress=done.append)
    assert done == list(range(1, 10))
    assert recording.rows["stamp_ns"].tolist() == [frame.stamp_ns for frame in frames(9)]


def test_an_empty_drive_gives_an_empty_recording():
    recording = replay([], pipeline())
    assert len(recording) == 0
    assert recording.drives == ["drive"]


def test_operations_depend_on_the_picture():
    recording = replay(frames(20), pipeline())
    assert len(set(recording.rows["layer_additions"].sum(axis=1))) > 5
    assert 0 < recording.input_operations < recording.dense_operations


def test_each_drive_starts_from_nothing():
    built = pipeline(seed=3)
    both = replay(frames(12), built, name="one")
    replay(frames(12), built, recording=both, name="two")
    assert both.drives == ["one", "two"]
    assert both.rows["drive"].tolist() == [0] * 12 + [1] * 12
    for field in ("snn", "qann", "command", "carry", "settle_steps"):
        np.testing.assert_array_equal(both.of_drive(0)[field], both.of_drive(1)[field])


def test_after_an_interruption_the_recording_holds_what_was_done():
    def cut() -> Iterator[Frame]:
        yield from frames(7)
        raise KeyboardInterrupt

    built = pipeline()
    recording = Recording(built.model.graph, built.model.frame_rate_hz)
    with pytest.raises(KeyboardInterrupt):
        replay(cut(), built, recording=recording)
    whole = replay(frames(7), built)
    np.testing.assert_array_equal(recording.rows["snn"], whole.rows["snn"])
    assert summarise(recording, resamples=0)["frames"] == 7
