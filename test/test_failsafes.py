"""Every promise of the node, broken over real DDS: see ``fault_table``."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from fault_table import FRAME_TIMEOUT_S, NODES, SETTINGS, SLACK_S, TABLE, Outcome, Rig, Row
from ros_peer import ROOT, running, small_model

DOCS = ROOT / "docs" / "node.md"
ATTEMPTS = 3  # a machine that is busy with something else keeps no promise of milliseconds
pytestmark = pytest.mark.timeout(120)
# Rows of one node follow each other, and the row that ends it comes last.
ROWS = sorted(TABLE, key=lambda row: (list(NODES).index(row.node), row.outcome is Outcome.ENDS))


@pytest.fixture(scope="module")
def rigs(tmp_path_factory):
    """The rig of a name, started when it is asked for; one at a time, to spare the machine."""
    with ExitStack() as stack:
        open_rig: dict[str, Rig] = {}

        def rig(name: str, again: bool = False) -> Rig:
            if again or name not in open_rig:
                stack.close()
                open_rig.clear()
                folder = tmp_path_factory.mktemp(name)
                told = "turn_from" in NODES[name]
                model = small_model(folder / "small.snn", told=told)
                settings = {"model": model, **SETTINGS, **NODES[name]}
                script = "faulty_node.py" if name == "faulty" else None
                node, peer = stack.enter_context(running(folder / "log", script=script, **settings))
                node.model = model
                open_rig[name] = Rig(node, peer, settings)
            return open_rig[name]

        yield rig


def count(rig: Rig, key: str) -> int:
    return int(rig.peer.diagnostics().get(key, 0))


def was_told(rig: Rig, row: Row, before: int) -> bool:
    """Whether the newest report counts the fault, and names it while the robot stands."""
    kind, _, reason = row.counted.partition("_")
    named = rig.peer.diagnostics()["reason"] == reason or kind == "dropped"
    return named and count(rig, row.counted) > before


def break_it(rig: Rig, row: Row) -> bool:
    """Whether a driving robot does in time what the row says; it always does it at some time."""
    rig.drive()
    called_s = time.monotonic()
    broken_s = row.break_it(rig) or called_s
    if row.outcome is Outcome.GOES_ON:
        since = [c for c in rig.peer.commands() if c[0] > broken_s]
        assert since
        return all(linear > 0.0 for _, linear, _ in since)
    if row.outcome is Outcome.SOON:
        last = rig.peer.commands()[-1]
        return last[0] > broken_s and last[1:] == (0.0, 0.0)
    zero = rig.peer.next_command(broken_s)
    while zero[1] > 0.0 and row.outcome is Outcome.IN_TIME:
        zero = rig.peer.next_command(zero[0])  # it may drive on that long
    assert zero[1:] == (0.0, 0.0)
    assert all(c[1:] == (0.0, 0.0) for c in rig.peer.commands() if c[0] > zero[0])
    in_time = row.outcome is Outcome.IN_TIME
    return zero[0] - broken_s < SLACK_S + FRAME_TIMEOUT_S * in_time


def test_without_frames_nothing_moves(rigs) -> None:
    """Nothing but zero for stop_pub_timeout, then nothing."""
    rig = rigs("plain", again=True)
    rig.peer.wait(lambda: rig.peer.diagnostics()["state"] == "waiting", "diagnostics")
    time.sleep(0.5)
    assert all(command[1:] == (0.0, 0.0) for command in rig.peer.commands())
    assert all(command[0] < time.monotonic() - 0.1 for command in rig.peer.commands())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_fault(row: Row, rigs) -> None:
    rig = rigs(row.node)
    before = count(rig, row.counted)
    for attempt in range(ATTEMPTS):
        if attempt and row.outcome is Outcome.ENDS:
            rig = rigs(row.node, again=True)
        if break_it(rig, row):
            break
        row.mend(rig)
    else:
        raise AssertionError(f"not in time, {ATTEMPTS} times: {rig.peer.diagnostics()}")
    if row.outcome is Outcome.ENDS:
        assert rig.node.process.wait(15) == 0, rig.node.output
        assert rig.peer.commands()[-1][1:] == (0.0, 0.0)
        assert "Traceback" not in rig.node.output
        return
    if row.counted:
        rig.peer.wait(lambda: was_told(rig, row, before), f"{row.counted}: {rig.node.output}")
    row.mend(rig)
    rig.drive()


def test_the_documentation_shows_the_table() -> None:
    text = DOCS.read_text()
    assert test_without_frames_nothing_moves.__name__ in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for row in TABLE:
        kind, _, name = row.counted.partition("_")
        told = f"`{row.counted}`" if kind == "dropped" else f"`{name}`" if name else ""
        assert f"| {row.what} | {row.outcome.value} | {told} |" in lines
    assert sum(" | stops " in line or " | goes on |" in line for line in lines) == len(TABLE)
