"""Models as dspy engines that can be watched and ended: streaming, timeouts, retries, usage, price.

dspy's own retries sleep where nothing can wake them and its calls have no timeout, so both live here: `ObservedEngine`
makes one answer of as many attempts as it takes, on one event loop in a thread of its own, while the thread that asked
waits for whichever comes first, the answer or the end of its scope.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import dspy
from dspy import lm15
from dspy.clients.call_result import usage_dict
from dspy.clients.costs import estimate_cost
from dspy.clients.errors import wrap_error
from dspy.utils.callback import ACTIVE_CALL_ID

from fleet_rlm import events as ev
from fleet_rlm.engine.budgets import Spending
from fleet_rlm.engine.cancel import CancelToken, Scope, Slots
from fleet_rlm.engine.failures import CallRefused, model_failure
from fleet_rlm.engine.model_clients import (
    LoopClosed,
    ModelLoop,
    NetworkEngine,
    StreamEvent,
    ThreadedEngine,
    offline_engine,
)
from fleet_rlm.engine.model_settings import ModelSettings, Retries, Timeouts

DELTA_SECONDS = 0.033
"""Streamed text is passed on at most this often a call, some tens of times a second."""


class CallInterrupted(CallRefused):
    """The call was ended because the work around it was (its cell was interrupted, the run is being finished)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a finished model call cost."""

    model: str
    usage: ev.Usage
    cost_usd: float | None
    truncated: bool = False
    from_cache: bool = False
    """Answered by dspy's cache, for nothing (in programs that use it)."""


class Watch(Protocol):
    """Who hears of model calls; `call` is dspy's id of the call."""

    def is_sub_call(self, call: str | None) -> bool:
        """False for the run's own planner and its extraction, which have no queue and no budget of calls."""

    def call_running(self, call: str | None, queued_seconds: float) -> None: ...

    def call_delta(self, call: str | None, text: str, *, thinking: bool) -> None: ...

    def call_retrying(self, call: str | None, attempt: int, of: int, error: ev.Failure, delay: float) -> None: ...

    def call_answered(self, call: str | None, answered: Answered) -> None: ...


@dataclass(slots=True)
class Calls:
    """What all model calls of a run share."""

    token: CancelToken
    watch: Watch
    spending: Spending
    slots: Slots
    timeouts: Timeouts
    retries: Retries
    loop: ModelLoop = field(default_factory=ModelLoop)


