from __future__ import annotations

import pytest
from recording_samples import tiny_graph

from crnn_snn_ros.evaluation.energy import costs, totals_uj


def test_by_hand():
    """5 neurons; figures of Horowitz 2014: 4.6 pJ a float MAC, 0.3 an int8 one, 0.1 an addition."""
    lines = costs(
        tiny_graph(),
        dense_operations=1e6,
        input_operations=2e5,
        additions=3e6,
        settle_steps=10.0,
    )
    assert totals_uj(lines) == pytest.approx(
        {"float": 4.6, "qann": 0.3, "snn": 0.06 + 0.3 + 5 * 10 * 0.1e-6}
    )


def test_fewer_spikes_cost_less():
    def snn(additions: float) -> float:
        lines = costs(
            tiny_graph(),
            dense_operations=24,
            input_operations=12,
            additions=additions,
            settle_steps=3,
        )
        return totals_uj(lines)["snn"]

    assert snn(100) > snn(10) > 0
