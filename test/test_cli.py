"""Every verb as a real process."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from model_samples import GOLDEN
from training_samples import bar_image, bar_path

from crnn_snn_ros.cli import main
from crnn_snn_ros.core.engines import ENGINES
from crnn_snn_ros.data.bag_writer import BagWriter
from crnn_snn_ros.data.bags import read_info
from crnn_snn_ros.io.model_file import header
from crnn_snn_ros.training.checkpoint import load

VERBS = (
    "import", "label", "train", "eye", "dagger", "redrive", "convert", "verify", "replay",
    "simulate", "bench", "export", "info",
)  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
FRAMES = 60


def crnn_snn(
    *arguments: object, path: Path | None = None, **options
) -> subprocess.CompletedProcess:
    environment = dict(ENVIRONMENT)
    if path is not None:
        found = [str(path), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, found))
    return subprocess.run(
        [sys.executable, "-m", "crnn_snn_ros.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
        **options,
    )


def succeed(*arguments: object) -> dict:
    done = crnn_snn(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def succeed_within(capsys, *arguments: object) -> dict:
    """The same within this process, which saves seconds of imports."""
    code = main([*map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def one_line(done: subprocess.CompletedProcess) -> str:
    """The refusal of a process that ended as it should on bad input."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("crnn-snn: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    return done.stderr


def refused(capsys, *arguments: object) -> str:
    """The refusal of a verb within this process."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return one_line(subprocess.CompletedProcess([], code, out, err))


def make_tub(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    columns, widths = bar_path(FRAMES, seed=0)
    lines = []
    for number in range(FRAMES):
        name = f"{number}_cam_image_array_.jpg"
        picture = cv2.imencode(".jpg", bar_image(columns[number], widths[number]))[1]
        (folder / "images" / name).write_bytes(picture.tobytes())
        record = {
            "_index": number,
            "_timestamp_ms": 1_600_000_000_000 + 50 * number,
            "cam/image_array": name,
            "user/angle": (columns[number] - 12) / 12,
            "user/throttle": 0.25,
        }
        lines.append(json.dumps(record) + "\n")
    (folder / "catalog_0.catalog").write_text("".join(lines))
    manifest = [[], [], {}, {}, {"paths": ["catalog_0.catalog"], "deleted_indexes": []}]
    (folder / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in manifest))
    return folder


def data_file(folder: Path, **changes: object) -> Path:
    content = {
        "bags": [{"path": "bag", "steering": "/steering"}],
        "splits": {"train": [0.0, 0.7], "validation": [0.7, 0.85], "test": [0.85, 1.0]},
        "frame_rate_hz": 20,
        "input": {"width": 24, "height": 16, "colour": "grey"},
    }
    path = folder / "data.yaml"
    path.write_text(json.dumps(content | changes))  # JSON is YAML
    return path


class Chain:
    """The whole chain, run once: every result, and the files that it left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bag, self.out = folder / "bag", folder / "out" / "train"
        self.model = folder / "models" / "bar.snn"  # in a folder that is not there yet
        self.checkpoint = self.out / "qat.safetensors"
        tub = make_tub(folder / "tub")
        notes = ("--origin", "a generated bar", "--licence", "CC0-1.0")
        self.imported = succeed("import", tub, self.bag, "--max-steering", 0.5, *notes)
        short = ("--float-epochs", 2, "--qat-epochs", 1, "--window", 8, "--streams", 2)
        self.data = data_file(folder)
        self.trained = succeed("train", self.data, "--out", self.out, "--bits", 2, *short)
        self.converted = succeed("convert", self.checkpoint, self.model)


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture
def unchanged(chain) -> Iterator[None]:
    """No verb leaves or changes a file."""

    def listing() -> list:
        return sorted((str(p), p.stat().st_mtime_ns) for p in chain.folder.rglob("*"))

    before = listing()
    yield
    assert listing() == before


def test_help_of_every_verb_has_an_example_and_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from crnn_snn_ros.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'numpy', 'cv2', 'rosbags', 'safetensors'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    for arguments in ([], *([verb] for verb in VERBS)):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        for verb in arguments or VERBS:
            assert f"Example: crnn-snn {verb} " in " ".join(done.stdout.split())


