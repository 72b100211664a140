"""Questions and streams as shells may give them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.shell import Shell
from fleet_rlm.cli.run_command import _question_and_documents
from fleet_rlm.documents.document_work import Unreadable
from fleet_rlm.documents.load import load
from fleet_rlm.documents.select import NotFound, select
from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.tui.command_line import first_to_open, parse


@pytest.mark.parametrize("question", ["why? " * 100, "a\0b", "gr\udcf6\udcdfer?", "x/" * 3000])
def test_the_file_system_is_not_asked_about_a_question(question: str) -> None:
    asked, documents = _question_and_documents([question], ["a.txt"], False)
    assert (asked or "")[0] == question[0]
    assert (asked or "").encode()
    assert documents == ["a.txt"]


def test_documents_that_a_shell_named_after_the_first_are_told_from_the_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "b.txt"
    other.touch()
    assert _question_and_documents(["why? " * 100, str(other)], ["a.txt"], False) == (
        "why? " * 100,
        ["a.txt", str(other)],
    )
    monkeypatch.chdir(tmp_path)
    Path("c.txt").touch()
    _, spec = first_to_open(parse(["--docs", "b.txt", "c.txt", "--question", "q", "--model", "offline"]))
    assert spec is not None
    assert spec.documents == ("b.txt", "c.txt")


CLI = "from fleet_rlm.cli.entry import main; main()"
TUI = "import sys; from fleet_rlm.tui.launch import main; sys.exit(main())"


def run(program: str, words: str) -> subprocess.CompletedProcess[bytes]:
    """A program with words as bash reads them."""
    command = ["bash", "-c", f'"$@" {words}', "bash", sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, timeout=100, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("program", "words", "code"),
    [(CLI, "runs list", 0), (CLI, "run q --docs nowhere", 2), (TUI, "", 2)],
    ids=["list", "refusal", "app"],
)
def test_closed_streams_are_no_traceback(
    program: str, words: str, code: int, closed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path))
    done = run(program, f"{words} {closed}")
    assert b"Traceback" not in done.stderr
    assert done.returncode == code


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("program", "words"), [(CLI, "--help"), (TUI, "--keys")])
def test_an_output_that_takes_nothing_is_said_and_one_that_nobody_reads_is_not(
    program: str, words: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    full = run(program, f"{words} > /dev/full")
    assert full.stderr == b"Error: standard output can't be written: No space left on device.\n"
    assert full.returncode == 1
    assert b"Traceback" not in run(program, f"{words} | true").stderr


@pytest.mark.parametrize("option", ["--signature", "--instructions", "--input", "--model", "--docs", "--record"])
def test_bytes_that_are_no_utf8_are_no_traceback(option: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    model = () if option == "--model" else ("--model", "offline")
    done = Shell(tmp_path).inside("run", "q", "--docs", "a.txt", *model, option, "gr\udcf6=\udcf6")
    assert done.returncode == (0 if option in ("--instructions", "--record") else 2)
    assert done.stderr.encode()


def test_the_app_takes_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    words = [
        "--docs",
        str(tmp_path / "a.txt"),
        "--question",
        "gr\udcf6",
        "--signature",
        "\udcf6 -> a",
        "--model",
        "offline",
    ]
    _, spec = first_to_open(parse(words))
    assert spec is not None
    assert (spec.question, spec.signature) == ("gr\ufffd", "\ufffd -> a")


def test_the_app_says_how_a_command_s_output_becomes_a_document() -> None:
    done = run(TUI, "--docs - --question q")
    assert done.returncode == 2
    assert b"Name a file, or a command: --docs <(command)." in done.stderr


def test_the_app_keeps_what_a_command_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path))
    ours, theirs = os.pipe()
    os.write(theirs, b"the code is 4711")
    os.close(theirs)
    _, spec = first_to_open(parse(["--docs", f"/dev/fd/{ours}", "--question", "q", "--model", "offline"]))
    os.close(ours)
    assert spec is not None
    assert Path(spec.documents[0]).read_text() == "the code is 4711"


@pytest.mark.parametrize("path", ["a\0b", "\0"])
def test_a_path_with_a_zero_byte_is_refused_in_words(path: str) -> None:
    for read in (load, TextFile.open):
        with pytest.raises(Unreadable, match="holds a zero byte"):
            read(path)
    with pytest.raises(NotFound, match="is no path"):
        select([path])


def test_nothing_advises_to_install_another_program_of_this_name() -> None:
    root = Path(__file__).parents[2]
    files = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.py"), *root.glob("src/**/*.md")]
    advice = re.compile(r"pip3? install [^\n`&]*\bfleet-rlm")
    assert [str(path) for path in files if advice.search(path.read_text())] == []
