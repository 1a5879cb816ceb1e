from __future__ import annotations

import json
import math
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bags import read_frames, read_info, read_signal
from crnn_snn_ros.data.importers import ImportOptions, ImportSummary, import_recordings
from crnn_snn_ros.io.images import decode_compressed

SHARED = Path(os.environ.get("CRNN_SNN_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
START_MS = 1_600_000_000_000
DROP = object()


def import_donkeycar(source: Path, out: Path, progress=None, **options) -> ImportSummary:
    options = ImportOptions(**options)
    (summary,) = import_recordings(source, out, options, "donkeycar", progress)
    return summary


def jpeg(number: int) -> bytes:
    image = np.full((24, 32, 3), number * 20, np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def angle(number: int) -> float:
    return (number % 5 - 2) / 2


def make_tub(
    folder: Path,
    frames: int = 10,
    deleted: tuple[int, ...] = (),
    catalog_size: int = 4,
    period_ms: int = 50,
    change: Callable[[dict], object] = lambda record: record,
) -> Path:
    """A tub as Donkeycar 4 writes it; ``change`` may alter, replace or drop a record."""
    (folder / "images").mkdir(parents=True)
    catalogs = []
    for begin in range(0, frames, catalog_size):
        name = f"catalog_{len(catalogs)}.catalog"
        catalogs.append(name)
        lines = []
        for number in range(begin, min(begin + catalog_size, frames)):
            record = {
                "_index": number,
                "_timestamp_ms": START_MS + number * period_ms,
                "cam/image_array": f"{number}_cam_image_array_.jpg",
                "user/angle": angle(number),
                "user/throttle": 0.25,
                "user/mode": "user",
            }
            (folder / "images" / record["cam/image_array"]).write_bytes(jpeg(number))
            record = change(record)
            if record is not DROP:
                lines.append(record if isinstance(record, str) else json.dumps(record))
        (folder / name).write_text("".join(f"{line}\n" for line in lines))
        (folder / f"._{name}").write_bytes(b"\0\5\x16\7 macOS")
    manifest = [
        ["cam/image_array", "user/angle", "user/throttle", "user/mode"],
        ["image_array", "float", "float", "str"],
        {},
        {"created_at": START_MS / 1000},
        {"paths": catalogs, "current_index": frames, "deleted_indexes": list(deleted)},
    ]
    (folder / "manifest.json").write_text("".join(json.dumps(line) + "\n" for line in manifest))
    return folder


def test_frames_and_labels_are_kept(tmp_path):
    calls = []
    summary = import_donkeycar(
        make_tub(tmp_path / "tub"),
        tmp_path / "bag",
        max_steering_rad=0.5,
        source_name="a car",
        licence="MIT",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (summary.frames, summary.skipped) == (10, 0)
    assert summary.duration_s == pytest.approx(0.45)
    assert summary.rate_hz == pytest.approx(20.0)
    assert calls == [(n, 10) for n in range(1, 11)]
    frames = list(read_frames(tmp_path / "bag"))
    stamps = [(START_MS + n * 50) * 1_000_000 for n in range(10)]
    assert [frame.stamp_ns for frame in frames] == stamps
    for number, frame in enumerate(frames):
        assert (frame.image == decode_compressed("jpeg", jpeg(number))).all()
    steering = read_signal(tmp_path / "bag", "/steering")
    assert steering.stamps_ns.tolist() == stamps
    assert steering.values.tolist() == [-0.5 * angle(n) for n in range(10)]
    assert not np.signbit(steering.values[steering.values == 0]).any()
    assert set(read_signal(tmp_path / "bag", "/throttle").values) == {0.25}
    info = read_info(tmp_path / "bag")
    assert tuple(info.topics) == summary.topics
    assert (info.about["source"], info.about["licence"]) == ("a car", "MIT")
    assert info.about["stamps"] == "recorded"


def test_jpeg_bytes_are_untouched(tmp_path):
    import_donkeycar(make_tub(tmp_path / "tub"), tmp_path / "bag")
    content = (tmp_path / "bag" / "bag.mcap").read_bytes()
    assert all(jpeg(number) in content for number in range(10))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".zip"])
def test_archives_give_the_same_bag(tmp_path, suffix):
    tub = make_tub(tmp_path / "tub")
    archive = tmp_path / f"tub{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for path in sorted(tub.rglob("*")):
                zipped.write(path, path.relative_to(tmp_path))
    else:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tub, "tub")
    import_donkeycar(archive, tmp_path / "out" / "bag", source_name="s")
    import_donkeycar(tub, tmp_path / "bag", source_name="s")
    name = "bag.mcap"
    assert (tmp_path / "out" / "bag" / name).read_bytes() == (tmp_path / "bag" / name).read_bytes()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["bag"]


def test_rate_replaces_the_stamps_and_keeps_gaps(tmp_path):
    # Of record 5 not even the line is there.
    tub = make_tub(
        tmp_path / "tub",
        deleted=(3, 4),
        period_ms=3,
        change=lambda record: DROP if record["_index"] == 5 else record,
    )
    summary = import_donkeycar(tub, tmp_path / "bag", rate_hz=30.0)
    assert (summary.frames, summary.deleted) == (7, 2)
    stamps = np.array([frame.stamp_ns for frame in read_frames(tmp_path / "bag")])
    expected = [round(n * 1e9 / 30) for n in (0, 1, 2, 6, 7, 8, 9)]
    assert (stamps - START_MS * 1_000_000).tolist() == expected
    assert summary.rate_hz == pytest.approx(30.0)


def test_implausible_stamps_are_refused(tmp_path):
    tub = make_tub(tmp_path / "tub", period_ms=3)
    with pytest.raises(DataError, match=r"say 333 Hz.*--rate 20"):
        import_donkeycar(tub, tmp_path / "bag")
    with pytest.raises(DataError, match="say inf Hz"):
        import_donkeycar(make_tub(tmp_path / "still", period_ms=0), tmp_path / "bag")
    with pytest.raises(
        DataError, match=r"catalog_0.catalog:2: the recorded time runs back by 0.050"
    ):
        import_donkeycar(make_tub(tmp_path / "back", period_ms=-50), tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_missing_and_damaged_images_are_counted(tmp_path):
    tub = make_tub(tmp_path / "tub", deleted=(9,))
    (tub / "images" / "2_cam_image_array_.jpg").unlink()
    cut = tub / "images" / "5_cam_image_array_.jpg"
    cut.write_bytes(cut.read_bytes()[:-2])
    (tub / "images" / "6_cam_image_array_.jpg").write_bytes(b"")
    summary = import_donkeycar(tub, tmp_path / "bag")
    assert (summary.frames, summary.deleted, summary.missing, summary.damaged) == (6, 1, 1, 2)
    assert summary.skipped == 4
    steering = read_signal(tmp_path / "bag", "/steering")
    frames = list(read_frames(tmp_path / "bag"))
    assert steering.stamps_ns.tolist() == [frame.stamp_ns for frame in frames]
    kept = [n for n in range(10) if n not in (2, 5, 6, 9)]
    assert steering.values == pytest.approx([-0.4363 * angle(n) for n in kept])


def at(index: int, **fields: object) -> Callable[[dict], object]:
    """Alter record ``index``; a value DROP removes the key. Dots stand for slashes."""

    def change(record: dict) -> object:
        if record["_index"] == index:
            for name, value in fields.items():
                key = name.replace("__", "/")
                record[key] = value
                if value is DROP:
                    del record[key]
        return record

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: '{"_index": 5, ' if r["_index"] == 5 else r, r"catalog_1.catalog:2 is not JSON"),
        (lambda r: "[1]" if r["_index"] == 5 else r, r"catalog_1.catalog:2 is not a JSON object"),
        (at(6, user__angle=DROP), r"catalog_1.catalog:3: 'user/angle' is None"),
        (at(6, user__angle="left"), r":3: 'user/angle' is 'left', expected a number in -1..1"),
        (at(6, user__angle=1.5), r":3: 'user/angle' is 1.5"),
        (at(6, user__throttle=math.nan), r":3: 'user/throttle' is nan"),
        (at(6, user__throttle=True), r":3: 'user/throttle' is True"),
        (at(6, _index=2), r":3: _index 2 follows 5, expected it to grow"),
        (at(6, _timestamp_ms=-1), r":3: '_timestamp_ms' is -1"),
        (at(6, _timestamp_ms=10**30), r":3: '_timestamp_ms' is 10000"),
        (at(6, _timestamp_ms=16 * 10**14), r":3: '_timestamp_ms' is 1600000000000000"),
        (at(6, **{"cam/image_array": "../../secret.jpg"}), r":3: '../../secret.jpg' is not a file"),
        (at(6, **{"cam/image_array": 7}), r":3: 7 is not a file name"),
    ],
)
def test_damaged_records_are_located(tmp_path, change, says):
    tub = make_tub(tmp_path / "tub", change=change)
    with pytest.raises(DataError, match=says) as caught:
        import_donkeycar(tub, tmp_path / "bag", rate_hz=20.0)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tub"]