def test_without_a_verb_it_shows_help_and_ends_with_2(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: crnn-snn" in err
    assert all(verb in err for verb in VERBS)


def test_import(chain):
    result = chain.imported
    assert result["bag"] == str(chain.bag)
    assert (result["frames"], result["missing"], result["damaged"]) == (FRAMES, 0, 0)
    assert read_info(chain.bag).about["source"] == "a generated bar"


def test_train(chain):
    assert chain.trained["checkpoint"] == str(chain.checkpoint)
    assert chain.trained["validation"]["phase"] == "qat"
    names = {path.name for path in chain.out.iterdir()}
    assert names == {"cache", "float.safetensors", "qat.safetensors", "log.csv"}


def test_convert(chain):
    result = chain.converted
    assert result["mismatches"] == 0
    assert set(result["layer_mismatches"].values()) == {0}
    assert 0 < result["accumulator_bound"] < result["accumulator_limit"] == 2**24
    assert result["size_bytes"] == chain.model.stat().st_size
    assert result["settling_steps_bound"] > 0
    assert result["sha256"] == header(chain.model)["sha256"]
    assert [path.name for path in chain.model.parent.iterdir()] == ["bar.snn"]


@pytest.mark.usefixtures("unchanged")
def test_verify(chain, capsys):
    results = (
        succeed("verify", chain.model, "--frames", 40),
        succeed_within(capsys, "verify", chain.model, chain.bag, "--frames", FRAMES),
    )
    for result, frames in zip(results, (40, FRAMES), strict=True):
        assert (result["max_abs_diff"], result["first_difference"]) == (0, None)
        assert (result["frames"], result["engines"]) == (frames, list(ENGINES))
        assert result["activations"] > 1000
        steps = result["settle_steps"]
        assert 0 < steps["mean"] <= steps["p99"] <= steps["max"] <= steps["bound"]


@pytest.mark.usefixtures("unchanged")
def test_replay(chain):
    original = chain.out / "float.safetensors"
    options = ("--begin", 0.85, "--float-checkpoint", original)
    result = succeed("replay", chain.model, chain.bag, *options)
    assert result["frames"] == FRAMES - 51
    assert result["fps"] > 0
    assert result["steering_rmse"]["snn"] == result["steering_rmse"]["qann"]
    assert result["steering_rmse"]["float"] > 0
    for name in ("collision_auroc", "collision_f1"):
        assert result[name] == {"float": None, "qann": None, "snn": None}  # no such labels
    assert result["settled_fraction"] == 1.0
    assert result["spikes_per_frame"] > 0
    assert result["synaptic_operations_per_frame"] > 0
    assert result["qann_snn_differences"] == 0


def test_replay_writes_what_it_found(chain, capsys, tmp_path):
    out, video = tmp_path / "out", tmp_path / "drive.mp4"
    options = ("--out", out, "--video", video, "--threshold", 0.4)
    result = succeed_within(capsys, "replay", chain.model, chain.bag, *options)
    assert {path.name for path in out.iterdir()} == {"metrics.json", "report.html", "predictions"}
    assert json.loads((out / "metrics.json").read_text()) == result
    assert result["threshold"] == 0.4
    assert "bar.snn: replay of bag" in (out / "report.html").read_text()
    topics = read_info(out / "predictions").topics
    assert {topic.messages for topic in topics.values()} == {FRAMES}
    assert video.stat().st_size > 1000
    again = refused(capsys, "replay", chain.model, chain.bag, "--out", out)
    assert f"{out / 'predictions'} exists" in again


def test_replay_of_many_bags_is_one_evaluation(chain, capsys, tmp_path):
    out = tmp_path / "out"
    one = succeed_within(capsys, "replay", chain.model, chain.bag)
    two = succeed_within(capsys, "replay", chain.model, chain.bag, chain.bag, "--out", out)
    assert two["frames"] == 2 * one["frames"]
    assert two["steering_rmse"]["snn"] == pytest.approx(one["steering_rmse"]["snn"])
    bags = sorted(path.name for path in (out / "predictions").iterdir())
    assert bags == ["0000_bag", "0001_bag"]


def test_the_number_of_jobs_changes_nothing(chain, capsys, tmp_path):
    results = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs)
        arguments = ("replay", chain.model, chain.bag, chain.bag, "--jobs", jobs, "--out", out)
        results.append(succeed_within(capsys, *arguments))
        assert results[-1].pop("fps") > 0
        report = (out / "report.html").read_text()
        results.append(re.sub(r"[\d.]+ frames/s", "", report))
    assert results[0] == results[2]
    assert results[1] == results[3]
    bags = [sorted((tmp_path / jobs / "predictions").rglob("*.mcap")) for jobs in ("1", "2")]
    assert len(bags[0]) == 2
    assert [bag.read_bytes() for bag in bags[0]] == [bag.read_bytes() for bag in bags[1]]


