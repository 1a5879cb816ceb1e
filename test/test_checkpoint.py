from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_samples import checkpoint, quantized_network, random_network, small_config, video

from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.training.checkpoint import FORMAT, load, save
from crnn_snn_ros.training.convert import convert
from crnn_snn_ros.training.model_card import to_model

DROP = object()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 400 + len(str(path))
    return message


def header_of(path: Path) -> dict:
    raw = path.read_bytes()
    table = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return json.loads(table["__metadata__"]["crnn_snn"])


def rewrite(path: Path, header, tensors=None) -> Path:
    """A safetensors file in good order with another header or other tensors."""
    tensors = load_file(path) if tensors is None else tensors
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, metadata={"crnn_snn": text})
    return path


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "qat.safetensors"
    save(path, checkpoint(quantized_network(small_config())))
    return path


@pytest.mark.parametrize("make", [random_network, quantized_network])
def test_round_trip_to_the_bit(tmp_path, make):
    config = small_config(
        bits=2, signed_hidden=False, block_channels=(5, 3), hidden=(4, 6),
        layer_bits=(("rnn2", 5), ("stem", 1)),
    )  # fmt: skip
    original = checkpoint(make(config, seed=3), metrics={"validation": {"loss": 0.1, "none": None}})
    save(tmp_path / "c.safetensors", original)
    loaded = load(tmp_path / "c.safetensors")
    assert loaded.network.config == config
    assert loaded.network.quantized is (make is quantized_network)
    assert (loaded.origin, loaded.trained_heads) == (original.origin, ("steering",))
    assert loaded.metrics == original.metrics
    assert not loaded.network.training
    states = original.network.state_dict(), loaded.network.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    pixels = video(config.input_shape, 12)
    for name, head in original.network(pixels).heads.items():
        assert torch.equal(loaded.network(pixels).heads[name], head)
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_loaded_checkpoint_converts_to_the_same_graph_and_card(saved):
    loaded = load(saved)
    model = to_model(loaded, convert(loaded.network))
    assert model.provenance["data"]["bags"][0]["about"] == {"licence": "CC0-1.0"}
    assert model.heads["steering"].trained
    assert not model.heads["collision"].trained
    original = convert(quantized_network(small_config())).graph
    for ours, theirs in zip(model.graph.neurons(), original.neurons(), strict=True):
        assert (ours.threshold == theirs.threshold).all()
        assert (ours.bias == theirs.bias).all()


def test_a_checkpoint_of_before_bits_by_layer_is_read(saved):
    header = header_of(saved)
    del header["network"]["layer_bits"]
    loaded = load(rewrite(saved, header))
    assert loaded.network.config == small_config()


def test_the_same_checkpoint_gives_the_same_bytes(saved, tmp_path):
    again = tmp_path / "again.safetensors"
    save(again, load(saved))
    assert again.read_bytes() == saved.read_bytes()


