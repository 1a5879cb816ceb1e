"""Model files: round trip, golden file, refusal of everything else in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given
from model_samples import (
    GOLDEN,
    RAW,
    ZEROS,
    golden_model,
    model_of,
    parts,
    sign,
    vector,
    weights,
)
from safetensors.numpy import load_file
from strategies import graphs

from crnn_snn_ros.core import bounds
from crnn_snn_ros.core.errors import ModelFileError
from crnn_snn_ros.core.graph import INPUT, Graph, Head, Linear, Neurons
from crnn_snn_ros.io.model_file import HeadInfo, Model, header, load, save
from crnn_snn_ros.io.preprocess import InputContract
from crnn_snn_ros.io.tensor_file import read_arrays, read_layout

GOLDEN_SHA256 = "58653fdb5e792bdefceb4ac9612ebdb84f4ffbcd2cdde050621e0d9b4a137a45"


def assert_same(got: Any, expected: Any) -> None:
    """Equal in type, structure, dtype and every number."""
    assert type(got) is type(expected)
    if dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            assert_same(getattr(got, field.name), getattr(expected, field.name))
    elif isinstance(expected, tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert got.dtype == expected.dtype
        assert np.array_equal(got, expected)
    else:
        assert got == expected


def refusal(path: str | Path) -> str:
    """The message with which ``load`` refuses a file: one line that names it."""
    with pytest.raises(ModelFileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 600
    return message


def test_motion_comes_back_and_is_told_only_where_there_is_some(tmp_path):
    layer = Neurons("a", (Linear(INPUT, weights(3, 32)),), vector(1, 2, 3), vector(9, 9, 9), 0, 3)
    heads = tuple(
        Head(name, (Linear("a", weights(1, 3)),), vector(9), 0.001, kind)
        for name, kind in (("steering", "regression"), ("collision", "logit"))
    )
    contract = InputContract(4, 4, "grey", motion=2)
    model = dataclasses.replace(
        golden_model(), graph=Graph((2, 4, 4), (layer, *heads)), contract=contract
    )
    save(tmp_path / "moving.snn", model)
    assert load(tmp_path / "moving.snn").contract == contract
    assert b"motion" not in GOLDEN.read_bytes()
    assert b"mount" not in GOLDEN.read_bytes()


@pytest.mark.parametrize("fov_deg", [90.0, 115.0])
def test_the_lens_comes_back_and_is_told_only_where_it_is_another(tmp_path, fov_deg):
    model = golden_model()
    contract = dataclasses.replace(model.contract, fov_deg=fov_deg)
    save(tmp_path / "lens.snn", dataclasses.replace(model, contract=contract))
    assert load(tmp_path / "lens.snn").contract == contract
    assert (b"fov_deg" in (tmp_path / "lens.snn").read_bytes()) == (fov_deg != 90.0)


@pytest.mark.parametrize("more", [(), ("steady",), ("steady", "floor"), ("steady", "wheels")])
def test_that_it_must_be_told_the_mount_of_the_camera_comes_back(tmp_path, more):
    contract = InputContract(4, 4, "rgb", motion=2, mount=True, **dict.fromkeys(more, True))
    synapses = (Linear(INPUT, weights(3, 16 * contract.channels)),)
    layer = Neurons("a", synapses, vector(1, 2, 3), vector(9, 9, 9), 0, 3)
    heads = tuple(
        Head(name, (Linear("a", weights(1, 3)),), vector(9), 0.001, kind)
        for name, kind in (("steering", "regression"), ("collision", "logit"))
    )
    graph = Graph((contract.channels, 4, 4), (layer, *heads))
    model = dataclasses.replace(golden_model(), graph=graph, contract=contract)
    save(tmp_path / "told.snn", model)
    assert load(tmp_path / "told.snn").contract == contract
    written = (tmp_path / "told.snn").read_bytes()
    assert {name for name in ("steady", "floor", "wheels") if name.encode() in written} == set(more)


@given(graph=graphs())
def test_any_valid_graph_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, graph: Graph
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.snn"
    model = model_of(graph, frame_rate_hz=29.97, metrics={"rmse": 0.1 + 0.2})
    first = save(path, model)
    data = path.read_bytes()
    again = load(path)
    assert_same(again, model)
    assert save(path, again) == first
    assert path.read_bytes() == data


def test_golden_file_is_what_it_was() -> None:
    found = load(GOLDEN)
    assert_same(found, golden_model())
    assert header(GOLDEN)["sha256"] == GOLDEN_SHA256
    assert GOLDEN.stat().st_size < 4096


def test_golden_file_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    assert save(tmp_path / "again.snn", golden_model()) == GOLDEN_SHA256
    assert (tmp_path / "again.snn").read_bytes() == GOLDEN.read_bytes()


def test_hash_is_as_documented() -> None:
    file = GOLDEN.read_bytes()
    blank = file.replace(GOLDEN_SHA256.encode(), ZEROS.encode())
    assert hashlib.sha256(blank).hexdigest() == GOLDEN_SHA256


def test_example_in_the_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parent.parent
    example = (root / "docs" / "model_file.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(root)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["told"] == GOLDEN_SHA256
    assert GOLDEN.read_bytes()[names["end"] :][:16].hex() == "fbffffff84030000ff070000e8030000"


def test_safetensors_itself_reads_the_same_tensors() -> None:
    tensors = load_file(GOLDEN)
    model = golden_model()
    assert np.array_equal(tensors["conv1.recurrent"], np.array([-300, 3000]))
    assert tensors["block1.weight1"].dtype == np.int32
    conv = model.graph.nodes[0].synapses[0]  # type: ignore[union-attr]
    assert np.array_equal(tensors["conv1.weight0"], conv.weight)
    with safetensors.safe_open(GOLDEN, "np") as file:
        assert file.metadata()["format_version"] == "1"


def test_header_is_plain_json_with_what_is_proven() -> None:
    found = header(GOLDEN)
    assert json.loads(json.dumps(found)) == found
    proven = bounds.prove(golden_model().graph)
    assert found["bounds"]["settling_steps"] == proven.settling_steps
    assert found["bounds"]["accumulator"] == proven.accumulator
    assert found["levels"] == {"conv1": [0, 7], "block1": [0, 15], "memory": [-3, 3]}
    assert found["heads"]["steering"] == {"unit": "rad", "trained": True}
    assert found["size_bytes"] == GOLDEN.stat().st_size
    assert found["tensors"]["conv1.weight0"] == {"dtype": "int8", "shape": [2, 1, 3, 3]}


def test_loaded_arrays_are_read_only() -> None:
    for neurons in load(GOLDEN).graph.neurons():
        for array in (neurons.bias, neurons.threshold, *(s.weight for s in neurons.synapses)):
            assert not array.flags.writeable


def test_heads_keep_the_order_of_the_graph(tmp_path: Path) -> None:
    save(tmp_path / "a.snn", golden_model())
    assert list(load(tmp_path / "a.snn").heads) == ["steering", "collision"]


def test_order_of_keys_in_provenance_does_not_change_the_file(tmp_path: Path) -> None:
    graph = golden_model().graph
    one = save(tmp_path / "a", model_of(graph, provenance={"a": 1, "b": {"c": 2, "d": 3}}))
    two = save(tmp_path / "b", model_of(graph, provenance={"b": {"d": 3, "c": 2}, "a": 1}))
    assert one == two


@pytest.mark.timeout(120)
def test_every_single_flipped_bit_is_found(tmp_path: Path) -> None:
    good = GOLDEN.read_bytes()
    path = tmp_path / "flipped.snn"
    path.write_bytes(good)
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(good):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                with pytest.raises(ModelFileError):
                    load(path)
            os.pwrite(file.fileno(), bytes([byte]), position)
    load(path)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, -1, -30, -31])
def test_truncated_files_are_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cut.snn"
    path.write_bytes(GOLDEN.read_bytes()[:size])
    refusal(path)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.snn")
    assert "not a regular file" in refusal(tmp_path)
    assert "not a regular file" in refusal("/dev/zero")
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in refusal(tmp_path / "fifo")
    assert "is no path" in refusal("model\0.snn")
    refusal(tmp_path / ("x" * 400))
    (tmp_path / "loop").symlink_to("loop")
    refusal(tmp_path / "loop")
    (tmp_path / "two\nlines").write_bytes(b"")
    refusal(tmp_path / "two\nlines")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret.snn"
    path.write_bytes(GOLDEN.read_bytes())
    path.chmod(0)
    assert "Permission denied" in refusal(path)


def test_symlink_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.snn").symlink_to(GOLDEN)
    assert_same(load(tmp_path / "link.snn"), golden_model())


def test_file_that_is_rewritten_in_place_while_read_is_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "busy.snn"
    good = GOLDEN.read_bytes()
    path.write_bytes(good)
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for size in (len(good), 40, len(good) - 20, 2000):
                path.write_bytes(good[:size])

    thread = threading.Thread(target=rewrite)
    thread.start()
    outcomes = set()
    try:
        for _ in range(300):
            try:
                assert_same(load(path), golden_model())
                outcomes.add("whole")
            except ModelFileError:
                outcomes.add("refused")
    finally:
        stop.set()
        thread.join()
    assert "refused" in outcomes


def test_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "model.snn"
    save(path, golden_model())
    before = path.read_bytes()
    first, *rest = golden_model().graph.nodes
    assert isinstance(first, Neurons)
    heavy = dataclasses.replace(first, bias=np.full(2, 2**24, np.int32))
    with pytest.raises(ModelFileError, match=r"model\.snn: node 'conv1': .*2\^24"):
        save(path, model_of(Graph((1, 4, 4), (heavy, *rest))))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.snn"]


@pytest.mark.parametrize(
    "provenance",
    [
        {"a": float("nan")},
        {"a": float("-inf")},
        {"a": (1, 2)},
        {1: "a"},
        {"a": np.int64(3)},
        {"a": "\ud800"},
        {"a": b"bytes"},
        {"a": 10**20},
        {"a": "x" * 2**20},
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_what_json_would_change_or_refuse_is_not_saved(
    tmp_path: Path, provenance: dict[str, Any]
) -> None:
    with pytest.raises(ModelFileError):
        save(tmp_path / "a.snn", model_of(golden_model().graph, provenance=provenance))
    assert os.listdir(tmp_path) == []


def test_save_into_nowhere_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"No such file.*nothing was written"):
        save(tmp_path / "no" / "such" / "a.snn", golden_model())
    with pytest.raises(ModelFileError, match=r"directory.*nothing was written"):
        save(tmp_path, golden_model())
    assert not list(tmp_path.parent.glob(".*.tmp*"))


def test_contradicting_parts_make_no_model() -> None:
    model = golden_model()
    heads = model.heads
    with pytest.raises(ModelFileError, match="heads"):
        dataclasses.replace(model, heads={"steering": heads["steering"]})
    with pytest.raises(ModelFileError, match="frame rate"):
        dataclasses.replace(model, frame_rate_hz=float("nan"))
    with pytest.raises(ModelFileError, match="frames"):
        dataclasses.replace(model, contract=dataclasses.replace(model.contract, width=5))
    with pytest.raises(ModelFileError, match="unit"):
        HeadInfo("", trained=True)


DROP = "@drop@"
STRIDE = "model/graph/nodes/conv1/synapses/0/stride"
SHAPE = "conv1.bias/shape"

# What the refusal must say, and the changes that provoke it: a place in the header (model/... is
# the JSON inside its metadata; nodes are found by name) and what to put there.
HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "other version": ("format version '2'", {"__metadata__/format_version": "2"}),
    "other format": ("its format is not", {"__metadata__/format": "pt"}),
    "no format": ("its format is not", {"__metadata__/format": DROP}),
    "extra metadata": ("not exactly the fields", {"__metadata__/x": ""}),
    "metadata number": ("more than strings", {"__metadata__/x": 1}),
    "no metadata": ("no '__metadata__'", {"__metadata__": DROP}),
    "cycle": (
        "'block1' is not an earlier node",
        {"model/graph/nodes/conv1/synapses/0/source": "block1"},
    ),
    "own source": ("'peak' is not an earlier node", {"model/graph/nodes/peak/source": "peak"}),
    "head as source": (
        "is a head",
        {"model/graph/nodes/collision/synapses/0/source": "steering"},
    ),
    "name twice": ("the name is taken", {"model/graph/nodes/mean/name": "peak"}),
    "weights twice": (
        "'conv1.weight0' is missing",
        {"model/graph/nodes/block1/name": "conv1"},
    ),
    "huge shape": ("tensor 'conv1.bias' needs", {SHAPE: [2**31, 2**31, 2**31]}),
    "shape of 10^60": ("needs", {SHAPE: [10**15 - 1] * 4}),
    "long dimension": ("31 digits", {SHAPE: [10**30]}),
    "too many axes": ("5 axes", {SHAPE: [1, 1, 1, 1, 2]}),
    "empty shape": ("not positive", {SHAPE: [0, 10**12]}),
    "negative shape": ("not positive", {SHAPE: [-1, -2]}),
    "bool in shape": ("not positive", {SHAPE: [True, 2]}),
    "float in shape": ("not positive", {SHAPE: [2.0]}),
    "scalar tensor": ("0 axes", {SHAPE: []}),
    "other shape": ("conv weight (1, 2, 3, 3)", {"conv1.weight0/shape": [1, 2, 3, 3]}),
    "float dtype": ("dtype 'F32'", {"conv1.bias/dtype": "F32"}),
    "wrong dtype": ("needs", {"conv1.weight0/dtype": "I32"}),
    "int8 bias": ("bias is int8", {"conv1.bias/dtype": "I8", SHAPE: [8]}),
    "overlap": ("starts at", {"conv1.threshold/data_offsets": [0, 8]}),
    "past the end": ("starts at", {"conv1.bias/data_offsets": [10**9, 10**9 + 8]}),
    "negative offsets": ("not two positions", {"conv1.bias/data_offsets": [-8, 0]}),
    "tensor of no node": (
        "tensor 'conv1.recurrent' belongs to no node",
        {"model/graph/nodes/conv1/recurrent": False},
    ),
    "tensor missing": (
        "'block1.recurrent' is missing",
        {"model/graph/nodes/block1/recurrent": True},
    ),
    "negative stride": ("stride -1", {STRIDE: -1}),
    "zero stride": ("stride 0", {STRIDE: 0}),
    "bool stride": ("'stride' is True, expected int", {STRIDE: True}),
    "float stride": ("'stride' is 1.0, expected int", {STRIDE: 1.0}),
    "padding": ("padding 99999", {"model/graph/nodes/conv1/synapses/0/padding": 99999}),
    "pool padding": ("padding 2 is not", {"model/graph/nodes/peak/padding": 2}),
    "huge kernel": ("kernel 100000000000000", {"model/graph/nodes/peak/kernel": 10**14}),
    "too many levels": ("n_max 256", {"model/graph/nodes/conv1/n_max": 256}),
    "no counts": ("n_max 0", {"model/graph/nodes/conv1/n_max": 0}),
    "positive n_min": ("n_min 1", {"model/graph/nodes/conv1/n_min": 1}),
    "NaN scale": ("holds NaN", {"model/graph/nodes/steering/scale": RAW + "NaN"}),
    "infinite scale": ("holds -Infin", {"model/graph/nodes/steering/scale": RAW + "-Infinity"}),
    "scale 1e999": ("too large", {"model/graph/nodes/steering/scale": RAW + "1e999"}),
    "scale 1e-999": ("scale 0.0", {"model/graph/nodes/steering/scale": RAW + "1e-999"}),
    "scale null": ("expected float", {"model/graph/nodes/steering/scale": None}),
    "long integer": ("5000 digits", {"model/graph/nodes/steering/scale": RAW + "9" * 5000}),
    "kind": ("kind 'softmax'", {"model/graph/nodes/steering/kind": "softmax"}),
    "unknown key": ("unknown field 'hook'", {"model/graph/nodes/peak/hook": "os"}),
    "missing key": ("lacks the field 'stride'", {"model/graph/nodes/peak/stride": DROP}),
    "unknown node": ("known are", {"model/graph/nodes/peak/type": "lambda"}),
    "bad name": (r"tensor '../x\n.weight0' is missing", {"model/graph/nodes/conv1/name": "../x\n"}),
    "bad pool name": ("not letters", {"model/graph/nodes/peak/name": "\x1b[31m" * 99}),
    "no nodes": ("belongs to no node", {"model/graph/nodes": []}),
    "nodes no list": ("expected list", {"model/graph/nodes": {}}),
    "node no object": ("not a JSON object", {"model/graph/nodes/peak": 7}),
    "input shape": ("3 integers", {"model/graph/input_shape": [1, 4.0, 4]}),
    "input size": ("the input contract gives (1, 4, 5)", {"model/input/width": 5}),
    "input too large": ("too large", {"model/graph/input_shape": [1, 10**7, 10**7]}),
    "input side": ("input size", {"model/graph/input_shape": [1, 10**9, 10**9]}),
    "colour": ("colour", {"model/input/colour": "cmyk"}),
    "crop": ("crop", {"model/input/crop_top": 0.5, "model/input/crop_bottom": 0.5}),
    "motion": ("input motion 33 is not a whole 0..32", {"model/input/motion": 33}),
    "channel of motion": ("the input contract gives (2, 4, 4)", {"model/input/motion": 2}),
    "normalisation": ("normalisation 'mean'", {"model/input/normalisation": "mean"}),
    "frame rate": ("frame rate 0.0", {"model/frame_rate_hz": 0}),
    "frame rate as text": ("expected float", {"model/frame_rate_hz": "20"}),
    "head not described": ("heads", {"model/heads/steering": DROP}),
    "head too many": ("heads", {"model/heads/x": {"unit": "m", "trained": False}}),
    "trained as number": ("expected bool", {"model/heads/steering/trained": 1}),
    "unit": ("unit", {"model/heads/steering/unit": "rad\n"}),
    "key twice": ("repeats the key 'a'", {"model/metrics/x": RAW + '{"a":1,"a":2}'}),
    "table key twice": ("repeats the key 'a'", {"x": RAW + '{"a":1,"a":2}'}),
    "deep": ("nested more than 32 deep", {"model/metrics/x": RAW + "[" * 40 + "]" * 40}),
    "very deep": ("nested too deeply", {"model/metrics/x": RAW + "[" * 300_000 + "]" * 300_000}),
    "very deep table": ("nested too deeply", {"x": RAW + '{"a":' * 99_000 + "1" + "}" * 99_000}),
    "half a surrogate": ("surrogate", {"model/metrics/x": RAW + '"\\ud800"'}),
    "comment": ("JSON is damaged", {"model/metrics": RAW + "{} //"}),
    "long key": ("unknown field", {"model/" + "x" * 500_000: 1}),
    "header too long": ("header length", {"model/metrics/x": "y" * 2**20}),
}


def put(header: dict[str, Any], model: dict[str, Any], place: str, value: Any) -> None:
    """Carry out one change of HOSTILE."""
    at: Any = header
    key: Any = None
    steps = place.split("/")
    if steps[0] == "model":
        at, steps = model, steps[1:]
    for depth, step in enumerate(steps):
        key = step
        if isinstance(at, list):
            names = [item.get("name") for item in at]
            key = names.index(step) if step in names else int(step)
        if depth < len(steps) - 1:
            at = at[key]
    if value == DROP:
        del at[key]
    else:
        at[key] = value


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_with_a_right_hash_is_refused_for_its_fault(
    tmp_path: Path, name: str
) -> None:
    expected, changes = HOSTILE[name]
    head, model, data = parts(GOLDEN.read_bytes())
    for place, value in changes.items():
        put(head, model, place, value)
    path = tmp_path / "hostile.snn"
    path.write_bytes(sign(head, model, data))
    assert expected in refusal(path)


@pytest.mark.parametrize("threshold", [-1, 0, 1, 2048, 2**31 - 1, -(2**31)])
def test_threshold_out_of_range_is_refused(tmp_path: Path, threshold: int) -> None:
    refused = poke(tmp_path, "conv1.threshold", threshold)
    assert "node 'conv1': thresholds span" in refused


@pytest.mark.parametrize("name", ["conv1.bias", "conv1.recurrent", "block1.weight1"])
@pytest.mark.parametrize("value", [2**31 - 1, -(2**31)])
def test_value_that_breaks_the_bound_is_refused(tmp_path: Path, name: str, value: int) -> None:
    assert "2^24" in poke(tmp_path, name, value)


def poke(tmp_path: Path, name: str, value: int) -> str:
    """Write ``value`` over the last number of an int32 tensor, sign the file, and load it."""
    head, model, data = parts(GOLDEN.read_bytes())
    end = head[name]["data_offsets"][1]
    data = data[: end - 4] + value.to_bytes(4, "little", signed=True) + data[end:]
    (tmp_path / "poked.snn").write_bytes(sign(head, model, data))
    return refusal(tmp_path / "poked.snn")


def test_data_that_no_tensor_names_is_refused(tmp_path: Path) -> None:
    head, model, data = parts(GOLDEN.read_bytes())
    (tmp_path / "long.snn").write_bytes(sign(head, model, data + b"!"))
    assert "the file has" in refusal(tmp_path / "long.snn")


def test_unaligned_tensors_are_refused(tmp_path: Path) -> None:
    """Else a reader of raw memory, torch among them, would trip over them."""
    head, model, data = parts(GOLDEN.read_bytes())
    start, end = head["conv1.weight0"]["data_offsets"]  # 18 bytes, the first that is not int32
    for name, entry in head.items():
        if name != "__metadata__" and entry["dtype"] == "I32":
            entry["data_offsets"] = [n + end - start for n in entry["data_offsets"]]
    head["conv1.weight0"]["data_offsets"] = [0, end - start]
    moved = data[start:end] + data[:start] + data[end:]
    (tmp_path / "odd.snn").write_bytes(sign(head, model, moved))
    assert "not aligned" in refusal(tmp_path / "odd.snn")


def test_digest_may_not_stand_twice(tmp_path: Path) -> None:
    head, model, data = parts(GOLDEN.read_bytes())
    model["metrics"] = {"x": ZEROS}
    file = sign(head, model, data)
    digest = parts(file)[0]["__metadata__"]["sha256"].encode()
    (tmp_path / "twice.snn").write_bytes(file.replace(ZEROS.encode(), digest))
    assert "occur once" in refusal(tmp_path / "twice.snn")


@pytest.mark.parametrize("text", [b"[]", b"17", b" {}", b"{}", b'""', b"\xff\xff"])
def test_headers_that_are_no_object_are_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.snn").write_bytes(len(text).to_bytes(8, "little") + text)
    refusal(tmp_path / "a.snn")


def test_file_that_shrinks_after_its_size_was_asked_is_refused() -> None:
    good = GOLDEN.read_bytes()
    for left in (4, 100, len(good) - 5):
        file = io.BytesIO(good[:left])
        with pytest.raises(ModelFileError, match=r"it ends|cut short"):
            read_arrays(file, read_layout(file, len(good)))


def test_signed_but_unchanged_file_is_accepted(tmp_path: Path) -> None:
    """Else the tests above would prove nothing."""
    (tmp_path / "good.snn").write_bytes(sign(*parts(GOLDEN.read_bytes())))
    assert_same(load(tmp_path / "good.snn"), golden_model())


def test_model_type_is_importable_from_here() -> None:
    assert isinstance(load(GOLDEN), Model)
