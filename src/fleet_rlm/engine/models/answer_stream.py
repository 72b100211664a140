"""Read what servers really send: a transport below dspy's native client that mends answers and tells faults.

The client library knows each provider's own form. Gateways and servers at home bend it: an error inside a stream that
began with HTTP 200, content as a list of parts, a refusal beside the content, counts of tokens that are no numbers,
words of their own for *cut off*. Here each response becomes what the library reads, or the fault that it tells of.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import dspy
from dspy import lm15
from dspy._vendor.lm15.transports import StdlibAsyncTransport, TransportRequest

from fleet_rlm.engine.models.provider_faults import error_of, fault_in, fault_in_text, header_wait
from fleet_rlm.events import Json

_CUT = {"length", "max_tokens", "max_output_tokens", "model_length", "token_limit", "max_length", "limit"}
_WITHHELD = {
    "content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal",
    "guardrail_intervened", "moderation", "sensitive", "language", "image_safety", "other",
}  # fmt: skip
_WHOLE = {"end_turn", "stop_sequence", "eos", "eos_token", "complete"}


class Withheld(dspy.LMError):
    """The provider withheld the answer, or the model refused to give one; the message holds their words."""


class Response(Protocol):
    """The pieces of a reply as a transport yields them."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    http_version: str

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self) -> bytes: ...


class MendingTransport:
    """A transport for dspy's client; `shape` may change a request's body (its JSON) before it goes out."""

    def __init__(self, inner: StdlibAsyncTransport, provider: str, shape: Callable[[dict[str, Json]], None]) -> None:
        self._inner, self._provider, self._shape = inner, provider, shape

    @asynccontextmanager
    async def stream(self, request: TransportRequest) -> AsyncIterator[_Mended]:
        """Send it. Raises the fault that an error's body tells of."""
        async with self._inner.stream(self._shaped(request)) as response:
            if response.status >= 400:
                text = (await response.read()).decode("utf-8", "replace")
                fault = fault_in_text(text, response.status, response.headers)
                assert fault is not None
                raise error_of(fault, self._provider)
            yield _Mended(response, self._provider)

    def _shaped(self, request: TransportRequest) -> TransportRequest:
        body: Json = None
        with contextlib.suppress(ValueError):
            body = json.loads(request.body)
        if isinstance(body, dict):
            before = json.dumps(body)
            self._shape(body)
            if json.dumps(body) != before:
                request.body = json.dumps(body).encode()
                kept = [(name, value) for name, value in request.headers if name.lower() != "content-length"]
                request.headers = [*kept, ("Content-Length", str(len(request.body)))]
        return request

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Mended:
    """One response, mended as it is read."""

    def __init__(self, response: Response, provider: str) -> None:
        self.status, self.reason = response.status, response.reason
        self.headers, self.http_version = response.headers, response.http_version
        self._response = response
        self._mend = Mender(provider, response.headers)

    async def read(self) -> bytes:
        """The whole body, when it was not asked for as a stream."""
        return self._mend.whole(await self._response.read())

    async def aiter_lines(self) -> AsyncIterator[bytes]:
        """The lines of a stream; a body that is no stream is read to its end, for the fault that it may tell of."""
        kept, streams = bytearray(), None
        async for chunk in self._response:
            kept += chunk
            if streams is None and (start := kept.lstrip()):
                streams = start[:1] not in b"{[<"
            while streams and (end := kept.find(b"\n")) >= 0:
                line = bytes(kept[: end + 1])
                del kept[: end + 1]
                yield self._mend.line(line)
        if not streams:
            self._mend.whole(bytes(kept))  # no event at all: the caller asks again without streaming
        elif kept:
            yield self._mend.line(bytes(kept))
        self._mend.ended()


