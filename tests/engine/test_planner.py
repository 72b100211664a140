"""What a run makes of its planner's answers: unreadable ones, rejected submissions, limits, sub-agents."""

from __future__ import annotations

import threading

import pytest
from dspy import lm15

from fleet_rlm import events as ev
from fleet_rlm import spec
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action
from tests.model_server import ModelServer, planner

DONE = action("done", "SUBMIT(answer='fine')")
FENCE = "`" * 3


def test_an_answer_that_cannot_be_read_is_asked_for_again_with_a_note(start: Start) -> None:
    script = Script(["no fields at all", DONE])
    run = start(script)
    assert run.finished().status == "submitted"
    first, second = run.of(ev.PlannerFinished)
    assert first.error is not None
    assert (first.error.type, first.text) == ("Unreadable", "no fields at all")
    assert second.error is None
    assert "could not be used" in script.prompts[1]
    assert [it.number for it in run.state().iterations] == [1]


def test_garbage_for_ever_leads_to_the_extraction(start: Start) -> None:
    run = start(Script(["garbage"]))
    done = run.finished()
    assert (done.status, done.outputs) == ("extracted", {"answer": "extracted"})
    assert "could not be read 3 times in a row" in done.reason
    assert len(run.of(ev.PlannerFinished)) == 3


def test_garbage_instead_of_an_extraction_too_fails_and_says_so(start: Start) -> None:
    done = start(Script(["garbage"], extract="{}")).finished()
    assert (done.status, done.outputs) == ("failed", {})
    assert done.error is not None
    assert "could not be read 3 times in a row" in done.error.message
    assert "stronger model" in (done.error.hint or "")


def test_code_in_another_language_is_asked_for_again_and_never_runs(start: Start) -> None:
    script = Script([action("shell", "ls").replace("python", "bash"), DONE])
    run = start(script)
    assert run.finished().status == "submitted"
    assert [event.code for event in run.of(ev.ExecutionStarted)] == ["SUBMIT(answer='fine')"]
    assert "not bash" in script.prompts[1]


def test_code_that_holds_fences_itself_runs_whole(start: Start) -> None:
    code = f"parts = 'a{FENCE}b{FENCE}c'.split('{FENCE}')\nprint(parts)"
    run = start(Script([action("split", code), DONE]))
    run.finished()
    assert run.of(ev.ExecutionStarted)[0].code == code
    assert run.state().output[0].text == "['a', 'b', 'c']\n"


def test_a_submission_of_the_wrong_type_is_rejected_with_the_reason_and_the_run_goes_on(start: Start) -> None:
    wrong = action("wrong", "SUBMIT(pages='many')")
    right = action("right", "SUBMIT(pages=3)")
    run = start(Script([wrong, right]), signature="context, question -> pages: int")
    assert run.finished().outputs == {"pages": 3}
    rejected, accepted = run.of(ev.Submitted)
    assert "pages: expected int" in (rejected.rejected or "")
    assert accepted.outputs == {"pages": 3}
    assert [it.status for it in run.state().iterations] == ["error", "submitted"]


def test_the_limit_of_iterations_forces_the_answer_out(start: Start) -> None:
    run = start(Script([action("look", "print(1)")]), budgets=spec.Budgets(max_iterations=2))
    done = run.finished()
    assert (done.status, done.outputs) == ("extracted", {"answer": "extracted"})
    assert done.reason == "the limit of 2 iterations is reached"
    assert run.of(ev.ExtractionFinished)[0].usage is not None
    assert done.totals.input_tokens == sum(
        event.usage.input
        for event in run.heard
        if isinstance(event, ev.PlannerFinished | ev.ExtractionFinished) and event.usage
    )


