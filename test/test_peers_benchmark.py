"""The benchmark beside other projects, with a neuron of our own in place of theirs.

Not covered: the peers themselves, which are installed only where the benchmark is run; it compares
their spike counts by itself and exits with 1 on a difference.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from exercise_model import EXERCISE, exercise_graph

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")


@pytest.fixture
def benchmark(monkeypatch):
    """Its modules; no peer is installed."""
    monkeypatch.syspath_prepend(str(ROOT))
    for package in ("spikingjelly", "snntorch", "norse", "sinabs"):
        monkeypatch.setitem(sys.modules, package, None)
    from benchmarks.peers import engine, neurons, run

    return run, engine, neurons


def fractions(charges, n_min, n_max):
    """The bipolar neuron in fractions of its threshold, from half a threshold on."""
    v, count, spikes = torch.full_like(charges[0], 0.5), torch.zeros_like(charges[0]), []
    for charge in charges:
        v = v + charge
        spike = ((v >= 1) & (count < n_max)).float() - ((v < 0) & (count > n_min)).float()
        v, count = v - spike, count + spike
        spikes.append(spike)
    return torch.stack(spikes)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_the_same_neuron_counts_the_same(benchmark, folded, half):
    """Cut or not; exactly where thresholds are powers of two."""
    run, _, neurons = benchmark

    def fire(charges, n_min, n_max):
        if not half:  # then the engine has put it into the first charge
            charges = torch.cat([charges[:1] - 0.5, charges[1:]])
        return fractions(charges, n_min, n_max)

    peer = neurons.Peer(fire, True, half, folded)
    for steps in (2, 16, 60):
        assert run._equal(exercise_graph(), peer, steps, CPU)["powers of two"] == 1.0


def test_another_neuron_is_found_out(benchmark):
    run, _, neurons = benchmark
    peer = neurons.Peer(lambda charges, low, high: fractions(charges, low, high - 1), True, True)
    assert run._equal(exercise_graph(), peer, 16, CPU)["powers of two"] < 1.0


def test_missing_peers_are_left_out_with_a_line(benchmark, tmp_path, capsys):
    run, _, _ = benchmark
    page = tmp_path / "docs" / "peers.md"
    arguments = [str(EXERCISE), "--frames", "2", "--repeats", "1", "--page", str(page), "--json"]
    assert run.main(arguments) == 0
    out, err = capsys.readouterr()
    for package in ("spikingjelly", "snntorch", "norse", "sinabs"):
        assert f"left out: {package} is not installed" in err
    times = json.loads(out)["times"]
    assert {"float_eager", "ours, folded", "ours, collapsed"} <= times.keys()
    text = page.read_text()
    assert "Not installed, left out: norse, sinabs, snntorch, spikingjelly." in text
    for name, entry in times.items():
        assert f"| {name} | {entry['ms_min']:.3f} | " in text
