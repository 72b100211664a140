"""The app around its screens: live runs, quitting, messages, commands, help, keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.command import CommandPalette

from fleet_rlm import config
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.crash import report
from fleet_rlm.tui.dialogs import AskText, Choose, Confirm, EditCode, Message
from fleet_rlm.tui.dialogs.text import CodeEditor
from fleet_rlm.tui.look.keys import all_keys, key_words
from fleet_rlm.tui.person_settings import UNUSABLE_KEYS
from fleet_rlm.tui.screens.help import HelpScreen
from fleet_rlm.tui.screens.home.home_screen import HomeScreen
from tests.tui.conftest import drive, messages, screen_text, settle
from tests.tui.sample_runs import finished, run_started, write_run
from tests.tui.scripted_engine import engine

Make = Callable[..., FleetApp]
HOSTILE = "\x1b]0;owned\x07[b]x[/nope]\x9b2J\u202e"


async def home_shown(pilot) -> HomeScreen:
    screen = pilot.app.screen
    assert isinstance(screen, HomeScreen)
    await settle(pilot, lambda: screen.settled, "Home")
    return screen


# Live runs


def test_a_live_run_goes_on_when_its_screen_is_left_and_home_shows_it(make_app: Make, tmp_path: Path) -> None:
    app = make_app()
    source = engine(
        tmp_path,
        """
        begin()
        assert hear()["do"] == "pause"
        end()
        """,
    )

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        app.open_run(source)
        run = next(iter(app.live_runs))
        await settle(pilot, lambda: run.run_id, "the first event")
        view = app.screen
        await app.run_action("back")
        await settle(pilot, lambda: isinstance(app.screen, HomeScreen))
        assert run.running
        from fleet_rlm.spec import Pause

        source.send(Pause())
        await settle(pilot, lambda: not run.running, "the end of the hidden run")
        await settle(pilot, lambda: messages(app), "word of it")
        app.show_live_run(run)
        await settle(pilot, lambda: app.screen is view)
        await app.run_action("back")
        await settle(pilot, lambda: isinstance(app.screen, HomeScreen))
        assert list(app.live_runs) == [], "a run that is over is gone with its screen"

    drive(app, scenario)


@pytest.mark.parametrize(("answer", "told"), [("s", "abort"), ("g", "detach")])
def test_quitting_asks_what_becomes_of_a_live_run(make_app: Make, tmp_path: Path, answer: str, told: str) -> None:
    heard = tmp_path / "heard"
    app = make_app()
    source = engine(
        tmp_path,
        f"""
        say(kind="engine.recording", path="/runs/x.jsonl")
        begin()
        open({str(heard)!r}, "w").write(hear()["do"])
        """,
    )

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        app.open_run(source)
        run = next(iter(app.live_runs))
        await settle(pilot, lambda: run.run_id)
        await pilot.press("ctrl+q")
        await settle(pilot, lambda: isinstance(app.screen, Choose))
        assert "A run is still going" in screen_text(app)
        await pilot.press("escape")
        await settle(pilot, lambda: not isinstance(app.screen, Choose))
        assert run.running
        await pilot.press("ctrl+q")
        await settle(pilot, lambda: isinstance(app.screen, Choose))
        await pilot.press(answer)

    drive(app, scenario)
    assert source.wait_closed(10)
    assert heard.read_text() == told
    assert app.return_value is not None
    assert "/runs/x.jsonl" in app.return_value[0]
    assert ("--follow" in app.return_value[0]) == (told == "detach")


def test_quitting_without_a_live_run_asks_nothing(make_app: Make) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        await pilot.press("ctrl+q")

    drive(app, scenario)
    assert app.return_value == []


def test_a_file_that_cannot_be_opened_is_said_and_home_stays(make_app: Make, tmp_path: Path) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        screen = await home_shown(pilot)
        app.open_path(str(tmp_path / "nowhere.jsonl"))
        await settle(pilot, lambda: messages(app))
        assert "no such file" in messages(app)[0]
        assert app.screen is screen

    drive(app, scenario)


def test_a_replay_s_file_is_closed_with_its_screen(make_app: Make, tmp_path: Path) -> None:
    path = write_run(tmp_path / "a.jsonl", [run_started(), finished()])
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        app.open_path(str(path))
        await settle(pilot, lambda: not isinstance(app.screen, HomeScreen))
        source = app.screen.source  # type: ignore[attr-defined]
        await settle(pilot, lambda: source.end)
        await app.run_action("back")
        await settle(pilot, lambda: isinstance(app.screen, HomeScreen))
        assert source._stop.is_set()

    drive(app, scenario)


# What is said


def test_messages_are_cleaned_cut_and_never_markup(make_app: Make) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        app.notify(HOSTILE + "x" * 5000, title=HOSTILE)
        app.screen.notify("df[cols] [/]")
        await pilot.pause()
        notification = next(iter(app._notifications))
        assert not notification.markup
        assert len(notification.message) == 1000
        assert not set(notification.message + notification.title) & set("\x1b\x07\x9b\u202e")
        assert "df[cols] [/]" in screen_text(app)

    drive(app, scenario)


def test_a_disabled_action_says_why_when_its_key_is_pressed(make_app: Make) -> None:
    class Stubborn(HomeScreen):
        BINDINGS = [Binding("x", "never", "Never", id="test.never")]  # noqa: RUF012

        def check_action(self, action, parameters):
            return None if action == "never" else super().check_action(action, parameters)

        def why_disabled(self, action: str) -> str:
            return f"{action} is not possible now"

    app = make_app()
    app.get_default_screen = Stubborn  # type: ignore[method-assign]

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        await pilot.press("x")
        await settle(pilot, lambda: messages(app) == ["never is not possible now"])
        commands = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert commands["Never"] == "x  not now: never is not possible now"

    drive(app, scenario)


def test_what_breaks_is_told_in_words_with_a_file_to_report(tmp_path: Path) -> None:
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError as error:
        lines = report(error, tmp_path / "state")
        blocked = report(error, Path("/dev/null/nowhere"))
    assert "RuntimeError" in lines[0]
    assert not set("".join(lines)) & set("\x1b\x07\x9b\u202e")
    written = next((tmp_path / "state").iterdir())
    assert str(written) in lines[-1]
    assert written.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in written.read_text()
    assert "Traceback" in blocked[-1]


# Commands, help and keys


def test_every_action_of_the_screen_is_in_the_palette_and_in_help(make_app: Make) -> None:
    app = make_app()
    path = config.runs_dir() / "a.jsonl"
    write_run(path, [run_started(), finished()])

    async def scenario(pilot) -> None:
        screen = await home_shown(pilot)
        ids = {active.binding.id for active in screen.active_bindings.values() if active.binding.id}
        assert {"home.open", "home.delete", "home.demo", "app.mouse", "app.theme", "table.down"} <= ids
        descriptions = {active.binding.description for active in screen.active_bindings.values() if active.binding.id}
        assert {command.title for command in app.get_system_commands(screen)} >= descriptions - {""}
        await pilot.press("question_mark")
        await settle(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert isinstance(app.screen, HelpScreen)
        assert all(name in app.screen.text for name in ids)
        await pilot.press("y", "f1")
        await settle(pilot, lambda: app.screen is screen)
        assert "home.delete" in app.clipboard

    drive(app, scenario)


def test_a_command_of_the_palette_does_what_its_key_does(make_app: Make) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        await pilot.press("ctrl+p")
        await settle(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"mouse")
        await settle(pilot, lambda: "Give the mouse to the terminal" in screen_text(app))
        await pilot.press("enter")
        await settle(pilot, lambda: not app.mouse_on)
        assert "f8 takes it back" in messages(app)[0]

    drive(app, scenario)


def test_every_action_has_a_name_of_its_own_and_says_what_it_does() -> None:
    keys = all_keys()
    assert len(keys) > 60
    for key in keys:
        assert key.description, key.id
        assert "." in key.id
        for one in key.keys.split(","):
            assert one.strip() not in UNUSABLE_KEYS, key.id


def test_every_binding_of_ours_can_be_remapped() -> None:
    """A binding without an id could be neither remapped nor found in the palette."""
    from textual.dom import DOMNode

    import fleet_rlm.tui
    from fleet_rlm.tui.look.keys import _classes

    nameless = [
        f"{node.__name__}: {binding}"
        for node in _classes(DOMNode)
        if node.__module__.startswith(fleet_rlm.tui.__name__)
        for binding in node.__dict__.get("BINDINGS", ())
        if not isinstance(binding, Binding) or binding.id is None
    ]
    assert nameless == []


def test_keys_follow_the_config_file_and_unknown_names_are_told_once(make_app: Make) -> None:
    app = make_app(keys={"home.new_run": "f2", "home.newrun": "x"})

    async def scenario(pilot) -> None:
        screen = await home_shown(pilot)
        await settle(pilot, lambda: messages(app))
        assert messages(app) == ["there is no action home.newrun; did you mean home.new_run?"]
        await pilot.press("n")
        await pilot.pause()
        assert app.screen is screen
        assert "f2 New run" in screen_text(app)
        await pilot.press("f2")
        await settle(pilot, lambda: app.screen is not screen)

    drive(app, scenario)


@pytest.mark.parametrize(
    ("key", "words"),
    [("ctrl+q", "ctrl+q"), ("question_mark", "?"), ("left_square_bracket", "["), ("delete", "del"), ("G", "G")],
)
def test_keys_are_written_as_they_are_said(key: str, words: str) -> None:
    assert key_words(key) == words


# Dialogs


async def answered(pilot, dialog, *keys: str) -> object:
    answers: list[object] = []
    pilot.app.push_screen(dialog, answers.append)
    await settle(pilot, lambda: pilot.app.screen is dialog and dialog.is_mounted and dialog.focused)
    for key in keys:
        await pilot.press(key)
    await settle(pilot, lambda: answers, "an answer")
    return answers[0]


def test_dialogs_answer_by_key_and_escape_is_the_safe_way_out(make_app: Make) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        assert await answered(pilot, Confirm("Sure?"), "enter") is False
        assert await answered(pilot, Confirm("Sure?"), "escape") is False
        assert await answered(pilot, Confirm("Sure?"), "y") is True
        assert await answered(pilot, Confirm("Sure?"), "left", "enter") is True
        assert await answered(pilot, Message("Read", HOSTILE), "q") is None
        assert await answered(pilot, AskText("Say", "ab"), "end", "c", "enter") == "abc"
        assert await answered(pilot, AskText("Say", "ab"), "escape") is None

    drive(app, scenario)


def test_code_comes_back_changed_unchanged_or_not_at_all(make_app: Make) -> None:
    app = make_app()
    code = "print('\x1b[2J')\r\nx = 1\n"

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        assert await answered(pilot, EditCode(code), "ctrl+r") == code, "unedited code is the original, byte for byte"
        assert await answered(pilot, EditCode("x = 1"), "y", "ctrl+r") == "yx = 1"
        assert await answered(pilot, EditCode("x = 1"), "escape") is None
        dialog = EditCode("x = 1")
        assert await answered(pilot, dialog, "y", "escape", "y") is None, "changes are dropped after a question"

    drive(app, scenario)


def test_hidden_characters_in_code_are_shown_and_pointed_out(make_app: Make) -> None:
    app = make_app()

    async def scenario(pilot) -> None:
        await home_shown(pilot)
        dialog = EditCode("a = '\u202e'\x1b")
        app.push_screen(dialog)
        await settle(pilot, lambda: dialog.is_mounted and dialog.query(CodeEditor))
        assert "invisible characters are shown as symbols" in screen_text(app)
        assert not set(dialog.query_one(CodeEditor).text) & set("\u202e\x1b")

    drive(app, scenario)
