"""``crnn-snn import`` as it is typed; what it reads is tested with the importers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bag_samples import compressed, laser_scan, stamp, write_bag
from test_cli import crnn_snn, one_line, small_files
from test_importers import images_and_table, jetbot
from test_salvage import cut, long_rows, the_file

from crnn_snn_ros.cli import main
from crnn_snn_ros.data.bags import read_info

COLUMNS = ("--columns", "image=file", "time_s=when", "steering=side", "session=run")
WORDS = ("--words", "left=0.4", "right=-0.4")


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_several_drives(tmp_path, capsys):
    source = images_and_table(tmp_path / "set")
    code, out, err = run(capsys, "import", source, tmp_path / "bags", *COLUMNS, *WORDS, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert [Path(bag["bag"]).name for bag in result["bags"]] == ["a_b", "c"]
    assert [bag["frames"] for bag in result["bags"]] == [4, 2]
    code, out, _ = run(capsys, "import", source, tmp_path / "bags", *COLUMNS, *WORDS)
    assert code == 0  # again: nothing to do
    assert "2 bags in" in out
    assert "a_b" in out


def test_one_drive(tmp_path, capsys):
    code, out, _ = run(capsys, "import", jetbot(tmp_path / "d"), tmp_path / "bag")
    assert code == 0
    assert "/collision" in out
    assert read_info(tmp_path / "bag").about["importer"] == "jetbot free/blocked"


def test_a_damaged_bag_is_saved_and_the_loss_is_told(tmp_path, capsys):
    bag = write_bag(tmp_path / "bag", long_rows())
    cut(the_file(bag), 0.5)
    code, out, _ = run(capsys, "import", bag, tmp_path / "new", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["saved"] + result["lost"] == 400
    assert 100 < result["saved"] < 300
    assert result["notes"]
    code, out, _ = run(capsys, "import", bag, tmp_path / "other", "--format", "bag")
    assert code == 0
    for word in ("topic", "saved", "lost", "/camera", "/steering", "cut, "):
        assert word in out
    code, _, err = run(capsys, "replay", "m.snn", bag)  # never a silent half
    assert code == 2
    assert "'crnn-snn import BAG OUT' saves what is whole" in err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--columns", "image"), "--columns image: expected NAME=VALUE"),
        (("--words", "left=far"), "--words: 'far' is not a number"),
        (("--format", "tub"), "tub"),
        (("--rate", "0"), "rate 0.0 Hz"),
        (("--steering-scale", "0"), "steering scale 0.0"),
        (("--start", "-1"), "start -1.0 s"),
        (("--table", "gone.csv"), "gone.csv cannot be read"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, says):
    source = images_and_table(tmp_path / "set")
    code, out, err = run(capsys, "import", source, tmp_path / "bags", *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "bags").exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    rows = [("/camera", stamp(n), compressed(n, stamp(n), scale=2)) for n in range(20)]
    rows += [("/scan", stamp(n), laser_scan([1.0] * 90, stamp(n), -1, 1)) for n in range(20)]
    bag = write_bag(tmp_path / "drive", sorted(rows, key=lambda row: row[1]))
    before = sorted(tmp_path.rglob("*"))
    verbs = (("import", bag, tmp_path / "new"), ("label", bag, "--scan", "/scan", "--out", "out"))
    for arguments in verbs:
        done = crnn_snn(*arguments, preexec_fn=small_files, cwd=tmp_path, path=ROOT)
        assert "File too large" in one_line(done), arguments
        left = [path for path in tmp_path.rglob("*") if path not in before and path.is_file()]
        assert left == [], arguments


ROOT = Path(__file__).resolve().parents[1]
