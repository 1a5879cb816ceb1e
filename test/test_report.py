from __future__ import annotations

import json
import re
import subprocess
import sys
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from recording_samples import recording
from report_samples import driven, replayed, rival

from crnn_snn_ros.core.command import ControlConfig
from crnn_snn_ros.evaluation.metrics import summarise
from crnn_snn_ros.evaluation.moments import LATE, MISSED, STEERING, STOP, worst_moments
from crnn_snn_ros.evaluation.replay_output import REPORT, write_pictures
from crnn_snn_ros.evaluation.report import page, verdict
from crnn_snn_ros.evaluation.report.closed_loop import drives_report
from crnn_snn_ros.evaluation.report.plots import thin
from crnn_snn_ros.evaluation.report.sections import model_section
from crnn_snn_ros.io.model_file import header
from crnn_snn_ros.io.resources import resource_path


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("report")
    write_pictures([replayed()], folder=folder, video=None)
    return (folder / REPORT).read_text()


def test_it_is_one_file_that_names_no_other(html):
    ours = html.split("<script>")[0]  # before plotly's own code
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']*)""", ours) == []
    assert "default-src 'none'" in ours
    assert "@import" not in ours


@pytest.mark.parametrize(
    ("model", "source", "licence"),
    [
        ("default.snn", "crnn_snn_ros simulator", "Apache-2.0"),
        ("donkeycar_mit.snn", "mit", "MIT"),
    ],
)
def test_the_card_of_a_shipped_model_names_its_data_and_its_licence(model, source, licence):
    body = model_section(header(resource_path("models", model))).body
    shown = re.sub(r"<[^>]+>|\s+", " ", body.split("Everything")[0])
    assert re.search(rf"data +{source} ", shown)
    assert re.search(rf"licence +{licence} ", shown)
    assert "unknown" not in shown


def test_every_section_is_there(html):
    sections = re.findall(r'<section id="section-([a-z-]+)"', html)
    assert sections == ["moments", "traces", "metrics", "collision", "activity", "raster", "cut",
                        "encodings", "energy", "model"]  # fmt: skip
    assert all(f'href="#section-{name}"' in html for name in sections)
    ids = re.findall(r'\bid="([^"]+)"', html.split("<script>")[0])
    assert len(ids) == len(set(ids))


def test_a_comparison_is_one_page_of_both_models(tmp_path):
    write_pictures([replayed(), rival()], folder=tmp_path, video=None)
    text = (tmp_path / REPORT).read_text().split("<script>")[0]
    sections = re.findall(r'<section id="section-([a-z-]+)"', text)
    assert sections == ["figures", "moments", "traces", "collision", "activity", "model-a",
                        "model-b"]  # fmt: skip
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert "B is better, by -" in text  # its steering error
    assert "Models compared: A bar.snn, B rival.snn" in text
    assert "settles after" in text


def test_names_from_outside_are_escaped(html):
    assert "drive&lt;0&gt;" in html
    assert "drive<0>" not in html


def test_data_of_plots_cannot_end_their_script():
    figure = page.Figure({"data": [{"type": "scatter", "name": "</script><b>", "y": [1]}]})
    drawn = str(page.plot(page.Plot("name", figure, 100, "alt")))
    assert drawn.count("</script>") == 1
    data = drawn.split('-data">')[1].split("</script>")[0]
    assert json.loads(data)["data"][0]["name"] == "</script><b>"


def test_the_same_replay_gives_the_same_report(html, tmp_path):
    write_pictures([replayed()], folder=tmp_path, video=None)
    assert (tmp_path / REPORT).read_text() == html


def test_energy_names_its_source_and_figures(html):
    for text in ("Horowitz", "ISSCC 2014", "45 nm", "3.7 pJ", "0.9 pJ", "0.2 pJ", "0.1 pJ"):
        assert text in html


def test_a_report_without_labels_says_so(tmp_path):
    done = replayed()
    done = replace(done, recording=_unlabelled(done.recording, 40))
    summary = summarise(done.recording, resamples=0)
    write_pictures([replace(done, summary=summary)], folder=tmp_path, video=None)
    text = (tmp_path / REPORT).read_text()
    assert "carry no collision label" in text
    assert "carry no steering label" in text


