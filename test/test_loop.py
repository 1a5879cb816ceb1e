from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_samples import (
    CONTRACT,
    RATE_HZ,
    bar_drive,
    blinded,
    random_network,
    small_config,
    video,
)

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.training import train as training
from crnn_snn_ros.training.checkpoint import Checkpoint, Origin, load
from crnn_snn_ros.training.config import TrainConfig
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.convert.fold import fold_bn
from crnn_snn_ros.training.evaluate import Figures, evaluate
from crnn_snn_ros.training.loop import LAST_RATE, WARM_UP, follow, rate_factor
from crnn_snn_ros.training.network import Crnn

DRIVES, VALIDATION = [bar_drive(40)], [bar_drive(30, seed=1)]


def run(out: Path, start: Crnn | None = None, **options: object) -> Checkpoint:
    fields = {"float_epochs": 1, "qat_epochs": 1, "window": 8, "streams": 4, "device": "cpu"}
    config = TrainConfig(**(fields | options))
    return training.train(
        DRIVES, VALIDATION, small_config(), config, Origin(CONTRACT, RATE_HZ, {}), out,
        lambda _: None, start,
    )  # fmt: skip


def weights(checkpoint: Checkpoint) -> dict[str, list[float]]:
    state = checkpoint.network.state_dict()
    return {name: value.flatten().tolist() for name, value in state.items()}


@given(total=st.integers(1, 20000))
def test_the_rate_rises_shortly_then_falls(total):
    rise = min(WARM_UP, total // 20)
    factors = [rate_factor(step, total) for step in range(total)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) > 0.97
    assert factors.index(max(factors)) in (rise - 1, rise)
    assert all(a >= b for a, b in itertools.pairwise(factors[rise:]))
    assert rate_factor(total, total) == pytest.approx(LAST_RATE)


def test_an_average_folds_like_any_network():
    averaged, other = random_network(small_config(), seed=1), random_network(small_config(), seed=2)
    before = {name: value.clone() for name, value in averaged.state_dict().items()}
    follow(averaged, other, 0.75)
    for name, value in other.state_dict().items():
        if value.is_floating_point():
            expected = 0.75 * before[name] + 0.25 * value
            torch.testing.assert_close(averaged.state_dict()[name], expected)
    pixels = video(small_config().input_shape, 12)
    folded, whole = fold_bn(averaged.eval())(pixels).heads, averaged.eval()(pixels).heads
    for name, head in whole.items():
        torch.testing.assert_close(folded[name], head, rtol=1e-4, atol=1e-5)


def test_averaged_weights_are_what_is_judged_kept_and_converted(tmp_path):
    plain, averaged = run(tmp_path / "plain"), run(tmp_path / "ema", ema=0.5)
    assert weights(plain) != weights(averaged)
    for name in ("float", "qat"):
        kept = load(tmp_path / "ema" / f"{name}.safetensors")
        told = kept.metrics["validation"]["validation_loss"]
        assert evaluate(kept.network, VALIDATION).validation_loss == pytest.approx(told)
    assert sum(convert(averaged.network).mismatches.values()) == 0


def test_bfloat16_is_for_the_float_phase_and_never_for_integers(tmp_path):
    plain, mixed = (run(tmp_path / str(amp), qat_epochs=0, amp=amp) for amp in (False, True))
    assert weights(plain) != weights(mixed)
    start = load(tmp_path / "False" / "float.safetensors").network
    states = [
        weights(run(tmp_path / f"qat{amp}", start, float_epochs=0, amp=amp))
        for amp in (False, True)
    ]
    assert states[0] == states[1]


SCRIPT = {  # what a metric says after each epoch, the epoch that is best
    "validation_loss": ([0.5, 0.4, 0.6, 0.4, 0.3], 2),
    "steering_rmse_rad": ([0.5, 0.4, 0.3, 0.4, 0.3], 3),
    "collision_auroc": ([0.5, 0.9, 0.6, 0.8, 0.95], 2),
}


@pytest.mark.parametrize("metric", SCRIPT)
def test_a_phase_ends_when_its_metric_gets_no_better(tmp_path, monkeypatch, metric):
    values, best = SCRIPT[metric]
    told = iter(values + values)
    nothing = Figures(1.0, 1.0, 0.5)
    monkeypatch.setattr(training, "evaluate", lambda *_: nothing._replace(**{metric: next(told)}))
    result = run(tmp_path, float_epochs=9, qat_epochs=0, metric=metric, patience=2)
    assert result.metrics == {}  # of the quantized phase, that there was not
    rows = (tmp_path / "log.csv").read_text().splitlines()[1:]
    assert len(rows) == best + 2
    kept = load(tmp_path / "float.safetensors").metrics["validation"]
    assert kept["number"] == best
    assert kept[metric] == values[best - 1]


def test_the_last_epoch_is_kept_where_that_is_asked_for(tmp_path, monkeypatch):
    told = iter([0.1, 0.2, 0.3])
    monkeypatch.setattr(training, "evaluate", lambda *_: Figures(next(told), 1.0, 0.5))
    run(tmp_path, float_epochs=3, qat_epochs=0, metric="number")
    kept = load(tmp_path / "float.safetensors").metrics["validation"]
    assert (kept["number"], kept["validation_loss"]) == (3, 0.3)


@pytest.mark.parametrize(
    ("metric", "label", "says"),
    [
        ("steering_rmse_rad", "steering_rad", "no frame of the validation split has such a label"),
        ("collision_auroc", "collision", "needs frames with a collision and frames without one"),
    ],
)
def test_a_metric_without_labels_is_refused(tmp_path, metric, label, says):
    config = TrainConfig(metric=metric, device="cpu")
    with pytest.raises(DataError, match=f"'{metric}': .*{says}"):
        training.train(
            DRIVES, [blinded(VALIDATION[0], label)], small_config(), config,
            Origin(CONTRACT, RATE_HZ, {}), tmp_path / "out",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
