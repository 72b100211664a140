"""How one answer of a model is got: over the network, or from an engine in this process; all on one event loop."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import importlib
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from dspy import lm15
from dspy._vendor.lm15.transports import StdlibAsyncTransport
from dspy.clients.engines import AsyncLiteLLMEngine, AsyncLM15Engine, LM15Engine

from fleet_rlm.engine.models.answer_stream import MendingTransport
from fleet_rlm.engine.models.model_settings import ModelSettings, Timeouts
from fleet_rlm.events import Json

T = TypeVar("T")
StreamEvent: TypeAlias = lm15.StreamStartEvent | lm15.StreamDeltaEvent | lm15.StreamEndEvent | lm15.StreamErrorEvent


_OWN_LOGIN = ("bedrock", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta", "watsonx", "oci", "sap")
"""Providers that know a person by other means than a key."""


class LoopClosed(RuntimeError):
    """A call came after the end of the run."""


class Inner(Protocol):
    """One attempt at an answer, as a stream."""

    def stream(self, request: lm15.Request) -> AsyncIterator[StreamEvent]: ...

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """The same without streaming, for a server that can't."""

    async def aclose(self) -> None: ...


class SyncEngine(Protocol):
    """A dspy engine without a network: the offline model, a scripted one."""

    def complete(self, request: lm15.Request) -> lm15.Response: ...

    def stream(self, request: lm15.Request) -> Iterator[StreamEvent]: ...


class ModelLoop:
    """The event loop that all model calls of a run share, in a thread that starts with the first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, work: Coroutine[object, object, T]) -> Future[T]:
        with self._lock:
            if self._closed:
                work.close()
                raise LoopClosed("the run is over")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="fleet-models", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, engines: tuple[Inner, ...], seconds: float) -> None:
        """End every call, close every connection, stop the thread."""
        with self._lock:
            loop, thread, self._closed = self._loop, self._thread, True
            self._loop = self._thread = None
        if loop is None or thread is None:
            return

        async def wind_up() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(engine.aclose() for engine in engines), return_exceptions=True)

        done = asyncio.run_coroutine_threadsafe(wind_up(), loop)
        try:
            done.result(seconds)
        except TimeoutError:
            done.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(seconds)
        if not thread.is_alive():
            loop.close()


class ShapingLiteLLMEngine(AsyncLiteLLMEngine):
    """Changes a request's arguments just before LiteLLM gets them, as the native client's transport does."""

    def __init__(self, shape: Callable[[dict[str, Json]], None], **options: Json) -> None:
        super().__init__(**options)
        self._shape = shape

    def _arguments(self, request: lm15.Request, *, streaming: bool = False) -> dict[str, Json]:
        arguments: dict[str, Json] = super()._arguments(request, streaming=streaming)
        self._shape(arguments)
        return arguments


class NetworkEngine:
    """A model over the network: dspy's native client where it knows the way, else LiteLLM (slow to import)."""

    def __init__(
        self, settings: ModelSettings, timeouts: Timeouts, shape: Callable[[dict[str, Json]], None] = lambda _: None
    ) -> None:
        self.provider: str | None = None
        self.wire_model = settings.model
        self._settings, self._shape = settings, shape
        self._native: AsyncLM15Engine | None = None
        self._transport: MendingTransport | None = None
        self._lite: AsyncLiteLLMEngine | None = None
        prefix = settings.model.partition("/")[0]
        base = settings.api_base
        if base is None and prefix == "openai":
            base = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
        maker, _, name = settings.model.partition("/")
        kind, _, rest = name.partition("/")
        self._api: Literal["chat", "responses"] = "responses" if kind == "responses" and rest else "chat"
        self._name = f"{maker}/{rest}" if self._api == "responses" else settings.model
        try:
            route = LM15Engine(lm15.RouterConfig(env={}), model_type=self._api).resolve(self._name)
        except (lm15.UnknownModelError, lm15.UnsupportedFeatureError):
            self.provider = prefix or None
            return
        self.provider, self.wire_model = route.provider, route.model
        if route.provider == "ollama" and base and not urlsplit(base).path.strip("/"):
            base = f"{base.rstrip('/')}/v1"  # people name Ollama's server; its chat API lies below
        elsewhere = any(os.environ.get(f"{prefix.upper()}{end}") for end in ("_API_BASE", "_BASE_URL"))
        if (route.provider.startswith("azure") and base) or (elsewhere and base is None):
            return
        key = settings.api_key
        if key is None and (settings.api_base or (base and not os.environ.get("OPENAI_API_KEY"))):
            # A local server asks for no key, but the client insists on one, and must not take the environment's.
            key = "none"
        wire = StdlibAsyncTransport(connect_timeout=timeouts.connect, read_timeout=timeouts.total, write_timeout=60.0)
        self._transport = MendingTransport(wire, route.provider, shape)
        self._native = AsyncLM15Engine(
            lm15.RouterConfig(
                api_keys={route.provider: key} if key else None,
                base_urls={route.provider: base} if base else None,
                transport=self._transport,
            ),
            model_type=self._api,
        )

    async def stream(self, request: lm15.Request) -> AsyncIterator[StreamEvent]:
        request = dataclasses.replace(request, model=self._name)
        started = False
        if self._native is not None:
            try:
                async for event in self._native.stream(request):
                    started = True
                    yield _with_its_end(event)
                return
            except lm15.UnsupportedFeatureError:
                if started:
                    raise
                native, self._native = self._native, None
                await native.aclose()
        engine = await self._litellm()
        async for event in engine.stream(request):
            yield event

    async def complete(self, request: lm15.Request) -> lm15.Response:
        request = dataclasses.replace(request, model=self._name)
        engine = self._native if self._native is not None else await self._litellm()
        response: lm15.Response = await engine.complete(request)
        return response

    async def _litellm(self) -> AsyncLiteLLMEngine:
        """LiteLLM takes seconds to import: in a thread, so that the loop (and an abort) need not wait for it."""
        if self._lite is None:
            await _imported("litellm")
            key, base = self._settings.api_key, self._settings.api_base
            if key is None and base and self.provider not in _OWN_LOGIN:
                key = "none"  # else LiteLLM sends what the environment has, for whatever address that is meant
            options = {"api_key": key, "api_base": base}
            given = {name: value for name, value in options.items() if value}
            self._lite = ShapingLiteLLMEngine(self._shape, model_type=self._api, **given)
        return self._lite

    async def aclose(self) -> None:
        if self._native is not None:
            await self._native.aclose()
        if self._transport is not None:
            await self._transport.aclose()
        if self._lite is not None:
            await self._lite.aclose()


