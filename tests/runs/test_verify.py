"""The first thing wrong with a run file is found, with its line; what a newer version may add is not wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import Recorder
from fleet_rlm.runs.verify import Fault, verify
from runs.recording import middle, record, started


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return record(tmp_path / "run.jsonl")


def test_a_recorded_run_is_right(path: Path) -> None:
    assert verify(path) is None


def test_unknown_kinds_and_fields_are_allowed(path: Path) -> None:
    lines = lines_of(path)
    lines[2] = {"kind": "dream", "seq": 2, "t": lines[2]["t"], "anything": [1]}
    lines[3]["colour"] = "blue"
    del lines[4:]
    lines.append({"kind": "run.finished", "seq": 4, "t": 9.0, "status": "aborted", "totals": {}})
    assert verify(write(path, lines)) is None


def at(kind: str, lines: list[dict[str, object]]) -> int:
    return next(i for i, line in enumerate(lines) if line["kind"] == kind)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("planner.started", {"seq": 99}, "seq is 99, not 4"),
        ("planner.started", {"seq": "4"}, "Expected `int`"),
        ("planner.started", {"t": -1.0}, "t is -1, after"),
        ("planner.started", {"t": "soon"}, "Expected `float`"),
        ("planner.started", {"span": None}, "it has no span"),
        ("planner.started", {"parent": "nobody"}, "its parent 'nobody' never began"),
        ("planner.delta", {"span": "other"}, "no planner call 'other' has begun"),
        ("execution.finished", {"span": "p1"}, "no execution 'p1' has begun"),
        ("execution.finished", {"outcome": "fine"}, "Invalid enum value 'fine'"),
        ("call.started", {"span": "x1"}, "span 'x1' began before"),
        ("output", {"kind": "run.started", **json.loads(ev.encode(started())), "seq": 9}, "and the first alone"),
        ("variables", {"added": [{"type": "int"}]}, "missing required field `name`"),
    ],
)
def test_the_first_broken_rule_is_named_with_its_line(
    path: Path, kind: str, changes: dict[str, object], words: str
) -> None:
    lines = lines_of(path)
    number = at(kind, lines)
    lines[number] = {name: value for name, value in {**lines[number], **changes}.items() if value is not None}
    fault = verify(write(path, lines))
    assert fault is not None
    assert fault.line == number + 1
    assert words in fault.message


def test_a_span_that_ends_twice_is_found(path: Path) -> None:
    lines = lines_of(path)
    number = at("call.finished", lines)
    lines[number + 1] = {**lines[number], "seq": number + 1}
    assert verify(write(path, lines)) == Fault(number + 2, "call.finished: the call 'c1' has ended already")


def test_what_follows_the_end_is_found(path: Path) -> None:
    lines = lines_of(path)
    lines.append({"kind": "notice", "text": "late", "seq": len(lines), "t": 99.0})
    fault = verify(write(path, lines))
    assert fault == Fault(len(lines), "notice: something follows run.finished")


def test_a_run_without_its_end_and_a_torn_one_are_found(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    fault = verify(path)
    assert fault is not None
    assert "not run.finished" in fault.message
    path.write_bytes(whole[:-20])
    fault = verify(path)
    assert fault is not None
    assert "cut short" in fault.message
    assert fault.line == whole.count(b"\n")


def test_a_damaged_line_and_a_file_that_is_no_run_are_found(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], b"garbage\n", *lines[5:]]))
    fault = verify(path)
    assert fault is not None
    assert fault.line == 6
    path.write_text("Dear diary,\n")
    assert str(verify(path)).startswith("line 1: run.jsonl is no run file")


def test_a_run_that_is_still_written_is_right_so_far(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.jsonl") as recorder:
        for event in (started(), *middle()):
            recorder.emit(event)
        assert verify(recorder.path) is None
    assert verify(recorder.path) is not None