def test_an_error_while_writing_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save(saved, checkpoint(random_network(small_config())))
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_missing_and_foreign_files(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.safetensors")
    assert "is a folder" in refusal(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    assert "no such file" in refusal(tmp_path / "fifo")  # and it does not wait for a writer
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    refusal(empty)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, foreign)
    assert "crnn-snn train" in refusal(foreign)
    pickle = tmp_path / "pickle.pt"
    torch.save({"weight": torch.zeros(3)}, pickle)
    refusal(pickle)


def test_layers_on_integers_are_remembered(tmp_path):
    network = random_network(small_config())
    network.put_on_integers(["block1b"])
    path = tmp_path / "float.safetensors"
    save(path, checkpoint(network))
    again = load(path)
    assert again.network.on_integers == ("block1b",)
    frames = video((1, 8, 12), 3)
    for name, values in network(frames).activations.items():
        assert torch.equal(values, again.network(frames).activations[name]), name
    header = header_of(path)
    for wrong in (["eye"], ["pool"], [["stem"]], "stem", 7, None):
        rewrite(path, header | {"on_integers": wrong})
        refusal(path)
    save(path, checkpoint(random_network(small_config())))
    header = header_of(path)
    del header["on_integers"]  # of before there was such a thing
    rewrite(path, header)
    assert load(path).network.on_integers == ()


def test_truncated_at_every_kind_of_place(saved):
    whole = saved.read_bytes()
    for length in (0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        refusal(saved)
    saved.write_bytes(whole + b"\0")
    refusal(saved)
    saved.write_bytes(whole)
    load(saved)


def test_flipped_header_bytes_never_end_in_a_traceback(saved):
    whole = bytearray(saved.read_bytes())
    end = 8 + int.from_bytes(whole[:8], "little")
    for place in range(0, end, 17):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 7)
        saved.write_bytes(flipped)
        with suppress(DataError):
            load(saved)  # a flip in free text is not seen


def test_a_network_of_before_tells_of_ways_by_the_scale_of_before(tmp_path):
    path = tmp_path / "float.safetensors"
    save(path, checkpoint(random_network(small_config(ways=True))))
    assert load(path).network.config.ways_scale == 2.0
    header = header_of(path)
    del header["network"]["ways_scale"]
    before = load(rewrite(path, header))
    assert before.network.config.ways_scale == 0.5
    model = to_model(before, convert(quantized_network(small_config(ways=True, ways_scale=0.5))))
    assert model.heads["steering"].unit == "aversion"


@pytest.mark.parametrize("field", ["network", "contract", "frame_rate_hz", "provenance", "metrics"])
@pytest.mark.parametrize("value", [DROP, None, 7, "x" * 9999, [], {}, {"bits": []}])
def test_header_fields_of_a_wrong_form(saved, field, value):
    header = header_of(saved)
    header[field] = value
    if value is DROP:
        del header[field]
    rewrite(saved, header)
    if (field, value) == ("frame_rate_hz", 7) or (
        field in ("provenance", "metrics") and value in ([], {}, {"bits": []})
    ):
        load(saved)
    else:
        refusal(saved)


@pytest.mark.parametrize("header", ["[]", "7", "null", "{", '"' + "x" * 9999 + '"', "[" * 10000])
def test_headers_that_are_no_object(saved, header):
    refusal(rewrite(saved, header))


def test_another_format_is_named(saved):
    header = header_of(saved)
    header["format"] = "crnn_snn checkpoint 99"
    message = refusal(rewrite(saved, header))
    assert "checkpoint 99" in message
    assert FORMAT in message


HOSTILE = [
    {"stem_channels": 10**9},
    {"stem_channels": 65536, "hidden": [65536, 65536]},
    {"hidden": [65536]},
    {"block_channels": [65536] * 2, "input_shape": [3, 65536, 65536]},
    {"input_shape": [65536, 65536, 65536]},
    {"block_channels": [1] * 5000, "input_shape": [1, 65536, 65536]},
    {"hidden": [1] * 100_000},
    {"bits": 10**9},
    {"bits": 8.5},
    {"hidden": [-1]},
    {"hidden": "8"},
    {"hidden": [[8]]},
    {"dense": [65536, 65536]},
    {"dense": [1] * 100_000},
    {"dense": "8"},
    {"layer_bits": [["stem", 10**9]]},
    {"layer_bits": [["nose", 3]] * 9999},
    {"layer_bits": [3]},
    {"layer_bits": "stem"},
]
LOAD_ALL = """
import resource, sys
from pathlib import Path
from crnn_snn_ros.core.errors import DataError
from crnn_snn_ros.training.checkpoint import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        load(Path(path))
    except DataError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_hostile_sizes_are_refused_without_memory(saved):
    header, paths = header_of(saved), []
    for number, change in enumerate(HOSTILE):
        paths.append(saved.with_name(f"{number}.safetensors"))
        paths[-1].write_bytes(saved.read_bytes())
        rewrite(paths[-1], header | {"network": header["network"] | change})
    limit = 16 * 2**30  # so that a fault ends this process and not the machine
    done = subprocess.run(
        [sys.executable, "-c", LOAD_ALL, *paths],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr
    *messages, grown_mib = done.stdout.splitlines()
    assert [message.partition(": ")[0] for message in messages] == [str(path) for path in paths]
    assert "memory" not in done.stdout  # refused by comparison, not by a failed allocation
    assert int(grown_mib) < 100


def test_tensors_that_do_not_fit(saved):
    header, tensors = header_of(saved), load_file(saved)
    name = "nodes.rnn1.bias"
    cases = {
        "missing": {key: value for key, value in tensors.items() if key != name},
        "additional": tensors | {"another": torch.zeros(1)},
        "shape": tensors | {name: torch.zeros(9)},
        "type": tensors | {name: tensors[name].double()},
        "nan": tensors | {name: tensors[name] * torch.nan},
    }
    for case, changed in cases.items():
        message = refusal(rewrite(saved, header, changed))
        assert ("another" if case == "additional" else name) in message


def test_a_float_checkpoint_that_calls_itself_quantized(tmp_path):
    path = tmp_path / "float.safetensors"
    save(path, checkpoint(random_network(small_config())))
    refusal(rewrite(path, header_of(path) | {"quantized": True}))