def test_models_are_compared(chain, capsys, tmp_path):
    out = tmp_path / "out"
    other = tmp_path / "other.snn"
    other.write_bytes(chain.model.read_bytes())
    arguments = ("replay", chain.model, chain.bag, "--compare", other, "--out", out)
    result = succeed_within(capsys, *arguments)
    (second,) = result["compare"]
    assert second["model"] == str(other)
    assert second["steering_rmse"] == result["steering_rmse"]
    assert second["difference"]["steering_rmse"]["value"] == 0.0
    assert second["difference"]["steering_rmse"]["better"] is None
    assert json.loads((out / "metrics.json").read_text()) == result
    names = {path.name for path in out.iterdir()}
    assert names == {"metrics.json", "report.html", "predictions", "predictions_2"}
    assert "B other.snn" in (out / "report.html").read_text()
    shutil.rmtree(out / "predictions")
    assert "predictions_2 exists" in refused(capsys, *arguments)
    assert main(["replay", str(chain.model), str(chain.bag), "--compare", str(other)]) == 0
    assert "less the first's" in capsys.readouterr().out


def test_a_real_ctrl_c_while_replaying(chain, tmp_path):
    """At a terminal, where the progress bar tells when it is under way."""
    out, bags = tmp_path / "out", [chain.bag] * 100
    command = [sys.executable, "-m", "crnn_snn_ros.cli", "replay", chain.model, *bags]
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [*map(str, command), "--out", str(out)], stdout=subprocess.PIPE, stderr=end, env=ENVIRONMENT
    )
    os.close(end)
    shown = b""
    while not (found := re.search(rb"([1-9]\d*)/6000", shown)):
        shown += os.read(terminal, 4096)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    text = told.decode()
    assert "until it was interrupted" in text
    frames = re.search(r"frames +│ (\d+) ", text)
    assert frames is not None
    assert int(found[1]) <= int(frames[1]) < 6000
    assert "steering_rmse" in text
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_replaying_tells_what_was_done(chain, capsys, monkeypatch, tmp_path):
    from crnn_snn_ros.evaluation import replay as module

    real, steps = module.OperationCounter.count, []

    def count(*arguments):
        steps.append(1)
        if len(steps) == 25:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(module.OperationCounter, "count", count)
    out = tmp_path / "out"
    code = main(["replay", str(chain.model), str(chain.bag), "--out", str(out), "--json"])
    told, said = capsys.readouterr()
    assert code == 130
    assert said.count("\n") == 1
    result = json.loads(told)
    assert (result["frames"], result["interrupted"]) == (24, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchanged")
def test_info(chain):
    card = succeed("info", chain.model)
    assert card == json.loads(json.dumps(header(chain.model)))
    assert card["provenance"]["data"]["bags"][0]["name"] == "bag"
    about = card["provenance"]["data"]["bags"][0]["about"]
    assert (about["source"], about["licence"]) == ("a generated bar", "CC0-1.0")
    assert card["provenance"]["training"]["seed"] == 0
    assert card["heads"]["steering"] == {"unit": "rad", "trained": True}
    assert card["heads"]["collision"]["trained"] is False


def test_of_many_bags_a_card_says_what_they_have_in_common(monkeypatch, tmp_path):
    monkeypatch.setattr("crnn_snn_ros.cli.train_verb.NAMED", 1)
    for number in range(3):
        about = {"source": "a bar", "seed": str(number)}
        with BagWriter(tmp_path / f"bag{number}", about) as writer:
            for frame in range(20):
                picture = np.full((16, 24, 3), 10 * frame, np.uint8)
                png = cv2.imencode(".png", picture)[1].tobytes()
                writer.compressed_image("/image", frame * 50_000_000, "png", png)
                writer.float32("/steering", frame * 50_000_000, 0.1)
    bags = [{"path": f"bag{number}", "steering": "/steering"} for number in range(3)]
    data = data_file(tmp_path, bags=bags)
    options = ["--out", str(tmp_path / "out"), "--float-epochs", "1", "--qat-epochs", "0"]
    assert main(["train", str(data), *options]) == 0
    (told,) = load(tmp_path / "out" / "qat.safetensors").origin.provenance["data"]["bags"]
    assert told == {"name": "3 bags", "about": {"source": "a bar", "seed": "3 different"}}


@pytest.mark.usefixtures("unchanged")
def test_tables_for_people(chain, capsys):
    runs = {
        "info": ["info", chain.model],
        "verify": ["verify", chain.model, "--frames", 20],
        "replay": ["replay", chain.model, chain.bag],
    }
    for name, arguments in runs.items():
        assert main([str(argument) for argument in arguments]) == 0
        shown = capsys.readouterr().out
        expected = {"info": "CC0-1.0", "verify": "max |QANN - SNN| = 0", "replay": "predict_mean"}
        assert expected[name] in shown


def test_converting_again_gives_the_same_file(chain, capsys, tmp_path):
    again = succeed_within(capsys, "convert", chain.checkpoint, tmp_path / "again.snn")
    assert again["sha256"] == chain.converted["sha256"]
    assert (tmp_path / "again.snn").read_bytes() == chain.model.read_bytes()


BAD_OPTIONS = [
    (["trian"], "no verb 'trian', only import, label"),
    (["info"], "Missing from crnn-snn info: PATH"),
    (["info", "{model}", "--jsno"], "--jsno"),
    (["train", "{data}", "--bits", "three"], "--bits"),
    (["train", "{data}", "--bits", "9"], "bits is 9"),
    (["train", "{data}", "--window", "1"], "window is 1"),
    (["train", "{data}", "--device", "tpu"], "device 'tpu'"),
    (["train", "{data}", "--layer-bits", "rn1", "4"], "'rn1' (did you mean rnn1?) is not a layer"),
    (["train", "{data}", "--layer-bits", "rnn1", "9"], "layer-bits of rnn1 is 9"),
    (["train", "{data}", "--metric", "steering_rmse"], "(did you mean steering_rmse_rad?)"),
    (["train", "{data}", "--patience", "-1"], "patience is -1"),
    (["train", "{data}", "--patience", "2", "--metric", "number"], "every epoch is better than"),
    (["train", "{data}", "--ema", "1"], "ema is 1.0"),
    (["train", "{data}", "--augment.noise", "99"], "augment.noise is 99.0, allowed is 0 to 64"),
    (["train", "{data}", "--streams", "0"], "streams, piece and threads must be at least 1"),
    (["train", "{data}", "--device", "cpu:x"], "device 'cpu:x'"),
    (["verify", "{model}", "--frames", "0"], "--frames is 0"),
    (["verify", "{model}", "--seed", "-1"], "--seed is -1"),
    (["verify", "{model}", "{bag}", "--frames", "9" * 23], "allowed is 1 to 1000000000"),
    (["export", "{model}", "{new}.onnx", "--seed", "-1"], "--seed is -1"),
    (["convert", "{checkpoint}", "{checkpoint}"], "is the checkpoint itself"),
    (["convert", "{folder}", "{new}"], "is a folder"),
    (["verify", "{model}", "--engines"], "--engines"),
    (["verify", "{model}", "--engines", "quantum"], "engine 'quantum'"),
    (["verify", "{model}", "--device", "tpu"], "device 'tpu'"),
    (["replay", "{model}", "{bag}", "--begin", "0.9", "--end", "0.1"], "--begin 0.9"),
    (["replay", "{model}", "{bag}", "--threshold", "0"], "--threshold is 0"),
    (["replay", "{model}", "{bag}", "--video", "v.avi"], "only .mp4"),
    (["replay", "{model}", "{bag}", "{bag}", "--live", "own"], "--live plays one bag"),
    (["replay", "{model}"], "replay needs a bag"),
    (["replay", "{model}", "{bag}", "--jobs", "0"], "--processes is 0, must be"),
    (["replay", "{model}", "{bag}", "--compare", *["{model}"] * 4], "at most 3 models, got 4"),
    (["replay", "{model}", "{bag}", "--begin", "0.99", "--end", "0.991"], "no frame between"),
    (["replay", "{model}", "{bag}", "--image-topic", "/nose"], "no topic /nose"),
    (["replay", "{model}", "{bag}", "--steering-topic", "/image/compressed"], "Float32"),
    (["replay", "{model}", "{bag}", "--float-checkpoint", "{checkpoint}"], "is quantized"),
    (["verify", "{model}", "{bag}", "--image-topic", "/steering"], "/steering is std_msgs"),
    (["import", "{folder}/tub", "{new}", "--rate", "0"], "rate 0"),
    (["import", "{folder}/tub", "{new}", "--max-steering", "9"], "9.0 rad"),
]  # fmt: skip


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS, ids=lambda v: str(v)[:40])
def test_bad_options(chain, capsys, arguments, message):
    names = {**vars(chain), "new": chain.folder / "new"}
    assert message in refused(capsys, *(argument.format(**names) for argument in arguments))


