"""Predictions and control configurations of every kind, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st

from crnn_snn_ros.core.command import DRIVES, ControlConfig
from crnn_snn_ros.core.settings import settings
from crnn_snn_ros.core.types import Prediction

RANGES = {name: known for name, (_, known) in settings(ControlConfig).items()}
NUMBERS = [name for name, known in RANGES.items() if known.low is not None]

anything = st.floats(allow_nan=True, allow_infinity=True)
predictions = st.builds(
    Prediction,
    st.one_of(st.floats(-3.0, 3.0), anything),
    st.one_of(st.floats(0.0, 1.0), anything),
    st.booleans(),
    st.integers(0, 100),
    st.integers(0, 10**6),
)
good = st.builds(
    Prediction,
    st.floats(-3.0, 3.0),
    st.floats(0.0, 1.0),
    st.just(True),
    st.integers(0, 100),
    st.integers(0, 10**6),
)
clears = st.builds(
    Prediction, st.floats(-3.0, 3.0), st.just(0.0), st.just(True), *(st.just(9),) * 2
)
intervals = st.one_of(st.floats(0.0, 1.0), anything)


@st.composite
def configs(draw: st.DrawFn) -> ControlConfig:
    """Any configuration that is accepted, ends of the ranges included."""
    values: dict[str, object] = {"drive": draw(st.sampled_from(DRIVES))}
    for name in NUMBERS:
        known = RANGES[name]
        assert known.low is not None
        assert known.high is not None
        if name == "go_frames":
            values[name] = draw(st.integers(1, 4))
        else:
            ends = st.sampled_from([known.low, known.high])
            values[name] = draw(st.one_of(ends, st.floats(known.low, known.high)))
    stop, go = values["stop_threshold"], values["go_threshold"]
    assert isinstance(stop, float)
    assert isinstance(go, float)
    if go >= stop:
        values["go_threshold"] = stop / 2
    if values["drive"] != "differential" or draw(st.booleans()):
        values["turn_after_s"] = 0.0
    elif draw(st.booleans()):
        values["turn_after_s"] = draw(st.floats(0.01, 1.0))  # so that it does turn
    return ControlConfig(**values)  # type: ignore[arg-type]
