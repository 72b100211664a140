"""What an error, a toast, a low terminal and sixteen colours look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Size
from textual.screen import Screen

from fleet_rlm.events import Breakpoints, Failure
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.dialogs import AskText, Choice, Choose, Confirm, EditCode, Message
from fleet_rlm.tui.dialogs.paths import PickPath
from fleet_rlm.tui.run_view.provenance import Entry
from fleet_rlm.tui.safe_output import SixteenColors
from fleet_rlm.tui.screens.help import HelpScreen
from fleet_rlm.tui.screens.new_run.more_settings import FurtherSettings
from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen
from fleet_rlm.tui.screens.run.pick_document import PickDocument
from fleet_rlm.tui.screens.run.set_breakpoints import BreakpointsDialog
from fleet_rlm.tui.screens.run.text_reader import Reader
from fleet_rlm.tui.widgets.pane_grid import shape_of
from tests.tui.conftest import drive, messages, screen_text, settle


@pytest.mark.parametrize(
    ("message", "words"),
    [("", "E"), ("E", "E"), ("E: why", "E: why"), ("why", "E: why")],
)
def test_an_error_says_its_type_once(message: str, words: str) -> None:
    assert Failure(type="E", message=message).words == words


def test_a_low_and_wide_terminal_has_three_columns() -> None:
    assert shape_of(Size(250, 20)) == "low"
    assert shape_of(Size(80, 24)) == "single"
    assert shape_of(Size(120, 40)) == "wide"


def test_sixteen_colours_keep_hues_apart() -> None:
    colors = ("#7aa2f7", "#9ece6a", "#bb9af7", "#e0af68", "#f7768e")
    drawn = SixteenColors().apply([Segment("x", Style.parse(f"{c} on #1a1b26")) for c in colors], Color(0, 0, 0))
    numbers = [segment.style.color.number for segment in drawn if segment.style and segment.style.color]
    assert len(set(numbers)) == len(colors)
    assert not {0, 7, 8, 15} & set(numbers)


def test_plain_text_stays_without_a_hue_in_sixteen_colours() -> None:
    for foreground, number in (("#c8d0e8", 15), ("#7d87a8", 7)):
        (drawn,) = SixteenColors().apply([Segment("x", Style.parse(f"{foreground} on #12141c"))], Color(0, 0, 0))
        assert drawn.style
        assert drawn.style.color
        assert drawn.style.color.number == number


def test_toasts_of_one_kind_replace_each_other(make_app: Callable[..., FleetApp]) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        for words, severity in (
            ("Copied the code: 3 characters.", "information"),
            ("Copied the answer: 5 characters.", "information"),
            ("one", "error"),
            ("two", "error"),
            ("two", "error"),
        ):
            app.notify(words, severity=severity)
            await pilot.pause()
        assert messages(app) == ["Copied the answer: 5 characters.", "one", "two"]

    drive(app, scenario)


def test_the_colours_of_a_terminal_do_not_reach_an_app_without_one(
    make_app: Callable[..., FleetApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    app = make_app()

    async def scenario(pilot) -> None:
        assert app.console.color_system == "standard"
        assert not any(isinstance(one, SixteenColors) for one in app.get_line_filters())

    drive(app, scenario)


LONG = "A line that is wider than any terminal. " * 10
DIALOGS: dict[str, Callable[[FleetApp], Screen[Any]]] = {
    "choose": lambda _: Choose("Which?", [Choice(key, LONG[:18], key) for key in "abc"], f"{LONG}\n" * 60),
    "confirm": lambda _: Confirm("Abort the run?", detail=f"{LONG}\n" * 60, danger=True),
    "message": lambda _: Message("About", f"{LONG}\n" * 60),
    "text": lambda _: AskText("Tell the planner", LONG),
    "code": lambda _: EditCode(f"{LONG}\n" * 60),
    "reader": lambda _: Reader(LONG, f"{LONG}\n" * 60),
    "breakpoints": lambda _: BreakpointsDialog(Breakpoints(code_pattern=LONG)),
    "paths": lambda _: PickPath("Add a file or a folder", folders=True),
    "documents": lambda _: PickDocument([Entry(name=f"{LONG}{n}") for n in range(60)], 0),
    "help": lambda app: HelpScreen(app.screen),
    "new run": lambda _: NewRunScreen(),
    "new run, more": lambda _: NewRunScreen(),
}


@pytest.mark.parametrize("name", DIALOGS)
def test_every_dialog_keeps_its_frame_in_a_small_terminal(make_app: Callable[..., FleetApp], name: str) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        screen = DIALOGS[name](app)
        app.push_screen(screen)
        await settle(pilot, lambda: screen.is_mounted and screen.region.size, name)
        if name == "new run, more":
            screen.query_one(FurtherSettings).unfold()
        await pilot.pause()
        framed = [one for one in screen.query("*") if one.styles.border.top[0] == "round"]
        assert framed
        for one in framed:
            assert screen.region.contains_region(one.region), (one, one.region)
        lines = screen_text(app).splitlines()
        assert any("╭" in line and "╮" in line for line in lines), "\n".join(lines)
        assert any("╰" in line and "╯" in line for line in lines), "\n".join(lines)

    drive(app, scenario, size=(80, 24))