def test_a_folder_in_the_way_is_named(chain, tmp_path, capsys):
    for name, *verb in (("a.svg", "info", "--picture"), ("a.onnx", "export")):
        taken = tmp_path / name
        taken.mkdir()
        assert str(taken) in refused(capsys, verb[0], chain.model, *verb[1:], taken)
        assert list(tmp_path.iterdir()) == [taken]
        taken.rmdir()


BAD_FILES = [
    ["info", "{bad}"],
    ["verify", "{bad}"],
    ["verify", "{model}", "{bad}"],
    ["replay", "{bad}", "{bag}"],
    ["replay", "{model}", "{bad}"],
    ["replay", "{model}", "{bag}", "--float-checkpoint", "{bad}"],
    ["convert", "{bad}", "{new}"],
    ["train", "{bad}", "--out", "{new}"],
    ["import", "{bad}", "{new}"],
]


@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "noise", "truncated"])
@pytest.mark.parametrize("arguments", BAD_FILES, ids=lambda v: " ".join(v)[:60])
def test_bad_files(chain, tmp_path, capsys, kind, arguments):
    bad = tmp_path / "bad"
    if kind == "empty":
        bad.write_bytes(b"")
    elif kind == "folder":
        bad.mkdir()
    elif kind == "noise":
        bad.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "truncated":
        whole = chain.checkpoint if arguments[0] == "convert" else chain.model
        bad.write_bytes(whole.read_bytes()[:-100])
    names = {**vars(chain), "bad": bad, "new": tmp_path / "new"}
    message = refused(capsys, *(argument.format(**names) for argument in arguments))
    assert str(bad) in message
    assert {path.name for path in tmp_path.iterdir()} <= {"bad"}


