"""Models as dspy engines that can be watched and ended: streaming, timeouts, retries, usage, price.

dspy's own retries sleep where nothing can wake them and its calls have no timeout, so both live here: `ObservedEngine`
makes one answer of as many attempts as it takes, on one event loop in a thread of its own, while the thread that asked
waits for whichever comes first, the answer or the end of its scope.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

import dspy
from dspy import lm15
from dspy.clients._deprecation import adapter_message_call
from dspy.clients.errors import wrap_error
from dspy.utils.callback import ACTIVE_CALL_ID

from fleet_rlm import events as ev
from fleet_rlm.engine.control.budgets import Estimate, Spending
from fleet_rlm.engine.control.cancel import CancelToken, Scope, Slots
from fleet_rlm.engine.models import prices
from fleet_rlm.engine.models.answer_stream import Withheld
from fleet_rlm.engine.models.context_windows import Window
from fleet_rlm.engine.models.model_clients import (
    LoopClosed,
    ModelLoop,
    NetworkEngine,
    StreamEvent,
    ThreadedEngine,
    offline_engine,
)
from fleet_rlm.engine.models.model_facts import estimated_tokens
from fleet_rlm.engine.models.model_form import Form, prompt_tokens
from fleet_rlm.engine.models.model_settings import ModelSettings, Retries, Timeouts
from fleet_rlm.engine.models.provider_faults import WITHHELD, judged
from fleet_rlm.engine.run.run_failures import AnswerCut, CallRefused, model_failure
from fleet_rlm.figures import waiting

DELTA_SECONDS = 0.033
"""Streamed text is passed on at most this often a call, some tens of times a second."""
MOST_CHANGES = 6
"""Times that the form of one request is changed after a refusal of its server."""


class CallInterrupted(CallRefused):
    """The call was ended because the work around it was (its cell was interrupted, the run is being finished)."""


class EmptyAnswer(lm15.ServerError):
    """The model's server sent an answer that says nothing."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The usage and cost of a finished model call, all its attempts together."""

    model: str
    usage: ev.Usage
    cost_usd: float | None
    truncated: bool = False
    """The answer ends at the limit of its tokens, not where the model wanted it to."""
    from_cache: bool = False
    """Answered by dspy's cache, for nothing (in programs that use it)."""
    thinking: str = ""
    """What the model thought before it answered, where it says so."""

    def __add__(self, other: Answered) -> Answered:
        known = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return dataclasses.replace(other, usage=self.usage + other.usage, cost_usd=sum(known) if known else None)


