"""The library shows what the files say; the index is never the only copy of anything."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fleet_rlm import events as ev
from fleet_rlm.runs import library as library_module
from fleet_rlm.runs.library import Column, Library, NoSuchRun, Refreshed, RunIsRunning
from fleet_rlm.runs.recorder import Recorder
from fleet_rlm.runs.summary import RunRow
from runs.recording import finished, middle, record, started

TESTS = Path(__file__).parents[1]


def add(folder: Path, run_id: str, **fields: object) -> Path:
    """A finished run in the library's folder."""
    end = {name: fields.pop(name) for name in ("status", "outputs", "totals", "error") if name in fields}
    path = folder / "2026-03-04" / f"050607-ask-{run_id}.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started(run_id, **fields))
        for event in middle():
            recorder.emit(event)
        recorder.emit(finished(**end))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def library(folder: Path) -> Library:
    return Library(folder)


def ids(library: Library, words: str = "", sort: Column = "when", **how: object) -> list[str]:
    return [row.run_id for row in library.list(words, sort, **how)]


def test_an_empty_machine_has_an_empty_library(library: Library, folder: Path) -> None:
    assert library.refresh() == Refreshed()
    assert library.list() == []
    with pytest.raises(NoSuchRun, match="no runs yet"):
        library.get("latest")


def test_a_row_holds_what_the_run_file_says(library: Library, folder: Path) -> None:
    path = add(folder, "aa11")
    assert library.refresh() == Refreshed(new=1)
    (row,) = library.list()
    assert (row.run_id, row.path, row.when) == ("aa11", path, "2026-03-04T05:06:07Z")
    assert (row.task, row.question, row.documents) == ("ask", "What is the access code?", ("depot.txt",))
    assert (row.iterations, row.calls, row.tokens, row.cost, row.seconds) == (1, 1, 17, 0.01, 1.5)
    assert (row.status, row.answer, row.model, row.sandbox) == (
        "submitted",
        "The access code is 7741.",
        "offline",
        "local",
    )
    assert row.offline
    assert row.size == path.stat().st_size


def test_only_files_that_changed_are_read_again(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder, "aa11")
    library.refresh()
    monkeypatch.setattr("fleet_rlm.runs.library.summarise", lambda path: pytest.fail(f"{path} was read again"))
    assert library.refresh() == Refreshed()


def test_new_changed_and_deleted_files_are_noticed(library: Library, folder: Path) -> None:
    one, two = add(folder, "aa11"), add(folder, "bb22")
    library.refresh()
    one.unlink()
    two.unlink()
    add(folder, "bb22", status="failed", error=ev.Failure(type="E", message="the model is gone"))
    add(folder, "cc33")
    assert library.refresh() == Refreshed(new=1, changed=1, gone=1)
    assert {row.run_id: row.status for row in library.list()} == {"bb22": "failed", "cc33": "submitted"}
    assert library.get("bb22").answer == "the model is gone"


FULL_TEXT = [True, False]


