"""Questions and streams as shells may give them."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_rlm.cli.run import _kept_input, _told_apart
from fleet_rlm.tui.command_line import parse


@pytest.mark.parametrize("question", ["why? " * 100, "a\0b", "gr\udcf6\udcdfer?", "x/" * 3000])
def test_the_file_system_is_not_asked_about_a_question(question: str) -> None:
    asked, documents = _told_apart([question], ["a.txt"], False)
    assert (asked or "")[0] == question[0]
    assert (asked or "").encode()
    assert documents == ["a.txt"]


def test_documents_that_a_shell_named_after_the_first_are_told_from_the_question(tmp_path: Path) -> None:
    other = tmp_path / "b.txt"
    other.touch()
    assert _told_apart(["why? " * 100, str(other)], ["a.txt"], False) == ("why? " * 100, ["a.txt", str(other)])
    assert parse(["--docs", "a", "b", "c", "--question", "q"]).docs == ["a", "b", "c"]


def test_closed_streams_are_no_traceback() -> None:
    command = f"{sys.executable} -c 'from fleet_rlm.cli.main import main; main()' --version >&- <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_nothing_advises_to_install_another_program_of_this_name() -> None:
    root = Path(__file__).parents[2]
    files = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.py"), *root.glob("src/**/*.md")]
    advice = re.compile(r"pip3? install [^\n`&]*\bfleet-rlm")
    assert [str(path) for path in files if advice.search(path.read_text())] == []


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the code is 4711")))
    path = Path(_kept_input(False))
    assert path.read_bytes() == b"the code is 4711"
    assert str(path) in capsys.readouterr().err