class Mender:
    """Mends one answer. Raises lm15 errors for faults in it, and `Withheld`."""

    def __init__(self, provider: str, headers: list[tuple[str, str]]) -> None:
        self._provider, self._headers = provider, headers
        self._refusal = ""

    def whole(self, body: bytes) -> bytes:
        """A body that is one JSON object; anything else is left to the library."""
        try:
            told = json.loads(body)
        except ValueError:
            return body
        return self._mended(told, body)

    def line(self, line: bytes) -> bytes:
        """A line of a stream of events."""
        data = line.removeprefix(b"data:") if line.startswith(b"data:") else b""
        if not data.lstrip().startswith((b"{", b"[{")):
            return line
        try:
            told = json.loads(data)
        except ValueError:
            return line
        mended = self._mended(told, data)
        return line if mended is data else b"data: " + mended + b"\n"

    def ended(self) -> None:
        """The stream is over. Raises `Withheld` when all it held was a refusal."""
        if self._refusal:
            raise Withheld(self._refusal.strip(), provider=self._provider, provider_code="refusal")

    def _mended(self, told: Json, body: bytes) -> bytes:
        fault = fault_in(told)
        if fault is not None:
            if fault.wait is None and fault.status == 429 and (wait := header_wait(self._headers)) is not None:
                raise error_of(type(fault)(fault.words, fault.codes, fault.status, wait, fault.param), self._provider)
            raise error_of(fault, self._provider)
        if not isinstance(told, dict):
            return body
        changed = _mend_usage(told) | self._take_cost(told)
        if told.get("type") == "response.incomplete":  # which the library doesn't know as an end
            told["type"], changed = "response.completed", True
        for choice in told.get("choices") or ():
            if isinstance(choice, dict):
                changed |= self._mend_choice(choice)
        self._hear_others(told)
        return json.dumps(told).encode() if changed else body

    def _take_cost(self, told: dict[str, Json]) -> bool:
        """LiteLLM's proxy says in a header what the answer cost."""
        cost = next((value for name, value in self._headers if name.lower() == "x-litellm-response-cost"), None)
        if cost is None or not isinstance(told.get("usage"), dict) or "cost" in told["usage"]:
            return False
        told["usage"]["cost"] = cost
        return True

    def _mend_choice(self, choice: dict[str, Json]) -> bool:
        changed = False
        for name in ("delta", "message"):
            part = choice.get(name)
            if isinstance(part, dict):
                changed |= _mend_content(part)
                if isinstance(part.get("refusal"), str):
                    self._refusal += part["refusal"]
        reason = choice.get("finish_reason")
        low = str(reason or "").lower()
        if not low:
            return changed
        if self._refusal:
            self.ended()
        if low == "error":
            raise lm15.ServerError("the provider ended the answer with an error", provider=self._provider)
        plain = (
            "length" if low in _CUT else "content_filter" if low in _WITHHELD else "stop" if low in _WHOLE else reason
        )
        choice["finish_reason"] = plain
        return changed or plain != reason

    def _hear_others(self, told: dict[str, Json]) -> None:
        """Refusals and blocks of the other forms (Responses, Gemini)."""
        if told.get("type") == "response.refusal.delta":
            self._refusal += str(told.get("delta") or "")
        for item in told.get("output") or () if isinstance(told.get("output"), list) else ():
            for part in (item.get("content") or ()) if isinstance(item, dict) else ():
                if isinstance(part, dict) and part.get("type") == "refusal":
                    self._refusal += str(part.get("refusal") or "")
        blocked = told.get("promptFeedback")
        if isinstance(blocked, dict) and blocked.get("blockReason"):
            said = " ".join(str(blocked[name]) for name in ("blockReason", "blockReasonMessage") if blocked.get(name))
            raise Withheld(f"the prompt was blocked: {said}", provider=self._provider, provider_code="blocked")
        for candidate in told.get("candidates") or ():
            reason = str(candidate.get("finishReason") or "") if isinstance(candidate, dict) else ""
            if reason.lower() in _WITHHELD:
                said = str(candidate.get("finishMessage") or "")
                words = f"the answer was ended with {reason}" + (f": {said}" if said else "")
                raise Withheld(words, provider=self._provider, provider_code="content_filter")
        if self._refusal and "output" in told:
            self.ended()


def _mend_content(part: dict[str, Json]) -> bool:
    """Content as a list of parts becomes text, with its thinking beside it."""
    content = part.get("content")
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return False
    texts: list[str] = []
    thoughts: list[str] = []
    for piece in content:
        kind = str(piece.get("type") or "text") if isinstance(piece, dict) else "text"
        (thoughts if kind in ("thinking", "reasoning") else texts).append(_text(piece))
    part["content"] = "".join(texts)
    if thoughts and not part.get("reasoning_content"):
        part["reasoning_content"] = "".join(thoughts)
    return True


def _text(piece: Json) -> str:
    if isinstance(piece, str):
        return piece
    if isinstance(piece, list):
        return "".join(map(_text, piece))
    if isinstance(piece, dict):
        return next((_text(piece[name]) for name in ("text", "thinking", "content", "value") if piece.get(name)), "")
    return ""


def _mend_usage(told: dict[str, Json]) -> bool:
    """Leave only counts that are counts: a usage that can't be read must not cost the answer."""
    holders = [one for one in (told, told.get("message"), told.get("response")) if isinstance(one, dict)]
    changed = False
    for holder in holders:
        for name in ("usage", "usageMetadata"):
            usage = holder.get(name)
            if usage is None:
                continue
            counts = _counts(usage) if isinstance(usage, dict) else {}
            if counts != usage:
                holder[name], changed = counts, True
    return changed


def _counts(usage: dict[str, Json]) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    for name, value in usage.items():
        if isinstance(value, dict):
            kept[name] = _counts(value)
        elif isinstance(value, list):
            kept[name] = value
        elif "token" in name.lower():
            count = _count(value)
            if count is not None:
                kept[name] = count
        else:
            kept[name] = value
    return kept


def _count(value: Json) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        count = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return count if count >= 0 else None
