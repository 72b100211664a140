"""What an error, a toast, a low terminal and sixteen colours look like."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.geometry import Size

from fleet_rlm.events import Failure
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.safe_output import SixteenColors
from fleet_rlm.tui.widgets.pane_grid import shape_of
from tests.tui.conftest import drive, messages


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