def _with_its_end(event: StreamEvent) -> StreamEvent:
    """An end of the Responses API as it was: in a stream, the library takes each for a whole answer."""
    told = event.provider_data if isinstance(event, lm15.StreamEndEvent) else None
    details = told.get("incomplete_details") if isinstance(told, dict) else None
    if not isinstance(details, dict) or told is None or told.get("status") != "incomplete":
        return event
    withheld = "filter" in str(details.get("reason"))
    return dataclasses.replace(event, finish_reason="content_filter" if withheld else "length")


async def _imported(name: str) -> None:
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()  # an import can't be cancelled: whoever waits may go, it ends by itself

    def bring() -> None:
        try:
            importlib.import_module(name)
        except ImportError as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=bring, name="fleet-import", daemon=True).start()
    await asyncio.wrap_future(done)


class ThreadedEngine:
    """A synchronous engine on the loop: each answer is made in a thread of its own."""

    provider: str | None = None

    def __init__(self, engine: SyncEngine, model: str) -> None:
        self._engine = engine
        self.wire_model = model

    async def stream(self, request: lm15.Request) -> AsyncIterator[StreamEvent]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[StreamEvent | Exception | None] = asyncio.Queue()
        gone = threading.Event()

        def deliver(item: StreamEvent | Exception | None) -> None:
            if not gone.is_set() and not loop.is_closed():
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        def produce() -> None:
            try:
                for event in self._engine.stream(request):
                    if gone.is_set():
                        return
                    deliver(event)
                deliver(None)
            except Exception as error:  # noqa: BLE001 - it is raised again where the stream is read
                deliver(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(produce,), name="fleet-model-call", daemon=True).start()
        try:
            while (item := await arrived.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            gone.set()

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return await lm15.amaterialize_response(self.stream(request), request)

    async def aclose(self) -> None:
        close = getattr(self._engine, "close", None)
        if close is not None:
            close()


def offline_engine(*, watched: bool = True) -> SyncEngine:
    """The built-in model without weights; slow enough to be watched unless nobody does."""
    from fleet_rlm.offline import DEFAULT_PACE, OfflineEngine  # only a run without a model needs it

    engine: SyncEngine = OfflineEngine(DEFAULT_PACE if watched else 0.0)
    return engine
