"""New run: every choice is checked as it is typed, and nothing starts that cannot."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input, Select, Static, TextArea

from fleet_rlm.config import BY_KEY, SETTINGS
from fleet_rlm.spec import RunSpec
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.dialogs.paths import PickPath, completion, entries
from fleet_rlm.tui.remembered import Memory
from fleet_rlm.tui.screens.new_run import ask_engine
from fleet_rlm.tui.screens.new_run.draft import Draft, draft_of
from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen
from fleet_rlm.tui.screens.new_run.tick import Tick
from tests.tui.conftest import drive, messages, screen_text, settle

Make = Callable[..., FleetApp]
ENGINE = """
import json, os, sys
asked = json.loads(sys.argv[1])
answer = {"modal": {"ready": False, "words": "Modal has no token.", "hint": "Set MODAL_TOKEN_ID in .env."}}
if os.environ.get("MODAL_TOKEN_ID"):
    answer["modal"] = {"ready": True, "words": "by MODAL_TOKEN_ID in the environment"}
if asked.get("isolation"):
    answer["isolation"] = [{"mode": "namespaces", "ready": True, "words": "no network, no files of yours, limits"}]
if asked.get("signature"):
    answer["signature"] = ({"inputs": [{"name": "context", "type": "str"}, {"name": "question", "type": "str"},
        {"name": "audience", "type": "str"}], "outputs": [{"name": "answer", "type": "str"}]}
        if "->" in asked["signature"] else {"error": "there is no `->`", "hint": "write inputs -> outputs"})
if asked.get("tools"):
    answer["tools"] = ({"found": [{"name": "rate", "description": "Rate of a day."}]}
        if asked["tools"] == ["my_tasks:rate"] else {"error": "There is no module 'my_tusks'.", "hint": ""})