def test_an_extraction_that_cannot_be_read_is_asked_for_again_as_json(start: Start) -> None:
    script = Script([action("look", "print(1)")], extract="nothing of use")
    answers = iter(["nothing of use", '{"answer": "from json"}'])
    complete = script.complete

    def twice(request: lm15.Request) -> lm15.Response:
        if "extract the final outputs" in str(request.system) + (request.messages[-1].text or ""):
            script.extract = next(answers)
        return complete(request)

    script.complete = twice  # type: ignore[method-assign] # the script's second answer differs
    done = start(script, budgets=spec.Budgets(max_iterations=1)).finished()
    assert done.outputs == {"answer": "from json"}


def test_output_that_the_planner_was_not_shown_is_marked(start: Start) -> None:
    run = start(Script([action("long", "print('x' * 30_000)"), DONE]))
    run.finished()
    finished = run.of(ev.ExecutionFinished)[0]
    assert finished.stdout_chars == 30_001
    assert finished.shown_to_planner == ev.Shown(head=5_000, tail=5_000)


def test_output_that_was_shown_whole_counts_as_seen_to_its_last_newline(start: Start) -> None:
    run = start(Script([action("short", "print('seen')"), DONE]))
    run.finished()
    finished = run.of(ev.ExecutionFinished)[0]
    assert finished.shown_to_planner == ev.Shown(head=finished.stdout_chars)


def test_a_prompt_is_stored_once_and_read_back_whole(start: Start) -> None:
    script = Script([action("one", "print('a' * 5000)"), action("two", "print(2)"), DONE])
    run = start(script)
    run.finished()
    prompts = [planner.prompt[-1][1] for it in run.state().iterations for planner in it.planners]
    assert prompts == script.prompts
    stored = [sum(len(message.content) for message in event.prompt) for event in run.of(ev.PlannerStarted)]
    assert stored[2] < stored[0] / 4


def test_a_sub_agent_is_a_row_with_its_calls_below_it(start: Start) -> None:
    code = "import dspy\nprint(dspy.Predict('text -> mood')(text='hurray').mood)"
    script = Script([action("mood", code), DONE], sub=lambda _: "[[ ## mood ## ]]\nglad\n\n[[ ## completed ## ]]")
    run = start(script)
    done = run.finished()
    agent, call = run.state().calls
    assert (agent.type, agent.function, agent.arguments) == ("sub_agent", "Predict", {"text": "hurray"})
    assert (call.type, call.parent, call.depth) == ("sub_llm", agent.span, 1)
    assert agent.finished is not None
    assert agent.finished.answer == {"mood": "glad"}
    assert done.totals.calls == 1


def test_a_nested_language_model_has_its_own_iterations_gate_and_budget(start: Start) -> None:
    nested = action("nest", "import dspy\nr = dspy.RLM('context -> answer', max_iters=5)(context='x')\nprint(r.answer)")
    inner = action("inner", "print('inside')\nx = llm_query('deep')")
    answer = action("inner done", "SUBMIT(answer='from below')")
    script = Script([nested, inner, answer, DONE])
    run = start(script, breakpoints=spec.Breakpoints(code_pattern="inside"))
    waiting = run.wait_at("code")
    assert "inside" in waiting.code
    run.send(spec.Continue())
    done = run.finished()
    state = run.state()
    agent = state.calls[0]
    assert [it.number for it in state.iterations] == [1, 2]
    assert [it.status for it in agent.iterations] == ["ok", "submitted"]
    assert state.output[0].text == "from below\n"
    assert [chunk.text for chunk in agent.iterations[0].executions[0].chunks] == ["inside\n"]
    assert [call.prompt for call in state.calls if call.type == "sub_llm"] == ["deep"]
    assert done.totals.iterations == 2
    assert run.session.spending.calls == 3  # two thoughts of the nested planner, and its one call


def test_finishing_ends_a_nested_language_model_too(start: Start) -> None:
    nested = action("nest", "import dspy\nr = dspy.RLM('context -> answer')(context='x')\nprint(r.answer)")
    run = start(Script([nested, action("spin", "while True: pass")]))
    run.wait_for(ev.ExecutionStarted, 2)
    run.send(spec.Finish())
    done = run.finished(5)
    assert (done.status, done.outputs) == ("stopped", {"answer": "extracted"})


