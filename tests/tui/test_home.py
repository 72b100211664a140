"""Home: the run library as a person meets it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input

from fleet_rlm import events as ev
from fleet_rlm.state import fold_all
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.dialogs import Choose, Confirm
from fleet_rlm.tui.panes.document import DocumentPane
from fleet_rlm.tui.screens.home.home_screen import HomeScreen
from fleet_rlm.tui.screens.home.run_preview import Preview, answer_content, sparkline
from fleet_rlm.tui.screens.home.run_remarks import remarks
from fleet_rlm.tui.screens.home.run_row import documents, when
from fleet_rlm.tui.screens.home.run_table import RunTable
from fleet_rlm.tui.screens.home.welcome import Welcome
from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen
from fleet_rlm.tui.screens.run.run_screen import RunScreen
from tests.tui.conftest import NOON, drive, messages, screen_text, settle
from tests.tui.sample_runs import QUESTION, finished, iteration, run_started, stamped, write_run

Make = Callable[..., FleetApp]


def record(home: Path, number: int, question: str = QUESTION, status: ev.Status | None = "submitted", **more) -> Path:
    started = run_started(f"{number:010x}", question, f"2026-03-02T{number:02}:00:00Z", more.pop("task", "ask"))
    turns = [event for n in range(1, 4) for event in iteration(n, seconds=n, calls=n == 2)]
    end = [finished(status, **more)] if status else []
    return write_run(home / "runs" / "2026-03-02" / f"{number:02}.jsonl", [started, *turns, *end])


@pytest.fixture
def library(home: Path) -> Path:
    record(home, 10)
    record(home, 9, "Which failures repeat?", "failed", cost=0.01, calls=2,
           error=ev.Failure(type="Auth", message="the key was refused (401)"))  # fmt: skip
    record(home, 8, "How many depots changed their code?", "stopped", cost=0.88, calls=212)
    record(home, 7, "Modules and principles", "extracted", task="architecture", cost=None)
    record(home, 6, "Headers of the guide", None)
    return home


async def shown(pilot) -> tuple[HomeScreen, RunTable]:
    screen = pilot.app.screen
    assert isinstance(screen, HomeScreen)
    await settle(pilot, lambda: screen.settled and screen.query_one(Preview).settled, "the library")
    return screen, screen.query_one(RunTable)


def questions(table: RunTable) -> list[str]:
    return [row.question for row in table._rows]


def test_runs_are_listed_newest_first_each_with_its_status(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        assert [row.status for row in table._rows] == ["submitted", "failed", "stopped", "extracted", "interrupted"]
        text = screen_text(pilot.app)
        assert all(sign in text for sign in "✓✗■◆◐")
        assert "5 runs" in text
        assert "newest first" in text

    drive(make_app(), scenario)


def test_a_run_that_another_process_records_is_seen_running_and_then_ended(library: Path, make_app: Make) -> None:
    path = library / "runs" / "2026-03-02" / "06.jsonl"

    async def scenario(pilot) -> None:
        with path.open("ab") as writer:
            fcntl.flock(writer, fcntl.LOCK_EX)
            screen, table = await shown(pilot)
            assert table._rows[-1].status == "running"
            assert "1 going on" in screen_text(pilot.app)
            write_run(path, [finished(answer="There are 7.")], append=True)
        screen.action_refresh()
        await settle(pilot, lambda: table._rows[-1].status == "submitted")

    drive(make_app(), scenario)


def test_the_preview_says_how_it_went_and_what_to_know(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        await shown(pilot)
        text = screen_text(pilot.app)
        assert "submitted in 1:23" in text
        assert "longest iteration 3.0s" in text
        assert "BootstrapFewShot keeps" in text
        await pilot.press("j")
        await settle(pilot, lambda: "the key was refused (401)" in screen_text(pilot.app))

    drive(make_app(), scenario)


def test_q_then_enter_opens_the_run_that_was_just_left(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        left = record(library, 11, "A run that is newer than the library's last look")
        pilot.app.open_path(str(left))
        await settle(pilot, lambda: isinstance(pilot.app.screen, RunScreen) and pilot.app.screen.source.end)
        await pilot.press("q", "enter")
        await settle(pilot, lambda: isinstance(pilot.app.screen, RunScreen), "the run")
        assert pilot.app.screen.source.path == str(left)
        pilot.app.open_path(str(library / "runs" / "2026-03-02" / "08.jsonl"))
        await settle(pilot, lambda: "08" in str(pilot.app.screen.source.path), "the other run")
        await pilot.press("q", "q")
        await settle(pilot, lambda: table.row is not None and table.row.path == left, "the row")

    drive(make_app(), scenario)


def test_any_column_orders_the_runs(library: Path, make_app: Make) -> None:
    orders = [
        ("S", "Headers of the guide", "oldest first"),
        ("s", "Modules and principles", "by task"),
        ("s", "Headers of the guide", "by question"),
        ("S", "Which failures repeat?", "by question, reversed"),
        ("ssss", "How many depots changed their code?", "most calls first"),
        ("s", "How many depots changed their code?", "most expensive first"),
    ]

    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        for presses, first, words in orders:
            await pilot.press(*presses)
            await settle(
                pilot, lambda f=first, w=words: questions(table)[0] == f and w in screen_text(pilot.app), words
            )
        assert table.row is not None
        assert table.row.question == QUESTION, "the cursor stays on its run"

    drive(make_app(), scenario)


def test_a_click_on_a_column_s_head_orders_by_it(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        head = screen_text(pilot.app).splitlines()[2]
        await pilot.click(offset=(head.index("cost") + 1, 2))
        await settle(pilot, lambda: questions(table)[0].startswith("How many depots"))

    drive(make_app(), scenario)


def test_the_filter_finds_words_in_question_and_answer_and_esc_clears_it(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen, table = await shown(pilot)
        await pilot.press("slash", *"depots")
        await settle(pilot, lambda: len(questions(table)) == 1)
        await pilot.press("enter")
        await settle(pilot, lambda: "1 found" in screen_text(pilot.app))
        assert "filter: depots" in screen_text(pilot.app)
        await pilot.press("escape")
        await settle(pilot, lambda: len(questions(table)) == 5)
        assert screen.query_one("#filter", Input).value == ""
        assert isinstance(screen.focused, RunTable)

    drive(make_app(), scenario)


def test_a_filter_that_finds_nothing_is_not_an_empty_library(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen, table = await shown(pilot)
        await pilot.press("slash", *"zzzz", "enter")
        await settle(pilot, lambda: table.count() == 0)
        assert not screen.empty
        await pilot.press("enter")
        assert messages(pilot.app) in (["There is no run under the cursor."], [])

    drive(make_app(), scenario)


def test_deleting_asks_first_and_keeps_by_default(library: Path, make_app: Make) -> None:
    path = library / "runs" / "2026-03-02" / "10.jsonl"

    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        await pilot.press("delete")
        await settle(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("enter")
        await settle(pilot, lambda: isinstance(pilot.app.screen, HomeScreen))
        assert path.exists()
        await pilot.press("delete")
        await settle(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        await pilot.press("y")
        await settle(pilot, lambda: table.count() == 4)
        assert not path.exists()

    drive(make_app(), scenario)


def test_a_run_that_goes_on_cannot_be_deleted(library: Path, make_app: Make) -> None:
    path = library / "runs" / "2026-03-02" / "06.jsonl"

    async def scenario(pilot) -> None:
        with path.open("ab") as writer:
            fcntl.flock(writer, fcntl.LOCK_EX)
            await shown(pilot)
            await pilot.press("G", "delete")
            await settle(pilot, lambda: messages(pilot.app))
            assert "abort it (ctrl+c) first" in messages(pilot.app)[0]
            assert path.exists()

    drive(make_app(), scenario)


def test_an_empty_library_offers_four_ways_to_begin(home: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        screen, _ = await shown(pilot)
        assert screen.query_one(Welcome).display
        text = screen_text(pilot.app)
        assert all(words in text for words in ("Try the demo", "Watch a replay", "New run", "Open a file"))
        assert not any(words in text for words in ("Delete", "Filter", "Sort"))
        await pilot.press("down", "down", "enter")
        await settle(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen))
        await pilot.press("escape")
        await settle(pilot, lambda: isinstance(pilot.app.screen, HomeScreen))

    drive(make_app(), scenario)


def test_a_recorded_run_that_ships_is_replayed_with_its_documents_and_what_was_seen_of_them(
    home: Path, make_app: Make
) -> None:
    async def scenario(pilot) -> None:
        await shown(pilot)
        await pilot.press("w")
        await settle(pilot, lambda: isinstance(pilot.app.screen, Choose))
        await pilot.press("1")
        await settle(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        pane = pilot.app.screen.query_one(DocumentPane)
        await settle(pilot, lambda: pane.index is not None and not pane.busy and pane.frame_words.figures.endswith("%"))
        assert "freight-api-guide.md" in pane.frame_words.extra
        assert not pane.frame_words.alert  # the document is the one that the run was given
        assert pane.frame_words.figures.split("seen ")[1] != "0%"

    drive(make_app(), scenario)


def test_running_again_opens_the_form_with_everything_filled_in(library: Path, make_app: Make) -> None:
    async def scenario(pilot) -> None:
        await shown(pilot)
        await pilot.press("r")
        await settle(pilot, lambda: isinstance(pilot.app.screen, NewRunScreen))
        form = pilot.app.screen
        await settle(pilot, lambda: form.query("#documents"))
        assert form.query_one("#documents", Input).value == "/docs/dspy-guide.txt"
        assert form.query_one("#model", Input).value == "openai/gpt-5-mini"

    drive(make_app(), scenario)


def test_a_library_that_cannot_be_kept_is_told_in_the_frame(home: Path, make_app: Make) -> None:
    home.parent.joinpath("home").write_text("a file where the folder should be")

    async def scenario(pilot) -> None:
        await shown(pilot)
        assert "index of runs can't be kept" in screen_text(pilot.app)

    drive(make_app(), scenario)


def test_ten_thousand_rows_are_drawn_a_screenful_at_a_time(library: Path, make_app: Make) -> None:
    from dataclasses import replace

    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        drawn = []
        cells = table.cells_of
        table.cells_of = lambda place: drawn.append(place) or cells(place)  # type: ignore[method-assign]
        row = table._rows[0]
        table.show([replace(row, path=Path(str(n))) for n in range(10_000)], "when", True)
        table.action_last()
        await pilot.pause()
        assert table.place == 9999
        assert 0 < len(drawn) < 200

    drive(make_app(), scenario)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-03-02T10:42:00Z", "10:42"),
        ("2026-03-01T23:59:00Z", "yesterday"),
        ("2026-02-27T08:58:00Z", "Fri 08:58"),
        ("2026-01-05T08:58:00Z", "05 Jan"),
        ("2024-01-05T08:58:00Z", "05 Jan 24"),
        ("2026-03-03T00:00:00Z", "03 Mar"),
        ("soon", ""),
    ],
)
def test_a_time_is_said_as_far_as_it_is_near(moment: str, words: str) -> None:
    assert when(moment, NOON) == words


def test_many_documents_are_said_by_what_they_share() -> None:
    assert documents(()) == ""
    assert documents(("a/b.txt",)) == "b.txt"
    assert documents(("logs/1.txt", "logs/2.txt")) == "logs/ · 2 files"
    assert documents(("a.txt", "b/c.txt", "d.txt")) == "a.txt +2"
    assert "\x1b" not in documents(("\x1b[2J.txt",))


def test_a_sparkline_keeps_the_tallest_of_many() -> None:
    bars, words = sparkline([1.0] * 499 + [9.0])
    assert len(bars[0]) == 48
    assert bars[0][-1] == "█"
    assert words[0].strip() == "longest iteration 9.0s"
    assert sparkline([0.0, 0.0])[0][0] == "▁▁"


def events(*more: ev.Event, end: ev.RunFinished | None = None) -> list[str]:
    return remarks(fold_all(stamped([run_started(), *more, *([end] if end else [])])))


def test_remarks_tell_what_failed() -> None:
    broken = ev.CallFinished(span="c", error=ev.Failure(type="RateLimit", message="429"))
    call = ev.CallStarted(span="c", type="sub_llm", function="llm_query", prompt="x" * 200_000)
    found = events(*iteration(1, error="Optimizers"), call, broken, end=finished())
    assert found == ["1 of 1 calls failed, first: 429", "iteration 1 failed (KeyError)"]


def test_the_place_of_a_quote_is_muted_in_the_preview() -> None:
    shown = answer_content("It is said:\n“Retry for 45 minutes.” (guide.md:502, Uploads)\nNo more.")
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["(guide.md:502, Uploads)"]
    assert shown.spans[0].style == "$muted"


def test_remarks_bound_what_was_looked_at_by_what_was_sent_and_printed() -> None:
    call = ev.CallStarted(span="c", type="sub_llm", function="llm_query", prompt="x" * 27_800)
    assert "at most 10% of the text was printed or sent to a sub-LLM; the rest was seen by code only" in events(
        *iteration(1), call, end=finished()
    )


def test_remarks_say_when_no_sub_llm_was_asked_and_when_the_operator_helped() -> None:
    hint, edit = ev.Operator(action="hint", text="look"), ev.Operator(action="edit", text="x")
    found = events(*iteration(1), hint, hint, edit, end=finished())
    assert "no sub-LLM was asked: the answer rests on what the code printed" in found
    assert "by the operator: code changed, hint given twice" in found


def test_remarks_say_what_the_planner_did_not_see() -> None:
    started = ev.ExecutionStarted(iteration=1, span="x", code="print()")
    done = ev.ExecutionFinished(
        iteration=1, span="x", outcome="ok", stdout_chars=200_000, shown_to_planner=ev.Shown(head=5000, tail=5000)
    )
    found = events(ev.IterationStarted(iteration=1, of=9, span="i"), started, done, end=finished())
    assert "the planner did not see 190k characters that its code printed" in found


def test_a_run_without_a_blemish_has_no_remarks() -> None:
    call = ev.CallStarted(span="c", type="sub_llm", function="llm_query", prompt="x" * 200_000)
    assert events(*iteration(1), call, end=finished()) == []


@pytest.mark.parametrize(
    ("differ", "seen"),
    [({"planner": "openai/o9-mini"}, "o9-mini"), ({"document": "two.md"}, "two.md"), ({"task": "sum-up"}, "sum-up")],
)
def test_a_narrow_table_shows_what_tells_runs_of_one_question_apart(
    home: Path, make_app: Make, differ: dict[str, str], seen: str
) -> None:
    for number in (1, 2):
        more = differ if number == 2 else {}
        started = run_started(f"{number:010x}", "How many?", f"2026-03-02T{number:02}:00:00Z", **more)
        write_run(home / "runs" / "2026-03-02" / f"{number:02}.jsonl", [started, finished()])

    async def scenario(pilot) -> None:
        _, table = await shown(pilot)
        first, second = (table.render_line(y).text for y in (1, 2))
        assert seen in first
        assert seen not in second
        assert "How many?" in first

    drive(make_app(), scenario, size=(80, 24))