print(json.dumps(answer))
"""


@pytest.fixture
def started(
    make_app: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[FleetApp, list[RunSpec]]]:
    """Makes an app whose engine answers from a script, and that notes the runs it would start."""
    script = tmp_path / "describe.py"
    script.write_text(ENGINE)
    monkeypatch.setattr(ask_engine, "COMMAND", (sys.executable, "-S", str(script)))

    def make(**more: object) -> tuple[FleetApp, list[RunSpec]]:
        app, specs = make_app(**more), []
        app.start_run = specs.append  # type: ignore[method-assign]
        return app, specs

    return make


async def form(pilot, spec: RunSpec | None = None) -> NewRunScreen:
    screen = NewRunScreen(spec)
    pilot.app.push_screen(screen)
    await settle(pilot, lambda: screen.is_mounted and screen.query("#command"), "the form")
    await checked(pilot, screen)
    return screen


async def checked(pilot, screen: NewRunScreen) -> None:
    await pilot.pause()
    await settle(pilot, lambda: screen.settled, "the checks")


def hint(screen: NewRunScreen, name: str) -> str:
    return str(screen.query_one(f"#{name}-hint", Static).content)


def fill(screen: NewRunScreen, **values: str) -> None:
    for name, value in values.items():
        if name == "question":
            screen.query_one("#question", TextArea).text = value
        else:
            screen.query_one(f"#{name}", Input).value = value


def test_a_filled_form_starts_its_run_and_is_remembered(started, home: Path) -> None:
    Path("a.txt").write_text("text " * 100)
    memory = Memory()
    app, specs = started(memory=memory)

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert isinstance(screen.focused, Input)
        await pilot.press(*"a.txt", "tab", *"Why?")
        await checked(pilot, screen)
        assert "1 file · 500 bytes · about 125 tokens" in hint(screen, "documents")
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs == [RunSpec(question="Why?", documents=("a.txt",), cwd=str(Path.cwd()), budgets=specs[0].budgets)]
    again, _ = started(memory=memory)

    async def next_time(pilot) -> None:
        screen = await form(pilot)
        assert screen.query_one("#documents", Input).value == "a.txt"
        assert screen.query_one("#question", TextArea).text == "Why?"

    drive(again, next_time)


def test_a_run_without_a_question_opens_the_form_with_what_was_given(started) -> None:
    Path("a.txt").write_text("text")
    given = RunSpec(documents=("a.txt",), cwd=str(Path.cwd()), record="out.jsonl", paused=True, model="offline")
    app, specs = started(spec=given)

    async def scenario(pilot) -> None:
        await settle(pilot, lambda: isinstance(app.screen, NewRunScreen) and app.screen.query("#command"))
        screen = app.screen
        await checked(pilot, screen)
        assert screen.query_one("#documents", Input).value == "a.txt"
        assert screen.query_one("#model", Input).value == "offline"
        assert screen.focused is screen.query_one("#question")
        await pilot.press(*"Why?", "ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs[0].question == "Why?"
    assert (specs[0].record, specs[0].paused) == ("out.jsonl", True)


def test_tools_are_looked_for_and_go_into_the_run(started) -> None:
    Path("a.txt").write_text("text")
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert not screen.query_one("#tools-hint").display
        fill(screen, documents="a.txt", question="Why?", tools="my_tusks:rate")
        await checked(pilot, screen)
        assert "There is no module 'my_tusks'." in hint(screen, "tools")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.focused is not None
        assert screen.focused.id == "tools"
        fill(screen, tools="my_tasks:rate")
        await checked(pilot, screen)
        assert "rate: Rate of a day." in hint(screen, "tools")
        assert "--tool my_tasks:rate" in screen_text(app)
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs[0].tools == ("my_tasks:rate",)


def test_modules_that_a_record_names_are_imported_when_the_run_is_started_and_not_before(started) -> None:
    Path("a.txt").write_text("text")
    for name in ("stranger_tools", "stranger_tasks"):
        Path(f"{name}.py").write_text("open('imported', 'a').close()\n")
    app, specs = started()
    spec = RunSpec(
        documents=("a.txt",), question="Why?", signature="stranger_tasks:Task", tools=("stranger_tools:tool",)
    )

    async def scenario(pilot) -> None:
        screen = await form(pilot, spec)
        assert "imported from" in hint(screen, "tools")
        assert "imported from" in hint(screen, "signature")
        fill(screen, tools="stranger_tools:tool my_tasks:rate")
        await checked(pilot, screen)
        assert "rate: Rate of a day." in hint(screen, "tools")
        assert "stranger_tools:tool: imported from" in hint(screen, "tools")
        assert not Path("imported").exists()
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs[0].tools == ("stranger_tools:tool", "my_tasks:rate")


def test_modules_of_the_last_run_are_not_imported_in_another_folder(started) -> None:
    memory = Memory()
    memory.set("new_run", Draft(tools="stranger_tools:tool", signature="stranger_tools:Task"))
    Path("stranger_tools.py").write_text("open('imported', 'a').close()\n")
    app, _ = started(memory=memory)

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        await checked(pilot, screen)
        assert "imported from" in hint(screen, "tools")
        assert not Path("imported").exists()

    drive(app, scenario)


def test_what_is_missing_is_said_and_its_field_gets_the_focus(started) -> None:
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        for typed, field in (({}, "documents"), ({"documents": "."}, "question")):
            fill(screen, **typed)
            await pilot.press("ctrl+r")
            await pilot.pause()
            assert screen.focused is not None
            assert screen.focused.id == field
        fill(screen, question="Why?", iterations="0")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.focused.id == "iterations"
        assert "a whole number from 1 on" in screen_text(app)
        assert len(messages(app)) == 3

    drive(app, scenario)
    assert specs == []


def test_documents_that_are_not_there_keep_the_run_from_starting(started) -> None:
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        fill(screen, documents="nowhere.txt", question="Why?")
        await checked(pilot, screen)
        assert "there is no nowhere.txt" in hint(screen, "documents")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.focused.id == "documents"

    drive(app, scenario)
    assert specs == []


def test_the_model_line_says_what_is_missing_and_where_to_set_it(started) -> None:
    app, specs = started()
    Path("a.txt").write_text("x")

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert "built-in model without weights" in hint(screen, "model")
        assert screen.query_one("#model", Input).placeholder == "offline"
        fill(screen, documents="a.txt", question="Why?", model="openai/gpt-5-mini")
        await checked(pilot, screen)
        assert "DSPY_LLM_API_KEY" in hint(screen, "model")
        assert ".env" in hint(screen, "model")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.focused.id == "model"

    drive(app, scenario)
    assert specs == []


def test_a_configured_model_is_shown_with_where_it_was_configured(started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_LM_MODEL", "openai/gpt-5-mini")
    monkeypatch.setenv("DSPY_LLM_API_KEY", "not-a-real-key")
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert "DSPY_LM_MODEL in the environment" in hint(screen, "model")
        assert "DSPY_LLM_API_KEY" in hint(screen, "model")
        assert "not-a-real-key" not in screen_text(app)

    drive(app, scenario)


def test_a_signature_is_checked_by_the_engine_as_it_is_typed(started) -> None:
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        fill(screen, signature="context, question, audience")
        await checked(pilot, screen)
        assert "there is no `->`" in hint(screen, "signature")
        fill(screen, signature="context, question, audience -> answer")
        await checked(pilot, screen)
        assert "context: str, question: str, audience: str → answer: str" in hint(screen, "signature")
        assert screen.query_one("#inputs-row").display, "an input that is neither text nor question has its field"
        fill(screen, signature="")
        await checked(pilot, screen)
        assert "A short answer to one question" in hint(screen, "signature")
        assert not screen.query_one("#inputs-row").display

    drive(app, scenario)


def test_a_task_brings_its_signature_limits_and_question(started) -> None:
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        screen.query_one("#task", Select).value = "summarize"
        await pilot.pause()
        assert "key_points" in screen.query_one("#signature", Input).placeholder
        assert screen.query_one("#iterations", Input).placeholder == "30"
        assert "overview" in str(screen.query_one("#question", TextArea).placeholder)
        screen.query_one("#task", Select).value = "api-endpoints"
        await pilot.pause()
        assert "takes no question" in str(screen.query_one("#question", TextArea).placeholder)

    drive(app, scenario)


def test_the_sandbox_says_its_isolation_in_words(started) -> None:
    app, _ = started()

    async def scenario(pilot) -> None:
        assert "no network, no files of yours" in hint(await form(pilot), "sandbox")

    drive(app, scenario)


def test_modal_without_a_token_says_where_to_set_it_and_does_not_start(started) -> None:
    Path("a.txt").write_text("text")
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert not screen.query_one("#cloud-rows").display
        fill(screen, documents="a.txt", question="Why?")
        screen.query_one("#sandbox", Select).value = "modal"
        await checked(pilot, screen)
        assert screen.query_one("#cloud-rows").display
        assert "Modal has no token." in hint(screen, "sandbox")
        assert "Set MODAL_TOKEN_ID in .env." in hint(screen, "sandbox")
        await pilot.press("ctrl+r")
        assert specs == []
        assert "Modal has no token." in messages(pilot.app)[-1]
        screen.query_one("#sandbox", Select).value = "auto"
        await checked(pilot, screen)
        assert "local: no network" in hint(screen, "sandbox")
        await pilot.press("ctrl+r")
        assert [spec.sandbox for spec in specs] == ["auto"]

    drive(app, scenario)


def test_modal_with_a_token_says_how_it_is_kept_in_and_takes_its_options(
    started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    Path("a.txt").write_text("text")
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        screen.query_one("#sandbox", Select).value = "modal"
        fill(screen, documents="a.txt", question="Why?", volume="results", cpu="lots")
        await checked(pilot, screen)
        assert "cpu: a number of cores" in hint(screen, "sandbox")
        await pilot.press("ctrl+r")
        assert specs == []
        assert screen.focused is not None
        assert screen.focused.id == "cpu"
        fill(screen, cpu="2", memory="2048", packages="numpy")
        await checked(pilot, screen)
        assert "network blocked" in hint(screen, "sandbox")
        assert "by MODAL_TOKEN_ID" in hint(screen, "sandbox")
        command = str(screen.query_one("#command", Static).content)
        assert "--sandbox modal --volume-name results --image-package numpy --cpu 2 --memory 2048" in command
        await pilot.press("ctrl+r")
        assert (specs[0].sandbox, specs[0].modal.volume, specs[0].modal.memory_mb) == ("modal", "results", 2048)

    drive(app, scenario)


def test_the_configured_sandbox_is_chosen_from_the_start(started, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    monkeypatch.setenv("FLEET_RLM_SANDBOX", "auto")
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert screen.query_one("#sandbox", Select).value == "auto"
        assert "Modal: network blocked" in hint(screen, "sandbox")

    drive(app, scenario)


def test_the_command_line_follows_the_form_and_can_be_copied(started) -> None:
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        fill(screen, documents="a.txt", question="What's new?")
        screen.query_one("#paused", Tick).value = True
        await pilot.pause()
        wanted = """fleet-rlm-tui --docs a.txt --question 'What'"'"'s new?' --paused"""
        assert str(screen.query_one("#command", Static).content) == wanted
        await pilot.press("ctrl+l")
        await pilot.pause()
        assert app.clipboard == wanted

    drive(app, scenario)


def test_every_further_setting_has_a_field_that_reaches_the_run_and_the_command(started) -> None:
    Path("a.txt").write_text("text")
    app, specs = started()
    asked = {"model.temperature": 0.5, "model.sub_reasoning_effort": "low", "model.retries": 0}

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        rows = screen.query_one("#further-rows")
        assert not rows.display
        assert {field.id for field in rows.query(Input)} == {one.parameter for one in SETTINGS if one.label}
        screen.query_one("#unfold", Tick).value = True
        await pilot.pause()
        assert rows.display
        fill(screen, documents="a.txt", question="Why?", model_temperature="warm")
        await checked(pilot, screen)
        assert "temp: 'warm', not a number from 0 to 2" in hint(screen, "limits")
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert screen.focused is not None
        assert screen.focused.id == "model_temperature"
        fill(screen, **{BY_KEY[key].parameter: str(value) for key, value in asked.items()})
        fill(screen, run_concurrency="3", seconds="0")
        await checked(pilot, screen)
        assert "--temperature 0.5 --sub-reasoning-effort low --retries 0" in str(
            screen.query_one("#command", Static).content
        )
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert (specs[0].settings, specs[0].concurrency, specs[0].budgets.max_seconds) == (asked, 3, None)
    assert draft_of(specs[0]).settings["model.temperature"] == "0.5"


def test_what_is_configured_stands_in_empty_fields_and_counts(started, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.txt").write_text("text")
    monkeypatch.setenv("FLEET_RLM_MAX_COST_USD", "0.25")
    monkeypatch.setenv("FLEET_RLM_RETRIES", "7")
    monkeypatch.setenv("DSPY_SUB_LM_API_KEY", "do-not-show-me")
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        assert screen.query_one("#dollars", Input).placeholder == "0.25"
        assert screen.query_one("#model_retries", Input).placeholder == "7"
        assert screen.query_one("#model_sub_api_key", Input).placeholder == "DSPY_SUB_LM_API_KEY"
        fill(screen, documents="a.txt", question="Why?")
        await checked(pilot, screen)
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs[0].budgets.max_cost_usd == 0.25


def test_the_picker_adds_a_file_or_a_folder(started) -> None:
    app, _ = started()
    Path("my notes").mkdir()
    Path("my notes", "one.txt").write_text("1")
    Path("a.txt").write_text("2")

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        for presses in (["down", "enter", "down", "enter"], ["ctrl+r"]):
            await pilot.press("ctrl+o")
            await settle(pilot, lambda: isinstance(app.screen, PickPath) and app.screen._entries)
            for key in presses:
                await pilot.press(key)
                await pilot.pause(0.05)
            await settle(pilot, lambda: app.screen is screen)
        await checked(pilot, screen)
        assert screen.query_one("#documents", Input).value == "'my notes/one.txt' 'my notes'"
        assert "1 file" in hint(screen, "documents")

    drive(app, scenario)


def test_a_path_completes_as_far_as_it_is_unambiguous(tmp_path: Path) -> None:
    for name in ("minutes-1.md", "minutes-2.md", "notes.txt", ".hidden"):
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "deep.txt").write_text("")
    assert completion("min", tmp_path) == "minutes-"
    assert completion("minutes-1", tmp_path) == "minutes-1.md"
    assert completion("fo", tmp_path) == "folder/"
    assert completion("folder/", tmp_path) == "folder/deep.txt"
    assert completion("zzz", tmp_path) is None
    assert completion("no/such/folder", tmp_path) is None
    assert completion("", tmp_path) is None
    (tmp_path / "evil\x1b[2J").write_text("")
    assert completion("ev", tmp_path) is None


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    found, word = entries(tmp_path / "nowhere")
    assert found == []
    assert "cannot be read" in word


def test_the_form_of_an_old_run_shows_its_text_harmlessly(started) -> None:
    app, _ = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot, RunSpec(question="a\x1b]0;owned\x07b", documents=("x\x1b[2J",), model="m\n\x9b"))
        values = [field.value for field in screen.query(Input)] + [screen.query_one(TextArea).text]
        assert not any(character in value for value in values for character in "\x1b\x07\x9b\n")

    drive(app, scenario)


def test_a_long_value_is_shown_from_its_beginning_and_entered_at_its_end(started) -> None:
    app, _ = started()
    many = tuple(f"/a/folder/with/a/long/name/document-{number}.txt" for number in range(9))

    async def scenario(pilot) -> None:
        screen = await form(pilot, RunSpec(question="Why?", documents=many))
        field = screen.query_one("#documents", Input)
        await settle(pilot, lambda: re.search(r"Documents +/a/folder/with/a/long/name/document-0", screen_text(app)))
        field.focus()
        await settle(pilot, lambda: "document-8.txt" in screen_text(app))
        assert field.cursor_position == len(field.value)

    drive(app, scenario, size=(80, 24))


def test_a_key_in_the_environment_is_offered_and_not_used(started, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.txt").write_text("text")
    monkeypatch.setenv("GROQ_API_KEY", "do-not-show-me")
    app, specs = started()

    async def scenario(pilot) -> None:
        screen = await form(pilot)
        await settle(pilot, lambda: "GROQ_API_KEY is in the environment: DSPY_LM_MODEL=groq/" in hint(screen, "model"))
        assert "offline, unless you name one of these here" in hint(screen, "model")
        fill(screen, documents="a.txt", question="Why?")
        await checked(pilot, screen)
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: specs)

    drive(app, scenario)
    assert specs[0].model is None
