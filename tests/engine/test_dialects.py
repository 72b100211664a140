"""An answer that was cut off, in every provider's protocol: the planner's, a sub-call's, the extraction's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet_rlm import events as ev
from fleet_rlm.spec import Budgets
from tests.dialect_server import DialectServer
from tests.engine.conftest import Running, Start
from tests.engine.scripted import action
from tests.model_server import Reply

DONE = action("done", "SUBMIT(answer='fine')")
HALF = Reply(action("look", "print('half')")[:-30], finish="length")
DIALECTS = {
    "chat": ("openai/gpt-4o-mini", "/v1", "/chat/completions"),
    "responses": ("openai/responses/gpt-4o-mini", "/v1", "/responses"),
    "anthropic": ("anthropic/claude-sonnet-4-5", "", "/messages"),
    "gemini": ("gemini/gemini-2.5-flash", "/v1beta", "enerateContent"),
    "ollama": ("ollama_chat/llama3.2", "", "/v1/chat/completions"),
    "vllm": ("hosted_vllm/qwen3", "/v1", "/chat/completions"),
}
each = pytest.mark.parametrize("dialect", DIALECTS)


def answered(
    dialect: str, script: Callable[[str], Reply | str], start: Start, monkeypatch: pytest.MonkeyPatch, **run: object
) -> tuple[Running, ev.RunFinished, DialectServer]:
    model, path, asked = DIALECTS[dialect]
    with DialectServer(script) as server:
        for name, value in {"MODEL": model, "API_BASE": server.url + path}.items():
            monkeypatch.setenv(f"DSPY_LM_{name}", value)
        monkeypatch.setenv("DSPY_LLM_API_KEY", "test-key-0123456789")
        running = start(None, **run)
        done = running.finished(60)
    assert server.asked
    assert all(asked in path for path, _ in server.asked), [path for path, _ in server.asked]
    return running, done, server


def role(text: str) -> str:
    if "extract the final outputs" in text:
        return "extraction"
    return "planner" if "repl_history" in text else "sub"


@each
def test_a_cut_step_is_never_run_and_is_asked_for_again(
    dialect: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies = [HALF, DONE]
    run, done, _ = answered(dialect, lambda _: replies.pop(0), start, monkeypatch)
    assert (done.status, done.outputs) == ("submitted", {"answer": "fine"})
    assert [event.code for event in run.of(ev.ExecutionStarted)] == ["SUBMIT(answer='fine')"]
    marked = [retry.error.type for retry in run.of(ev.ModelRetrying)]
    marked += [step.error.type for step in run.of(ev.PlannerFinished) if step.error]
    assert marked == ["AnswerCut"]


@each
def test_a_cut_step_that_may_not_be_longer_is_marked_and_the_planner_is_told(
    dialect: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "600")
    heard: list[str] = []

    def script(text: str) -> Reply | str:
        heard.append(text)
        return HALF if len(heard) == 1 else DONE

    run, done, _ = answered(dialect, script, start, monkeypatch)
    assert done.outputs == {"answer": "fine"}
    assert [step.cut for step in run.of(ev.PlannerFinished)] == [True, False]
    assert "cut off at the limit of 600 tokens" in heard[1]


@each
def test_a_cut_sub_call_says_so_to_the_code_that_asked(
    dialect: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "600")
    ask = action("ask", "SUBMIT(answer=llm_query('What is it?'))")
    half = Reply("half a sen", finish="length")
    run, done, _ = answered(dialect, lambda text: half if role(text) == "sub" else ask, start, monkeypatch)
    assert done.outputs["answer"].startswith("half a sen\n\n[The answer was cut off here")
    assert run.of(ev.CallFinished)[0].cut


@each
def test_a_cut_extraction_is_asked_for_again_with_more_room_or_marked(
    dialect: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = "[[ ## answer ## ]]\nfrom what is known\n\n[[ ## completed ## ]]"
    extractions = [Reply("[[ ## answer ## ]]\nfrom wh", finish="length"), whole]

    def script(text: str) -> Reply | str:
        return extractions.pop(0) if role(text) == "extraction" else action("look", "print('on')")

    run, done, _ = answered(dialect, script, start, monkeypatch, budgets=Budgets(max_iterations=1))
    assert done.status == "extracted"
    again = [retry for retry in run.of(ev.ModelRetrying) if retry.error.type == "AnswerCut"]
    assert (done.outputs == {"answer": "from what is known"} and again) or run.of(ev.ExtractionFinished)[0].cut


@each
@pytest.mark.parametrize("half", ["[[ ## pages ## ]]\n[1, 2", "Let me see: the pages", ""])
def test_an_extraction_that_is_always_cut_fails_with_the_limit_and_what_to_set(
    dialect: str, half: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "600")

    def script(text: str) -> Reply | str:
        return Reply(half, finish="length") if role(text) == "extraction" else action("look", "print('on')")

    wanted = {"signature": "context, question -> pages: list[int]", "budgets": Budgets(max_iterations=1)}
    _, done, _ = answered(dialect, script, start, monkeypatch, **wanted)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.type == "AnswerCut"
    thought = "" if half else ", all used to think"
    assert done.error.message == f"the final answer was cut off at its limit of 600 output tokens{thought}"
    assert "Set DSPY_LM_MAX_TOKENS to more than 600" in (done.error.hint or "")
