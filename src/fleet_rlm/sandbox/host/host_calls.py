"""Calls from generated code to the host's functions: threads that grow as they are needed, and what a call is."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class HostCall:
    """A call that generated code waits for."""

    execution: int
    id: int
    name: str
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when nobody waits for the answer any more: the cell was interrupted, has ended, or is lost."""


current_call: contextvars.ContextVar[HostCall | None] = contextvars.ContextVar("fleet_rlm_host_call", default=None)
"""Inside a host function: the call that it answers, so that it can stop early when nobody waits for it."""


class CallPool:
    """Runs at most `width` functions at once, each in a daemon thread; more of them wait in order.

    Each interpreter has its own pool, so that a function that starts another interpreter never waits for itself.
    Threads are made when no idle one is left and end when the pool closes.
    """

    def __init__(self, width: int) -> None:
        if width < 1:
            raise ValueError("a pool of calls needs a width of at least 1")
        self._width = width
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Callable[[], None] | None]] = []
        self._waiting: deque[Callable[[], None]] = deque()
        self._threads = 0
        self._closed = False

    def submit(self, work: Callable[[], None]) -> None:
        """Run `work` soon; it must not raise. Nothing happens after `close`."""
        with self._lock:
            if self._closed:
                return
            if self._idle:
                self._idle.pop().put(work)
            elif self._threads < self._width:
                self._threads += 1
                inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
                inbox.put(work)
                threading.Thread(target=self._serve, args=(inbox,), name="sandbox-call", daemon=True).start()
            else:
                self._waiting.append(work)

    def close(self) -> None:
        """Drop what waits; running functions end by themselves, their threads with them."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            for inbox in self._idle:
                inbox.put(None)
            self._idle.clear()

    def _serve(self, inbox: queue.SimpleQueue[Callable[[], None] | None]) -> None:
        while (work := inbox.get()) is not None:
            while work is not None:
                work()
                with self._lock:
                    if self._closed:
                        return
                    work = self._waiting.popleft() if self._waiting else None
                    if work is None:
                        self._idle.append(inbox)


def invoke(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call a host function, wait for its result if it is asynchronous, and return that."""
    args, kwargs = _as_taken(function, args, kwargs)
    result = function(*args, **kwargs)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


def _as_taken(
    function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments by name for functions that dspy wrapped: those take keywords alone, whatever they say."""
    signature = getattr(function, "__signature__", None)
    if not args or not isinstance(signature, inspect.Signature):
        return args, kwargs
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    if any(kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY) for kind in kinds.values()):
        return args, kwargs
    named: dict[str, Any] = {}
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        told = getattr(function, "__name__", "the tool")
        raise TypeError(f"{told}{signature}: {error}. Nothing was called.") from None
    for name, value in bound.arguments.items():
        named |= value if kinds[name] is inspect.Parameter.VAR_KEYWORD else {name: value}
    return [], named


async def _awaited(result: Any) -> Any:
    return await result