class Watch(Protocol):
    """Who hears of model calls; `call` is dspy's id of the call."""

    def is_sub_call(self, call: str | None) -> bool:
        """False for the run's own planner and its extraction, which have no queue and no budget of calls."""

    def is_planner(self, call: str | None) -> bool:
        """Whether the answer is code to run, of the run itself or of a sub-agent: half of it must not run."""

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
        self._calls, self._settings = calls, settings
        self._form = Form(settings)
        self._price = prices.price_of(settings)
        self.window = Window(settings)
        engine = offline_engine(watched=settings.watched) if settings.offline else settings.engine
        self.inner: NetworkEngine | ThreadedEngine = (
            NetworkEngine(settings, calls.timeouts, self._form.shape_body)
            if engine is None
            else ThreadedEngine(engine, settings.model)
        )

    @property
    def name(self) -> str:
        return self._settings.model

    @property
    def is_priced(self) -> bool:
        """True if the model's price is known before the first answer."""
        return self._price is not None or self._settings.engine is not None

    @property
    def is_remote(self) -> bool:
        """Whether the model is not served by this machine, where it would cost nothing."""
        host = urlsplit(self._settings.api_base or "").hostname or ""
        return host not in ("localhost", "::1") and not host.startswith("127.")

    def notices(self) -> list[str]:
        """List the person's settings that the model can't take."""
        return self._form.notices()

    def stream(self, request: lm15.Request) -> Iterator[StreamEvent]:
        yield from lm15.response_to_events(self.complete(request))

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Raises dspy and lm15 errors, `CallRefused` and `RunAborted`."""
        calls, call = self._calls, ACTIVE_CALL_ID.get()
        calls.token.check()
        scope = calls.token.work
        if not calls.watch.is_sub_call(call):
            return self._answer(request, call, scope)
        self.window.check(_text(request))
        if refused := calls.spending.refusal():
            raise CallRefused(refused)
        waited = calls.slots.take(scope)
        if waited is None:
            self._interrupted()
        ticket, tokens = object(), prompt_tokens(request)
        try:
            if refused := calls.spending.admit(ticket, lambda: self._estimate(request, tokens), scope):
                calls.token.check()
                raise (CallInterrupted if scope.ended else CallRefused)(refused)
            calls.watch.call_running(call, waited)
            return self._answer(request, call, scope)
        finally:
            calls.spending.settle(ticket)
            calls.slots.give()

    def _estimate(self, request: lm15.Request, tokens: int) -> Estimate:
        """What a call is going to cost: its prompt, and an answer as long as others, or as long as it may be."""
        read, usual = self.window.scaled(tokens), self._calls.spending.usual_answer()
        most = max(self._form.shaped(request).config.max_tokens or 0, usual)
        price = self._price
        about, at_most = ev.Usage(input=read, output=usual), ev.Usage(input=read, output=most)
        return Estimate(
            read + usual, read + most, price.of(about) if price else None, price.of(at_most) if price else None
        )

    def _interrupted(self) -> NoReturn:
        self._calls.token.check()
        raise CallInterrupted("The call was interrupted before it was answered.")

    def _answer(self, request: lm15.Request, call: str | None, scope: Scope) -> lm15.Response:
        """One answer of as many attempts as it takes."""
        attempt, changes, room, plainly = 1, 0, None, False
        paid: Answered | None = None
        while True:
            asked = self._form.shaped(request, room)
            streamed, deltas = self._form.streams and not plainly, _Deltas(self._calls.watch, call)
            try:
                response = self._waited_for(self._attempt(asked, deltas, streamed=streamed), scope)
            except lm15.LM15Error as raised:
                error = judged(raised)
                plainly = plainly or isinstance(error, EmptyAnswer)  # some servers leave a refusal out of a stream
                self.window.learn(error, _text(request))
                if deltas.said:  # broken off: what came is paid for
                    paid = self._count(call, _guessed(asked, "".join(deltas.said)), paid)
                changed = self._form.learn(error, asked, streamed=streamed) if changes < MOST_CHANGES else None
                if changed is not None:
                    changes, room = changes + 1, None
                    failure = ev.Failure(type="FormRefused", message=f"{self._failure(error).message}: {changed}")
                    self._calls.watch.call_retrying(call, attempt, attempt, failure, 0.0)
                    continue
                attempt = self._wait_after(error, attempt, call, scope)
                continue
            except Withheld as withheld:
                self._count(call, _guessed(asked, str(withheld)), paid)
                raise
            answered = self._priced(asked, response)
            self.window.counted(prompt_tokens(asked), answered.usage)
            more = self._form.more_room(asked) if answered.truncated else None
            paid = self._count(call, answered, paid, told=more is None)
            if more is not None:
                failure = AnswerCut(asked.config.max_tokens, response.text or "").failure()
                self._calls.watch.call_retrying(call, attempt + 1, attempt + 1, failure, 0.0)
                room, attempt = more, attempt + 1
                continue
            return self._usable(asked, response, call)

    def _count(self, call: str | None, answered: Answered, before: Answered | None, *, told: bool = True) -> Answered:
        """Count what an attempt cost; `before` is what earlier ones did. Returns the sum."""
        calls = self._calls
        if answered.cost_usd is None and answered.usage.estimated and self._price is not None:
            answered = dataclasses.replace(answered, cost_usd=self._price.of(answered.usage))
        calls.spending.add(
            answered.usage, answered.cost_usd, sub_call=calls.watch.is_sub_call(call),
            input_price=self._price.input if self._price else None,
        )  # fmt: skip
        together = before + answered if before is not None else answered
        if told:
            calls.watch.call_answered(call, together)
        return together

    def _waited_for(self, attempt: Coroutine[object, object, lm15.Response], scope: Scope) -> lm15.Response:
        try:
            future = self._calls.loop.submit(attempt)
        except LoopClosed:
            self._interrupted()
        if not scope.wait(future):
            future.cancel()
            self._interrupted()
        return future.result()

    def _wait_after(self, error: lm15.LM15Error, attempt: int, call: str | None, scope: Scope) -> int:
        """Wait until the next attempt; raises the error when there is none. Returns the next one's number."""
        retries = self._calls.retries
        of = _attempts(error, retries)
        asked = error.retry_after
        if attempt < of and asked is not None and asked > retries.longest_delay:
            patience = f"the provider asks to wait {waiting(asked)}, longer than the {waiting(retries.longest_delay)}"
            error.message = f"{error.message.rstrip('. ')}. ({patience} that a call waits.)"
            of = attempt
        if attempt >= of:
            raise error
        delay = _delay(error, attempt, retries)
        self._calls.watch.call_retrying(call, attempt + 1, of, self._failure(error), delay)
        if not scope.sleep(delay):
            self._interrupted()
        return attempt + 1

    def _failure(self, error: lm15.LM15Error) -> ev.Failure:
        wrapped = wrap_error(error, model=self._settings.model, provider=self.inner.provider)
        return model_failure(wrapped)

    async def _attempt(self, request: lm15.Request, deltas: _Deltas, *, streamed: bool) -> lm15.Response:
        if streamed:
            try:
                return _something(await self._streamed(request, deltas))
            except (lm15.StreamAssemblyError, lm15.UnsupportedFeatureError):
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
        if streamed:
            self._form.streams = False
        return _something(response)

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
        usage = prices.usage_of(request, response, provider)
        cost = prices.cost_of(request, response, usage, self._settings, (provider, self.inner.wire_model))
        thinking = "\n\n".join(part.text for part in response.message.parts if part.type == "thinking" and part.text)
        cut = response.finish_reason == "length"
        return Answered(response.model or request.model, usage, cost, cut, thinking=thinking)

    def _usable(self, asked: lm15.Request, response: lm15.Response, call: str | None) -> lm15.Response:
        """The answer, unless it is none or must not be used."""
        refusal = "".join(part.text or "" for part in response.message.parts if part.type == "refusal")
        text = response.text or ""
        if refusal or response.finish_reason == "content_filter":
            words = refusal or text or "the provider's content filter withheld the answer"
            raise Withheld(words, model=asked.model, provider=self.inner.provider, provider_code=WITHHELD)
        if response.finish_reason == "length":
            if self._calls.watch.is_planner(call) or not text:
                raise AnswerCut(asked.config.max_tokens, text)
            if self._calls.watch.is_sub_call(call):
                note = f"\n\n[The answer was cut off here, at its limit of {asked.config.max_tokens or 0:,} tokens.]"
                return dataclasses.replace(response, message=lm15.Message.assistant(text + note))
            return response
        thinking = "".join(part.text or "" for part in response.message.parts if part.type == "thinking")
        if thinking and not text and not response.tool_calls:
            words = f"the model only thought, and gave no answer. It thought: {thinking[-400:].strip()}"
            raise Withheld(words, model=asked.model, provider=self.inner.provider, provider_code="thinking_only")
        return response


