"""Every kind of source, made by hand in the layout that its project documents."""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from pathlib import Path

import cv2
import numpy as np
import pytest

from crnn_snn_ros.core.errors import ConfigError, DataError
from crnn_snn_ros.data.bags import read_frames, read_info, read_messages, read_signal
from crnn_snn_ros.data.data_config import load_data_config
from crnn_snn_ros.data.importers import ImportOptions, import_recordings
from crnn_snn_ros.data.messages import HEADER, VECTOR3_STAMPED

START_S = 1_600_000_000
GREGORIAN_100NS = 0x01B21DD213814000  # UUIDs count from 1582-10-15


def picture(path: Path, grey: int = 100, size: tuple[int, int] = (24, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), grey, np.uint8))
    return path


def uuid1_at(time_s: float) -> uuid.UUID:
    """A UUID of version 1, as ``uuid.uuid1()`` would have made it then."""
    ticks = GREGORIAN_100NS + round(time_s * 1e7)
    fields = (ticks & 0xFFFFFFFF, (ticks >> 32) & 0xFFFF, (ticks >> 48) & 0x0FFF | 0x1000)
    return uuid.UUID(fields=(*fields, 0x80, 1, 0x123456789ABC))


def bytes_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def json_tub(folder: Path, count: int = 12, meta: object = {"start": START_S + 0.5}) -> Path:
    for number in range(1, count + 1):
        name = f"{number}_cam-image_array_.jpg"
        picture(folder / name, number)
        record = {
            "cam/image_array": name,
            "user/angle": -0.5 + number / 12,
            "user/throttle": 0.25,
            "user/mode": "user",
            "milliseconds": 50 * number,
        }
        (folder / f"record_{number}.json").write_text(json.dumps(record))
    if meta is not None:
        (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def jetbot(folder: Path) -> Path:
    """Taken in turns, so that only the UUIDs know the order."""
    for number in range(6):
        name = f"{uuid1_at(START_S + number / 2)}.jpg"
        picture(folder / ("blocked" if number % 2 else "free") / name, 20 * number)
    return folder


def dronet(folder: Path) -> Path:
    for number in range(3):
        picture(folder / "training" / "DSCN2561" / "images" / f"frame_{number * 7:05d}.jpg")
    (folder / "training" / "DSCN2561" / "labels.txt").write_text("0\n0\n1\n")
    steer = folder / "testing" / "HMB_3"
    for number in range(3):
        stamp = 1_479_425_440_130_861_000 + number * 50_000_000
        picture(steer / "images" / f"{stamp}.png", number)
    lines = "# angle,torque,speed,lat,long,alt\n" + "".join(
        f"{angle:e},0.1,10.0,37.0,-122.0,5.0\n" for angle in (0.1, -0.2, 0.3)
    )
    (steer / "sync_steering.txt").write_text(lines)
    return folder


def table(folder: Path, rows: list[dict[str, object]], name: str = "labels.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def images_and_table(folder: Path, **changes: object) -> Path:
    rows = []
    for number in range(6):
        picture(folder / "img" / f"{number}.jpg", 30 * number)
        row = {
            "file": f"img/{number}.jpg",
            "when": f"{START_S}.{number}00000007",
            "side": ("left", "right", "")[number % 3],
            "run": "a b" if number < 4 else "c",
        }
        rows.append(row | ({k: v for k, v in changes.items()} if number == 2 else {}))
    return table(folder, rows)


COLUMNS = {"image": "file", "time_s": "when", "steering": "side", "session": "run"}
WORDS = {"left": 0.4, "right": -0.4}


def video(path: Path, frames: int = 8, rate_hz: float = 10.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate_hz, (32, 24))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((24, 32, 3), 30 * number % 256, np.uint8))
    writer.release()
    return path


def greys(bag: Path) -> list[int]:
    return [round(float(frame.image.mean())) for frame in read_frames(bag)]


def stamps_s(bag: Path) -> list[float]:
    return [frame.stamp_ns * 1e-9 for frame in read_frames(bag)]


def test_older_tub(tmp_path):
    tub = json_tub(tmp_path / "tub")
    (tub / "exclude.json").write_text("[3]")
    (tub / "5_cam-image_array_.jpg").unlink()
    (summary,) = import_recordings(tub, tmp_path / "bag", ImportOptions(max_steering_rad=0.5))
    assert (summary.frames, summary.deleted, summary.missing, summary.damaged) == (10, 1, 1, 0)
    kept = [n for n in range(1, 13) if n not in (3, 5)]  # 10 follows 9, not 1
    assert greys(tmp_path / "bag") == kept
    assert stamps_s(tmp_path / "bag") == pytest.approx([START_S + 0.5 + n / 20 for n in kept])
    steering = read_signal(tmp_path / "bag", "/steering").values
    assert steering == pytest.approx([0.25 - n / 24 for n in kept])
    origin = [m.content for m in read_messages(tmp_path / "bag", "/source", (HEADER,))]
    assert [o.frame_id for o in origin] == [f"{n}_cam-image_array_.jpg" for n in kept]


def test_older_tub_without_times_needs_a_rate(tmp_path):
    tub = json_tub(tmp_path / "tub", meta=None)
    with pytest.raises(DataError, match=r"record_1.json has no time stamp; give.*--rate 20"):
        import_recordings(tub, tmp_path / "bag")
    options = ImportOptions(rate_hz=20.0, start_s=7.0)
    (summary,) = import_recordings(tub, tmp_path / "bag", options)
    assert stamps_s(tmp_path / "bag") == pytest.approx([7.0 + n / 20 for n in range(12)])
    assert summary.rate_hz == pytest.approx(20.0)


def test_jetbot_folders(tmp_path):
    (summary,) = import_recordings(jetbot(tmp_path / "dataset"), tmp_path / "bag")
    assert summary.frames == 6
    assert stamps_s(tmp_path / "bag") == pytest.approx([START_S + n / 2 for n in range(6)])
    assert greys(tmp_path / "bag") == [20 * n for n in range(6)]
    assert read_signal(tmp_path / "bag", "/collision").values.tolist() == [0, 1] * 3


def test_uuids_without_time_need_a_rate(tmp_path):
    for name in ("free", "blocked"):
        picture(tmp_path / "d" / name / f"{uuid.UUID(int=7, version=4)}.jpg")
    with pytest.raises(DataError, match="has no time stamp"):
        import_recordings(tmp_path / "d", tmp_path / "bag")


def test_jetbot_and_jetracer_points(tmp_path):
    folder = tmp_path / "apex"
    for number, (x, y) in enumerate([(0, 12), (16, 0), (24, 24)]):
        picture(folder / f"{x}_{y}_{uuid1_at(START_S + number)}.jpg")
    import_recordings(folder, tmp_path / "bag", ImportOptions(max_steering_rad=0.4))
    steering = read_signal(tmp_path / "bag", "/steering").values
    assert steering == pytest.approx([0.4, 0.0, -0.2])
    targets = [m.content.vector for m in read_messages(tmp_path / "bag", "/target",
                                                       (VECTOR3_STAMPED,))]  # fmt: skip
    assert [(t.x, t.y) for t in targets] == [(0, 12), (16, 0), (24, 24)]
    percent = tmp_path / "xy"
    picture(percent / f"xy_075_050_{uuid1_at(START_S)}.jpg")
    with pytest.raises(DataError, match="the point 75, 50 lies outside its picture 32x24"):
        import_recordings(percent, tmp_path / "other")
    import_recordings(percent, tmp_path / "other", ImportOptions(percent=True))
    assert read_signal(tmp_path / "other", "/steering").values == pytest.approx([-0.5 * 0.4363])


def test_dronet(tmp_path):
    summaries = import_recordings(
        dronet(tmp_path / "data"), tmp_path / "bags", ImportOptions(rate_hz=30.0)
    )
    assert [Path(s.bag).name for s in summaries] == ["HMB_3", "DSCN2561"]
    steered, collided = tmp_path / "bags" / "HMB_3", tmp_path / "bags" / "DSCN2561"
    assert read_signal(steered, "/steering").values == pytest.approx([0.1, -0.2, 0.3])
    assert read_signal(collided, "/collision").values.tolist() == [0, 0, 1]
    # Udacity's names are capture times, which --rate does not replace; frame numbers are none.
    assert next(read_frames(steered)).stamp_ns == 1_479_425_440_130_861_000
    assert summaries[0].rate_hz == pytest.approx(20.0)
    assert stamps_s(collided) == pytest.approx([0, 1 / 30, 2 / 30])
    config = load_data_config(tmp_path / "bags" / "data.yaml")
    assert [bag.split for bag in config.bags] == ["test", "train"]
    assert [(bag.steering, bag.collision) for bag in config.bags] == [
        ("/steering", None),
        (None, "/collision"),
    ]


def test_dronet_of_which_there_is_one_split_keeps_it(tmp_path):
    shutil.rmtree(dronet(tmp_path / "data") / "training")
    again = tmp_path / "data" / "testing" / "HMB_6"
    shutil.copytree(tmp_path / "data" / "testing" / "HMB_3", again)
    import_recordings(tmp_path / "data", tmp_path / "bags")
    config = load_data_config(tmp_path / "bags" / "data.yaml")
    assert [(bag.path.name, bag.split) for bag in config.bags] == [
        ("HMB_3", "test"),
        ("HMB_6", "test"),
    ]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("0\n1\n", "has 2 labels, .* 3 pictures"),
        ("0\n2\n0\n", r"labels.txt:2: label '2', expected a number in 0..1"),
        ("0\nnan\n0\n", r"labels.txt:2: label 'nan'"),
        ("0\nfree\n0\n", r"labels.txt:2: label 'free'"),
    ],
)
def test_damaged_dronet_labels_are_located(tmp_path, lines, says):
    (dronet(tmp_path / "data") / "training" / "DSCN2561" / "labels.txt").write_text(lines)
    with pytest.raises(DataError, match=says):
        import_recordings(tmp_path / "data", tmp_path / "bags", ImportOptions(rate_hz=30.0))


