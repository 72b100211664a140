"""Calls from generated code to the host's functions: threads that grow as they are needed, and what a call is."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


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
