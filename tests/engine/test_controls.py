"""What a person can do to a running run, each seen in its record."""

from __future__ import annotations

import sys
import time

import pytest

from fleet_rlm import events as ev
from fleet_rlm import spec
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action
from tests.model_server import ModelServer, planner
from tests.waiting import until

DONE = action("done", "SUBMIT(answer='fine')")
LOOP = action("spin", "while True: pass")


def test_a_run_submits_what_its_planner_submits(start: Start) -> None:
    script = Script([action("look", "print(len(context))\nx = llm_query('what?')\nprint(x)"), DONE])
    run = start(script)
    done = run.finished()
    assert (done.status, done.outputs) == ("submitted", {"answer": "fine"})
    assert (done.totals.iterations, done.totals.calls, done.totals.failed_calls) == (2, 1, 0)
    assert [e.seq for e in run.heard] == list(range(len(run.heard)))
    assert isinstance(run.heard[0], ev.RunStarted)
    assert isinstance(run.heard[-1], ev.RunFinished)
    state = run.state()
    assert [it.status for it in state.iterations] == ["ok", "submitted"]
    assert state.iterations[0].code == "print(len(context))\nx = llm_query('what?')\nprint(x)"
    assert "".join(chunk.text for chunk in state.output) == "135\nanswer to what?\n"
    assert state.variables["x"].variable.preview == "'answer to what?'"
    assert state.calls[0].answer == "answer to what?"


def test_a_paused_start_waits_before_the_planner_is_asked(start: Start) -> None:
    script = Script([DONE])
    run = start(script, paused=True)
    assert run.wait_at("planner").why == "started paused"
    assert script.prompts == []
    run.send(spec.Continue())
    assert run.finished().status == "submitted"


def test_a_step_goes_to_the_next_boundary_and_no_further(start: Start) -> None:
    run = start(Script([action("one", "x = 1"), DONE]), paused=True)
    run.wait_at("planner")
    run.send(spec.Step())
    assert run.wait_at("code").code == "x = 1"
    assert run.of(ev.ExecutionStarted) == []
    run.send(spec.Step())
    run.wait_at("planner", 2)
    assert len(run.of(ev.ExecutionFinished)) == 1
    run.send(spec.Continue())
    assert run.finished().status == "submitted"
    assert [e.decision for e in run.of(ev.GateResumed)] == ["step", "step", "continue"]


def test_changed_code_runs_in_place_of_the_planners_and_is_recorded_as_the_operators(start: Start) -> None:
    script = Script([action("one", "x = 'planner'"), action("two", "print(x)"), DONE])
    run = start(script, breakpoints=spec.Breakpoints(code_pattern="planner"))
    run.wait_at("code")
    run.send(spec.Edit(code="x = 'operator'"))
    run.finished()
    first = run.of(ev.ExecutionStarted)[0]
    assert (first.code, first.origin) == ("x = 'operator'", "operator")
    assert [e.origin for e in run.of(ev.ExecutionStarted)[1:]] == ["planner", "planner"]
    assert run.state().output[0].text == "operator\n"
    assert "x = 'operator'" in script.prompts[1]
    assert "x = 'planner'" not in script.prompts[1]


def test_a_hint_stands_in_the_next_prompt_after_everything_else(start: Start) -> None:
    script = Script([action("one", "x = 1"), action("two", "y = 2"), DONE])
    run = start(script, paused=True)
    run.wait_at("planner")
    run.send(spec.Hint(text="look at the end of the text"))
    run.send(spec.Step())
    run.wait_at("code")
    run.send(spec.Continue())
    run.finished()
    assert "look at the end of the text" in script.prompts[0].partition("[[ ## iteration ## ]]")[2]
    assert "look at the end of the text" in script.prompts[1].partition("[[ ## repl_history ## ]]")[2]
    assert run.state().iterations[0].hints == ["look at the end of the text"]


def test_a_retry_asks_the_planner_for_another_version_before_anything_runs(start: Start) -> None:
    script = Script([action("bad", "bad = 1"), action("good", "good = 1"), DONE])
    run = start(script, breakpoints=spec.Breakpoints(code_pattern="bad"))
    run.wait_at("code")
    run.send(spec.Retry(text="use another name"))
    run.finished()
    assert [e.code for e in run.of(ev.ExecutionStarted)] == ["good = 1", "SUBMIT(answer='fine')"]
    assert "use another name" in script.prompts[1]
    assert len(run.state().iterations[0].planners) == 2


def test_stepping_goes_on_after_a_retry_and_a_skip(start: Start) -> None:
    run = start(Script([action("bad", "bad = 1"), action("good", "good = 1"), DONE]), paused=True)
    run.wait_at("planner")
    run.send(spec.Step())
    run.wait_at("code")
    run.send(spec.Retry())
    assert run.wait_at("code", 2).code == "good = 1"
    run.send(spec.Skip())
    run.wait_at("planner", 2)
    assert run.of(ev.ExecutionStarted) == []
    run.send(spec.Continue())
    assert run.finished().status == "submitted"
    assert [e.stepping for e in run.of(ev.GateResumed)] == [True, True, True, False]


