"""The Run screen driven by keys: what it tells the engine, what it shows, what it keeps still."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.geometry import Offset
from textual.widgets import Input

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.shipped import themes_folder
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.dialogs import AskText, Confirm, EditCode
from fleet_rlm.tui.dialogs.text import CodeEditor
from fleet_rlm.tui.look.themes import load_theme
from fleet_rlm.tui.remembered import Memory
from fleet_rlm.tui.screens.run.set_breakpoints import BreakpointsDialog
from fleet_rlm.tui.screens.run.text_reader import Reader
from fleet_rlm.tui.sources.event_source import SourceEnd
from fleet_rlm.tui.widgets.pane_grid import Proportions
from fleet_rlm.tui.widgets.wrap import cells
from tests.tui.conftest import drive, messages, screen_text, settle
from tests.tui.run.conftest import Clock, show, still
from tests.tui.synthetic import BATCH_CODE, Script, ScriptedSource, flood, many_calls, rich

Make = Callable[..., FleetApp]


def paused(at: ev.Boundary = "code") -> Script:
    script = rich(until="error")
    fan = ev.FanOut(prompts=8, chars=31_000) if at == "fanout" else None
    script.add(ev.GateWaiting(at=at, why="you paused", code=BATCH_CODE if at == "code" else "", fanout=fan))
    return script


# Live controls


AT_GATES: dict[ev.Boundary, list[tuple[list[str], spec.Command]]] = {
    "planner": [
        (["t", *"use z", "enter"], spec.Hint(text="use z")),
        (["s"], spec.Step()),
    ],
    "code": [
        (["space"], spec.Continue()),
        (["f5"], spec.Continue()),
        (["s"], spec.Step()),
        (["k", "K"], spec.Skip()),
        (["3", "K"], spec.Skip()),
        (["r", *"no", "enter"], spec.Retry(text="no")),
        (["x", "y"], spec.Finish()),
        (["colon", *"1+1", "enter"], spec.Evaluate(expression="1+1")),
        (["m"], spec.Note(bookmark=True)),
        (["ctrl+c", "y"], spec.Abort(reason="aborted by the person")),
    ],
    "fanout": [
        (["space"], spec.Continue()),
        (["K"], spec.Skip()),
        (["5"], spec.Sample(count=5)),
    ],
    "error": [
        (["f10"], spec.Step()),
        (["r", "enter"], spec.Retry()),
    ],
}


@pytest.mark.parametrize("at", AT_GATES)
def test_keys_at_a_gate_tell_the_engine(make_app: Make, at: ev.Boundary) -> None:
    source = ScriptedSource(paused(at).events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        for keys, command in AT_GATES[at]:
            source.commands.clear()
            await pilot.press(*keys)
            await settle(pilot, lambda: source.commands, f"what {keys} does")
            assert source.commands == [command]

    drive(make_app(), scenario)


def test_keys_at_a_lost_sandbox_tell_the_engine(make_app: Make) -> None:
    script = rich(until="executing")
    script.add(ev.SandboxLost(backend="local", reason="killed by signal 9"))
    error = ev.Failure(type="SandboxLost", message="killed by signal 9")
    script.finish("x3", 3, "lost", error, state_lost=True)
    script.add(ev.GateWaiting(at="error", why="the sandbox is lost", error=error))
    source = ScriptedSource(script.events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        for keys, command in (
            (["R"], spec.Restart()),
            (["space"], spec.Continue()),
            (["r", *"less", "enter"], spec.Retry(text="less")),
            (["x", "y"], spec.Finish()),
            (["ctrl+c", "y"], spec.Abort(reason="aborted by the person")),
        ):
            source.commands.clear()
            await pilot.press(*keys)
            await settle(pilot, lambda: source.commands, f"what {keys} does")
            assert source.commands == [command]
        assert "restart it first" in screen.why_disabled("evaluate")
        assert "restart it first" in screen.why_disabled("step")

    drive(make_app(), scenario)


def test_keys_while_the_run_goes_on_tell_the_engine(make_app: Make) -> None:
    source = ScriptedSource(rich(until="executing").events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("space", "s", "i")
        source.push(ev.Operator(seq=900, t=9, action="pause"))
        await settle(pilot, lambda: screen.state.pause_requested)
        await pilot.press("space")
        assert source.commands == [spec.Pause(), spec.Step(), spec.Interrupt(), spec.Continue()]

    drive(make_app(), scenario)


def test_changed_code_is_sent_and_unchanged_code_is_not(make_app: Make) -> None:
    source = ScriptedSource(paused().events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("c")
        await settle(pilot, lambda: isinstance(pilot.app.screen, EditCode))
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: messages(pilot.app))
        assert "as it was" in messages(pilot.app)[-1]
        assert source.commands == []
        await pilot.press("c")
        await settle(pilot, lambda: isinstance(pilot.app.screen, EditCode))
        pilot.app.screen.query_one(CodeEditor).load_text("print(1)\n")
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: source.commands)
        (edit,) = source.commands
        assert isinstance(edit, spec.Edit)
        assert edit.code == "print(1)\n"

    drive(make_app(), scenario)


def test_code_that_was_changed_for_a_gate_that_is_gone_is_not_sent(make_app: Make) -> None:
    source = ScriptedSource(paused().events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("c")
        await settle(pilot, lambda: isinstance(pilot.app.screen, EditCode))
        pilot.app.screen.query_one(CodeEditor).load_text("print(1)\n")
        source.push(ev.GateResumed(seq=900, t=9, at="code", decision="abort"))
        await pilot.pause(0.1)
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: messages(pilot.app))
        assert "gone on meanwhile" in messages(pilot.app)[-1]
        assert source.commands == []

    drive(make_app(), scenario)


def test_aborting_is_asked_once_and_no_is_the_first_answer(make_app: Make) -> None:
    source = ScriptedSource(rich(until="batch").events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("ctrl+c")
        await settle(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("enter")
        await pilot.pause()
        assert source.commands == []

    drive(make_app(), scenario)


def test_breakpoints_are_set_and_remembered_in_the_dialog(make_app: Make) -> None:
    source = ScriptedSource(rich(until="batch").events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("b")
        await settle(pilot, lambda: isinstance(pilot.app.screen, BreakpointsDialog))
        dialog = pilot.app.screen
        dialog.query_one("#pattern", Input).value = "("
        await pilot.press("ctrl+r")
        await pilot.pause()
        assert "not a regular expression" in screen_text(pilot.app)
        for wrong, field, words in [("(a{999}){999}", "pattern", "too large"), ("0", "fanout", "a batch of 0"),
                                    ("nan", "spend", "a cost of nan")]:  # fmt: skip
            for each in dialog.query(Input):
                each.value = ""
            dialog.query_one(f"#{field}", Input).value = wrong
            await pilot.press("ctrl+r")
            await settle(pilot, lambda words=words: words in screen_text(pilot.app))
        dialog.query_one("#pattern", Input).value = "open\\("
        dialog.query_one("#fanout", Input).value = "10"
        dialog.query_one("#spend", Input).value = "$0.50"
        await pilot.press("space", "ctrl+r")
        await settle(pilot, lambda: source.commands)
        wanted = spec.Breakpoints(every_cell=True, code_pattern="open\\(", fanout=10, spend_usd=0.5)
        assert source.commands == [spec.SetBreakpoints(breakpoints=wanted)]
        refused = ev.Failure(type="NotNow", message="code pattern: too large")
        source.push(ev.Operator(seq=899, t=9, action="breakpoints", error=refused))
        await settle(pilot, lambda: messages(pilot.app), "the refusal")
        assert "code pattern: too large" in messages(pilot.app)[0]
        await pilot.press("b")
        await settle(pilot, lambda: isinstance(pilot.app.screen, BreakpointsDialog))
        assert pilot.app.screen.query_one("#fanout", Input).value == ""
        await pilot.press("escape")
        source.push(ev.Operator(seq=900, t=9, action="breakpoints", text="…", breakpoints=wanted))
        await settle(pilot, lambda: pilot.app.screen.state.breakpoints == wanted)
        await pilot.press("b")
        await settle(pilot, lambda: isinstance(pilot.app.screen, BreakpointsDialog))
        assert pilot.app.screen.query_one("#fanout", Input).value == "10"

    drive(make_app(), scenario)


def test_an_error_s_gate_shows_the_failing_cell_at_its_line_and_p_is_off(make_app: Make) -> None:
    script = rich(until="batch")
    span = script.execute(3, "\n".join(f"line_{n} = {n}" for n in range(1, 90)) + "\n1 / 0\n")
    error = ev.Failure(type="ZeroDivisionError", message="division by zero", line=90)
    script.finish(span, 3, "error", error)
    script.add(ev.IterationStarted(iteration=4, span="i4", of=20))
    source = ScriptedSource(script.events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("2", "p", "1", "z")
        assert "ZeroDivisionError" not in screen_text(pilot.app)
        source.push(ev.GateWaiting(seq=900, t=9, iteration=4, at="error", why="the last step failed", error=error))
        await settle(pilot, lambda: screen.state.gate is not None and "1 / 0" in screen_text(pilot.app), "the line")
        assert not screen.code.prompt_shown
        assert "90✗" in screen_text(pilot.app)
        source.push(ev.GateResumed(seq=901, t=9, iteration=4, at="error", decision="continue"))
        await settle(pilot, lambda: "1 / 0" not in screen_text(pilot.app), "the next iteration")

    drive(make_app(), scenario)


def test_a_followed_run_whose_writer_is_gone_is_taken_up_again(make_app: Make) -> None:
    source = ScriptedSource(rich(until="batch").events, "follow")

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        source.end = SourceEnd(False, "its process was stopped", "What is written later is shown.")
        await settle(pilot, lambda: "ENGINE GONE" in screen_text(pilot.app), "the badge")
        source.end = None
        source.push(ev.Notice(seq=900, t=9, text="on"))
        await settle(pilot, lambda: "FOLLOWING" in screen_text(pilot.app), "the run")
        assert "ENGINE GONE" not in screen_text(pilot.app)
        assert any("followed again" in words for words in messages(pilot.app))
        assert screen.playhead.growing

    drive(make_app(), scenario)


def test_changed_code_is_looked_at_before_it_runs(make_app: Make) -> None:
    source = ScriptedSource(paused().events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("c", "(", "ctrl+r")
        await settle(pilot, lambda: "again runs it anyway" in screen_text(pilot.app), "the fault")
        assert source.commands == []
        assert "line 1: " in screen_text(pilot.app)
        await pilot.press("ctrl+r")
        await settle(pilot, lambda: source.commands)
        assert source.commands == [spec.Edit(code="(" + BATCH_CODE, step=True)]

    drive(make_app(), scenario)


def test_the_result_of_an_evaluation_is_shown_when_it_comes(make_app: Make) -> None:
    source = ScriptedSource(paused().events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("colon", *"x", "enter")
        await settle(pilot, lambda: source.commands)
        source.push(ev.Operator(seq=900, t=9, action="eval", text="x", result="[1, 2]"))
        await settle(pilot, lambda: isinstance(pilot.app.screen, Reader), "the result")
        assert "[1, 2]" in screen_text(pilot.app)
        await pilot.press("escape", "3")
        assert ": x" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_a_key_that_does_nothing_now_says_why(make_app: Make) -> None:
    source = ScriptedSource(rich(until="batch").events)
    reasons = {
        "c": "waits before it",
        "r": "waits before code",
        "K": "waits before",
        "colon": "while the run waits",
        "plus": "own speed",
        "dollar_sign": "newest moment",
        "d": "one document",
    }

    async def scenario(pilot) -> None:
        await show(pilot, source)
        for key, why in reasons.items():
            pilot.app.clear_notifications()
            await pilot.press(key)
            await settle(pilot, lambda: messages(pilot.app), f"why {key} does nothing")
            assert why in messages(pilot.app)[-1]
        assert source.commands == []

    drive(make_app(), scenario)


def test_k_scrolls_where_lists_scroll_even_at_a_gate(make_app: Make) -> None:
    source = ScriptedSource(paused().events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("3", "g", "j", "j", "k")
        assert screen.output.top == (1, 0)
        assert source.commands == []

    drive(make_app(), scenario)


# Looking back


def test_an_earlier_iteration_stays_while_the_run_goes_on_and_one_key_comes_back(make_app: Make) -> None:
    script = rich()
    source = ScriptedSource(script.events[:100])

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("[", "[")
        await settle(pilot, lambda: screen.playhead.view.iteration.number == 2)
        source.push(*script.events[100:120])
        await settle(pilot, lambda: not source.waiting and screen.state.events == 120)
        assert "EARLIER MOMENT" in screen_text(pilot.app)
        assert "Its headers are the map" in screen_text(pilot.app)
        assert "## GEPA" not in screen.output.item()[1]
        await pilot.press("f")
        assert screen.playhead.following
        assert "● LIVE" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_a_record_is_played_from_its_start_paused_and_scrubbed(make_app: Make) -> None:
    source = ScriptedSource(rich().events, "replay")
    clock = Clock()

    async def scenario(pilot) -> None:
        screen = await show(pilot, source, clock)
        assert "✓ SUBMITTED" in screen_text(pilot.app)
        await pilot.press("plus", "plus", "space")
        await settle(pilot, lambda: screen.playhead.playing and screen.playhead.view.events == 1, "the start")
        clock.now += 1
        await settle(pilot, lambda: screen.playhead.view.t > 3.5, "four seconds of the record")
        assert "⏵ REPLAY ×4" in screen_text(pilot.app)
        await pilot.press("space")
        at = screen.playhead.at
        clock.now += 1
        await pilot.press("full_stop")
        assert screen.playhead.at == at + 1
        await pilot.press("comma")
        await settle(pilot, lambda: screen.playhead.at == at)
        await pilot.press("0")
        await settle(pilot, lambda: screen.playhead.at == 1)
        await pilot.press("e")
        await settle(pilot, lambda: "KeyError" in screen.output.item()[1], "the first error")
        await pilot.press("dollar_sign")
        assert "✓ SUBMITTED" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_a_click_on_the_timeline_goes_to_that_iteration(make_app: Make) -> None:
    source = ScriptedSource(rich().events, "replay")

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        line = screen_text(pilot.app).splitlines()[1]
        await pilot.click(offset=Offset(line.index("3✗"), 1))
        await settle(pilot, lambda: screen.playhead.view.iteration.number == 3)
        assert not screen.playhead.following

    drive(make_app(), scenario)


def test_bookmarks_of_a_record_are_kept_beside_it(make_app: Make) -> None:
    memory = Memory()

    async def set_one(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        await pilot.press("[", "[", "[", "m")
        await settle(pilot, lambda: screen.playhead.bookmarks)

    async def find_it(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        await pilot.press("apostrophe")
        await settle(pilot, lambda: screen.playhead.view.iteration.number == 3)
        assert "3✗⚑" in screen_text(pilot.app)

    drive(make_app(memory=memory), set_one)
    drive(make_app(memory=memory), find_it)


def test_every_record_looks_the_same_live_at_its_end_and_replayed(make_app: Make, guide: Path) -> None:
    seen = []

    for mode in ("live", "replay", "follow"):

        async def scenario(pilot, mode=mode) -> None:
            screen = await show(pilot, ScriptedSource(rich([guide]).events, mode))
            await pilot.press("[", "[")
            await settle(pilot, lambda: screen.playhead.at and screen.playhead.view.iteration.number == 4)
            await still(pilot, screen)
            seen.append(screen_text(pilot.app))

        drive(make_app(), scenario)
    assert seen[0] == seen[1] == seen[2]


# Panes


def test_output_follows_its_end_until_the_person_scrolls_up_and_says_what_came(make_app: Make) -> None:
    script = rich(until="executing")
    source = ScriptedSource(script.events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("3", "g")
        top = screen.output.top
        source.push(*(ev.Output(seq=900 + n, t=9, span="x3", iteration=3, stream="stdout", text="a\n")
                      for n in range(312)))  # fmt: skip
        await settle(pilot, lambda: "▼ 312 new" in screen_text(pilot.app))
        assert screen.output.top == top
        await pilot.press("f")
        await pilot.pause()
        assert screen.output.at_end
        assert "▼" not in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_code_stays_with_the_iteration_that_is_read(make_app: Make) -> None:
    code = "".join(f"print({n})\n" for n in range(80))
    script = Script()
    script.start()
    script.sandbox()
    script.planner(1, "Many lines.", code)
    source = ScriptedSource(script.events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("j", "j", "j")
        before, seen = len(script.events), screen.code.top
        script.planner(2, "Another.", "print('two')\n")
        source.push(*script.events[before:])
        await settle(pilot, lambda: "2 has begun" in screen_text(pilot.app))
        assert screen.code.top == seen
        await pilot.press("f")
        await settle(pilot, lambda: "print('two')" in screen_text(pilot.app))

    drive(make_app(), scenario)


def test_a_call_shows_where_its_text_came_from(make_app: Make, guide: Path) -> None:
    source = ScriptedSource(rich([guide]).events, "replay")

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press("4", "g", "j", "j", "j")
        await settle(pilot, lambda: screen.document.marks, "the marks")
        first, end = screen.document.marks[0]
        text = "\n".join(screen.document.rows.row(n).text for n in range(first, end))
        assert "GEPA" in text
        assert "call 4" in screen_text(pilot.app)
        assert "GEPA: keeps" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_calls_are_sorted_filtered_and_chosen(make_app: Make) -> None:
    source = ScriptedSource(many_calls(5000).events, "replay")

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        assert screen.calls.count() == 5001
        await pilot.press("4", "S")
        await settle(pilot, lambda: screen.calls.sorted_by == "time")
        times = [screen.calls.call_at(n).finished.seconds for n in range(20)]
        assert times == sorted(times, reverse=True)
        await pilot.press("slash", *"#4321", "enter")
        await settle(pilot, lambda: screen.calls.count() == 1)
        assert screen.calls.chosen.number == 4321
        await pilot.press("escape")
        await settle(pilot, lambda: screen.calls.count() == 5001)

    drive(make_app(), scenario)


def test_a_hundred_thousand_lines_keep_only_their_newest_and_all_keys_work(make_app: Make) -> None:
    source = ScriptedSource(list(flood(120_000, at_once=1000)))

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        rows = screen.output.rows
        assert rows.end - rows.first == 100_000
        assert "119999 llm_query" in screen_text(pilot.app)
        await pilot.press("3", "g")
        assert screen.output.top[0] == rows.first == 20_000
        assert "20000 llm_query" in screen_text(pilot.app)

    drive(make_app(), scenario)


@pytest.mark.parametrize(("pane", "text", "hits"), [("1", "gepa", 4), ("2", "index", 3), ("3", "section", 40)])
def test_text_is_searched_and_gone_through(make_app: Make, guide: Path, pane: str, text: str, hits: int) -> None:
    source = ScriptedSource(rich([guide], until="error").events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.press(pane, "g", "slash", *text)
        found = getattr(screen, screen.grid.chosen)
        await settle(pilot, lambda: found.search and found.search.finished, "the search")
        assert found.search.total == hits
        await pilot.press("enter")
        assert f"1 of {hits}" in screen_text(pilot.app)
        await pilot.press("N")
        assert f"{hits} of {hits}" in screen_text(pilot.app)
        await pilot.press("n", "escape")
        assert found.search is None

    drive(make_app(), scenario)


def test_a_faulty_pattern_says_so_where_it_is_typed(make_app: Make, guide: Path) -> None:
    source = ScriptedSource(rich([guide], until="error").events)

    async def scenario(pilot) -> None:
        await show(pilot, source)
        await pilot.press("1", "slash", "ctrl+r", *"(a")
        await settle(pilot, lambda: "not a regular expression" in screen_text(pilot.app))

    drive(make_app(), scenario)


def test_going_to_a_line_and_to_a_share_of_a_document(make_app: Make, guide: Path) -> None:
    source = ScriptedSource(rich([guide], until="error").events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        for words, row in (("100", 99), ("50%", screen.document.index.row_at_fraction(0.5))):
            await pilot.press("ctrl+g")
            await settle(pilot, lambda: isinstance(pilot.app.screen, AskText))
            await pilot.press(*words, "enter")
            await settle(pilot, lambda: pilot.app.screen is screen)
            assert screen.document.top == (row, 0)

    drive(make_app(), scenario)


def test_documents_are_chosen_and_what_changed_or_is_gone_is_said(make_app: Make, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.txt", "two.txt", "gone.txt")]
    for path in paths:
        path.write_text(f"the text of {path.name}, which is long enough to be found again somewhere\n")
    events = rich(paths, until="error").events
    paths[1].write_text("something else that is longer than it was before, by far and away, so that it shows\n")
    paths[2].unlink()

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(events))
        assert "one.txt (1 of 3)" in screen_text(pilot.app)
        await pilot.press("1", "right_parenthesis")
        await settle(pilot, lambda: "changed since" in screen_text(pilot.app))
        await pilot.press("d", *"gone", "enter")
        await settle(pilot, lambda: "not there any more" in screen_text(pilot.app))

    drive(make_app(), scenario, size=(160, 45))


def test_inputs_that_are_no_files_are_shown_from_the_record(make_app: Make) -> None:
    script = Script()
    script.start(value="a small context that stands in the record itself")

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(script.events))
        await settle(pilot, lambda: "a small context that stands" in screen_text(pilot.app))

    drive(make_app(), scenario, size=(160, 45))


def test_the_prompt_is_shown_in_place_of_the_code(make_app: Make) -> None:
    script = rich(until="error")
    script.planner(4, "Better.", "x = 1\n", hints=["it is spelled with a z"])

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(script.events))
        await pilot.press("p")
        assert "Note: it is spelled with a z" in screen_text(pilot.app)
        await pilot.press("p")
        assert "x = 1" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_code_that_the_person_changed_is_marked_line_by_line(make_app: Make) -> None:
    script = rich(until="executing")
    script.execute(3, "headers = []\nprint(len(headers))\n", origin="operator")

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(script.events))
        text = screen_text(pilot.app)
        assert "changed by you" in text
        assert "1▎ headers = []" in text

    drive(make_app(), scenario)


# Layout, sizes, leaving


@pytest.mark.parametrize(("size", "panes"), [((80, 24), 1), ((110, 40), 3), ((120, 40), 5), ((200, 60), 5)])
def test_the_panes_follow_the_size_of_the_terminal(make_app: Make, size: tuple[int, int], panes: int) -> None:
    source = ScriptedSource(rich().events, "replay")

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        assert len(screen.grid.in_view()) == panes
        for key, text in (("1", "no documents"), ("2", "SUBMIT"), ("3", "GEPA is newer"), ("4", "8/8"),
                          ("5", "answers"), ("6", "Three optimizers"), ("7", "run.finished")):  # fmt: skip
            await pilot.press(key)
            await pilot.pause()
            if key != "1":
                assert text in screen_text(pilot.app), key
        seen = set()
        for _ in range(8):
            await pilot.press("tab")
            seen.add(screen.grid.chosen)
        assert len(seen) >= panes
        await pilot.press("z")
        assert len(screen.grid.in_view()) == 1
        await pilot.press("escape")
        assert len(screen.grid.in_view()) == panes

    drive(make_app(), scenario, size=size)


def test_sizes_by_keys_and_by_mouse_are_remembered(make_app: Make) -> None:
    memory = Memory()

    async def scenario(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        width = screen.code.size.width
        await pilot.press("greater_than_sign")
        await pilot.pause()
        assert screen.code.size.width > width
        border = screen.document.region.right - 1
        await pilot.mouse_down(offset=Offset(border, 10))
        await pilot.hover(offset=Offset(50, 10))
        await pilot.mouse_up(offset=Offset(50, 10))
        await pilot.pause()
        assert abs(screen.document.size.width - 48) <= 3
        await settle(pilot, lambda: memory.get("run.layout", Proportions, Proportions()) != Proportions())

    drive(make_app(memory=memory), scenario)


def test_another_theme_reaches_every_line_at_once(make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        pilot.app.register_theme(load_theme(themes_folder() / "fleet-light.toml"))
        pilot.app.theme = "fleet-light"
        await settle(pilot, lambda: "#12141c" not in pilot.app.export_screenshot())
        old = {"#c8d0e8", "#7aa2f7", "#9ece6a", "#161925"}
        assert not [color for color in old if color in pilot.app.export_screenshot()]
        assert screen.grid.chosen == "code"

    drive(make_app(), scenario)


def test_text_is_selected_with_the_mouse_and_ctrl_c_copies_it(make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        place = screen.code.region.offset
        await pilot.mouse_down(offset=place + Offset(6, 3))
        await pilot.hover(offset=place + Offset(12, 3))
        await pilot.mouse_up(offset=place + Offset(12, 3))
        await settle(pilot, lambda: screen.get_selected_text())
        await pilot.press("ctrl+c")
        assert pilot.app.clipboard == "SUBMIT("

    drive(make_app(), scenario)


def test_a_click_on_a_tab_shows_it(make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen = await show(pilot, ScriptedSource(rich().events, "replay"))
        lines = screen_text(pilot.app).splitlines()
        y = next(n for n, line in enumerate(lines) if "6 Answer" in line)
        await pilot.click(offset=Offset(lines[y].index("6 Answer"), y))
        await settle(pilot, lambda: screen.grid.chosen == "answer")
        assert "Three optimizers" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_what_is_copied_is_the_text_and_nothing_of_the_screen(make_app: Make) -> None:
    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(rich().events, "replay"))
        copied = {}
        for key in "23467":
            await pilot.press(key, "y")
            copied[key] = pilot.app.clipboard
        assert copied["2"] == "SUBMIT(answer=summary, sources=found, table=rows)\n"
        assert copied["3"].startswith("278114\n# Optimizers")
        assert '"gpt-5.1"' in copied["4"]
        assert '"sources"' in copied["6"]
        assert copied["7"].startswith('{"kind":"run.finished"')

    drive(make_app(), scenario)


def test_an_engine_that_is_gone_is_said_and_nothing_waits_any_more(make_app: Make) -> None:
    source = ScriptedSource(rich(until="executing").events)

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        source.finish(SourceEnd(False, "the engine was killed by signal 9", "Run it again"))
        await settle(pilot, lambda: "ENGINE GONE" in screen_text(pilot.app))
        assert "killed by signal 9" in messages(pilot.app)[-1]
        await pilot.press("c")
        assert "engine has ended" in messages(pilot.app)[-1]
        assert not screen.playhead.growing

    drive(make_app(), scenario)


def test_a_hidden_run_goes_on_and_is_up_to_date_when_it_is_shown_again(make_app: Make) -> None:
    script = rich()
    source = ScriptedSource(script.events[:60])

    async def scenario(pilot) -> None:
        screen = await show(pilot, source)
        await pilot.app.push_screen(Reader("over it", "text"))
        source.push(*script.events[60:])
        await settle(pilot, lambda: screen.state.is_over)
        await pilot.press("escape")
        await settle(pilot, lambda: "✓ SUBMITTED" in screen_text(pilot.app))

    drive(make_app(), scenario)


NOT_STARTED = ev.Failure(type="SandboxFailed", message="Modal has no token", hint="Run `modal token new`.")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_why_a_run_failed_is_told_without_a_key(make_app: Make, size: tuple[int, int]) -> None:
    script = Script()
    script.start()
    script.add(ev.SandboxStarting(backend="modal"))
    script.add(ev.SandboxLost(backend="modal", reason="Modal has no token"))
    script.end("failed", error=NOT_STARTED)

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(script.events))
        screen = pilot.app.screen
        if size[0] == 120:
            assert "answer" in screen.grid.in_view()
            await settle(pilot, lambda: "Modal has no token" in screen_text(pilot.app), "the reason")
            assert "Run `modal token new`." in screen_text(pilot.app)
            assert not messages(pilot.app)
        else:
            await settle(pilot, lambda: messages(pilot.app), "the word")
            assert messages(pilot.app) == ["Modal has no token Run `modal token new`."]
            assert "answer" not in screen.grid.in_view(), "a small screen keeps the pane that is read"
        await pilot.press("a")
        await settle(pilot, lambda: "modal, lost: Modal has no token" in screen_text(pilot.app), "about")

    drive(make_app(), scenario, size=size)


def test_a_failure_takes_no_pane_from_output_that_is_there(make_app: Make) -> None:
    script = rich(until="error")
    script.end("failed", error=NOT_STARTED)

    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(script.events))
        await settle(pilot, lambda: messages(pilot.app), "the word")
        assert "output" in pilot.app.screen.grid.in_view()
        assert "answer" in pilot.app.screen.grid.news

    drive(make_app(), scenario)


# The answer: the cell under the cursor


def answered(**outputs: ev.Json) -> ScriptedSource:
    script = Script()
    script.start()
    script.end(outputs=outputs)
    return ScriptedSource(script.events, "replay")


TABLE = [{"path": f"/v{n}", "why": f"reason {n}, " + "at length " * 20 + f"end {n}"} for n in range(3)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_enter_opens_the_cell_under_the_cursor_whole(make_app: Make, size: tuple[int, int]) -> None:
    async def scenario(pilot) -> None:
        await show(pilot, answered(found=TABLE, notes=["first note", {"deep": "a deep value"}]))
        await pilot.press("6")
        answer = pilot.app.focused
        rows = [answer.rows.row(number).text for number in range(answer.rows.end)]
        head = next(place for place, text in enumerate(rows) if text.startswith("path"))
        assert all(cells(text) <= answer.text_width for text in rows), "the table fits its pane"

        async def opened(*keys: str) -> str:
            await pilot.press(*keys, "enter")
            await settle(pilot, lambda: isinstance(pilot.app.screen, Reader), "the reader")
            words = pilot.app.screen._text
            await pilot.press("escape")
            return words

        await pilot.press("g", *["j"] * (head + 2))
        assert await opened() == "/v1"
        assert await opened("l") == TABLE[1]["why"]
        assert await opened("j") == TABLE[2]["why"], "the column stays"
        assert await opened("h") == "/v2"
        assert await opened("j", "j", "j") == "first note"
        assert await opened("j", "j") == "a deep value"

    drive(make_app(), scenario, size=size)


def test_a_paragraph_taller_than_the_pane_is_read_line_by_line(make_app: Make) -> None:
    tall = " ".join(f"word{n}" for n in range(400))

    async def scenario(pilot) -> None:
        await show(pilot, answered(notes=["before", tall, "after"]))
        await pilot.press("6", "g")
        answer = pilot.app.focused
        seen: set[str] = set()
        for keys in ("j", "k"):
            seen.clear()
            for _ in range(200):
                top, cursor = answer.top, answer.cursor
                seen.update(word for word in screen_text(pilot.app).split() if word.startswith("word"))
                await pilot.press(keys)
                if (answer.top, answer.cursor) == (top, cursor):
                    break
            assert {f"word{n}" for n in range(400)} <= seen, keys
        assert answer.cursor == 0

    drive(make_app(), scenario, size=(80, 24))


def test_choosing_a_call_goes_to_its_passage_and_not_to_a_phrase_of_the_question(
    make_app: Make, tmp_path: Path
) -> None:
    question = "Which of the optimizers that this guide names keeps a front of candidates?"
    passage = "GEPA reflects on traces and keeps a Pareto front."
    path = tmp_path / "guide.md"
    path.write_text(f"# FAQ\n{question}\n" + "A line of no concern.\n" * 200 + f"{passage}\n" + "Another.\n" * 50)
    script = Script()
    script.start(question=question, documents=[path])
    script.sandbox()
    script.planner(1, "I ask.", "llm_query(text)")
    execution = script.execute(1, "llm_query(text)")
    script.add(
        ev.CallStarted(
            iteration=1, span="c1", parent=execution, type="sub_llm", function="llm_query",
            prompt=f"{question}\n\n{passage}", model="openai/gpt-5.1-mini",
        )
    )  # fmt: skip

    async def scenario(pilot) -> None:
        screen = await show(pilot, ScriptedSource(script.events, "replay"))
        await pilot.press("4", "j", "k")
        await settle(pilot, lambda: screen.document.marks, "the passage")
        assert screen.document.marks == [(202, 203)]

    drive(make_app(), scenario, size=(120, 40))


def test_a_small_footer_says_how_to_search_zoom_and_leave(make_app: Make) -> None:
    async def scenario(pilot) -> None:
        await show(pilot, ScriptedSource(paused().events))
        for pane in "1234567":
            await pilot.press(pane)
            await pilot.pause()
            last = screen_text(pilot.app).splitlines()[-1]
            assert all(words in last for words in (" / ", "z Zoom", "q Back")), (pane, last)

    drive(make_app(), scenario, size=(80, 24))
