"""What Home, New run and the dialogs look like, at three sizes. `--snapshot-update` after a wanted change."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, TextArea

from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.dialogs import Choice, Choose, Confirm, EditCode
from fleet_rlm.tui.screens.home.home_screen import HomeScreen
from fleet_rlm.tui.screens.home.run_preview import Preview
from fleet_rlm.tui.screens.new_run import ask_engine
from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen
from tests.tui.conftest import settle
from tests.tui.sample_runs import finished, iteration, run_started, write_run
from tests.tui.test_new_run import ENGINE

SIZES = [(80, 24), (120, 40), (200, 60)]
RUNS: list[tuple[str, str, ev.Status | None, int, int, float | None]] = [
    ("ask", "What are the main optimizers, and what does each do?", "submitted", 4, 14, 0.07),
    ("error-patterns", "Which failures repeat across the night?", "failed", 3, 2, 0.01),
    ("ask", "Which reviews mention a refund that never came?", None, 9, 88, 0.41),
    ("architecture", "Modules, optimizers and design principles", "extracted", 20, 50, 0.33),
    ("ask", "How many depots changed their access code?", "stopped", 5, 212, 0.88),
    ("custom-tool", "Headers and code blocks of the guide", "submitted", 2, 0, None),
]
Before = Callable[[Pilot[list[str]]], Awaitable[None]]


@pytest.fixture
def library(home: Path) -> None:
    for number, (task, question, status, turns, calls, cost) in enumerate(RUNS):
        day, hour = ("02", 11 - number) if number < 4 else ("01", 18 - number)
        began = f"2026-03-{day}T{hour:02}:42:00Z"
        events: list[ev.Event] = [run_started(f"{number:010}", question, began, task)]
        for turn in range(1, turns + 1):
            events += iteration(turn, 1 + turn * 7 % 5, "'Optimizers'" if turn == 3 else "", calls=turn == 2)
        error = ev.Failure(type="Auth", message="The key was refused (401).") if status == "failed" else None
        if status is not None:
            seconds = 80.0 + 40 * number
            events.append(finished(status, iterations=turns, calls=calls, cost=cost, error=error, seconds=seconds))
        write_run(config.runs_dir() / f"{number}.jsonl", events)


@pytest.fixture
def quick_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "describe.py"
    script.write_text(ENGINE)
    monkeypatch.setattr(ask_engine, "COMMAND", (sys.executable, "-S", str(script)))


async def home_shown(pilot: Pilot[list[str]]) -> None:
    screen = pilot.app.screen
    assert isinstance(screen, HomeScreen)
    await settle(pilot, lambda: screen.settled and screen.query_one(Preview).settled, "Home")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_home(size: tuple[int, int], library: None, make_app: Callable[..., FleetApp], snap_compare) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=home_shown)


@pytest.mark.parametrize("theme", ["fleet-light", "fleet-contrast", "fleet-okabe"])
def test_home_in_other_themes(theme: str, library: None, make_app: Callable[..., FleetApp], snap_compare) -> None:
    assert snap_compare(make_app(theme), terminal_size=(120, 30), run_before=home_shown)


@pytest.mark.parametrize("size", SIZES[:2], ids=str)
def test_first_start(size: tuple[int, int], make_app: Callable[..., FleetApp], snap_compare) -> None:
    assert snap_compare(make_app(), terminal_size=size, run_before=home_shown)


def test_filtered_and_sorted(library: None, make_app: Callable[..., FleetApp], snap_compare) -> None:
    async def before(pilot: Pilot[list[str]]) -> None:
        await home_shown(pilot)
        await pilot.press("slash", *"optim", "enter", "s")
        await settle(pilot, lambda: len(pilot.app.screen._rows) == 2)  # type: ignore[attr-defined]
        await home_shown(pilot)

    assert snap_compare(make_app(), terminal_size=(120, 30), run_before=before)


@pytest.mark.parametrize(
    ("size", "place"), [*((size, "local") for size in SIZES), ((120, 44), "modal"), ((80, 24), "modal")], ids=str
)
def test_new_run(
    size: tuple[int, int],
    place: str,
    library: None,
    quick_engine: None,
    make_app: Callable[..., FleetApp],
    snap_compare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    Path("minutes").mkdir()
    for number in range(3):
        Path("minutes", f"{number}.md").write_text("decision " * 900)

    async def before(pilot: Pilot[list[str]]) -> None:
        await home_shown(pilot)
        await pilot.press("n")
        await settle(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen) and pilot.app.screen.query("#command"))
        screen = pilot.app.screen
        assert isinstance(screen, NewRunScreen)
        screen.query_one("#documents", Input).value = "minutes/*.md"
        screen.query_one("#question", TextArea).text = "Which decisions were later reversed, and why?"
        screen.query_one("#dollars", Input).value = "1"
        if place == "modal":
            screen.query_one("#sandbox", Select).value = "modal"
            screen.query_one("#volume", Input).value = "minutes"
            screen.query_one("#cpu", Input).value = "2"
        screen.query_one("#task" if place == "local" else "#sandbox").focus()  # it has no cursor that blinks
        await pilot.pause()
        await settle(pilot, lambda: screen.settled)

    assert snap_compare(make_app(), terminal_size=size, run_before=before)


DIALOGS = {
    "confirm": lambda: Confirm("Delete this run's record?", "Delete", "Keep", "Which failures repeat?", danger=True),
    "choose": lambda: Choose("2 runs are still going", [Choice("s", "Stop", 1, danger=True), Choice("g", "Go on", 2)]),
    "code": lambda: EditCode("import re\n\nfor line in context.splitlines():\n    print(line[:80])\n"),
}


@pytest.mark.parametrize("name", DIALOGS)
def test_dialogs(name: str, library: None, make_app: Callable[..., FleetApp], snap_compare) -> None:
    async def before(pilot: Pilot[list[str]]) -> None:
        await home_shown(pilot)
        dialog = DIALOGS[name]()
        pilot.app.push_screen(dialog)
        await settle(pilot, lambda: pilot.app.screen is dialog and dialog.focused)
        for area in dialog.query(TextArea):
            area.cursor_blink = False
        await pilot.pause()

    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=before)


def test_help(library: None, make_app: Callable[..., FleetApp], snap_compare) -> None:
    async def before(pilot: Pilot[list[str]]) -> None:
        await home_shown(pilot)
        await pilot.press("question_mark")
        await pilot.pause()

    assert snap_compare(make_app(), terminal_size=(80, 24), run_before=before)
