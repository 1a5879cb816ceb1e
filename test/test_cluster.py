"""A real scheduler and real workers, which are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bag_samples import compressed, laser_scan, stamp, write_bag
from cluster_samples import ENVIRONMENT, cluster
from process_samples import bag_then_die, die, fail_at, name_of_file, slow_bag, square
from sim_support import needs_pictures
from test_cli import refused, succeed_within
from test_importers import images_and_table
from test_replay import pipeline
from training_samples import bar_bag

from crnn_snn_ros.core.errors import ConfigError, CrnnSnnError
from crnn_snn_ros.data.bags import read_signal
from crnn_snn_ros.evaluation.drives import choose
from crnn_snn_ros.evaluation.replay_many import Candidate, replay_drives
from crnn_snn_ros.io import cluster as module
from crnn_snn_ros.io.model_file import save
from crnn_snn_ros.io.processes import Workers, spread
from crnn_snn_ros.sim.record import Recording, record_suite
from crnn_snn_ros.sim.suites import BLIND, Setup

pytest.importorskip("distributed", reason="dask.distributed is not installed (extra [scale])")
SEEDS = (1000, 1002, 1003, 1004)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two workers, which nobody kills."""
    with cluster(tmp_path_factory.mktemp("two"), 2) as made:
        yield made


@pytest.fixture
def mortal(tmp_path):
    """Two workers of this test alone."""
    (tmp_path / "mortal").mkdir()
    with cluster(tmp_path / "mortal", 2) as made:
        yield made


