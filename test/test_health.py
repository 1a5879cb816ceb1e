"""Figures of the last seconds."""

from __future__ import annotations

import pytest

from crnn_snn_ros.core.health import MAX_SAMPLES, WINDOW_NS, Health, Sample, health, keep

SECOND = 1_000_000_000


def test_nothing_answered_is_all_zero():
    assert health([], 5) == Health(0, 0.0, 0.0, 0.0, 0.0, 0, 0.0)
    assert health([Sample(0, 1, 1, 1)], WINDOW_NS) == health([], 5)


def test_figures():
    samples = [Sample(n * SECOND // 10, (n + 1) * 1_000_000, n, 10 * n) for n in range(11)]
    now = health(samples, SECOND)
    assert now.frames == 11
    assert now.rate_hz == pytest.approx(10.0)
    assert now.latency_p50_ms == pytest.approx(6.0)
    assert now.latency_p99_ms == pytest.approx(10.9)
    assert (now.settle_steps_mean, now.settle_steps_max, now.spikes_mean) == (5.0, 10, 50.0)


def test_the_rate_falls_when_frames_stop():
    samples = [Sample(n * SECOND // 10, 1, 1, 1) for n in range(11)]
    assert health(samples, 5 * SECOND).rate_hz == pytest.approx(2.0)


def test_memory_is_bounded_in_time_and_number():
    samples: list[Sample] = []
    for n in range(3 * MAX_SAMPLES):
        samples = keep(samples, Sample(n, 1, 1, 1))
    assert len(samples) == MAX_SAMPLES
    assert len(keep(samples, Sample(10 * WINDOW_NS, 1, 1, 1))) == 1
