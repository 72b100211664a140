"""Judge what a provider sent instead of an answer: by its codes first, then by HTTP status, by its words last.

One reading of error bodies for every provider and every place they arrive in: as an HTTP error, in a stream that began
with HTTP 200, or as the body of a 200. The provider's own words are kept, and the wait that it asks for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape

from dspy import lm15

from fleet_rlm.events import Json

Headers = Iterable[tuple[str, str]]
WORDS_CHARS = 600

_BILLING = {
    "insufficient_quota", "billing_error", "billing_not_active", "billing_hard_limit_reached", "insufficient_balance",
    "exceeded_current_quota_error", "insufficient_credits", "budget_exceeded", "payment_required", "1113",
}  # fmt: skip
_CONTEXT = {
    "context_length_exceeded", "exceed_context_size_error", "context_window_exceeded",
    "model_context_window_exceeded", "contextwindowexceedederror",
}  # fmt: skip
_WITHHELD = {
    "content_filter", "content_policy_violation", "responsibleaipolicyviolation", "data_inspection_failed",
    "moderation_blocked", "content_blocked", "prohibited_content", "safety",
}  # fmt: skip
_KEY = {
    "invalid_api_key",
    "authentication_error",
    "unauthenticated",
    "unauthorized",
    "api_key_invalid",
    "expired_api_key",
}
_FORBIDDEN = {"permission_error", "permission_denied", "forbidden", "unsupported_country_region_territory"}
_RATE = {
    "rate_limit_exceeded", "rate_limit_error", "rate_limit", "resource_exhausted", "too_many_requests",
    "throttlingexception", "throttling", "rate_limited",
}  # fmt: skip
_ANSWERS = {
    "choices", "candidates", "content", "output", "id", "type", "usage", "promptfeedback", "response", "data", "delta",
}  # fmt: skip
"""Members that an answer has, in some provider's form."""
_TIME = {"timeout", "deadline_exceeded", "request_timeout", "gateway_timeout"}
_SERVER = {
    "overloaded_error", "server_error", "api_error", "internal", "unavailable", "internal_server_error",
    "service_unavailable", "engine_overloaded", "model_overloaded", "overloaded", "serviceunavailableexception",
    "internalservererror", "bad_gateway", "upstream_error", "processing_error",
}  # fmt: skip
CONTEXT_WORDS = re.compile(
    r"context[_ ](?:length|window|size)|maximum (?:context|prompt)|(?:prompt|input) (?:is|was) too long"
    r"|context overflow|reduce the length of the (?:messages|prompt|input)|input token count.*exceeds"
    r"|too many (?:(?:input|prompt) tokens|tokens in)|ContextWindowExceeded|request too large for model"
    r"|exceeds? the (?:model'?s )?(?:(?:available|max(?:imum)?) )?(?:input|context)",
    re.IGNORECASE,
)
"""Words of an error that says the prompt is longer than the model's context window."""
_BILLING_WORDS = re.compile(
    r"credit balance is too low|insufficient (?:balance|credit|fund)|budget has been exceeded|out of credit"
    r"|exceeded your current quota|requires more credits|payment required",
    re.IGNORECASE,
)
_WITHHELD_WORDS = re.compile(r"content (?:management|filter|policy)|blocked by .*safety|safety (?:filter|system)", re.I)
_KEY_WORDS = re.compile(
    r"(?:invalid|incorrect|missing|no) (?:x-)?api[ -]?key|api key (?:not valid|is invalid|expired)", re.I
)
_SERVER_WORDS = re.compile(r"overloaded|temporarily unavailable|try again later|internal (?:server )?error", re.I)