def files(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, hidden or not."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_results_come_in_the_order_of_the_items(two):
    told: list[tuple[int, int]] = []
    done = spread(square, range(5), Workers(scheduler=two.address), told.append)
    assert [value for value, _ in done] == [0, 1, 4, 9, 16]
    assert told == done
    assert {pid for _, pid in done} <= {worker.pid for worker in two.workers}


def test_an_error_ends_it_after_the_results_before(two):
    told: list[int] = []
    with pytest.raises(ValueError, match="item 2"):
        spread(partial(fail_at, 2), range(4), Workers(scheduler=two.address), told.append)
    assert told == [0, 1]


def test_names_mean_what_they_mean_here(two, tmp_path, monkeypatch):
    for content in "ab":  # the same name in another folder, by the same workers
        (tmp_path / content).mkdir()
        (tmp_path / content / "file").write_text(content)
        monkeypatch.chdir(tmp_path / content)
        assert spread(name_of_file, ["file"], Workers(scheduler=two.address)) == [content]


def test_a_file_system_of_its_own_is_one_line(two, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"nowhere: No such file .* need the file system"):
        spread(name_of_file, ["file"], Workers(scheduler=two.address))


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_item_whose_worker_died_is_done_again(mortal, tmp_path, when):
    folder = tmp_path / "bags"
    folder.mkdir()
    bags = [folder / name for name in "abc"]
    (folder / "a.begun").touch()
    (folder / "c.begun").touch()  # only the worker of b dies
    run = partial(bag_then_die, when)
    workers = Workers(scheduler=mortal.address)
    assert spread(run, bags, workers, made=lambda bag: (bag,)) == ["a", "b", "c"]
    for bag in bags:
        assert len(read_signal(bag, "/steering").values) == 100
    assert hidden(folder) == []
    assert sorted(worker.poll() is None for worker in mortal.workers) == [False, True]


@needs_pictures
def test_drives_are_the_same_though_a_worker_is_killed(mortal, tmp_path):
    def recorded(folder: Path, workers: Workers, progress=None):
        recording = Recording(folder, noise_radps=0.2)
        driver, setup = BLIND["straight"], Setup()
        return record_suite(driver, "static", SEEDS, setup, recording, workers, progress)

    told = []

    def kill(outcome) -> None:
        told.append(outcome)
        mortal.workers[0].kill()

    here = recorded(tmp_path / "here", Workers())
    there = recorded(tmp_path / "there", Workers(scheduler=mortal.address), kill)
    assert there == told == here
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert len(list((tmp_path / "there").glob("*/metadata.yaml"))) == len(SEEDS)


def test_replays_are_the_same_though_a_worker_is_killed(mortal, tmp_path):
    save(tmp_path / "model.snn", pipeline(seed=1).model)
    for number in range(6):
        bar_bag(tmp_path / f"bag{number}", 20 + number, seed=number)
    drives = [choose(tmp_path / f"bag{number}", None, 0.0, 1.0) for number in range(6)]
    told = []

    def kill(frames: int) -> None:
        told.append(frames)
        mortal.workers[1].kill()

    workers = Workers(scheduler=mortal.address)
    (there,) = replay_drives([Candidate(tmp_path / "model.snn")], drives, workers, kill)
    (here,) = replay_drives([Candidate(tmp_path / "model.snn")], drives)
    assert told == [20, 21, 22, 23, 24, 25]
    assert there.drives == here.drives
    for field in here.rows.dtype.names:
        np.testing.assert_array_equal(there.rows[field], here.rows[field], err_msg=field)


def test_a_model_that_changed_is_loaded_again(two, tmp_path):
    bar_bag(tmp_path / "bag", 20, seed=0)
    drives = [choose(tmp_path / "bag", None, 0.0, 1.0)]
    said = []
    for seed in (1, 2):  # the same name, the same workers
        save(tmp_path / "model.snn", pipeline(seed=seed).model)
        (made,) = replay_drives(
            [Candidate(tmp_path / "model.snn")], drives, Workers(scheduler=two.address)
        )
        said.append(made.rows["snn"].copy())
    assert (said[0] != said[1]).any()


def test_verbs_leave_the_same_files(two, tmp_path, capsys, monkeypatch):
    for name in "ab":
        frames = [("/image", stamp(n), compressed(n, stamp(n))) for n in range(20)]
        scans = [
            ("/scan", stamp(n), laser_scan([0.2 + 0.1 * n] * 9, stamp(n), -1.0, 1.0))
            for n in range(20)
        ]
        write_bag(tmp_path / name, sorted(frames + scans, key=lambda row: row[1]))
    source = images_and_table(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    columns = ("--columns", "image=file", "time_s=when", "steering=side", "session=run")
    words = ("--words", "left=0.4", "right=-0.4")
    results = []
    for place, how in (("here", ("--jobs", 1)), ("there", ("--scheduler", two.address))):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        label = succeed_within(capsys, "label", "../a", "../b", "--out", "out", "--scan", "/scan",
                               *how)  # fmt: skip
        bags = succeed_within(capsys, "import", source, "bags", *columns, *words, *how)
        results.append((label, bags))
    assert results[0] == results[1]
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert {"out/a.scan.png", "bags/data.yaml"} < files(tmp_path / "there").keys()
    error = refused(capsys, "label", "../a", "--out", "out", "--scan", "/scan")
    assert "out/a exists" in error


def test_an_item_that_kills_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with (
        cluster(tmp_path, 2) as made,
        pytest.raises(CrnnSnnError, match="ended every worker"),
    ):
        spread(die, range(1), Workers(scheduler=made.address))


def test_a_cluster_that_goes_is_one_line(mortal, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WITHOUT_WORKERS_S", 1.0)
    monkeypatch.setattr(module, "POLL_S", 0.5)
    workers = Workers(scheduler=mortal.address)
    bags = [tmp_path / "bags" / name for name in "abc"]
    given_up = pytest.raises(CrnnSnnError, match=r"all workers of .* are gone")
    with given_up, killing(*mortal.workers, once=tmp_path / "bags"):
        spread(partial(slow_bag, 60.0), bags, workers, made=lambda bag: (bag,))
    assert hidden(tmp_path / "bags") == []
    mortal.add_worker()
    given_up = pytest.raises(CrnnSnnError, match=r"scheduler at .* went away")
    with given_up, killing(mortal.scheduler, once=tmp_path / "bags"):
        spread(partial(slow_bag, 60.0), bags, workers, made=lambda bag: (bag,))
    assert hidden(tmp_path / "bags") == []


@contextmanager
def killing(*processes: subprocess.Popen, once: Path) -> Iterator[None]:
    """Kill processes when something is begun in a folder."""

    def watch() -> None:
        while not (once.is_dir() and hidden(once)) and not over.wait(0.05):
            pass
        for process in processes:
            process.kill()

    over = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def test_nobody_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CONNECT_S", 1.0)
    arguments = ("simulate", "--policies", "straight", "--courses", 2, "--scheduler")
    assert "no Dask scheduler answers at" in refused(capsys, *arguments, "tcp://127.0.0.1:9")
    assert "expected tcp://HOST:PORT" in refused(capsys, *arguments, "nonsense")
    assert "leave one of them out" in refused(
        capsys, *arguments, "tcp://127.0.0.1:9", "--processes", 2
    )
    with cluster(tmp_path, 0) as made:
        assert "has no workers" in refused(capsys, *arguments, made.address)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'crnn_snn_ros[scale]'" in refused(capsys, *arguments, "tcp://127.0.0.1:9")


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from process_samples import slow_bag
from crnn_snn_ros.io.processes import Workers, spread
where = Workers(scheduler=sys.argv[1]) if "://" in sys.argv[1] else Workers(int(sys.argv[1]))
bags = [Path(sys.argv[2], str(number)) for number in range(4)]
if __name__ == "__main__":
    try:
        spread(partial(slow_bag, 5.0), bags, where, made=lambda bag: (bag,))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("where", ["cluster", "processes"])
def test_ctrl_c_leaves_nothing_half_written(two, tmp_path, where):
    folder = tmp_path / "bags"
    folder.mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    address = two.address if where == "cluster" else "2"
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", address, folder],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    while len(hidden(folder)) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("interrupted\n", "")
    assert list(folder.iterdir()) == []
    if where == "cluster":  # until both workers have come to the end of what they were at
        spread(square, range(2), Workers(scheduler=two.address))
        assert list(folder.iterdir()) == []
