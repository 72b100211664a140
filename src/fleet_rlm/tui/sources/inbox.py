"""A bounded queue between the thread that reads events and the screen that drains them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from fleet_rlm.events import AnyEvent, Unknown
from fleet_rlm.tui.sources.event_source import SourceEnd

MAX_EVENTS = 100_000
MAX_BYTES = 64 * 1024 * 1024


class Inbox:
    """Events in, events out, with one wake for many: a screen is called when it has something new to drain, once.

    At `MAX_EVENTS`, or when their lines come to `MAX_BYTES`, `put` waits until the screen has drained some: the reader
    slows down, memory doesn't grow.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._events: deque[tuple[AnyEvent | Unknown, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._woken = False
        self._closed = False
        self._end: SourceEnd | None = None
        self._for_now = False
        """True while the end may still be taken back."""
        self.wake = wake

    @property
    def end(self) -> SourceEnd | None:
        """Why nothing more will come, once everything that came has been drained."""
        with self._changed:
            return None if self._events else self._end

    def put(self, event: AnyEvent | Unknown, size: int = 0) -> bool:
        """Add an event whose line has `size` bytes. False once the inbox is closed: stop reading."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._is_full)
            if self._closed:
                return False
            if self._for_now:
                self._end, self._for_now = None, False
            self._events.append((event, size))
            self._bytes += size
            ring = not self._woken
            self._woken = True
        if ring:
            self.wake()
        return True

    def finish(self, end: SourceEnd, *, for_now: bool = False) -> None:
        """Say why nothing more will come; the first word counts. One `for_now` is taken back by the next event."""
        with self._changed:
            if self._end is not None and not self._for_now:
                return
            self._end, self._for_now = end, for_now
            closed = self._closed
        if not closed:
            self.wake()

    def drain(self, limit: int) -> list[AnyEvent | Unknown]:
        with self._changed:
            taken = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
            self._bytes -= sum(size for _, size in taken)
            if not self._events:
                self._woken = False
            self._changed.notify_all()
        return [event for event, _ in taken]

    def close(self) -> None:
        """Let a waiting `put` go, and wake nobody any more. What was not drained is dropped."""
        with self._changed:
            self._closed = self._woken = True
            self._events.clear()
            self._bytes = 0
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """True while `put` would wait."""
        with self._changed:
            return self._is_full and not self._closed

    @property
    def _is_full(self) -> bool:
        return len(self._events) >= MAX_EVENTS or self._bytes >= MAX_BYTES