def test_a_skipped_cell_does_not_run_and_the_planner_is_told(start: Start) -> None:
    script = Script([action("bad", "bad = 1"), DONE])
    run = start(script, breakpoints=spec.Breakpoints(code_pattern="bad"))
    run.wait_at("code")
    run.send(spec.Skip())
    run.finished()
    assert [e.code for e in run.of(ev.ExecutionStarted)] == ["SUBMIT(answer='fine')"]
    assert "skipped" in script.prompts[1]
    assert run.state().iterations[0].status == "skipped"


def test_finishing_interrupts_the_running_cell_and_forces_the_answer_out(start: Start) -> None:
    run = start(Script([LOOP]))
    run.wait_for(ev.ExecutionStarted)
    run.send(spec.Finish())
    done = run.finished(5)
    assert (done.status, done.outputs, done.reason) == ("stopped", {"answer": "extracted"}, "you finished it")
    assert run.of(ev.ExecutionFinished)[0].outcome == "interrupted"
    assert run.of(ev.ExtractionFinished)[0].outputs == {"answer": "extracted"}
    assert run.of(ev.ExtractionStarted)[0].prompt


def test_finishing_at_the_gate_and_inside_a_planner_call_force_the_answer_out_too(start: Start) -> None:
    paused = start(Script([DONE]), paused=True)
    paused.wait_at("planner")
    paused.send(spec.Finish())
    assert paused.finished(5).status == "stopped"
    script = Script([])
    script.steps = [script.hold]
    thinking = start(script)
    assert script.held.wait(10)
    thinking.send(spec.Finish())
    assert thinking.finished(5).outputs == {"answer": "extracted"}
    script.released.set()


def test_an_interrupt_ends_the_cell_and_the_run_goes_on(start: Start) -> None:
    script = Script([action("spin", "kept = 7\nwhile True: pass"), action("two", "print(kept)"), DONE])
    run = start(script)
    run.wait_for(ev.ExecutionStarted)
    run.send(spec.Interrupt())
    assert run.finished().status == "submitted"
    assert run.of(ev.ExecutionFinished)[0].outcome == "interrupted"
    assert "KeyboardInterrupt" in script.prompts[1]
    assert run.state().output[0].text == "7\n"


def test_an_expression_is_evaluated_in_the_paused_sandbox_and_recorded_apart(start: Start) -> None:
    run = start(Script([action("one", "x = [1, 2, 3]"), DONE]), breakpoints=spec.Breakpoints(code_pattern="SUBMIT"))
    run.wait_at("code")
    run.send(spec.Evaluate(expression="sum(x)"))
    run.send(spec.Evaluate(expression="x[9]"))
    run.wait_for(ev.Operator, 2)
    good, bad = run.of(ev.Operator)
    assert (good.text, good.result) == ("sum(x)", "6")
    assert bad.error is not None
    assert bad.error.type == "IndexError"
    run.send(spec.Continue())
    run.finished()
    assert len(run.of(ev.ExecutionStarted)) == 2


def test_a_big_batch_waits_and_a_sample_sends_only_the_first_prompts(start: Start) -> None:
    batch = action("ask", "answers = llm_query_batched([f'prompt {i % 5}' for i in range(12)])\nprint(answers[-1])")
    script = Script([batch, DONE])
    run = start(script, breakpoints=spec.Breakpoints(fanout=10))
    waiting = run.wait_at("fanout")
    assert waiting.fanout is not None
    assert (waiting.fanout.prompts, waiting.fanout.duplicates, waiting.fanout.chars) == (12, 7, 96)
    assert waiting.fanout.samples == ("prompt 0", "prompt 1", "prompt 2")
    run.send(spec.Sample(count=3))
    run.finished()
    assert sorted(script.subs) == ["prompt 0", "prompt 1", "prompt 2"]
    assert "[NOT SENT]" in run.state().output[0].text


def test_a_refused_batch_sends_nothing_and_the_planner_reads_why(start: Start) -> None:
    script = Script([action("ask", "llm_query_batched(['a', 'b', 'c'])"), DONE])
    run = start(script, breakpoints=spec.Breakpoints(fanout=3))
    run.wait_at("fanout")
    run.send(spec.Skip())
    run.finished()
    assert script.subs == []
    assert "The operator refused this batch of 3" in script.prompts[1]


def test_a_failed_step_is_a_boundary_and_a_retry_there_tells_the_planner(start: Start) -> None:
    script = Script([action("one", "1 / 0"), DONE])
    run = start(script, breakpoints=spec.Breakpoints(on_error=True))
    waiting = run.wait_at("error")
    assert waiting.error is not None
    assert (waiting.error.type, waiting.error.line) == ("ZeroDivisionError", 1)
    run.send(spec.Retry(text="divide by two"))
    run.finished()
    assert "divide by two" in script.prompts[1]


