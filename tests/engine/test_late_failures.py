"""After a good step, whatever fails leads to an answer from what is known; prompts are kept within the window."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from dspy import lm15
from dspy.primitives.repl_types import REPLHistory

from fleet_rlm import events as ev
from fleet_rlm.engine.models.context_windows import PromptTooLong, Window, is_overflow
from fleet_rlm.engine.models.model_facts import estimated_tokens
from fleet_rlm.engine.models.model_settings import ModelSettings
from fleet_rlm.engine.run.history import HistoryShortener
from tests.engine.conftest import Start
from tests.engine.scripted import Script, action

LOOK = action("look", "found = 'lot 42'\nprint(found)")
DONE = action("done", "SUBMIT(answer='fine')")
TOO_LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9120 tokens."


class Windowed(Script):
    """A script whose models have a window, as the settings say it."""

    window = 8192

    def models(self) -> tuple[ModelSettings, ModelSettings]:
        planner, _ = super().models()
        settings = dataclasses.replace(planner, context_window=self.window, max_tokens=500)
        return settings, settings


@pytest.mark.parametrize(
    "failure",
    [
        lm15.AuthError("the key was revoked", status=401),
        lm15.BillingError("no credit left", status=402),
        lm15.ProviderError("the provider's content filter withheld the answer"),
        lm15.ContextLengthError(TOO_LONG, status=400),
        lm15.InvalidRequestError("the request exceeds the available context size", status=400),
        "nonsense",
    ],
)
def test_a_late_failure_leads_to_an_answer_from_the_steps_so_far(start: Start, failure: Exception | str) -> None:
    done = start(Script([LOOK, failure])).finished()
    assert (done.status, done.outputs) == ("extracted", {"answer": "extracted"})
    assert "planner" in done.reason


def test_a_failure_without_an_answer_names_the_steps_and_variables(start: Start) -> None:
    gone = lm15.AuthError("the key was revoked", status=401)
    done = start(Script([LOOK, gone], extract=gone)).finished()
    assert (done.status, done.outputs) == ("failed", {})
    assert done.error is not None
    assert done.error.type == "LMAuthError"
    assert "found = 'lot 42'" in done.reason


def test_a_failure_before_anything_is_known_fails_the_run_at_once(start: Start) -> None:
    run = start(Script([lm15.AuthError("no such key", status=401)]))
    assert run.finished().status == "failed"
    assert not run.of(ev.ExtractionStarted)


def test_a_sub_agent_whose_planner_gives_up_answers_from_its_steps(start: Start) -> None:
    nested = action("nest", "import dspy\nprint(dspy.RLM('context -> answer')(context='x').answer)")
    run = start(Script([nested, LOOK, lm15.ProviderError("withheld"), DONE]))
    assert run.finished().status == "submitted"
    assert run.state().output[-1].text == "extracted\n"


def test_the_history_is_shortened_before_it_overflows_and_that_is_recorded(start: Start) -> None:
    long = action("look", "print('the lot is 42 and the yard is 7. ' * 280)")
    script = Windowed([long] * 6 + [DONE])
    run = start(script)
    assert run.finished().status == "submitted"
    events = run.of(ev.HistoryShortened)
    assert events
    assert all(event.chars_after < event.chars_before for event in events)
    assert max(estimated_tokens(prompt) for prompt in script.prompts) < 8192
    assert "left out here, to fit the context window" in script.prompts[-1]
    shown = [it.shortened for it in run.state().iterations if it.shortened]
    assert shown == list(events)


def test_the_planner_goes_on_after_an_overflow_that_nobody_could_foresee(start: Start) -> None:
    full = lm15.ContextLengthError(TOO_LONG, status=400)
    long = action("look", "print('lot 42 ' * 1400)")
    script = Script([long, long, full, DONE])
    assert start(script).finished().status == "submitted"
    assert len(script.prompts[3]) < len(script.prompts[2])


def test_a_sub_call_that_cannot_fit_is_refused_before_it_is_sent(start: Start) -> None:
    code = "try:\n    llm_query('word ' * 40_000)\nexcept Exception as error:\n    print(error)\n"
    code += "print(llm_query_batched(['short', 'word ' * 40_000]))"
    script = Windowed([action("ask", code), DONE])
    run = start(script)
    assert run.finished().status == "submitted"
    assert script.subs == ["short"]
    printed = "".join(chunk.text for chunk in run.state().output)
    assert "Not sent: the prompt is about 40," in printed
    assert "[ERROR]" in printed


def test_the_planner_is_told_the_real_sizes(start: Start) -> None:
    script = Windowed([DONE])
    systems: list[str] = []
    complete = script.complete

    def heard(request: lm15.Request) -> lm15.Response:
        systems.append(str(request.system))
        return complete(request)

    script.complete = heard  # type: ignore[method-assign] # the script, listened to
    start(script).finished()
    assert "500K" not in systems[0]
    assert "a prompt may have about 7,446 tokens" in systems[0]
    assert "may have at most 500 tokens" in systems[0]


# -- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "size"),
    [
        (TOO_LONG, 8192),
        ("prompt is too long: 208310 tokens > 200000 maximum", 200_000),
        ("The input token count (1068576) exceeds the maximum number of tokens allowed (1048576).", 1_048_576),
        ("This model's maximum prompt length is 131072 but the request contains 131081 tokens.", 131_072),
        ("the request exceeds the available context size (4096 tokens), try increasing it", 4096),
        ("This model's maximum context length is 32,768 tokens; you requested 40,000 tokens", 32_768),
    ],
)
def test_a_provider_s_error_tells_the_window(said: str, size: int) -> None:
    window = Window(ModelSettings(model="openai/no-such-model"))
    window.learn(lm15.ContextLengthError(said, status=400), "word " * size)
    assert window.size == size
    assert window.tokens("word " * size) >= size


def test_a_server_that_counts_the_answer_in_does_not_make_the_prompt_look_longer() -> None:
    said = "maximum context length is 8192 tokens. However, you requested 12282 tokens (4090 in the messages, 8192 in"
    window = Window(ModelSettings(model="openai/no-such-model"))
    window.learn(lm15.ContextLengthError(said + " the completion).", status=400), "word " * 4090)
    assert window.size == 8192
    assert window.tokens("word " * 4090) == 4090


def test_an_error_without_figures_tells_that_this_prompt_is_too_long() -> None:
    window = Window(ModelSettings(model="openai/no-such-model"))
    window.learn(lm15.ContextLengthError("Please reduce the length of the messages.", status=400), "word " * 9000)
    assert window.room is not None
    assert window.room < 9000
    with pytest.raises(PromptTooLong):
        window.check("word " * 20_000)


def test_other_errors_say_nothing_of_the_window() -> None:
    assert not is_overflow(lm15.RateLimitError("maximum context", status=429))
    assert not is_overflow(lm15.InvalidRequestError("max_tokens is too large: 99999", status=400))


def _histories() -> Iterator[REPLHistory]:
    for outputs in ([10_000] * 8, [50] * 200, [10], [100_000], [10, 90_000, 10, 9000], [0, 0]):
        history = REPLHistory()
        for number, chars in enumerate(outputs):
            history = history.append(reasoning="I look. " * 20, code=f"print({number})", output="word " * (chars // 5))
        yield history


@pytest.mark.parametrize("room", [300, 1000, 5000])
@pytest.mark.parametrize("history", _histories())
def test_a_history_is_made_to_fit_with_its_newest_step_last_to_go(history: REPLHistory, room: int) -> None:
    shortened = HistoryShortener()
    shortened.fit(history, room, estimated_tokens)
    shown = shortened.of(history)
    assert estimated_tokens(shown.format()) <= room
    assert f"print({len(history.entries) - 1})" in shown.format()
    assert not shortened.fit(history, room, estimated_tokens)