def _unlabelled(made, count):
    """The first frames of a recording, without labels."""
    few = copy(made)
    few._count = count
    few._table = made._table.copy()
    few.drives = made.drives[:1]
    few.rows["truth"] = np.nan
    return few


def states(made, **changes):
    header = {"heads": {name: {"trained": True} for name in ("steering", "collision")}}
    header["heads"] |= changes
    sentences, tiles = verdict.judge(summarise(made, resamples=50), header)
    return dict((text.split()[0], state) for state, text in sentences), tiles


def test_the_verdict_tells_good_from_bad():
    count = 1200
    truth = np.sin(np.arange(count) / 20)
    label = (np.sin(np.arange(count) / 50) > 0.9).astype(float)
    good = recording(truth * 0.95, 0.1 + 0.8 * label, true_steering=truth, label=label)
    _, tiles = states(good)
    assert [tile.state for tile in tiles][:4] == ["good"] * 4
    bad = recording(-truth, 0.4 - 0.3 * label, true_steering=truth, label=label)
    found, tiles = states(bad)
    assert [tile.state for tile in tiles][:4] == ["good", "bad", "bad", "bad"]
    assert list(found.values()) == sorted(found.values(), key=("bad", "warn", "good").index)
    _, tiles = states(good, collision={"trained": False})
    assert (tiles[2].value, tiles[2].state) == ("untrained", "bad")
    good.rows["qann"][7, 0] += 1e-12
    _, tiles = states(good)
    assert (tiles[0].value, tiles[0].state) == ("1 differ", "bad")


def test_the_worst_moments_are_the_worst():
    count = 1200
    truth, steering = np.zeros(count), np.zeros(count)
    label, collision = np.zeros(count), np.full(count, 0.1)
    steering[200], steering[900] = 0.5, -0.8
    label[300:310] = 1  # missed
    label[500:520] = 1  # late by 0.2 s
    collision[504:520] = 0.95
    collision[700:705] = 0.95  # for nothing
    made = recording(steering, collision, true_steering=truth, label=label)
    found = worst_moments(made, ControlConfig(), 0.5)
    kinds = [(moment.kind, moment.at) for moment in found]
    assert kinds == [(MISSED, 300), (LATE, 500), (STOP, 700), (STEERING, 900), (STEERING, 200)]
    assert "0.80 rad too far right" in found[3].text
    for moment in found:
        assert (moment.before, moment.after) == (moment.at - 14, moment.at + 14)
    deaf = worst_moments(made, ControlConfig(), 0.5, collision=False)
    assert {moment.kind for moment in deaf} == {STEERING}


def test_context_stays_within_the_drive():
    truth, steering = np.zeros(60), np.zeros(60)
    steering[[0, 59]] = 1.0
    made = recording(steering, np.zeros(60), true_steering=truth, drives=(30, 30))
    found = {moment.at: moment for moment in worst_moments(made, ControlConfig(), 0.5)}
    assert (found[0].before, found[59].after) == (0, 59)


def test_thinning_keeps_the_peaks():
    times = np.arange(100_000.0)
    values = np.random.default_rng(0).normal(size=100_000)
    values[77_777], values[5] = 50.0, -50.0
    few_times, few = thin(times, values, 1000)
    assert len(few) <= 1000
    assert (np.diff(few_times) > 0).all()
    assert (few.max(), few.min()) == (50.0, -50.0)
    same, _ = thin(times[:10], values[:10], 1000)
    assert len(same) == 10


def test_the_drives_report_tells_how_they_ended(tmp_path):
    report = drives_report("Two", [driven(3), driven(4, "goal")])
    assert report.verdict == [("bad", "1 of 2 courses were driven to the end without contact.")]
    assert [section.name for section in report.sections] == ["courses", "drive-0", "drive-1"]
    page.write(tmp_path / "new" / "drives.html", report)
    assert "movers 3 (corridor)" in (tmp_path / "new" / "drives.html").read_text()


def test_a_replay_needs_no_simulator():
    program = (
        "import sys\n"
        "import crnn_snn_ros.evaluation.replay_output\n"
        "import crnn_snn_ros.evaluation.report.replay_report\n"
        "import crnn_snn_ros.evaluation.report.closed_loop\n"
        "assert 'mujoco' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