def test_commands_that_mean_nothing_now_say_so_and_change_nothing(start: Start) -> None:
    run = start(Script([DONE]), paused=True)
    run.wait_at("planner")
    for command in (spec.Edit(code="x"), spec.Skip(), spec.Retry(), spec.Sample(), spec.Interrupt()):
        run.send(command)
    for wrong in (
        spec.Breakpoints(code_pattern="("), spec.Breakpoints(code_pattern="(a{999}){999}"), spec.Breakpoints(fanout=0),
        spec.Breakpoints(spend_usd=-1),
    ):  # fmt: skip
        run.send(spec.SetBreakpoints(breakpoints=wrong))
    run.send(spec.Continue())
    assert run.finished().status == "submitted"
    errors = [e.error.message for e in run.of(ev.Operator) if e.error]
    assert errors[0] == "the run waits at `planner`, where this does nothing"
    refused = ("not a regular expression", "too large", "a batch of 0", "a cost of -1")
    assert all(any(words in message for message in errors) for words in refused)
    assert run.state().breakpoints == spec.Breakpoints()
    assert sum("where this does nothing" in notice.text for notice in run.of(ev.Notice)) == 3


def test_a_pattern_that_would_search_for_ever_waits_instead_of_hanging(start: Start) -> None:
    run = start(Script([action("long", f"x = {'a' * 60!r}  # b"), DONE]), paused=True)
    run.wait_at("planner")
    run.send(spec.SetBreakpoints(breakpoints=spec.Breakpoints(code_pattern="(a|a|aa)+$")))
    run.send(spec.Continue())
    assert "takes too long" in run.wait_at("code").why
    run.send(spec.Continue())
    run.finished()


def test_a_returned_answer_holds_no_secret(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBOUR_API_KEY", "quay-9-lantern-77")
    run = start(Script([action("leak", "SUBMIT(answer='the key is quay-9-' + 'lantern-77')")]))
    assert "lantern" not in str(run.finished().outputs)


def test_a_dspy_that_cannot_be_loaded_fails_the_run_in_words(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fleet_rlm.engine.run.drive_rlm", None)
    done = start(None).finished()
    assert done.status == "failed"
    assert done.error is not None
    assert "can't be loaded" in done.error.message
    assert done.error.hint


def test_two_runs_at_once_keep_to_themselves(start: Start) -> None:
    runs = [start(Script([action("x", f"x = {n}\nprint(llm_query('q{n}'))"), DONE])) for n in range(2)]
    for n, run in enumerate(runs):
        assert run.finished().status == "submitted"
        assert run.state().output[0].text == f"answer to q{n}\n"
        assert [call.prompt for call in run.state().calls] == [f"q{n}"]


def test_the_time_that_a_person_takes_is_not_the_runs(start: Start) -> None:
    run = start(Script([DONE]), paused=True, budgets=spec.Budgets(max_seconds=0.4))
    run.wait_at("planner")
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 0.6)  # the person thinks longer than the run may take
    run.send(spec.Continue())
    assert run.finished().status == "submitted"


def test_threads_that_wait_for_one_pause_all_go_on_when_the_person_says_so(start: Start) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(3) as pool:\n"
        "    print(list(pool.map(lambda n: len(llm_query_batched(['a', 'b'])), range(3))))"
    )
    run = start(Script([action("ask", code), DONE]), breakpoints=spec.Breakpoints(fanout=2))
    run.wait_at("fanout")
    run.send(spec.SetBreakpoints(breakpoints=spec.Breakpoints()))
    run.send(spec.Continue())
    assert run.finished().status == "submitted"
    assert run.state().output[0].text == "[2, 2, 2]\n"
    assert len(run.of(ev.GateWaiting)) == 1


def test_a_breakpoint_on_spending_waits_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    script = planner([action("ask", "print(llm_query('x' * 40_000))"), action("look", "print(1)"), DONE])
    with ModelServer(script) as server:
        for name, value in server.environment("openai/gpt-4o-mini").items():
            monkeypatch.setenv(name, value)
        run = start(None, breakpoints=spec.Breakpoints(spend_usd=0.001))
        assert run.wait_for(ev.GateWaiting).why == "breakpoint: the run has cost $0.001"
        run.send(spec.Continue())
        assert run.finished().status == "submitted"
    assert len(run.of(ev.GateWaiting)) == 1


def test_a_note_and_a_bookmark_stand_in_the_record(start: Start) -> None:
    run = start(Script([DONE]), paused=True)
    run.wait_at("planner")
    run.send(spec.Note(text="odd"))
    run.send(spec.Note(text="here", bookmark=True))
    run.send(spec.Continue())
    run.finished()
    assert [(e.action, e.text) for e in run.of(ev.Operator)] == [
        ("note", "odd"),
        ("bookmark", "here"),
        ("continue", ""),
    ]