def test_bad_input_of_a_real_process(chain, tmp_path):
    """What the tests above do within this process, once from outside for each kind of refusal."""
    corrupt = tmp_path / "corrupt.snn"
    corrupt.write_bytes(chain.model.read_bytes()[:-1] + b"\xff")
    assert "corrupt.snn" in one_line(crnn_snn("info", corrupt))
    assert "--bits" in one_line(crnn_snn("train", chain.data, "--bits", "x"))
    assert "none.yaml" in one_line(crnn_snn("train", tmp_path / "none.yaml"))
    assert "exists" in one_line(crnn_snn("import", chain.folder / "tub", chain.bag))


def test_float_checkpoint_is_not_converted(chain, capsys, tmp_path):
    message = refused(capsys, "convert", chain.out / "float.safetensors", tmp_path / "m.snn")
    assert "not quantized" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchanged")
def test_an_existing_bag_is_kept(chain, capsys):
    assert "exists" in refused(capsys, "import", chain.folder / "tub", chain.bag)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bags": [{"path": "nowhere"}]}, "nowhere"),
        ({"bags": [{"path": "bag", "steering": "/wheel"}]}, "no topic /wheel"),
        ({"bags": [{"path": "bag", "image": "/steering"}]}, "/steering is std_msgs"),
        ({"bags": [{"path": "bag"}]}, "no frame of the train split has"),
        ({"frame_rate_hz": 5}, "frame_rate_hz is 5"),
        ({"splits": {"train": [0, 1]}}, "split 'validation'"),
        ({"input": {"width": 8, "height": 8, "colour": "grey"}}, "too small for 3 blocks"),
        ({"input": {"width": 8}}, "lacks the key 'height'"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"frame_rate": 1}, "unknown key 'frame_rate' (did you mean frame_rate_hz?); allowed are"),
    ],
    ids=str,
)
def test_bad_data_files(chain, tmp_path, capsys, changes, message):
    (tmp_path / "bag").symlink_to(chain.bag)
    data, out = data_file(tmp_path, **changes), tmp_path / "out"
    assert message in refused(capsys, "train", data, "--out", out)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert not [path for path in tmp_path.rglob("*") if ".tmp" in path.name]


