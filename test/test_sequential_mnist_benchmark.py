"""``benchmarks/sequential_mnist`` on small generated pictures; a real run takes hours."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.training.convert import convert

ROOT = Path(__file__).resolve().parents[1]
SIDE = 4  # of a picture
FEW = ("--images", "3", "--hidden", "8", "8", "--bits", "3", "--batch", "8")
SHORT = ("--float-epochs", "2", "--quantized-epochs", "1")


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.sequential_mnist import data, forms, model, page, prove, run, train

    class Modules:
        pass

    modules = Modules()
    modules.data, modules.model, modules.page = data, model, page
    modules.prove, modules.run, modules.train = prove, run, train
    modules.forms = forms
    return modules


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """Pictures whose one bright pixel tells the digit; the test part is gzipped."""
    random = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, count in (("train", 60), ("t10k", 12)):
        digits = random.integers(0, 10, count).astype(np.uint8)
        pictures = random.integers(0, 60, (count, SIDE, SIDE)).astype(np.uint8)
        pictures.reshape(count, -1)[np.arange(count), digits] = 255
        parts = {"images-idx3": idx(pictures), "labels-idx1": idx(digits)}
        for kind, content in parts.items():
            path = folder / f"{name}-{kind}-ubyte"
            if name == "t10k":
                Path(f"{path}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return folder


def test_pixels_are_as_the_files_say(benchmark, mnist: Path):
    rows = benchmark.data.load(mnist, "train", permuted=False)
    mixed = benchmark.data.load(mnist, "train", permuted=True)
    content = np.frombuffer((mnist / "train-images-idx3-ubyte").read_bytes(), np.uint8, offset=16)
    assert np.array_equal(rows.pixels.numpy().astype(int) + 128, content.reshape(60, -1))
    assert not torch.equal(rows.pixels, mixed.pixels)
    assert torch.equal(rows.pixels.sort(dim=1).values, mixed.pixels.sort(dim=1).values)
    assert torch.equal(rows.pixels.argmax(dim=1), rows.digits)
    one = mixed.pixels.argmax(dim=1)[rows.digits == 3]
    assert len(set(one.tolist())) == 1  # the same order for every picture


def test_a_step_sees_the_last_pixels(benchmark):
    pixels = torch.tensor([[1, 2, 3]], dtype=torch.int8)
    seen = benchmark.data.frames(pixels, 2)
    assert seen.shape == (1, 3, 1, 1, 2)
    assert seen[0, :, 0, 0].tolist() == [[-128, 1], [1, 2], [2, 3]]
    assert benchmark.data.frames(pixels, 1)[0, :, 0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x01", idx(np.zeros(9, np.uint8))[:-1]])
def test_damaged_files_are_named(benchmark, mnist: Path, content: bytes):
    (mnist / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(DataError, match="train-labels"):
        benchmark.data.load(mnist, "train", permuted=False)


def test_missing_files_are_named(benchmark, tmp_path: Path):
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        benchmark.data.load(tmp_path, "train", permuted=False)


@pytest.mark.parametrize("window", [1, 9])
def test_rounded_training_is_nearly_what_is_converted(benchmark, window: int):
    size = benchmark.model.Size(hidden=(12, 12), bits=7, window=window, filters=4)
    network = benchmark.model.build(size, 20, 0).eval()
    pixels = torch.randint(-128, 128, (4, 20), dtype=torch.int8)
    seen = benchmark.data.frames(pixels, size.window)
    rounded = network(seen).activations
    scales = network.scales()
    for name in ("rnn1", "rnn2"):
        counts = rounded[name] / scales[name]
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
        assert 1 < counts.abs().max() < 128
    graph = convert(quantized(network)).graph
    assert [len(r) for _, r in graph.recurrent()] == [12, 12]


def quantized(network):
    from crnn_snn_ros.training.convert.fold import fold_bn

    folded = fold_bn(network)
    folded.quantized = True
    return folded


def test_the_whole_command(benchmark, mnist: Path, tmp_path: Path):
    page = tmp_path / "page.md"
    words = [str(mnist), "--out", str(tmp_path / "out"), "--page", str(page), *FEW, *SHORT]
    assert benchmark.run.main([*words, "--cases", "s", "ps_conv"]) == 0
    text = page.read_text()
    assert text.count("training finished") == 4
    assert text.count("pictures: **0** of") == 2
    assert (tmp_path / "sequential_mnist.svg").read_text().count("<polyline") == 2
    figures = next((tmp_path / "out" / "s").glob("figures_quantized_*_3.json"))
    told = json.loads(figures.read_text())
    assert told["spiking"]["pictures"] == 3
    assert told["snn"] == told["qann_of_the_same"]
    for row in told["spiking"]["encodings"].values():
        assert 1 <= row["most"] <= row["bound"]
    assert told["verify"]["frames"] == SIDE**2 - SIDE**2 // 3
    before = figures.stat().st_mtime_ns
    assert benchmark.run.main([*words, "--cases", "s"]) == 0  # nothing is left to do
    assert figures.stat().st_mtime_ns == before


@pytest.mark.parametrize("permuted", [False, True])
def test_a_picture_moves_and_black_comes_in(benchmark, mnist: Path, permuted: bool):
    data = benchmark.data
    plain, shown = (data.load(mnist, "train", permuted=order).pixels for order in (False, permuted))
    table = data.moves(SIDE**2, 2, permuted=permuted)
    assert table.shape == (25, SIDE**2)
    still = torch.full((len(shown),), 12)
    assert torch.equal(data.moved(shown, table, still), shown)
    pictures = functional.pad(plain.view(-1, SIDE, SIDE), (2, 2, 2, 2), value=-128)
    for move in range(25):
        down, right = divmod(move, 5)
        want = pictures[:, down : down + SIDE, right : right + SIDE].reshape(len(plain), -1)
        at = data.moves(SIDE**2, 0, permuted=permuted)[0]  # of each step, the same step
        assert torch.equal(at, torch.arange(SIDE**2))
        order = data._order(SIDE**2, permuted)
        got = data.moved(shown, table, torch.full((len(shown),), move))
        assert torch.equal(got, want[:, order])
    with pytest.raises(ConfigError, match="not a square"):
        data.moves(SIDE**2 - 1, 1, permuted=permuted)


def test_cut_off_and_gone_on_is_the_same(benchmark, mnist: Path, tmp_path: Path):
    train, device = benchmark.train, torch.device("cpu")
    data = benchmark.data.load(mnist, "train", permuted=False)
    size = benchmark.model.Size(hidden=(8,), bits=3)
    plan = train.Plan(float_epochs=2, quantized_epochs=2, batch=8, judge_every=3, shift=1)

    def training(folder: str):
        return train.Training(tmp_path / folder, data, size, plan, 0, device)

    whole = training("whole")
    whole.run(lambda: False)
    while not (part := training("parts")).finished:
        steps = iter(range(5))
        part.run(lambda steps=steps: next(steps, None) is None)
    for one, other in zip(whole.trained(), training("parts").trained(), strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    assert [p[:2] for p in whole.curve] == [p[:2] for p in part.curve]
    assert [p[3:] for p in whole.curve] == [p[3:] for p in part.curve]
    with pytest.raises(ConfigError, match="seed"):
        train.Training(tmp_path / "whole", data, size, plan, 1, device)


def test_what_is_cut_off_is_said(benchmark, mnist: Path, tmp_path: Path, capsys):
    words = [str(mnist), "--out", str(tmp_path), *FEW, *SHORT, "--minutes", "0", "--cases", "s"]
    assert benchmark.run.main(words) == 0
    assert re.search(r"training not finished: 0\.0 of 3 epochs", capsys.readouterr().out)


def test_a_state_kept_elsewhere_is_gone_on_from(benchmark, mnist: Path, tmp_path: Path, capsys):
    words = [str(mnist), *FEW, *SHORT, "--cases", "s"]
    assert benchmark.run.main([*words, "--out", str(tmp_path / "a")]) == 0
    state = tmp_path / "a" / "s" / benchmark.train.STATE
    capsys.readouterr()
    start = ["--start", str(tmp_path / "a"), "--out", str(tmp_path / "b")]
    assert benchmark.run.main([*words, *start, "--minutes", "0"]) == 0
    assert "training finished" in capsys.readouterr().out
    assert (tmp_path / "b" / "s" / state.name).read_bytes() == state.read_bytes()


def test_long_memories_go_small_steps(benchmark):
    network = benchmark.model.build(benchmark.model.Size(hidden=(8,)), 100, 0)
    layer = network.nodes["rnn1"]
    found = dict(benchmark.forms.paces(network))
    assert {id(p) for p in found} == {
        id(p) for p in layer.parameters() if p.shape == layer.recurrent.shape
    }
    pace = found[layer.recurrent]
    assert torch.equal(pace.argsort(), layer.recurrent.argsort(descending=True))
    assert (pace > 0).all()
    assert (pace < 1).all()
    folded = benchmark.forms.quantize(network)
    weight = folded.nodes["rnn1"].branches[0].weight
    assert dict(benchmark.forms.paces(folded))[weight].shape == (8, 1)


def test_norms_are_calibrated_in_the_network_that_is_judged(benchmark):
    size = benchmark.model.Size(hidden=(8,))
    network = benchmark.model.build(size, 20, 0)
    pixels = torch.randint(-128, 128, (6, 20), dtype=torch.int8)
    norm = network.nodes["rnn1"].branches[0].norm
    norm.running_mean.fill_(7.0)
    judged = benchmark.forms.calibrated(network, size, pixels)
    charge = pixels.float() / 128.0 * network.nodes["rnn1"].branches[0].weight.reshape(8, 1, 1)
    own = judged.nodes["rnn1"].branches[0].norm
    torch.testing.assert_close(own.running_mean, charge.mean(dim=(1, 2)).detach())
    assert (norm.running_mean == 7.0).all()
    assert not judged.training


def test_a_difference_ends_the_run(benchmark, mnist: Path):
    prove = benchmark.prove
    size = benchmark.model.Size(hidden=(8,), bits=3)
    network = quantized(benchmark.model.build(size, SIDE**2, 0)).eval()
    graph = convert(network).graph
    pixels = benchmark.data.load(mnist, "test", permuted=False).pixels
    assert prove.spiking(graph, network, size, pixels[:2], "cpu")["integers"] > 0
    network.nodes["rnn1"].bias.data -= 0.5
    with pytest.raises(DataError, match="training's arithmetic, layer rnn1"):
        prove.spiking(graph, network, size, pixels[:2], "cpu")


def test_an_error_is_one_line(benchmark, tmp_path: Path, capsys):
    assert benchmark.run.main([str(tmp_path), "--cases", "s"]) == 2
    assert capsys.readouterr().err.startswith("sequential_mnist: ")