class ObservedEngine:
    """A dspy engine (`complete(Request) -> Response`) whose calls are seen as they happen and can be ended."""

    def __init__(self, settings: ModelSettings, calls: Calls) -> None:
        self._calls = calls
        self._free = settings.offline
        self._streams = True
        """False once the server was found to answer a stream with something else."""
        engine = offline_engine(watched=settings.watched) if settings.offline else settings.engine
        self.inner: NetworkEngine | ThreadedEngine = (
            NetworkEngine(settings, calls.timeouts) if engine is None else ThreadedEngine(engine, settings.model)
        )

    def stream(self, request: lm15.Request) -> Iterator[StreamEvent]:
        yield from lm15.response_to_events(self.complete(request))

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Raises dspy and lm15 errors, `CallRefused` and `RunAborted`."""
        calls, call = self._calls, ACTIVE_CALL_ID.get()
        calls.token.check()
        scope = calls.token.work
        if not calls.watch.is_sub_call(call):
            return self._answer(request, call, scope)
        if refused := calls.spending.refusal():
            raise CallRefused(refused)
        waited = calls.slots.take(scope)
        if waited is None:
            self._interrupted()
        try:
            if refused := calls.spending.count_call():
                raise CallRefused(refused)
            calls.watch.call_running(call, waited)
            return self._answer(request, call, scope)
        finally:
            calls.slots.give()

    def _interrupted(self) -> NoReturn:
        self._calls.token.check()
        raise CallInterrupted("The call was interrupted before it was answered.")

    def _answer(self, request: lm15.Request, call: str | None, scope: Scope) -> lm15.Response:
        calls, attempt = self._calls, 1
        while True:
            try:
                future = calls.loop.submit(self._attempt(request, call))
            except LoopClosed:
                self._interrupted()
            if not scope.wait(future):
                future.cancel()
                self._interrupted()
            try:
                response = future.result()
            except lm15.LM15Error as error:
                of = _attempts(error, calls.retries)
                if attempt >= of:
                    raise
                delay = _delay(error, attempt, calls.retries)
                failure = model_failure(wrap_error(error, model=request.model, provider=self.inner.provider))
                calls.watch.call_retrying(call, attempt + 1, of, failure, delay)
                if not scope.sleep(delay):
                    self._interrupted()
                attempt += 1
                continue
            answered = self._priced(request, response)
            calls.spending.add(answered.usage, answered.cost_usd, sub_call=calls.watch.is_sub_call(call))
            calls.watch.call_answered(call, answered)
            return response

    async def _attempt(self, request: lm15.Request, call: str | None) -> lm15.Response:
        if self._streams:
            deltas = _Deltas(self._calls.watch, call)
            try:
                return _usable(await self._streamed(request, deltas))
            except lm15.StreamAssemblyError:
                if deltas.began:
                    raise
        # Not one event: a server that does not stream, or an answer that is none. Asked plainly, it says which.
        limits = self._calls.timeouts
        try:
            async with asyncio.timeout(limits.total):
                response = await self.inner.complete(request)
        except TimeoutError as error:
            if isinstance(error, lm15.LM15Error):
                raise
            raise lm15.TimeoutError(f"no answer within {limits.total:g} s", provider=self.inner.provider) from error
        self._streams = False
        return _usable(response)

    async def _streamed(self, request: lm15.Request, deltas: _Deltas) -> lm15.Response:
        limits = self._calls.timeouts
        stage, source = "first token", self.inner.stream(request)

        async def timed() -> AsyncIterator[StreamEvent]:
            nonlocal stage
            events = aiter(source)
            while True:
                async with asyncio.timeout(limits.first_token if stage == "first token" else limits.idle):
                    try:
                        event = await anext(events)
                    except StopAsyncIteration:
                        return
                deltas.began = True
                if event.type == "delta":
                    stage = "next token"
                    if event.delta.type in ("text", "thinking"):
                        deltas.add(event.delta.text, thinking=event.delta.type == "thinking")
                yield event

        began = time.monotonic()
        try:
            async with asyncio.timeout(limits.total):
                response: lm15.Response = await lm15.amaterialize_response(timed(), request)
        except TimeoutError as error:
            if isinstance(error, lm15.LM15Error):
                raise
            passed = time.monotonic() - began
            what = "no end of the answer" if passed >= limits.total else f"no {stage}"
            raise lm15.TimeoutError(
                f"{what} within {_limit(limits, stage, passed):g} s", provider=self.inner.provider
            ) from error
        finally:
            deltas.flush()
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
        return response

    def _priced(self, request: lm15.Request, response: lm15.Response) -> Answered:
        provider = self.inner.provider
        usage = _usage(request, response, provider)
        cost: float | None = 0.0 if self._free else None
        if not self._free and not usage.estimated:
            cost, _ = estimate_cost(
                response, provider=provider, requested_model=self.inner.wire_model, request=request
            )  # None when the price is not known
        return Answered(response.model or request.model, usage, cost, response.finish_reason == "length")


class _Deltas:
    """Streamed text on its way to the watch, gathered for `DELTA_SECONDS` (on the loop's thread alone)."""

    def __init__(self, watch: Watch, call: str | None) -> None:
        self._watch, self._call = watch, call
        self._gathered: list[tuple[bool, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.began = False
        """Whether anything of a stream came at all."""

    def add(self, text: str, *, thinking: bool) -> None:
        if not text:
            return
        if self._gathered and self._gathered[-1][0] != thinking:
            self.flush()
        self._gathered.append((thinking, text))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELTA_SECONDS, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gathered:
            gathered, self._gathered = self._gathered, []
            self._watch.call_delta(self._call, "".join(text for _, text in gathered), thinking=gathered[0][0])


def language_model(settings: ModelSettings, engine: ObservedEngine) -> dspy.LM:
    """A `dspy.LM` on that engine: no cache, no retries of its own. Raises dspy's `LMConfigurationError`."""
    wanted = {"temperature": settings.temperature, "reasoning_effort": settings.reasoning_effort}
    given = {name: value for name, value in wanted.items() if value is not None}
    return dspy.LM(settings.model, engine=engine, cache=False, num_retries=0, max_tokens=settings.max_tokens, **given)


def _limit(limits: Timeouts, stage: str, passed: float) -> float:
    if passed >= limits.total:
        return limits.total
    return limits.first_token if stage == "first token" else limits.idle


def _attempts(error: lm15.LM15Error, retries: Retries) -> int:
    if isinstance(error, lm15.TimeoutError):
        return retries.timeouts
    again = (
        lm15.RateLimitError,
        lm15.ServerError,
        lm15.TransportError,
        lm15.LockTimeoutError,
        lm15.StreamAssemblyError,
    )
    return retries.attempts if isinstance(error, again) else 1


def _delay(error: lm15.LM15Error, attempt: int, retries: Retries) -> float:
    asked = error.retry_after
    delay = asked if asked is not None and asked >= 0 else retries.first_delay * 2 ** (attempt - 1)
    return float(min(delay, retries.longest_delay))


def _usable(response: lm15.Response) -> lm15.Response:
    """The response, unless it says nothing at all (`choices: []` is a success to every client library)."""
    if response.text or response.tool_calls:
        return response
    if response.finish_reason == "length":
        raise lm15.ProviderError("the model used all its output tokens before it answered; raise DSPY_LM_MAX_TOKENS")
    if response.finish_reason == "content_filter":
        raise lm15.ProviderError("the provider's content filter withheld the answer")
    raise lm15.ServerError("the model answered with nothing (no choices, no text)")


def _usage(request: lm15.Request, response: lm15.Response, provider: str | None) -> ev.Usage:
    counted = usage_dict(response, provider)
    if "prompt_tokens" in counted and "completion_tokens" in counted:
        details = counted.get("prompt_tokens_details") or {}
        return ev.Usage(
            input=counted["prompt_tokens"],
            output=counted["completion_tokens"],
            cached=details.get("cached_tokens") or 0,
        )
    system = request.system if isinstance(request.system, str) else ""
    asked = len(system) + sum(len(message.text or "") for message in request.messages)
    return ev.Usage(input=asked // 4, output=len(response.text or "") // 4, estimated=True)