_DURATION = (
    r"(?:(\d+(?:\.\d+)?)\s*h(?:ours?|rs?)?)?\s*(?:(\d+(?:\.\d+)?)\s*m(?:in(?:utes?|s)?)?(?![a-z]))?"
    r"\s*(?:(\d+(?:\.\d+)?)\s*s(?:ec(?:onds?|s)?)?)?"
)
_WAIT_WORDS = re.compile(
    r"(?:try again|retry(?:ing)?|wait|available|resets?)\b[^.\d]{0,40}?\s(?=\d)"
    rf"(?:(\d+(?:\.\d+)?)\s*(?:ms|milliseconds)\b|{_DURATION})",
    re.IGNORECASE,
)
_WHOLE_DURATION = re.compile(rf"\s*(?:(\d+(?:\.\d+)?)\s*ms|{_DURATION})\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fault:
    """What a provider says went wrong."""

    words: str
    codes: frozenset[str] = field(default_factory=frozenset)
    """Its codes, types and statuses, in lower case."""
    status: int | None = None
    """HTTP status, also when it is only named in the body."""
    wait: float | None = None
    """Seconds after which it asks to be tried again."""
    param: str = ""
    """The parameter that it names as the cause."""


def fault_in(body: Json, status: int | None = None, headers: Headers = ()) -> Fault | None:
    """The fault that a decoded body tells of, or None when it is an answer.

    With an HTTP status of an error, whatever is in the body is a fault.
    """
    wrong = status is not None and status >= 400
    if isinstance(body, list) and body and isinstance(body[0], dict):
        body = body[0]  # Gemini's errors outside a stream
    told = _told(body, flat=wrong) if isinstance(body, dict) else ({"message": body} if body and wrong else None)
    if told is None and not wrong:
        return None
    told = told or {}
    words = _words(told) or (_html_words(body) if isinstance(body, str) else "")
    codes = frozenset(
        str(told[name]).strip().lower() for name in ("code", "type", "status", "__type", "reason") if told.get(name)
    )
    named = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), None)
    wait = _told_wait(told)
    if wait is None:
        wait = header_wait(headers)
    if wait is None:
        wait = _words_wait(words)
    return Fault(
        words=words or (json.dumps(body)[:WORDS_CHARS] if body else ""),
        codes=codes,
        status=status if wrong else named,
        wait=wait,
        param=str(told.get("param") or ""),
    )


def fault_in_text(text: str, status: int | None = None, headers: Headers = ()) -> Fault | None:
    """The same, of a body as it came: JSON, a page, or words."""
    try:
        body: Json = json.loads(text)
    except ValueError:
        body = text
    return fault_in(body, status, headers)


def error_of(fault: Fault, provider: str | None = None, kind: type[lm15.LM15Error] | None = None) -> lm15.LM15Error:
    """The error that a fault is, which says whether it passes and what to tell the person."""
    kind = kind or _kind(fault)
    said = fault.words or (f"HTTP {fault.status}" if fault.status else "no reason was given")
    error = kind(
        said[:WORDS_CHARS],
        provider=provider,
        status=fault.status,
        provider_code=WITHHELD if kind is lm15.ProviderError else next(iter(sorted(fault.codes)), None),
        retry_after=fault.wait,
    )
    error.message = said[:WORDS_CHARS]  # without the library's advice, which names what a person here can't set
    return error


WITHHELD = "withheld"
"""`provider_code` of an error that says a provider withheld the answer, or the model refused to give one."""


def judged(error: lm15.LM15Error) -> lm15.LM15Error:
    """An error of LiteLLM's, which hides the provider's answer in its own texts, judged by what the provider said.

    Any other error is as it is: this project's transport judged it already, or no provider spoke.
    """
    cause = error.__cause__
    foreign = hasattr(cause, "status_code") or hasattr(cause, "llm_provider")
    if not foreign and not (type(error) is lm15.ProviderError and error.provider_code and error.status is None):
        return error
    text = str(getattr(cause, "message", None) or error.message or error).partition("\n\n  To fix:")[0].strip()
    response = getattr(cause, "response", None)
    headers = list(getattr(getattr(response, "headers", None), "items", list)())
    found = re.search(r"\{.*\}", text, re.DOTALL)
    told = fault_in_text(found[0], error.status or 400, headers) if found else None
    words = told.words if told is not None and found is not None and told.words != found[0] else _own_words(text)
    codes = (told.codes if told else frozenset()) | ({error.provider_code.lower()} if error.provider_code else set())
    waits = (error.retry_after, told.wait if told else None, header_wait(headers), _words_wait(text))
    fault = Fault(words, frozenset(codes), error.status, next((wait for wait in waits if wait is not None), None))
    kind = _kind(fault)
    if isinstance(error, kind) and type(error) is not lm15.ProviderError:
        kind = type(error)
    if kind is lm15.ServerError and not isinstance(error, lm15.ProviderError):
        return error  # the library knows better what broke: no provider spoke
    better = error_of(fault, error.provider, kind)
    better.__cause__ = cause
    return better