def test_messages_about_an_archive_name_the_archive(tmp_path):
    tub = make_tub(tmp_path / "tub", change=at(0, user__angle=3))
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        tar.add(tub, "tub")
    with pytest.raises(DataError, match=r"a\.tgz/tub/catalog_0\.catalog:1: 'user/angle' is 3"):
        import_donkeycar(tmp_path / "a.tgz", tmp_path / "bag")


def manifest(tub: Path, line: int, text: str) -> None:
    lines = (tub / "manifest.json").read_text().splitlines()
    lines[line:] = [text]
    (tub / "manifest.json").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has 4 lines"),
        ("{", "manifest.json:5 is not JSON"),
        ("{}", "expected the lists 'paths'"),
        ('{"paths": [], "deleted_indexes": []}', "lists no catalog"),
        ('{"paths": ["../x.catalog"]}', "'../x.catalog' is not a file name"),
        ('{"paths": ["gone.catalog"]}', "gone.catalog cannot be read"),
        ('{"paths": ["catalog_0.catalog"], "deleted_indexes": ["a"]}', "not whole numbers"),
    ],
)
def test_damaged_manifests_are_named(tmp_path, text, says):
    tub = make_tub(tmp_path / "tub")
    manifest(tub, 4, text)
    with pytest.raises(DataError, match=says):
        import_donkeycar(tub, tmp_path / "bag")


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(DataError, match="nothing is missing; expected a folder"):
        import_donkeycar(tmp_path / "nothing", tmp_path / "bag")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no Donkeycar v4 tub"):
        import_donkeycar(tmp_path / "empty", tmp_path / "bag")
    for name in "ab":
        make_tub(tmp_path / "many" / name)
    with pytest.raises(DataError, match="several tubs, import one at a time: a, b"):
        import_donkeycar(tmp_path / "many", tmp_path / "bag")
    tub = make_tub(tmp_path / "cleaned", frames=2, deleted=(0, 1))
    with pytest.raises(DataError, match="cleaned has no frame to import; 2 deleted"):
        import_donkeycar(tub, tmp_path / "bag")


