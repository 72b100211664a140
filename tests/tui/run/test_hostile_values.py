"""Run files whose values are out of range: every pane, the help pages and the library's preview still open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from fleet_rlm import events as ev
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.screens.home.run_details import read_details
from fleet_rlm.tui.screens.run.run_screen import RunScreen
from fleet_rlm.tui.sources import ReplayFile
from tests.tui.conftest import drive, messages, settle
from tests.tui.run.test_hostile_run import hostile_run

IDENTITIES = ("kind", "seq", "span", "parent", "format", "version", "type", "status", "at", "decision", "action")

NUMBERS = {
    "minus one": -1,
    "63 bits": 2**63,
    "70 bits": 2**70,
    "beyond every clock": 1e308,
    "far below zero": -1e308,
}
TEXTS = {
    "NUL": "\0",
    "lone surrogate": "\ud800",
    "empty": "",
    "very long": "é" * 100_000,
    "many lines": "\n" * 50_000,
}


def changed(value: object, change: Callable[[object], object], name: str = "") -> object:
    """The value with every number or text in it changed, but for what makes it an event."""
    if name in IDENTITIES or isinstance(value, bool) or value is None:
        return value
    if isinstance(value, dict):
        return {key: changed(one, change, key) for key, one in value.items()}
    if isinstance(value, list):
        return [changed(one, change, name) for one in value]
    return change(value)


def written(
    path: Path, events: list[ev.AnyEvent | ev.Unknown], change: Callable[[object], object], skip: int = 0
) -> None:
    lines = [json.loads(ev.encode(event)) for event in events]
    lines[skip:] = [changed(line, change) for line in lines[skip:]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


async def walk_through(pilot: Pilot[list[str]], app: FleetApp, path: Path) -> None:
    screen = RunScreen(ReplayFile(path))
    app.push_screen(screen)
    await settle(pilot, lambda: screen.is_mounted and screen.source.end is not None, "the record")
    for pane in "1234567":
        await pilot.press(pane, "g", "j", "G", "w")
    await pilot.press("2", "p", "p", "4", "g", "enter", "a")
    await pilot.press("q", "0", "]", "]", "[", "e", "$", "space", "z", "z")
    await settle(pilot, lambda: not [one for one in app.workers if not one.is_finished], "the workers")
    screen.draw()
    await pilot.pause()


def test_numbers_of_any_size_open(make_app: Callable[..., FleetApp], tmp_path: Path) -> None:
    document = tmp_path / "a.txt"
    document.write_text("some text\n" * 30)
    app, folder = make_app(), tmp_path

    async def scenario(pilot: Pilot[list[str]]) -> None:
        for name, number in NUMBERS.items():
            path = folder / f"{name}.jsonl"
            kinds = float if isinstance(number, float) else (int, float)
            written(
                path,
                hostile_run(document),
                lambda value, to=number, of=kinds: to if isinstance(value, of) else value,
            )
            read_details(str(path), lambda: False)
            await walk_through(pilot, app, path)
            assert not [words for words in messages(app) if "crash" in words], name
            app.pop_screen()

    drive(app, scenario)


def test_a_record_in_which_everything_stands_twice_opens(make_app: Callable[..., FleetApp], tmp_path: Path) -> None:
    document = tmp_path / "a.txt"
    document.write_text("some text\n" * 30)
    app, path = make_app(), tmp_path / "twice.jsonl"
    first, *rest = hostile_run(document)
    path.write_bytes(b"".join(ev.encode(event) + b"\n" for event in [first, *(one for one in rest for _ in range(2))]))

    async def scenario(pilot: Pilot[list[str]]) -> None:
        await walk_through(pilot, app, path)
        assert not [words for words in messages(app) if "crash" in words]

    drive(app, scenario)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_any_kind_open(name: str, make_app: Callable[..., FleetApp], tmp_path: Path) -> None:
    document = tmp_path / "a.txt"
    document.write_text("some text\n" * 30)
    app, path = make_app(), tmp_path / "run.jsonl"
    events = hostile_run(document)[:24] if name in ("very long", "many lines") else hostile_run(document)
    skip = name == "lone surrogate"  # no header may hold one
    written(path, events, lambda value: TEXTS[name] if isinstance(value, str) else value, skip)

    async def scenario(pilot: Pilot[list[str]]) -> None:
        read_details(str(path), lambda: False)
        await walk_through(pilot, app, path)
        assert not [words for words in messages(app) if "crash" in words]

    drive(app, scenario)
