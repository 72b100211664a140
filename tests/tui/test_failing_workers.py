"""What fails in the background is told and written down, and the app goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from fleet_rlm.documents.textfile import TextFile
from fleet_rlm.runs.library import Library
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.crash import REPORT_CHARS, report
from fleet_rlm.tui.run_view import provenance
from fleet_rlm.tui.screens.home.home_screen import HomeScreen
from tests.tui.conftest import drive, messages, screen_text, settle
from tests.tui.run.conftest import show
from tests.tui.synthetic import Script, ScriptedSource

KEY = "sk-thisisaverysecretkey0123456789"


def fails(*_: object, **__: object) -> object:
    try:
        raise KeyError("the first cause")
    except KeyError as error:
        raise RuntimeError(f"cannot with {KEY}") from error


def test_a_library_that_fails_is_told_and_asked_again(
    make_app: Callable[..., FleetApp], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Library, "refresh", fails)
    app = make_app()

    async def scenario(pilot: Pilot[list[str]]) -> None:
        await settle(pilot, lambda: messages(app))
        screen = app.screen
        assert isinstance(screen, HomeScreen)
        assert "the library cannot be read" in screen_text(app)
        monkeypatch.undo()
        await pilot.press("f5")
        await settle(pilot, lambda: "cannot be read" not in screen_text(app), "the library")

    drive(app, scenario)
    (written,) = home.glob("**/crash-*.txt")
    text = written.read_text()
    assert "the first cause" in text
    assert "direct cause" in text
    assert "RuntimeError: cannot with" in text
    assert KEY not in text
    assert written.stat().st_mode & 0o777 == 0o600


def test_a_document_that_cannot_be_opened_in_any_way_is_said_in_its_pane(
    make_app: Callable[..., FleetApp], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextFile, "open", fails)
    monkeypatch.setattr(provenance, "difference", fails)
    document = tmp_path / "a.txt"
    document.write_text("some text")
    app, run = make_app(), Script()
    run.start("Why?", [document])
    run.end()

    async def scenario(pilot: Pilot[list[str]]) -> None:
        await show(pilot, ScriptedSource(run.events, "replay"))
        assert "This document can't be" in screen_text(app)
        assert KEY not in screen_text(app)

    drive(app, scenario)


def test_a_crash_file_keeps_the_first_cause_of_a_long_chain(tmp_path: Path) -> None:
    error: Exception = ValueError("the very first")
    for number in range(30):
        later = ValueError(f"{number} " + "x" * 20_000)
        later.__cause__, error = error, later
    lines = report(error, tmp_path)
    (path,) = tmp_path.iterdir()
    text = path.read_text()
    assert str(path) in lines[-1]
    assert "the very first" in text
    assert "29 xxx" in text
    assert len(text) < 1.1 * REPORT_CHARS


def test_two_crashes_of_one_process_stand_in_one_file(tmp_path: Path) -> None:
    report(ValueError("one"), tmp_path)
    report(ValueError("two"), tmp_path)
    (path,) = tmp_path.iterdir()
    assert "one" in path.read_text()
    assert "two" in path.read_text()