def _own_words(text: str) -> str:
    """A text of LiteLLM's without the names that it puts before the provider's words."""
    return re.sub(r"^(?:litellm\.)?(?:\w+(?:Error|Exception):? ?-? ?)+(?:litellm\.\w+: ?)*", "", text).strip() or text


def header_wait(headers: Headers) -> float | None:
    """Seconds that a response's headers ask to wait: `Retry-After` as seconds, a duration or a date, or in ms."""
    held = {name.lower(): str(value).strip() for name, value in reversed(list(headers))}
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (value := _number(held.get(name))) is not None:
            return value / 1000
    for name in ("retry-after", "x-retry-after"):
        if name in held and (wait := _until(held[name])) is not None:
            return wait
    spent = [name for name, value in held.items() if "remaining" in name and _number(value) == 0]
    resets = [held.get(name.replace("remaining", "reset"), "") for name in spent]
    waits = [wait for text in resets if (wait := _until(text)) is not None]
    return max(waits, default=None)


def _until(text: str) -> float | None:
    if (seconds := _number(text)) is not None:
        return seconds if seconds < 1e9 else max(0.0, seconds / (1000 if seconds > 1e12 else 1) - time.time())
    if (seconds := duration(text)) is not None:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        try:
            when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


def duration(text: str) -> float | None:
    """Seconds of `34s`, `1m30.5s`, `250ms`; None when it is no duration."""
    found = _WHOLE_DURATION.match(text) if text.strip() else None
    return _seconds(found) if found else None


def _words_wait(words: str) -> float | None:
    found = _WAIT_WORDS.search(words)
    return _seconds(found) if found else None


def _seconds(found: re.Match[str]) -> float | None:
    thousandths, hours, minutes, seconds = found.groups()
    if thousandths:
        return float(thousandths) / 1000
    if not (hours or minutes or seconds):
        return None
    return float(hours or 0) * 3600 + float(minutes or 0) * 60 + float(seconds or 0)


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _told(body: Mapping[str, Json], *, flat: bool) -> dict[str, Json] | None:
    """The object of a body that tells of a fault."""
    response = body.get("response")
    inner = response.get("error") if isinstance(response, dict) else None
    choice = next((one for one in body.get("choices") or () if isinstance(one, dict) and one.get("error")), {})
    error = body.get("error") or inner or choice.get("error")
    if isinstance(error, str):
        return {**body, "message": error}
    if isinstance(error, dict):
        return _deepest({**error, **({"request_id": body["request_id"]} if body.get("request_id") else {})})
    if isinstance(error, list) and error:
        return {"message": "; ".join(map(_one_word, error))}
    low = {str(name).lower(): value for name, value in body.items()}
    if flat or low.get("type") == "error" or low.get("object") == "error":
        return _deepest(low)
    answers = {
        "choices",
        "candidates",
        "content",
        "output",
        "id",
        "type",
        "usage",
        "promptfeedback",
        "response",
        "data",
    }
    return low if ({"detail", "message", "msg", "errors"} & low.keys()) and not (answers & low.keys()) else None


def _deepest(told: dict[str, Json]) -> dict[str, Json]:
    """A fault without the proxies around it: their message may hold the whole body of the server behind them."""
    metadata = told.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    for held in (raw, told.get("error"), told.get("message")):
        inner = held
        if isinstance(held, str) and held.lstrip().startswith("{"):
            try:
                inner = json.loads(held)
            except ValueError:
                continue
        if isinstance(inner, dict):
            deeper = _told(inner, flat=True) or {}
            if _words(deeper):
                return {**told, **{name: value for name, value in deeper.items() if value is not None}}
        elif held is raw and isinstance(raw, str) and raw.strip():
            return {**told, "message": f"{_words(told)}: {raw}" if _words(told) else raw}
    return told