@pytest.mark.parametrize("full_text", FULL_TEXT, ids=["with FTS5", "without FTS5"])
def test_every_word_of_the_filter_is_looked_for_everywhere(
    folder: Path, full_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not full_text:
        monkeypatch.setattr("fleet_rlm.runs.library._FULL_TEXT", "CREATE VIRTUAL TABLE runs_text USING nothing();")
    document = ev.DocumentRef(path="/x/Überblick.md", name="Überblick.md", bytes=1, sha256="", chars=1)
    add(folder, "aa11", task=ev.Task(name="error-patterns", signature="", question="Which errors occur?"))
    add(folder, "bb22", inputs=(ev.Input(name="c", type="str", chars=1, documents=(document,)),))
    add(folder, "cc33", outputs={"answer": 'the "Marlow" depot (50%)', "codes": ["x_y", 7741]})
    library = Library(folder)
    library.refresh()
    assert library._full_text is full_text
    assert ids(library, "patterns") == ["aa11"]
    assert ids(library, "OCCUR which") == ["aa11"]
    assert ids(library, "überblick") == ["bb22"]
    assert ids(library, 'arlow" de') == ["cc33"]
    assert ids(library, "50%)") == ["cc33"]
    assert ids(library, "x_y") == ["cc33"]
    assert ids(library, "7741 codes") == ["cc33"]
    assert ids(library, "access bb22") == ["bb22"]
    assert ids(library, "nowhere") == []
    for hostile in ('"', "'", "AND", "*", "a\0b", "NEAR(", "\ud800", "%", "_", "--"):
        library.list(hostile)


def test_rows_sort_by_any_column_with_the_unknown_last(library: Library, folder: Path) -> None:
    for run_id, cost, second in (("aa11", 0.5, "01"), ("bb22", None, "03"), ("cc33", 0.1, "02")):
        add(folder, run_id, started_at=f"2026-03-04T05:06:{second}Z", totals=ev.Totals(cost_usd=cost))
    library.refresh()
    assert ids(library) == ["bb22", "cc33", "aa11"]
    assert ids(library, descending=False) == ["aa11", "cc33", "bb22"]
    assert ids(library, sort="cost") == ["aa11", "cc33", "bb22"]
    assert ids(library, sort="cost", descending=False) == ["cc33", "aa11", "bb22"]
    assert ids(library, limit=2) == ["bb22", "cc33"]
    for column in Column.__args__:
        assert len(library.list(sort=column)) == 3


def test_a_run_is_found_by_the_beginning_of_its_id_by_its_path_or_as_the_latest(library: Library, folder: Path) -> None:
    path = add(folder, "aa11", started_at="2026-01-01T00:00:00Z")
    add(folder, "aa22", started_at="2026-01-02T00:00:00Z")
    library.refresh()
    assert library.get("aa1").run_id == "aa11"
    assert library.get(str(path)).run_id == "aa11"
    assert library.get("latest").run_id == "aa22"
    with pytest.raises(NoSuchRun, match="Several runs begin with 'aa': aa11, aa22"):
        library.get("aa")
    with pytest.raises(NoSuchRun, match="No run's id begins with 'zz'"):
        library.get("zz")


def test_a_run_recorded_elsewhere_is_found_by_its_path(library: Library, tmp_path: Path) -> None:
    assert library.get(str(record(tmp_path / "mine.jsonl"))).status == "submitted"


def test_a_run_is_running_while_its_process_lives_and_interrupted_after(library: Library, folder: Path) -> None:
    path = folder / "2026-03-04" / "050607-ask-aa11.jsonl"
    recorder = Recorder(path)
    recorder.emit(started("aa11"))
    library.refresh()
    assert library.get("aa11").status == "running"
    for event in middle():
        recorder.emit(event)
    recorder.emit(ev.GateWaiting(at="code", why="paused"))
    library.refresh()
    row = library.get("aa11")
    assert (row.status, row.iterations, row.calls, row.tokens, row.cost) == ("waiting", 1, 1, 17, 0.01)
    recorder.close()
    library.refresh()
    assert library.get("aa11").status == "interrupted"
    assert library.get("aa11").answer == "7741"


def test_a_running_run_becomes_a_finished_one(library: Library, folder: Path) -> None:
    with Recorder(folder / "a.jsonl") as recorder:
        recorder.emit(started("aa11"))
        library.refresh()
        recorder.emit(finished())
        library.refresh()
        assert library.get("aa11").status == "submitted"
    assert Library(folder).get(str(recorder.path)).status == "submitted"


def test_deleting_removes_file_and_row_but_never_a_running_run(library: Library, folder: Path) -> None:
    path = add(folder, "aa11")
    with Recorder(folder / "b.jsonl") as recorder:
        recorder.emit(started("bb22"))
        library.refresh()
        with pytest.raises(RunIsRunning):
            library.delete(library.get("bb22"))
        library.delete(library.get("aa11"))
        assert not path.exists()
        assert recorder.path.exists()
        assert ids(library) == ["bb22"]


def test_files_that_are_no_runs_are_counted_and_not_listed(library: Library, folder: Path) -> None:
    add(folder, "aa11")
    (folder / "notes.jsonl").write_text("Dear diary\n")
    (folder / "other.txt").write_text("x")
    assert library.refresh().unreadable == 1
    assert library.refresh().unreadable == 1
    assert ids(library) == ["aa11"]


def test_a_run_with_enormous_numbers_is_listed_beside_the_others(library: Library, folder: Path) -> None:
    add(folder, "aa11")
    largest = 2**63 - 1
    add(folder, "bb22", totals=ev.Totals(input_tokens=largest, output_tokens=largest, cost_usd=1e308, seconds=1e308))
    assert library.refresh() == Refreshed(new=2)
    assert sorted(ids(library)) == ["aa11", "bb22"]
    assert library.get("bb22").tokens == largest


def test_a_run_that_the_index_cannot_hold_takes_no_other_with_it(
    library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder, "aa11")
    add(folder, "bb22")
    summarise = library_module.summarise

    def odd(path: Path) -> RunRow:
        row = summarise(path)
        return replace(row, calls=10**25) if row.run_id == "bb22" else row

    monkeypatch.setattr(library_module, "summarise", odd)
    library.refresh()
    assert ids(library) == ["aa11"]


def test_a_row_of_the_index_that_cannot_be_read_takes_no_other_with_it(library: Library, folder: Path) -> None:
    add(folder, "aa11")
    add(folder, "bb22")
    library.refresh()
    with sqlite3.connect(library.index) as db:
        db.execute("UPDATE runs SET seconds = NULL, status = 'mad' WHERE run_id = 'bb22'")
    assert ids(library) == ["aa11"]
    assert "left out" in library.notices[-1]


@pytest.mark.parametrize("damage", ["garbage", "truncated", "deleted", "other version", "emptied"])
def test_a_broken_index_is_made_again_from_the_files(folder: Path, damage: str) -> None:
    add(folder, "aa11")
    with Library(folder) as library:
        library.refresh()
        index = library.index
    if damage == "garbage":
        index.write_bytes(os.urandom(9000))
    elif damage == "truncated":
        index.write_bytes(index.read_bytes()[:5000])
    elif damage == "deleted":
        index.unlink()
    elif damage == "emptied":
        index.write_bytes(b"")
    else:
        with sqlite3.connect(index) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
    with Library(folder) as library:
        library.refresh()
        assert ids(library) == ["aa11"]
        assert ids(library, "access") == ["aa11"]
        assert bool(library.notices) == (damage in ("garbage", "truncated", "other version"))


def test_an_index_that_breaks_under_an_open_library_is_made_again(library: Library, folder: Path) -> None:
    add(folder, "aa11")
    library.refresh()
    library._with_index(lambda db: db.execute("DROP TABLE runs"))
    assert ids(library) == ["aa11"]
    assert library.notices


def test_a_folder_that_cannot_hold_an_index_still_lists(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(folder, "aa11")
    (folder / "index.sqlite").mkdir()
    library = Library(folder)
    assert ids(library) == ["aa11"]
    assert "lives in memory" in library.notices[0]


def test_two_processes_refresh_one_index_at_once(folder: Path) -> None:
    for number in range(60):
        add(folder, f"run{number:03}")
    code = (
        "import sys; from fleet_rlm.runs.library import Library; library = Library(sys.argv[1]);"
        "[library.refresh() for _ in range(20)]; print(len(library.list('access')), library.notices)"
    )
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [reader.communicate(timeout=60)[0].strip() for reader in readers] == ["60 []"] * 3


def test_an_index_that_another_process_is_changing_over_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = iter([sqlite3.OperationalError("database is locked")] * 3)

    class Busy:
        """SQLite refuses at once, whatever its timeout, when two processes change a new index over at once."""

        def execute(self, _statement: str) -> None:
            for refusal in refusals:
                raise refusal

    library_module._use_write_ahead_log(Busy())  # type: ignore[arg-type] # the one method that is used
    monkeypatch.setattr(library_module, "BUSY_SECONDS", 0.0)
    refusals = iter([sqlite3.OperationalError("database is locked")])
    with pytest.raises(sqlite3.OperationalError):
        library_module._use_write_ahead_log(Busy())  # type: ignore[arg-type] # the one method that is used


def test_the_size_of_a_finished_run_does_not_matter(library: Library, folder: Path) -> None:
    path = folder / "big.jsonl"
    with Recorder(path) as recorder:
        recorder.emit(started("big1"))
        for _ in range(5):
            recorder.emit(ev.Notice(text="x" * (1 << 20)))
        recorder.emit(finished(outputs={"answer": "y" * 300_000}))
    damaged = path.read_bytes()
    path.write_bytes(damaged.replace(b"x" * 100, b"\xff" * 100))  # unreadable in its middle: only its ends are read
    library.refresh()
    assert library.get("big1").status == "submitted"
    assert len(library.get("big1").answer) == 20_000