@pytest.mark.parametrize(
    "options",
    [
        {"rate_hz": 0.0},
        {"rate_hz": math.nan},
        {"rate_hz": math.inf},
        {"max_steering_rad": 0.0},
        {"max_steering_rad": math.nan},
        {"max_steering_rad": 2.0},
    ],
)
def test_wrong_options_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match="is not within"):
        import_donkeycar(tmp_path, tmp_path / "bag", **options)


def test_real_drive(tmp_path):
    archive = SHARED / "donkeycar_tub_mit" / "tub.tar.gz"
    if not archive.is_file():
        pytest.skip(f"the recorded Donkeycar drive is not in {SHARED}")
    with pytest.raises(DataError, match="333 Hz"):
        import_donkeycar(archive, tmp_path / "mit")
    summary = import_donkeycar(archive, tmp_path / "mit", rate_hz=20.0, max_steering_rad=1.0)
    assert (summary.frames, summary.skipped, summary.duration_s) == (1000, 0, 49.95)
    frames = list(read_frames(tmp_path / "mit"))
    assert len(frames) == 1000
    assert {frame.image.shape for frame in frames} == {(120, 160, 3)}
    steering = read_signal(tmp_path / "mit", "/steering").values
    assert steering[0] == pytest.approx(-0.2986039775370604)
    assert np.sqrt(np.mean((steering - steering.mean()) ** 2)) == pytest.approx(0.400, abs=5e-4)