def _words(told: Mapping[str, Json]) -> str:
    for name in ("message", "msg", "detail", "errors", "error_description", "error_message", "title", "faultstring"):
        value = told.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip() if "<html" not in value.lower()[:300] else _html_words(value)
        if isinstance(value, list) and value:
            return "; ".join(filter(None, map(_one_word, value)))
        if isinstance(value, dict) and (words := _words(value)):
            return words
    return ""


def _one_word(value: Json) -> str:
    if not isinstance(value, dict):
        return str(value)
    place = ".".join(str(part) for part in value.get("loc") or ())
    words = _words(value) or json.dumps(value)
    return f"{words} ({place})" if place else words


def _html_words(page: str) -> str:
    """What a person would read of a page."""
    title = re.search(r"<(title|h1)[^>]*>(.*?)</\1>", page, re.IGNORECASE | re.DOTALL)
    text = title[2] if title else re.sub(r"<[^>]*>", " ", page)
    return re.sub(r"\s+", " ", unescape(text)).strip()[:WORDS_CHARS]


def _told_wait(told: Mapping[str, Json]) -> float | None:
    details = told.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(detail.get("retryDelay"), str):
            return duration(detail["retryDelay"])
    metadata = told.get("metadata")
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    if isinstance(headers, dict) and (wait := header_wait([(str(k), str(v)) for k, v in headers.items()])) is not None:
        return wait
    return next((wait for name in ("retry_after", "retryAfter") if (wait := _number(told.get(name))) is not None), None)


_UNKNOWN_MODEL = re.compile(
    r"(?s)(?=.*(?:model|deployment)).*(?:not (?:found|exist|supported|available|a valid model)|unknown|does not exist"
    r"|no such)",
    re.IGNORECASE,
)
_RULES: tuple[tuple[type[lm15.ProviderError], set[str], set[int], re.Pattern[str] | None, set[int | None]], ...] = (
    (lm15.BillingError, _BILLING, {402}, None, set()),
    (lm15.ContextLengthError, _CONTEXT, set(), CONTEXT_WORDS, {None, 400, 413, 422, 429, 500}),
    (lm15.ProviderError, _WITHHELD, set(), _WITHHELD_WORDS, {None, 400, 403, 422}),
    (lm15.AuthError, _KEY | _FORBIDDEN, {401, 403}, _KEY_WORDS, {400}),
    (lm15.UnsupportedModelError, {"model_not_found", "deploymentnotfound"}, set(), _UNKNOWN_MODEL, {400, 404}),
    (lm15.RateLimitError, _RATE, {429}, None, set()),
    (lm15.TimeoutError, _TIME, {408, 504}, None, set()),
    (lm15.ServerError, set(), {*range(500, 600)} - {501}, None, set()),
    (lm15.InvalidRequestError, {"invalid_request_error", "invalid_argument"}, {400, 404, 422}, None, set()),
    (lm15.ServerError, _SERVER, set(), _SERVER_WORDS, {*range(400, 500)}),
)
"""Kind, the codes and the statuses that mean it, and words that mean it with some statuses. The first one counts."""


def _kind(fault: Fault) -> type[lm15.ProviderError]:
    kind: type[lm15.ProviderError]
    if fault.wait is None and fault.status != 500 and _BILLING_WORDS.search(fault.words):
        kind = lm15.BillingError
        return kind
    for kind, codes, statuses, words, among in _RULES:
        if fault.codes & codes or fault.status in statuses:
            return kind
        if words is not None and fault.status in among and words.search(fault.words):
            return kind
    # In a stream that began well, a fault without a code passes.
    kind = lm15.InvalidRequestError if fault.status else lm15.ServerError
    return kind
