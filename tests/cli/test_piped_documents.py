"""Documents that come through a pipe are kept with the run that read them, and nowhere else."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from cli.shell import COMMAND, Shell
from fleet_rlm.documents import piped
from fleet_rlm.documents.document_work import DocumentError
from fleet_rlm.runs.library import Library

ASK = ("run", "-q", "--model", "offline", "What is the code?")


@pytest.fixture
def fleet(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def run(fleet: Shell, script: str) -> subprocess.CompletedProcess[str]:
    """The command with further words, as bash reads them."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {script}', "bash", *COMMAND, *ASK],
        capture_output=True, text=True, cwd=fleet.folder, env=fleet.environment, timeout=90, check=False,
    )  # fmt: skip


def kept(fleet: Shell) -> list[Path]:
    return sorted((fleet.folder / "home" / "runs" / piped.FOLDER).glob("*"))


@pytest.mark.parametrize("words", ["--docs - <<< 'the code is 4711'", "--docs <(echo the code is 4711)"])
def test_what_comes_through_a_pipe_is_read_and_kept_until_its_run_is_deleted(fleet: Shell, words: str) -> None:
    done = run(fleet, words)
    assert (done.returncode, "4711" in done.stdout) == (0, True), done.stderr
    (file,) = kept(fleet)
    assert str(file) in done.stderr
    assert file.read_text() == "the code is 4711\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    library = Library(fleet.folder / "home" / "runs")
    library.refresh()
    (row,) = library.list()
    assert row.documents == (file.name,)
    library.delete(row)
    assert kept(fleet) == []


def test_what_came_through_a_pipe_stays_while_another_run_names_it(fleet: Shell) -> None:
    assert run(fleet, "--docs - <<< 'the code is 4711'").returncode == 0
    (file,) = kept(fleet)
    assert run(fleet, f"--docs {file}").returncode == 0
    library = Library(fleet.folder / "home" / "runs")
    library.refresh()
    first, second = library.list()
    library.delete(first)
    assert kept(fleet) == [file]
    library.delete(second)
    assert kept(fleet) == []


def test_what_was_piped_to_a_run_that_never_began_is_removed(fleet: Shell) -> None:
    done = run(fleet, "--docs - --task nothing-like-it <<< 'the code is 4711'")
    assert done.returncode == 2
    assert "There is no task named" in done.stderr
    assert kept(fleet) == []


def test_standard_input_that_is_closed_is_an_empty_document(fleet: Shell) -> None:
    done = run(fleet, "--docs - <&-")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_standard_input_that_is_a_terminal_is_refused_with_what_to_do(fleet: Shell) -> None:
    screen, code = fleet.on_a_terminal(*ASK, "--docs", "-")
    assert code == 2
    assert "Pipe a text into it." in screen


def test_a_pipe_with_a_name_is_read_where_it_is_named_itself(fleet: Shell) -> None:
    os.mkfifo(fleet.folder / "fifo")
    writer = threading.Thread(target=(fleet.folder / "fifo").write_text, args=("the code is 4711",))
    writer.start()
    done = run(fleet, "--docs fifo")
    writer.join()
    assert "4711" in done.stdout


def test_an_endless_pipe_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piped, "MOST_BYTES", 3_000_000)
    with pytest.raises(DocumentError, match=r"gives more than 3\.0 MB"):
        piped.keep_stream(io.BytesIO(b"y\n" * 9_000_000), "stdin", tmp_path)
    assert list((tmp_path / piped.FOLDER).iterdir()) == []


def test_nothing_but_kept_pipes_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    path = piped.keep_stream(io.BytesIO(b"x"), "stdin", tmp_path)
    piped.forget(tmp_path, ["notes.txt", "../notes.txt", "stdin-", f"../{piped.FOLDER}/{path.name}"])
    assert path.exists()
    assert (tmp_path / "notes.txt").exists()
    piped.forget(tmp_path, [path.name])
    assert not path.exists()
