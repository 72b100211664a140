"""Model calls through the real client path against a server that streams, stalls and fails."""

from __future__ import annotations

import threading

import pytest

from fleet_rlm import events as ev
from fleet_rlm.engine.models.model_facts import estimated_tokens
from fleet_rlm.engine.models.model_settings import Timeouts
from fleet_rlm.spec import Budgets
from tests.engine.conftest import Running, Start
from tests.engine.scripted import action
from tests.model_server import ModelServer, Reply, Script, error, planner

DONE = action("done", "SUBMIT(answer='fine')")
NOT_JSON = Reply(body=b"<html>not json</html>")
NO_CHOICES = Reply(body=b'{"id": "x", "object": "chat.completion", "model": "m", "choices": []}')


def against(
    script: Script, start: Start, monkeypatch: pytest.MonkeyPatch, model: str = "openai/test-model", **run: object
) -> tuple[Running, ev.RunFinished, ModelServer]:
    with ModelServer(script) as server:
        for name, value in server.environment(model).items():
            monkeypatch.setenv(name, value)
        running = start(None, **run)
        return running, running.finished(), server


def test_a_streamed_answer_arrives_in_pieces_that_add_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    long = action("thinking " * 200, "SUBMIT(answer='fine')")
    run, done, _ = against(planner([long]), start, monkeypatch)
    assert done.status == "submitted"
    assert "".join(delta.text for delta in run.of(ev.PlannerDelta)) == long
    finished = run.of(ev.PlannerFinished)[0]
    assert finished.usage is not None
    assert (finished.model, finished.usage.output) == ("test-model", len(long) // 4)


def test_a_known_models_tokens_have_their_price(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    script = planner([action("ask", "print(llm_query('x' * 4000))"), DONE])
    _, done, _ = against(script, start, monkeypatch, "openai/gpt-4o-mini")
    totals = done.totals
    assert totals.cost_usd == pytest.approx(totals.input_tokens * 0.15e-6 + totals.output_tokens * 0.6e-6)


def test_an_unknown_price_is_unknown_not_zero(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    _, done, _ = against(planner([DONE]), start, monkeypatch)
    assert done.totals.cost_usd is None


def test_tokens_that_the_server_does_not_count_are_estimated_and_say_so(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = against(planner([Reply(DONE, usage=False)]), start, monkeypatch)
    usage = run.of(ev.PlannerFinished)[0].usage
    assert usage is not None
    assert usage.estimated
    assert usage.output == estimated_tokens(DONE)


@pytest.mark.parametrize(
    ("reply", "kind", "says", "hint"),
    [
        (error(401, "Incorrect API key", "invalid_api_key"), "LMAuthError", "401", "DSPY_LLM_API_KEY"),
        (error(429, "quota", "insufficient_quota"), "LMBillingError", "no credit", "billing"),
        (error(404, "no such model", "model_not_found"), "LMUnsupportedModelError", "no such model", "DSPY_LM_MODEL"),
        (
            error(400, "maximum context length is 8", "context_length_exceeded"),
            "ContextWindowExceededError", "context window", "larger context",
        ),
        (error(400, "no such thing"), "LMInvalidRequestError", "no such thing", "DSPY_LM_API_BASE"),
        (error(400, "no such parameter"), "LMInvalidRequestError", "no such parameter", "Leave the setting out"),
        (error(500, "boom"), "LMServerError", "500", "Run again"),
        (error(429, "slow", retry_after="100"), "LMRateLimitError", "429", "rate"),
        (NOT_JSON, "LMError", "not JSON", "DSPY_LM_API_BASE"),
        (Reply(body=b'{"choices": ['), "LMError", "not JSON", "DSPY_LM_API_BASE"),
        (NO_CHOICES, "LMServerError", "no choices", "another model"),
        (Reply(""), "LMServerError", "answered with nothing", "another model"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith(("LM", "Context")) else None,
)  # fmt: skip
def test_a_failing_model_ends_the_run_with_its_cause_and_what_to_do(
    start: Start, monkeypatch: pytest.MonkeyPatch, reply: Reply, kind: str, says: str, hint: str
) -> None:
    run, done, _ = against(planner([reply]), start, monkeypatch)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.type == kind
    assert says.lower() in done.error.message.lower() or says in str(done.error)
    assert hint in (done.error.hint or "") or hint in done.error.message
    assert done.error.traceback is None
    assert run.of(ev.PlannerFinished)[0].error is not None


def test_nothing_that_listens_is_a_failure_that_names_the_address(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MODEL": "openai/x", "API_KEY": "key-0123456789", "API_BASE": "http://127.0.0.1:9/v1"}.items():
        monkeypatch.setenv(f"DSPY_LM_{name}", value)
    done = start(None).finished()
    assert done.error is not None
    assert done.error.type == "LMTransportError"
    assert "127.0.0.1:9" in done.error.message


@pytest.mark.parametrize(
    "failing",
    [
        [error(429, "slow down", retry_after="0.05")],
        [error(500, "boom")],
        [Reply(DONE, cut_after=32)],
        [NO_CHOICES, NO_CHOICES],  # to the stream, and when asked plainly
        [Reply(stall_before=True)],
        [Reply(DONE, stall_after=32)],
    ],
    ids=["429", "500", "cut off", "no choices", "no first token", "stalled"],
)
def test_temporary_failures_are_retried_and_each_wait_is_recorded(
    start: Start, monkeypatch: pytest.MonkeyPatch, failing: list[Reply]
) -> None:
    limits = Timeouts(first_token=0.2, idle=0.2)
    run, done, _ = against(planner([*failing, DONE]), start, monkeypatch, timeouts=limits)
    assert done.status == "submitted"
    retries = run.of(ev.ModelRetrying)
    assert retries
    assert retries[0].span == run.of(ev.PlannerStarted)[0].span
    assert retries[0].delay_seconds <= 0.2
    assert run.of(ev.PlannerFinished)[0].code == "SUBMIT(answer='fine')"


def test_a_wait_that_is_longer_than_our_patience_is_told_with_its_length(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, done, server = against(planner([error(429, "slow down", retry_after="9000")]), start, monkeypatch)
    assert done.error is not None
    assert "slow down. (the provider asks to wait 2 h 30 min, longer than the 0.2 s" in done.error.message
    assert len(server.asked) == 1


def test_a_server_that_does_not_stream_is_asked_plainly(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", '
    whole = body + b'"message": {"role": "assistant", "content": "plain"}}]}'
    script = planner([action("ask", "SUBMIT(answer=llm_query('x'))")], lambda _: Reply(body=whole))
    _, done, _ = against(script, start, monkeypatch)
    assert done.outputs == {"answer": "plain"}


def test_a_failed_sub_call_is_an_error_that_the_planner_reads_and_the_run_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = action("ask", "print(llm_query_batched(['good', 'bad', 'good']))")
    refused = error(400, "no such parameter")
    script = planner([batch, DONE], lambda prompt: refused if prompt == "bad" else "fine")
    run, done, server = against(script, start, monkeypatch)
    assert (done.status, done.totals.calls, done.totals.failed_calls) == ("submitted", 3, 1)
    assert "[ERROR]" in run.state().output[0].text
    assert "[ERROR]" in server.asked[-1].text
    rows = [call for call in run.state().calls if call.type == "sub_llm"]
    assert [(call.index, call.status) for call in rows] == [(0, "done"), (1, "failed"), (2, "done")]


def test_a_batch_is_as_wide_as_the_run_says_and_its_rows_stand_in_prompt_order(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    active, most, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(3, timeout=5)

    def sub(prompt: str) -> str:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        pair.wait()
        with lock:
            active -= 1
        return prompt.upper()

    batch = action("ask", "print(llm_query_batched(list('abcdef')))")
    run, _, _ = against(planner([batch, DONE], sub), start, monkeypatch, concurrency=3)
    assert most == 3
    assert run.state().output[0].text == "['A', 'B', 'C', 'D', 'E', 'F']\n"
    rows = [call for call in run.state().calls if call.type == "sub_llm"]
    assert [(call.index, call.prompt) for call in rows] == list(enumerate("abcdef"))
    assert all(event.queued for event in run.of(ev.CallStarted) if event.type == "sub_llm")
    assert any(event.queued_seconds > 0 for event in run.of(ev.CallFinished))


def test_no_key_reaches_the_record(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    leak = error(401, "Incorrect API key provided: test-key-0123456789", "invalid_api_key")
    run, _, server = against(planner([leak]), start, monkeypatch)
    assert run.session.path is not None
    assert server.asked[0].headers["authorization"] == "Bearer test-key-0123456789"
    assert b"test-key-0123456789" not in run.session.path.read_bytes()


def test_an_answer_that_was_cut_off_is_asked_for_again_with_more_room_and_never_run(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Reply(action("look", "print('half')")[:-30], finish="length")
    run, done, server = against(planner([half, DONE]), start, monkeypatch, "openai/gpt-4o-mini")
    assert (done.status, done.totals.iterations) == ("submitted", 1)
    assert [asked.body["max_completion_tokens"] for asked in server.asked] == [8_192, 16_384]
    assert [event.code for event in run.of(ev.ExecutionStarted)] == ["SUBMIT(answer='fine')"]
    assert [retry.error.type for retry in run.of(ev.ModelRetrying)] == ["AnswerCut"]
    usage = run.of(ev.PlannerFinished)[0].usage
    assert usage is not None
    assert usage.output > len(DONE) // 4  # both attempts were paid for


def test_an_answer_that_stays_cut_off_is_marked_and_the_planner_is_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "100")
    half = Reply(action("look", "print('half')")[:-30], finish="length")
    run, done, server = against(planner([half, DONE]), start, monkeypatch, "openai/gpt-4o-mini")
    assert done.status == "submitted"
    first = run.of(ev.PlannerFinished)[0]
    assert (first.cut, first.error.type if first.error else "", first.text) == (True, "AnswerCut", half.text)
    assert "cut off at the limit of 100 tokens" in server.asked[1].text
    assert [event.code for event in run.of(ev.ExecutionStarted)] == ["SUBMIT(answer='fine')"]


def test_a_planner_that_is_cut_off_three_times_is_said_to_be_cut_off(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "100")
    half = Reply(action("look", "print('half')")[:-30], finish="length")
    _, done, _ = against(planner([half] * 9), start, monkeypatch, "openai/gpt-4o-mini")
    assert done.status == "extracted"
    assert "was cut off at the limit of 100 tokens 3 times in a row" in done.reason


def test_a_sub_calls_answer_that_was_cut_off_says_so_at_its_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_LM_MAX_TOKENS", "100")
    script = planner([action("ask", "SUBMIT(answer=llm_query('x'))")], lambda _: Reply("half a sen", finish="length"))
    run, done, _ = against(script, start, monkeypatch)
    assert done.outputs["answer"].startswith("half a sen\n\n[The answer was cut off here")
    assert run.of(ev.CallFinished)[0].cut


@pytest.mark.parametrize(
    ("refused", "without"),
    [
        ("Your organization must be verified to stream this model.", "stream"),
        ("Unrecognized request argument supplied: stream_options", "stream_options"),
        ("Unsupported value: 'temperature' does not support 0.3 with this model.", "temperature"),
        ("Unknown parameter: 'max_completion_tokens'.", "max_completion_tokens"),
    ],
)
def test_a_parameter_that_the_server_refuses_is_left_out(
    start: Start, monkeypatch: pytest.MonkeyPatch, refused: str, without: str
) -> None:
    monkeypatch.setenv("DSPY_LM_TEMPERATURE", "0.3")
    answer = planner([DONE])
    _, done, server = against(
        lambda asked: error(400, refused) if asked.body.get(without) else answer(asked), start, monkeypatch
    )
    assert done.status == "submitted"
    assert [bool(asked.body.get(without)) for asked in server.asked] == [True, False]


def test_a_limit_that_the_server_finds_too_high_is_lowered_to_what_it_says(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, answer = "max_tokens is too large: 8192. This model supports at most 4096 completion tokens", planner([DONE])
    _, done, server = against(
        lambda asked: error(400, words) if asked.body["max_completion_tokens"] > 4096 else answer(asked),
        start,
        monkeypatch,
    )
    assert done.status == "submitted"
    assert [asked.body["max_completion_tokens"] for asked in server.asked] == [8_192, 4_096]


def test_a_reasoning_model_runs_with_nothing_set_but_its_name(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    _, done, server = against(planner([DONE]), start, monkeypatch, "openai/gpt-5-mini")
    assert done.status == "submitted"
    assert "temperature" not in server.asked[0].body
    assert server.asked[0].body["max_completion_tokens"] == 32_768


def test_a_temperature_that_a_reasoning_model_can_not_take_is_left_out_and_said(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_LM_TEMPERATURE", "0.3")
    run, _, server = against(planner([DONE]), start, monkeypatch, "openai/gpt-5-mini")
    assert "temperature" not in server.asked[0].body
    assert any("takes no temperature but 1" in notice.text for notice in run.of(ev.Notice))


def test_forty_parallel_calls_never_cost_more_than_the_budget(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print(llm_query_batched(['lorem ipsum ' * 6000] * 40))"
    script = planner([action("ask", code)], lambda _: "short")
    _, done, server = against(
        script, start, monkeypatch, "openai/gpt-4o", budgets=Budgets(max_cost_usd=0.10), concurrency=16
    )
    assert done.totals.cost_usd is not None
    assert 0.03 < done.totals.cost_usd <= 0.10
    assert done.totals.failed_calls >= 30
    assert done.totals.sub_cost_usd == pytest.approx(done.totals.cost_usd - (done.totals.planner_cost_usd or 0))
    assert sum(not (asked.is_planner or asked.is_extraction) for asked in server.asked) < 5


def test_the_price_that_the_person_sets_is_what_a_call_costs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSPY_LM_PRICE_IN", "1")
    monkeypatch.setenv("DSPY_LM_PRICE_OUT", "10")
    run, done, _ = against(planner([DONE]), start, monkeypatch)
    totals = done.totals
    assert totals.cost_usd == pytest.approx(totals.input_tokens * 1e-6 + totals.output_tokens * 10e-6)
    assert not any("price" in notice.text for notice in run.of(ev.Notice))


def test_an_attempt_that_breaks_off_is_counted_as_spent(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    half = Reply(action("long " * 400, "SUBMIT(answer='fine')"), cut_after=1_000)
    run, done, _ = against(planner([half, DONE]), start, monkeypatch, "openai/gpt-4o-mini")
    usage = run.of(ev.PlannerFinished)[0].usage
    assert usage is not None
    assert usage.estimated
    assert usage.output > 1_000 // 8 + len(DONE) // 4
    assert done.totals.tokens_estimated


def test_the_notice_on_a_sub_models_unknown_price_names_its_own_options(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSPY_SUB_LM_MODEL", "openai/my-finetune")
    script = planner([DONE])
    run, _, _ = against(script, start, monkeypatch, "openai/gpt-4o-mini", budgets=Budgets(max_cost_usd=1.0))
    told = [notice.text for notice in run.of(ev.Notice) if "price" in notice.text]
    assert len(told) == 1
    assert "openai/my-finetune" in told[0]
    assert "--sub-price-in 0.25 --sub-price-out 2" in told[0]
    assert " --price-in" not in told[0]


def test_thinking_is_kept_with_a_sub_call(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", '
    whole = body + b'"message": {"role": "assistant", "reasoning_content": "hm", "content": "plain"}}]}'
    script = planner([action("ask", "SUBMIT(answer=llm_query('x'))")], lambda _: Reply(body=whole))
    run, _, _ = against(script, start, monkeypatch)
    assert run.of(ev.CallFinished)[0].thinking == "hm"


def test_a_growing_prompt_is_the_same_block_by_block_and_marked_for_claudes_cache(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = planner([action("one", "print(1)"), action("two", "print(2)"), DONE])
    _, done, server = against(script, start, monkeypatch, "openrouter/anthropic/claude-sonnet-4.5")
    assert done.status == "submitted"
    prompts = [asked.body["messages"] for asked in server.asked]
    assert all(messages[0]["content"][-1]["cache_control"] == {"type": "ephemeral"} for messages in prompts)
    users = [[block["text"] for block in messages[-1]["content"]] for messages in prompts]
    marked = [[place for place, block in enumerate(m[-1]["content"]) if "cache_control" in block] for m in prompts]
    assert users[2][: len(users[1]) - 1][0] == users[1][0]
    assert users[2][-2:][0].count("print(2)") == 1
    assert all(places and places[-1] == len(blocks) - 2 for places, blocks in zip(marked, users, strict=True))


def test_a_model_that_caches_by_itself_gets_the_same_beginning_with_every_step(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = planner([action("one", "print(1)"), action("two", "print(2)"), DONE])
    _, _, server = against(script, start, monkeypatch)
    second, third = server.asked[1], server.asked[2]
    assert second.system == third.system
    history = second.text.rpartition("[[ ## iteration ## ]]")[0].rstrip()
    assert third.text.startswith(history)
    assert "cache_control" not in str(second.body)


def test_a_model_that_thinks_away_its_tokens_is_told_with_the_setting(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = against(planner([Reply("", finish="length")]), start, monkeypatch)
    failure = run.of(ev.PlannerFinished)[0].error
    assert failure is not None
    assert "all used to think" in failure.message
    assert "DSPY_LM_MAX_TOKENS" in (failure.hint or "")


def test_a_refusal_that_a_stream_leaves_out_is_asked_for_plainly_and_told_in_its_words(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b'{"id":"x","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant",'
    refused += b'"content":null,"refusal":"I will not help with that"}}]}'
    _, done, server = against(lambda asked: "" if asked.body.get("stream") else Reply(body=refused), start, monkeypatch)
    assert done.status == "failed"
    assert done.error is not None
    assert "I will not help with that" in done.error.message
    assert [bool(asked.body.get("stream")) for asked in server.asked] == [True, False]