class _Deltas:
    """Streamed text on its way to the watch, gathered for `DELTA_SECONDS` (on the loop's thread alone)."""

    def __init__(self, watch: Watch, call: str | None) -> None:
        self._watch, self._call = watch, call
        self._gathered: list[tuple[bool, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.said: list[str] = []
        self.began = False
        """Whether anything of a stream came at all."""

    def add(self, text: str, *, thinking: bool) -> None:
        if not text:
            return
        if self._gathered and self._gathered[-1][0] != thinking:
            self.flush()
        self._gathered.append((thinking, text))
        self.said.append(text)
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
    """A `dspy.LM` on that engine: no cache, no retries of its own; limits and temperature are the engine's.

    Raises dspy's `LMConfigurationError`.
    """
    effort = {"reasoning_effort": settings.reasoning_effort} if settings.reasoning_effort is not None else {}
    return _RunLM(settings.model, engine=engine, cache=False, num_retries=0, **effort)


class _RunLM(dspy.LM):
    """A run's language model, which takes the messages of dspy's adapters also from dspy's proxy for sub-agents.

    dspy knows them as its own by the model that they are for, which the proxy is not: it would warn of our calls.
    """

    def __call__(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
        """As `dspy.LM`."""
        with adapter_message_call(self, messages):
            return super().__call__(prompt, messages=messages, **kwargs)


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


def _guessed(asked: lm15.Request, said: str) -> Answered:
    """What an attempt cost whose tokens no one counted."""
    usage = ev.Usage(input=prompt_tokens(asked), output=estimated_tokens(said), estimated=True)
    return Answered(asked.model, usage, None)


def _something(response: lm15.Response) -> lm15.Response:
    """The response, unless it says nothing at all (`choices: []` is a success to every client library)."""
    told = any(part.type in ("refusal", "thinking") and part.text for part in response.message.parts)
    if response.text or response.tool_calls or told or response.finish_reason in ("length", "content_filter"):
        return response
    raise EmptyAnswer("the model answered with nothing (no choices, no text)")


def _text(request: lm15.Request) -> str:
    """Everything that a prompt says."""
    system = request.system if isinstance(request.system, str) else ""
    return "\n".join([system, *(message.text or "" for message in request.messages)])
