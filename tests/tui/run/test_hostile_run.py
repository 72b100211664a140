"""No byte of a model, a document or a sandbox acts on the terminal: every pane of the Run screen in a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_rlm import events as ev
from tests.terminal import Terminal
from tests.tui.sample_runs import write_run
from tests.tui.synthetic import Script
from tests.tui.test_safety import HOSTILE, TUI, assert_nothing_acted

LONG = "x" * 1_000_000


def assert_frames_stand(terminal: Terminal, first: int, last: int) -> None:
    """Between these lines every line begins and ends with a frame, cell by cell."""
    for number in range(first, last + 1):
        line = terminal.screen.buffer[number]
        ends = line[0].data, line[terminal.screen.columns - 1].data
        assert ends[0] in "│╭╰", f"line {number} is pushed: {terminal.screen.display[number]!r}"
        assert ends[1] in "│╮╯", f"line {number} is pushed: {terminal.screen.display[number]!r}"


def hostile_run(document: Path) -> list[ev.AnyEvent | ev.Unknown]:
    """Everything that a model, a document, a sandbox or a person can put into a run."""
    failure = ev.Failure(type=HOSTILE, message=HOSTILE, line=1, traceback=f"{HOSTILE}\n{HOSTILE}", hint=HOSTILE)
    run = Script()
    run.start(HOSTILE, [document])
    run.add(ev.Notice(level="warning", text=HOSTILE))
    run.add(ev.SandboxStarting(backend=HOSTILE, what=HOSTILE))
    run.add(ev.SandboxReady(backend=HOSTILE, id=HOSTILE, seconds=0.1, isolation=HOSTILE, mode=HOSTILE,
                            proven=(HOSTILE,), not_protected=(HOSTILE,)))  # fmt: skip
    for number in (1, 2):
        code = f"df[cols] = '{HOSTILE}'\n[/nope]\n{HOSTILE}\n"
        run.add(ev.IterationStarted(iteration=number, span=f"i{number}", of=20))
        prompt = (ev.Message(role=HOSTILE, content=HOSTILE),)
        run.add(ev.PlannerStarted(iteration=number, span=f"p{number}", parent=f"i{number}", prompt=prompt,
                                  model=HOSTILE))  # fmt: skip
        run.add(ev.PlannerFinished(iteration=number, span=f"p{number}", reasoning=f"{HOSTILE}\n\n", code=code))
        span = run.execute(number, code, origin="operator")
        run.add(ev.Operator(action="hint", text=HOSTILE))
        run.output(span, number, f"{HOSTILE}\n{LONG}\n")
        run.output(span, number, HOSTILE, "stderr")
        for place, kind in enumerate(("sub_llm", "tool", "sub_agent", "batch")):
            call = f"c{number}.{place}"
            run.add(ev.CallStarted(iteration=number, span=call, parent=span, type=kind, function=HOSTILE,
                                   prompt=HOSTILE, arguments={HOSTILE: [HOSTILE]}, model=HOSTILE))  # fmt: skip
            error = failure if kind == "tool" else None
            run.add(ev.CallFinished(iteration=number, span=call, answer={HOSTILE: HOSTILE}, error=error))
        run.add(ev.Operator(action="eval", text=HOSTILE, result=HOSTILE))
        run.finish(span, number, "error", failure, value=HOSTILE, shown_to_planner=ev.Shown(head=10))
        variable = ev.Variable(name=HOSTILE, type=HOSTILE, size=1, preview=HOSTILE)
        run.add(ev.Variables(iteration=number, span=span, added=(variable,), removed=(f"{HOSTILE}2",)))
    run.add(ev.Imported(source=HOSTILE, lost={HOSTILE: HOSTILE}))
    run.add(ev.ExtractionStarted(span="e", why=HOSTILE))
    outputs = {HOSTILE: HOSTILE, "table": [{HOSTILE: HOSTILE}], "tree": {HOSTILE: {HOSTILE: [HOSTILE]}}, "long": LONG}
    run.end("failed", outputs, error=failure, reason=HOSTILE)
    run.events.append(ev.Unknown(kind=HOSTILE, seq=len(run.events), t=run.t, fields={HOSTILE: HOSTILE}))
    return run.events


@pytest.fixture
def hostile_file(home: Path, tmp_path: Path) -> Path:
    document = tmp_path / f"{HOSTILE.replace('/', '∕').replace(chr(0xD800), '').replace(chr(0), '')[:60]}.txt"
    document.write_text(f"{HOSTILE}\n{LONG}\n".replace("\ud800", "") * 3, errors="replace")
    path = tmp_path / "hostile.jsonl"
    write_run(path, hostile_run(document))
    return path


@pytest.mark.parametrize(("columns", "lines"), [(120, 40), (80, 24)])
def test_a_hostile_run_acts_on_nothing_in_any_pane(hostile_file: Path, columns: int, lines: int) -> None:
    with Terminal((*TUI, str(hostile_file)), columns, lines) as terminal:
        terminal.wait("FAILED")
        for pane in "1234567":
            terminal.press(pane, "g", "j", "w", "j", "G", "w")
            terminal.pump(0.1)
            assert_frames_stand(terminal, 2, lines - 3)
        terminal.press("2", "p")
        terminal.pump(0.2)
        assert_frames_stand(terminal, 2, lines - 3)
        terminal.press("p", "4", "g", "down", "enter")
        terminal.pump(0.2)
        for keys, title in ((("7", "g", "enter"), "Event"), (("5", "enter"), "Variable"), (("a",), "About this run")):
            terminal.press(*keys)
            terminal.wait(f"{title}.*╮")
            terminal.wait("o pager · esc close")
            terminal.press("w", "G", "q")
            terminal.wait("o pager · esc close", absent=True)
        terminal.press("3", "/", *"df[cols]", "enter")
        terminal.wait(r"\d of \d+")
        assert_frames_stand(terminal, 2, lines - 3)
        terminal.press("[", "[", "[")
        terminal.wait("REPLAY")
        terminal.press("?")
        terminal.wait("Keys of this screen")
        terminal.press("q", "ctrl+q")
        assert terminal.wait_exit() == 0
        assert_nothing_acted(terminal)
