"""`fleet-rlm runs`: what was recorded, from a shell."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import Recorder
from runs.recording import finished, middle, record, started

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202eevil\x9b2J"


def add(fleet: Shell, run_id: str, question: str = "What is the access code?", **other: object) -> Path:
    path = fleet.folder / "home" / "runs" / "2026-03-04" / f"050607-ask-{run_id}.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started(run_id, task=ev.Task(name="ask", signature="c, q -> a", question=question), **other))
        for event in middle():
            recorder.emit(event)
        recorder.emit(finished())
    return path


def test_an_empty_library_lists_nothing(fleet: Shell) -> None:
    done = fleet.inside("runs", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads(fleet.inside("runs", "list", "--json").stdout) == []


def test_runs_are_listed_newest_first_filtered_and_sorted(fleet: Shell) -> None:
    add(fleet, "aa11", started_at="2026-01-01T00:00:00Z")
    add(fleet, "bb22", "Where is the depot?", started_at="2026-01-02T00:00:00Z")
    rows = [line.split("\t") for line in fleet.inside("runs", "list").stdout.splitlines()]
    assert [row[0] for row in rows] == ["bb22", "aa11"]
    assert rows[0][2:5] == ["submitted", "ask", "depot.txt"]
    assert fleet.inside("runs", "list", "where", "DEPOT").stdout.startswith("bb22\t")
    assert fleet.inside("runs", "list", "--ascending", "--limit", "1").stdout.startswith("aa11\t")
    assert fleet.inside("runs", "list", "--sort", "nonsense").returncode == 2


def test_json_says_everything_about_a_row(fleet: Shell) -> None:
    path = add(fleet, "aa11")
    (row,) = json.loads(fleet.inside("runs", "list", "--json").stdout)
    assert row["run_id"] == "aa11"
    assert row["path"] == str(path)
    assert (row["status"], row["cost_usd"], row["documents"]) == ("submitted", 0.01, ["depot.txt"])
    assert row["answer"] == "The access code is 7741."


def test_show_tells_the_steps_and_the_answer(fleet: Shell) -> None:
    path = add(fleet, "aa11")
    for name in ("aa11", "aa", "latest", str(path)):
        done = fleet.inside("runs", "show", name)
        assert done.returncode == 0
        assert "I look for the code." in done.stdout
        assert "│ print(1)" in done.stdout
        assert "The access code is 7741." in done.stdout
        assert f"fleet-rlm-tui {path}" in done.stderr
    shown = json.loads(fleet.inside("runs", "show", "--json").stdout)
    assert shown["steps"][0]["code"] == "print(1)"
    assert shown["steps"][0]["output"] == "1\n"
    assert shown["outputs"] == {"answer": "The access code is 7741."}
    assert shown["complete"] is True


def test_an_interrupted_run_shows_what_it_has_and_says_where_it_ends(fleet: Shell) -> None:
    path = add(fleet, "aa11")
    path.write_bytes(path.read_bytes()[:-50])
    done = fleet.inside("runs", "show", "aa11")
    assert done.returncode == 0
    assert "interrupted" in done.stdout
    assert "last line is torn" in done.stdout


def test_verify_says_ok_or_the_first_thing_wrong(fleet: Shell) -> None:
    path = add(fleet, "aa11")
    done = fleet("runs", "verify", str(path))
    assert (done.returncode, done.stdout) == (0, f"{path}: ok\n")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    done = fleet.inside("runs", "verify", str(path))
    assert (done.returncode, done.stdout) == (1, f"{path}: line 4: planner.started: seq is 4, not 3\n")
    said = json.loads(fleet.inside("runs", "verify", str(path), "--json").stdout)
    assert (said["ok"], said["line"]) == (False, 4)


@pytest.mark.parametrize("command", ["show", "verify", "path"])
def test_a_run_that_does_not_exist_is_named(fleet: Shell, command: str) -> None:
    done = fleet.inside("runs", command, "zz")
    assert done.returncode == 2
    assert "No run's id begins with 'zz'" in done.stderr
    assert done.stdout == ""
    assert "zz" in json.loads(fleet.inside("runs", command, "zz", "--json").stdout)["error"]["message"]


def test_a_file_that_is_no_run_is_refused_in_words(fleet: Shell) -> None:
    (fleet.folder / "log.jsonl").write_text('{"type": "metadata", "root_model": "m"}\n')
    done = fleet.inside("runs", "show", "log.jsonl")
    assert done.returncode == 2
    assert "an rlms log" in done.stderr
    assert "Traceback" not in done.stderr


def test_path_prints_the_folder_or_a_file(fleet: Shell) -> None:
    path = add(fleet, "aa11")
    assert fleet.inside("runs", "path").stdout == f"{fleet.folder}/home/runs\n"
    assert fleet.inside("runs", "path", "aa").stdout == f"{path}\n"
    assert json.loads(fleet.inside("runs", "path", "aa", "--json").stdout) == {"path": str(path)}


def test_schema_is_the_published_one(fleet: Shell) -> None:
    published = Path(__file__).parents[2] / "docs" / "run-file.schema.json"
    assert fleet.inside("runs", "schema").stdout == published.read_text()


@pytest.mark.parametrize("arguments", [("list",), ("show", "aa11"), ("list", "--json"), ("show", "aa11", "--json")])
def test_nothing_recorded_can_act_on_a_terminal(fleet: Shell, arguments: tuple[str, ...]) -> None:
    path = add(fleet, "aa11", HOSTILE)
    path.write_bytes(
        path.read_bytes()
        .replace(b"I look for the code.", ev.encode(ev.Notice(text=HOSTILE)).split(b'"')[-2])
        .replace(b"The access code is 7741.", ev.encode(ev.Notice(text=HOSTILE)).split(b'"')[-2])
    )
    done = fleet.inside("runs", *arguments)
    assert done.returncode == 0
    assert "owned" in done.stdout
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\u202e\x9b")
    if "--json" in arguments:
        assert HOSTILE in _texts(json.loads(done.stdout))


def _texts(value: ev.Json) -> str:
    if isinstance(value, dict):
        return "".join(map(_texts, value.values()))
    return "".join(map(_texts, value)) if isinstance(value, list) else str(value)


def test_a_terminal_gets_a_table_that_fits_it(fleet: Shell) -> None:
    add(fleet, "aa11", "What " + HOSTILE + " is the access code of the depot?" * 5)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "runs", "list"], stdout=theirs, cwd=fleet.folder, env={**fleet.environment, "COLUMNS": "80"}
    )
    os.close(theirs)
    screen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        screen += piece
    os.close(ours)
    assert process.wait(30) == 0
    text = screen.decode()
    assert "aa11" in text
    assert "owned" in text or "…" in text
    assert "\x1b]" not in text
    assert "\u202e" not in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert all(len(line.rstrip("\r")) <= 80 for line in plain.split("\n"))


def test_an_index_that_is_broken_is_made_again_with_a_notice(fleet: Shell) -> None:
    add(fleet, "aa11")
    fleet.inside("runs", "list")
    (fleet.folder / "home" / "runs" / "index.sqlite").write_bytes(b"garbage" * 1000)
    done = fleet.inside("runs", "list")
    assert done.stdout.startswith("aa11\t")
    assert "made again from the files" in done.stderr


def test_a_run_recorded_elsewhere_can_be_shown(fleet: Shell) -> None:
    record(fleet.folder / "mine.jsonl")
    assert "7741" in fleet.inside("runs", "show", "mine.jsonl").stdout