def test_sub_calls_over_budget_are_refused_in_words_that_the_planner_reads(start: Start) -> None:
    code = "llm_query('a')\nprint(llm_query_batched(['b', 'c', 'd']))"
    script = Script([action("ask", code), action("again", "llm_query('e')\nllm_query('f')"), DONE])
    run = start(script, budgets=spec.Budgets(max_llm_calls=2))
    done = run.finished()
    assert script.subs == ["a", "e"]
    assert (done.status, done.totals.calls) == ("submitted", 3)
    assert "exceed" in script.prompts[1]
    assert "Refused: a batch of 3 exceeds the 1 call left of the budget of 2" in script.prompts[1]
    assert "exceed" in script.prompts[2]
    assert any("budget of 2 sub-LLM calls does not hold 3 more calls" in notice.text for notice in run.of(ev.Notice))


def test_tokens_over_budget_finish_the_run_with_the_reason(start: Start) -> None:
    run = start(Script([action("look", "print(1)")]), budgets=spec.Budgets(max_tokens=2_500))
    done = run.finished()
    assert (done.status, done.reason) == ("extracted", "the budget of 2,500 tokens is spent but for the final answer")
    assert done.outputs == {"answer": "extracted"}
    assert done.totals.iterations <= 3


def test_seconds_over_budget_interrupt_the_running_cell_and_finish(start: Start) -> None:
    run = start(Script([action("spin", "while True: pass")]), budgets=spec.Budgets(max_seconds=0.5))
    done = run.finished(5)
    assert (done.status, done.reason) == ("extracted", "the budget of 0.5 s is spent")
    assert done.totals.seconds < 3


def test_dollars_over_budget_finish_the_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer(planner([action("ask", "print(llm_query('x' * 100_000))")])) as server:
        for name, value in server.environment("openai/gpt-4o-mini").items():
            monkeypatch.setenv(name, value)
        done = start(None, budgets=spec.Budgets(max_cost_usd=0.003)).finished()
    assert (done.status, done.reason) == ("extracted", "the budget of $0.003 is spent but for the final answer")
    assert done.totals.cost_usd is not None
    assert done.totals.cost_usd <= 0.003


def test_a_cell_over_its_time_is_interrupted_and_the_planner_is_told(start: Start) -> None:
    script = Script([action("spin", "kept = 1\nwhile True: pass"), DONE])
    run = start(script, cell_seconds=0.3)
    assert run.finished().status == "submitted"
    assert run.of(ev.ExecutionFinished)[0].outcome == "timeout"


def test_two_runs_in_one_process_may_not_mix_their_spans(start: Start) -> None:
    first, second = (start(Script([action("x", "print(llm_query('q'))"), DONE])) for _ in range(2))
    first.finished()
    second.finished()
    spans = [{event.span for event in run.heard if event.span} for run in (first, second)]
    assert not spans[0] & spans[1]
    parents = [{event.parent for event in run.heard if event.parent} for run in (first, second)]
    assert parents[0] <= spans[0]
    assert parents[1] <= spans[1]


def test_the_planner_thinks_while_the_sandbox_starts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    thinking = threading.Event()
    begin = LocalInterpreter.start

    def late(self: LocalInterpreter) -> None:
        assert thinking.wait(10), "the planner was not asked while the sandbox started"
        begin(self)

    def first(_prompt: str) -> str:
        thinking.set()
        return DONE

    monkeypatch.setattr(LocalInterpreter, "start", late)
    run = start(Script([first]))
    assert run.finished().status == "submitted"
    assert run.of(ev.PlannerStarted)[0].seq < run.of(ev.SandboxReady)[0].seq
    assert [event.name for event in run.of(ev.InputSent)] == ["context", "question"]
