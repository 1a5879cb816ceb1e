"""Recordings that cannot be trained on: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bag_samples import compressed, float32, image, picture, stamp, write_bag
from rosbags.rosbag2 import StoragePlugin

from crnn_snn_ros.cli import main

COUNT = 12
Rows = list  # of (topic, time of receipt, message)


def frames(first: int = 0, count: int = COUNT) -> Rows:
    return [("/camera", stamp(n), compressed(n, stamp(n))) for n in range(first, first + count)]


def labels(value: float = 0.1) -> Rows:
    return [("/steering", stamp(n), float32(value * (n % 3))) for n in range(COUNT)]


def backwards() -> Rows:
    return [("/camera", stamp(n), compressed(n, stamp(-n))) for n in range(COUNT)]


def larger() -> Rows:
    return [("/camera", stamp(COUNT), compressed(0, stamp(COUNT), scale=2))]


def unheard_of() -> Rows:
    return [("/camera", stamp(n), image("nv99", picture(n), 48, stamp(n))) for n in range(COUNT)]


BAGS: dict[str, tuple[Callable[[], Rows], dict[str, object], str]] = {
    "wrong topic": (lambda: frames() + labels(), {"steering": "/wheel"}, "no topic /wheel, only"),
    "wrong image topic": (lambda: frames() + labels(), {"image": "/nose"}, "no topic /nose, only"),
    "wrong type": (lambda: frames() + labels(), {"steering": "/camera"}, "expected std_msgs/"),
    "no labels": (frames, {"steering": None}, "no frame of the train split has a steering or"),
    "labels of another clock": (
        lambda: [*frames(), ("/steering", stamp(10**5), float32(0.1))], {},
        "no label of /steering is within 0.025 s of a frame",
    ),
    "mixed sizes": (lambda: frames() + larger() + labels(), {}, "another size, 16x12 and 32x24"),
    "NaN steering": (lambda: frames() + labels(float("nan")), {}, "/steering: value 0 is nan"),
    "steering out of range": (lambda: frames() + labels(40.0), {}, "value 1 is 40, expected -1.57"),
    "stamps that run back": (lambda: backwards() + labels(), {}, "is stamped 0.050 s before"),
    "no frame": (labels, {}, "has no image topic, only /steering"),
    "unknown encoding": (lambda: unheard_of() + labels(), {}, "encoding 'nv99'"),
    "another rate": (
        lambda: [("/camera", stamp(4 * n), compressed(n, stamp(4 * n))) for n in range(COUNT)]
        + labels(), {}, "has 5 Hz, frame_rate_hz is 20",
    ),
}  # fmt: skip


def data_file(folder: Path, **topics: object) -> Path:
    bag = {"path": "bag", "steering": "/steering", **topics}
    content = {
        "bags": [{key: value for key, value in bag.items() if value is not None}],
        "splits": {"train": [0.0, 0.7], "validation": [0.7, 1.0]},
        "frame_rate_hz": 20,
        "input": {"width": 16, "height": 16, "colour": "grey"},
    }
    path = folder / "data.yaml"
    path.write_text(json.dumps(content))
    return path


def refusal(capsys: pytest.CaptureFixture[str], folder: Path, data: Path) -> str:
    code = main(["train", str(data), "--out", str(folder / "out")])
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("crnn-snn: ")
    left = [path for path in (folder / "out").rglob("*") if path.name.startswith(".")]
    assert left == []
    assert not list((folder / "out").glob("*.*"))
    return err


@pytest.mark.parametrize("kind", BAGS)
def test_a_recording_that_cannot_be_trained_on(tmp_path, capsys, kind):
    made, topics, says = BAGS[kind]
    write_bag(tmp_path / "bag", made())
    assert says in refusal(capsys, tmp_path, data_file(tmp_path, **topics))


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_an_empty_bag(tmp_path, capsys, storage):
    write_bag(tmp_path / "bag", [], storage)
    assert str(tmp_path / "bag") in refusal(capsys, tmp_path, data_file(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_a_truncated_bag_is_refused_whole_and_the_remedy_named(tmp_path, capsys, storage, share):
    write_bag(tmp_path / "bag", frames() + labels(), storage)
    (file,) = [path for path in (tmp_path / "bag").iterdir() if path.suffix != ".yaml"]
    os.truncate(file, int(share * file.stat().st_size))
    said = refusal(capsys, tmp_path, data_file(tmp_path))
    assert str(tmp_path / "bag") in said
    # Of the database the last page is lost, and with it the end of a frame: that one is named.
    assert "crnn-snn import" in said or "frame 10: PNG image is damaged" in said


def small_files() -> None:
    """A limit on the size of files is the nearest thing to a full disk that needs no root."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "data.yaml", "--out", "made"),  # while it is decoded into the cache
        ("label", "bag", "--out", "made", "--topic", "/steering"),
        ("import", "pictures", "made", "--rate", "20", "--columns", "image=file steering=angle"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk(tmp_path, arguments):
    write_bag(tmp_path / "bag", frames(count=60) + labels())
    data_file(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(60):
        data = np.asarray(compressed(n, stamp(n)).data)
        (pictures / f"{n}.png").write_bytes(data.tobytes())
    (pictures / "t.csv").write_text("file,angle\n" + "".join(f"{n}.png,0.1\n" for n in range(60)))
    before = sorted(path for path in tmp_path.rglob("*"))
    words = [*arguments[:-1], *arguments[-1].split()]
    done = subprocess.run(
        [sys.executable, "-m", "crnn_snn_ros.cli", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
        preexec_fn=small_files,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert "File too large" in done.stderr
    made = [path for path in sorted(tmp_path.rglob("*")) if path not in before]
    assert [path for path in made if path.is_file()] == []