def test_images_and_table(tmp_path):
    source = images_and_table(tmp_path / "set")
    options = ImportOptions(columns=COLUMNS, words=WORDS, source_name="me", licence="CC0-1.0")
    summaries = import_recordings(source, tmp_path / "bags", options)
    assert [Path(s.bag).name for s in summaries] == ["a_b", "c"]
    assert [s.frames for s in summaries] == [4, 2]
    first = tmp_path / "bags" / "a_b"
    # Digits beyond a double's are kept.
    frames = [frame.stamp_ns for frame in read_frames(first)]
    assert frames == [START_S * 10**9 + n * 10**8 + 7 for n in range(4)]
    steering = read_signal(first, "/steering")
    assert steering.values == pytest.approx([0.4, -0.4, 0.4])  # the third cell was empty
    assert steering.stamps_ns.tolist() == [frames[n] for n in (0, 1, 3)]
    about = read_info(first).about
    assert (about["source"], about["licence"], about["session"]) == ("me", "CC0-1.0", "a b")


@pytest.mark.parametrize(
    ("columns", "changes", "says"),
    [
        ({"image": "name"}, {}, "has no column 'name', only file, when, side, run"),
        ({"picture": "file"}, {}, "there is no role 'picture', only image, frame"),
        ({}, {}, r"which column is the image\? \(--columns image=COLUMN\); it has file"),
        (COLUMNS, {"side": "up"}, r"csv:4: 'side' is 'up', expected a number \(or --words up=NUM"),
        (COLUMNS, {"side": "nan"}, r"csv:4: 'side' is nan, expected a number"),
        (COLUMNS, {"when": "early"}, r"csv:4: 'when' is nan"),
        (COLUMNS, {"when": "1"}, r"csv:4: the recorded time runs back"),
        (COLUMNS, {"file": "../secret.jpg"}, r"csv:4: '../secret.jpg' leads out of"),
        (COLUMNS, {"file": ""}, r"csv:4: no picture is named"),
        ({**COLUMNS, "time_ns": "run"}, {}, "time_s and time_ns are both given"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, columns, changes, says):
    source = images_and_table(tmp_path / "set", **changes)
    options = ImportOptions(columns=columns, words=WORDS)
    with pytest.raises((ConfigError, DataError), match=says) as caught:
        import_recordings(source, tmp_path / "bags", options, "csv")
    assert "\n" not in str(caught.value)
    left = [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert left == []  # no half bag


def test_mixed_sizes_are_refused(tmp_path):
    source = images_and_table(tmp_path / "set")
    picture(source / "img" / "2.jpg", size=(20, 20))
    options = ImportOptions(columns=COLUMNS, words=WORDS)
    with pytest.raises(DataError, match=r"csv:4: its picture is 20x20, the drive's .* 32x24"):
        import_recordings(source, tmp_path / "bags", options)


def test_a_column_without_a_name_is_none_of_ours(tmp_path):
    rows = [
        {"": number, "image": f"{number}.jpg", "time_s": number / 10, "steering": 0.1}
        for number in range(3)
    ]
    for row in rows:
        picture(tmp_path / "set" / str(row["image"]))
    (summary,) = import_recordings(table(tmp_path / "set", rows), tmp_path / "bag")
    assert (summary.frames, summary.topics) == (3, ("/image/compressed", "/source", "/steering"))


def test_what_is_missing_of_a_video_is_told(tmp_path):
    source = video(tmp_path / "drive.avi", frames=60)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    (summary,) = import_recordings(source, tmp_path / "bag", ImportOptions(start_s=START_S))
    assert 10 < summary.frames < 40
    assert summary.frames + summary.missing == 60


@pytest.mark.parametrize("role", ["frame", "time_s"])
def test_video_and_table(tmp_path, role):
    source = video(tmp_path / "drive.avi")
    at = {"frame": [0, 3, 7], "time_s": [0.0, 0.31, 0.7]}[role]
    rows = [{role: when, "collision": value} for when, value in zip(at, (0, 1, 0.5), strict=True)]
    table(tmp_path, rows, "drive.csv")
    options = ImportOptions(start_s=START_S)
    (summary,) = import_recordings(source, tmp_path / "bag", options)
    assert (summary.frames, summary.rate_hz) == (8, pytest.approx(10.0))
    assert stamps_s(tmp_path / "bag") == pytest.approx([START_S + n / 10 for n in range(8)])
    assert greys(tmp_path / "bag") == pytest.approx([30 * n for n in range(8)], abs=2)
    label = read_signal(tmp_path / "bag", "/collision")
    frames = [frame.stamp_ns for frame in read_frames(tmp_path / "bag")]
    assert label.stamps_ns.tolist() == [frames[n] for n in (0, 3, 7)]
    assert label.values.tolist() == [0.0, 1.0, 0.5]


def test_a_line_about_no_frame_is_refused(tmp_path):
    source = video(tmp_path / "drive.avi")
    table(tmp_path, [{"frame": 8, "collision": 1}], "drive.csv")
    with pytest.raises(DataError, match=r"drive.csv:2: frame 8, .*drive.avi has 8"):
        import_recordings(source, tmp_path / "bag")
    table(tmp_path, [{"collision": 1}], "drive.csv")
    with pytest.raises(ConfigError, match="neither a frame nor a time"):
        import_recordings(source, tmp_path / "bag")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="is not a video that OpenCV can decode"):
        import_recordings(tmp_path / "broken.mp4", tmp_path / "bag")


SOURCES = {
    "donkeycar-json": (json_tub, ImportOptions()),
    "jetbot": (jetbot, ImportOptions()),
    "dronet": (dronet, ImportOptions(rate_hz=30.0)),
    "csv": (images_and_table, ImportOptions(columns=COLUMNS, words=WORDS)),
    "video": (lambda folder: video(folder / "d.avi"), ImportOptions()),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_twice_gives_the_same_bytes(tmp_path, kind):
    make, options = SOURCES[kind]
    source = make(tmp_path / "source")
    first, second = tmp_path / "first" / "bag", tmp_path / "second" / "bag"
    import_recordings(source, first, options)
    import_recordings(source, second, options, kind)  # named instead of detected
    before = bytes_of(first)
    assert before == bytes_of(second)
    again = import_recordings(source, first, options)
    assert all(summary.unchanged for summary in again)
    assert bytes_of(first) == before


def test_a_bag_of_something_else_is_not_touched(tmp_path):
    source = jetbot(tmp_path / "source")
    import_recordings(source, tmp_path / "bag")
    before = bytes_of(tmp_path / "bag")
    with pytest.raises(DataError, match="made of another source or in another way"):
        import_recordings(source, tmp_path / "bag", ImportOptions(rate_hz=5.0))
    next((source / "free").iterdir()).unlink()
    with pytest.raises(DataError, match="made of another source or in another way"):
        import_recordings(source, tmp_path / "bag")
    assert bytes_of(tmp_path / "bag") == before


def test_an_import_that_was_cut_off_goes_on(tmp_path):
    source = dronet(tmp_path / "data")
    options = ImportOptions(rate_hz=30.0)
    import_recordings(source, tmp_path / "whole", options)
    import_recordings(source, tmp_path / "cut", options)
    for path in (tmp_path / "cut" / "HMB_3").iterdir():
        path.unlink()
    (tmp_path / "cut" / "HMB_3").rmdir()
    (tmp_path / "cut" / "data.yaml").unlink()
    again = import_recordings(source, tmp_path / "cut", options)
    assert [summary.unchanged for summary in again] == [False, True]
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")


def test_unknown_sources_and_formats(tmp_path):
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError, match="nothing that can be imported; known are a Donkeycar v4"):
        import_recordings(tmp_path / "notes", tmp_path / "bag")
    with pytest.raises(ConfigError, match="there is no format 'tub', only donkeycar, donkeycar-j"):
        import_recordings(tmp_path / "notes", tmp_path / "bag", kind="tub")
    for kind, says in (
        ("donkeycar-json", "no older Donkeycar tub"),
        ("dronet", "has no folder with images/"),
        ("jetbot", "has no folders free/ and blocked/"),
        ("jetbot-xy", "has no pictures named"),
        ("csv", "should hold one CSV, it has none"),
    ):
        with pytest.raises(DataError, match=says):
            import_recordings(tmp_path / "notes", tmp_path / "bag", kind=kind)
