"""What providers answer instead of an answer: told by its code, with the provider's words and the wait it asks for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from dspy import lm15

from fleet_rlm.engine.models.answer_stream import Mender, Withheld
from fleet_rlm.engine.models.provider_faults import error_of, fault_in, fault_in_text, header_wait

CASES = [
    (429, {"error": {"message": "Slow down", "type": "tokens", "code": "rate_limit_exceeded"}}, lm15.RateLimitError),
    (429, {"error": {"message": "No quota", "code": "insufficient_quota"}}, lm15.BillingError),
    (400, {"type": "error", "error": {"type": "billing_error", "message": "credit"}}, lm15.BillingError),
    (400, {"error": {"message": "Your credit balance is too low to access the API"}}, lm15.BillingError),
    (402, {"error": {"message": "This request requires more credits", "code": 402}}, lm15.BillingError),
    (401, {"error": {"message": "Incorrect API key provided"}}, lm15.AuthError),
    (400, {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}, lm15.AuthError),
    (403, {"error": {"message": "Your organization must be verified"}}, lm15.AuthError),
    (
        404,
        {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
        lm15.UnsupportedModelError,
    ),
    (404, {"error": {"message": 'model "x" not found, try pulling it first'}}, lm15.UnsupportedModelError),
    (404, "404 page not found", lm15.InvalidRequestError),
    (400, {"error": "context overflows: loaded with a context length of only 4096"}, lm15.ContextLengthError),
    (
        400,
        {"object": "error", "message": "maximum context length is 8192 tokens", "code": 400},
        lm15.ContextLengthError,
    ),
    (400, {"error": {"type": "exceed_context_size_error", "message": "too big"}}, lm15.ContextLengthError),
    (422, {"detail": [{"loc": ["body", "prompt"], "msg": "Field required"}]}, lm15.InvalidRequestError),
    (422, {"detail": "Field required"}, lm15.InvalidRequestError),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, lm15.ServerError),
    (502, "<html><head><title>502 Bad Gateway</title></head></html>", lm15.ServerError),
    (504, {"message": "upstream timed out"}, lm15.TimeoutError),
    (400, {"error": {"code": "content_filter", "message": "Azure's policy"}}, lm15.ProviderError),
    (200, {"error": {"message": "Provider disconnected", "code": 502}}, lm15.ServerError),
    (200, {"error": {"message": "Rate limited upstream", "code": 429}}, lm15.RateLimitError),
    (200, {"error": {"message": "Provider disconnected"}}, lm15.ServerError),
    (200, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, lm15.ServerError),
    (200, {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, lm15.RateLimitError),
    (200, {"type": "error", "code": "server_error", "message": "boom"}, lm15.ServerError),
    (200, [{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}], lm15.ServerError),
    (200, {"choices": [{"error": {"code": 401, "message": "No auth"}, "index": 0}]}, lm15.AuthError),
    (200, {"detail": "Not authenticated", "message": "x"}, lm15.ServerError),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES, ids=lambda value: str(value)[:60])
def test_a_fault_is_judged_by_its_code_wherever_it_arrives(status: int, body: object, kind: type[Exception]) -> None:
    fault = fault_in_text(body if isinstance(body, str) else json.dumps(body), status)
    assert fault is not None
    error = error_of(fault)
    assert type(error) is kind


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"delta": {"content": "x"}}], "error": None},
        {"type": "response.created", "response": {"error": None, "status": "in_progress"}},
        {"type": "message_start", "message": {"content": []}},
        {"candidates": [{"content": {"parts": [{"text": "error"}]}}]},
        {"type": "response.output_text.done", "text": "message"},
        {"id": "x", "object": "chat.completion", "choices": []},
    ],
)
def test_an_answer_is_no_fault(body: object) -> None:
    assert fault_in(body, 200) is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"detail": [{"loc": ["body", "prompt"], "msg": "Field required"}]}, "Field required (body.prompt)"),
        ({"message": "flat"}, "flat"),
        ({"error": "words"}, "words"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"error": {"message": '{"error": {"message": "inner"}}'}}, "inner"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"message": "upstream"}'}}}, "upstream"),
        ({"Message": "AWS says no"}, "AWS says no"),
        ("<html><body><h1>Please sign in</h1></body></html>", "Please sign in"),
        ("plain words", "plain words"),
    ],
)
def test_the_providers_own_words_are_found_in_any_body(body: object, says: str) -> None:
    fault = fault_in_text(body if isinstance(body, str) else json.dumps(body), 400)
    assert fault is not None
    assert fault.words == says


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        ({"error": {"message": "Please try again in 20s."}}, {}, 20),
        ({"error": {"message": "Please try again in 1m30.5s."}}, {}, 90.5),
        ({"error": {"message": "Try again in 5 seconds. Passed model=x"}}, {}, 5),
        ({"error": {"message": "Please retry in 34.07s."}}, {}, 34.07),
        ({"error": {"message": "try again in 250ms"}}, {}, 0.25),
        ({"error": {"details": [{"@type": "RetryInfo", "retryDelay": "34s"}], "message": "retry in 1s"}}, {}, 34),
        ({"error": {"message": "no"}}, {"Retry-After": "7"}, 7),
        ({"error": {"message": "no"}}, {"RETRY-AFTER-MS": "1500"}, 1.5),
        (
            {"error": {"message": "no"}},
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12.5s"},
            12.5,
        ),
        ({"error": {"message": "no", "metadata": {"headers": {"Retry-After": "9"}}}}, {}, 9),
        ({"error": {"message": "the last 20 seconds were fine"}}, {}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_found(
    body: object, headers: dict[str, str], seconds: float | None
) -> None:
    fault = fault_in(body, 429, headers.items())
    assert fault is not None
    assert fault.wait == (None if seconds is None else pytest.approx(seconds))


def test_a_wait_until_a_date_is_the_seconds_until_then() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert header_wait([("retry-after", format_datetime(soon, usegmt=True))]) == pytest.approx(100, abs=5)
    assert header_wait([("anthropic-ratelimit-tokens-remaining", "0"), ("anthropic-ratelimit-tokens-reset", soon.isoformat())]) == pytest.approx(100, abs=5)  # fmt: skip # noqa: E501


def mended(*events: dict[str, object]) -> list[dict[str, object]]:
    mender = Mender("test", [])
    lines = [mender.line(b"data: " + json.dumps(event).encode() + b"\n") for event in events]
    mender.ended()
    return [json.loads(line.removeprefix(b"data:")) for line in lines]


def choice(finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_content_as_a_list_of_parts_is_text_with_its_thinking_beside_it() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    delta = mended(choice(content=parts))[0]["choices"][0]["delta"]  # type: ignore[index]
    assert (delta["content"], delta["reasoning_content"]) == ("yes", "hm")


@pytest.mark.parametrize(
    ("usage", "kept"),
    [
        ("none", {}),
        ({"prompt_tokens": "12", "completion_tokens": 3.0}, {"prompt_tokens": 12, "completion_tokens": 3}),
        ({"prompt_tokens": -1, "completion_tokens": None, "total_tokens": "many"}, {}),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": "x"}}, {"prompt_tokens": 5, "prompt_tokens_details": {}}),  # noqa: E501
    ],
)  # fmt: skip
def test_counts_that_are_no_counts_are_left_out(usage: object, kept: object) -> None:
    assert mended({"choices": [], "usage": usage})[0]["usage"] == kept


@pytest.mark.parametrize(
    ("word", "plain"),
    [("max_tokens", "length"), ("MAX_TOKENS", "length"), ("model_length", "length"), ("SAFETY", "content_filter"),
     ("eos", "stop"), ("stop", "stop"), ("tool_calls", "tool_calls")],
)  # fmt: skip
def test_every_word_for_an_end_is_read(word: str, plain: str) -> None:
    assert mended(choice(word))[0]["choices"][0]["finish_reason"] == plain  # type: ignore[index]


def test_an_answer_that_ends_with_an_error_is_no_answer() -> None:
    with pytest.raises(lm15.ServerError):
        mended(choice(content="half"), choice("error"))


@pytest.mark.parametrize(
    "events",
    [
        [choice(refusal="I can't "), choice(refusal="help."), choice("stop")],
        [choice(refusal="I can't help.")],
        [{"type": "response.refusal.delta", "delta": "I can't help."}, {"type": "response.refusal.done"}],
        [{"promptFeedback": {"blockReason": "I can't help."}}],
        [{"candidates": [{"finishReason": "SAFETY", "finishMessage": "I can't help."}]}],
    ],
)
def test_a_refusal_is_told_in_the_models_words(events: list[dict[str, object]]) -> None:
    with pytest.raises(Withheld, match=r"I can't help\."):
        mended(*events)