@pytest.mark.parametrize("out", ["file/m.snn", "folder", ".", "/proc/m.snn", "x" * 300])
def test_unwritable_results(chain, tmp_path, capsys, out):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    refused(capsys, "convert", chain.checkpoint, tmp_path / out)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
    assert list((tmp_path / "folder").iterdir()) == []
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", ["train", "import"])
@pytest.mark.parametrize("out", ["file/below", "/proc/none", "x" * 300])
def test_unwritable_folders(chain, tmp_path, capsys, verb, out):
    (tmp_path / "file").write_text("mine")
    target = tmp_path / out
    source = ["train", chain.data, "--out", target]
    if verb == "import":
        source = ["import", chain.folder / "tub", target]
    refused(capsys, *source)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def small_files() -> None:
    """A limit on the size of files is the nearest thing to a full disk that needs no root."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk_while_training_is_one_line(chain):
    before = {path: path.read_bytes() for path in chain.out.glob("*.safetensors")}
    options = ("--out", chain.out, "--float-epochs", 1, "--qat-epochs", 1)  # the cache is there
    message = one_line(crnn_snn("train", chain.data, *options, preexec_fn=small_files))
    assert "File too large" in message
    assert {path: path.read_bytes() for path in chain.out.glob("*.safetensors")} == before
    assert not [path for path in chain.out.iterdir() if ".tmp" in path.name]


def test_a_full_disk_while_converting_is_one_line(chain, tmp_path):
    message = one_line(
        crnn_snn("convert", chain.checkpoint, tmp_path / "m.snn", preexec_fn=small_files)
    )
    assert "File too large" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "verb", "extra"),
    [
        ("tyro", "info", "tools"),
        ("rosbags", "replay", "tools"),
        ("plotly", "report", "report"),
        ("onnxruntime", "export", "export"),
        ("tensorboard", "train", "train"),
    ],
)
def test_a_missing_extra_names_the_pip_line(chain, tmp_path, module, verb, extra):
    stub = tmp_path / module
    stub.mkdir()
    (stub / "__init__.py").write_text(f'raise ImportError("No module named {module}")\n')
    arguments = {
        "info": ["info", chain.model],
        "replay": ["replay", chain.model, chain.bag],
        "report": ["replay", chain.model, chain.bag, "--out", tmp_path / "out"],
        "export": ["export", chain.model, tmp_path / "model.onnx"],
        "train": ["train", chain.data, "--out", tmp_path / "out", "--tensorboard"],
    }[verb]
    message = one_line(crnn_snn(*arguments, path=tmp_path))
    assert f"pip install 'crnn_snn_ros[{extra}]'" in message


def test_ctrl_c_while_training_leaves_whole_files_only(chain, tmp_path):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "crnn_snn_ros.cli", "train", str(chain.data)),
            *("--out", str(out), "--float-epochs", "2", "--qat-epochs", "100000", "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        deadline = time.monotonic() + 90
        while not (out / "float.safetensors").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr.count("\n") == 1
    assert "interrupted" in stderr
    left = {path.name for path in out.iterdir()}
    assert left == {"cache", "float.safetensors", "log.csv", "state.safetensors"}
    message = one_line(crnn_snn("convert", out / "float.safetensors", tmp_path / "m.snn"))
    assert "not quantized" in message  # so the file is whole


def test_a_reader_that_leaves_is_no_traceback():
    command = f"{sys.executable} -m crnn_snn_ros.cli info {GOLDEN} --json | true"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False,
        env=ENVIRONMENT,
    )  # fmt: skip
    assert done.stderr == ""
