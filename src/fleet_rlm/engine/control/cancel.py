"""Cancel a run: one token wakes every model call and kills every sandbox of the run.

A `Scope` is work that may be ended; its children end with it. The run's own scope ends by abort. Below it is
the scope of *the work under way* (a planner's call, a cell with its sub-calls), which `interrupt` ends and renews.
"""

from __future__ import annotations

import concurrent.futures as futures
import threading
import time
from collections.abc import Callable
from typing import TypeVar, cast

from fleet_rlm.engine.run_errors import RunAborted
from fleet_rlm.log_text import logger

T = TypeVar("T")
_log = logger(__name__)


TURN_SECONDS = 0.25


class Scope:
    """Work that can be ended from any thread; ending is final and idempotent."""

    def __init__(self) -> None:
        self._ended: futures.Future[None] = futures.Future()
        self._lock = threading.Lock()
        self._hooks: dict[object, Callable[[], None]] = {}

    @property
    def ended(self) -> bool:
        return self._ended.done()

    def end(self) -> None:
        """Wake every waiter and run every hook, each in the calling thread; a hook that fails stops no other."""
        with self._lock:
            if self._ended.done():
                return
            self._ended.set_result(None)
            hooks, self._hooks = list(self._hooks.values()), {}
        for hook in hooks:
            try:
                hook()
            except Exception:  # noqa: BLE001 - whatever one hook does, the others must still run
                _log.exception("a cancel hook failed")

    def on_end(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call `hook` when this ends (now, if it has); returns a function that takes it back."""
        key = object()
        with self._lock:
            if not self._ended.done():
                self._hooks[key] = hook
                return lambda: self._forget(key)
        hook()
        return lambda: None

    def _forget(self, key: object) -> None:
        with self._lock:
            self._hooks.pop(key, None)

    def child(self) -> Scope:
        """A scope that ends with this one."""
        child = Scope()
        forget = self.on_end(child.end)
        child.on_end(forget)
        return child

    def wait(self, future: futures.Future[T], timeout: float | None = None) -> bool:
        """Wait for a future; return False when this scope ended or `timeout` seconds passed first."""
        self._wait_for(cast("list[futures.Future[object]]", [future, self._ended]), timeout)
        return future.done()

    def sleep(self, seconds: float) -> bool:
        """Wait for `seconds`; return False when this scope ended meanwhile."""
        self._wait_for(cast("list[futures.Future[object]]", [self._ended]), seconds)
        return not self.ended

    def _wait_for(self, several: list[futures.Future[object]], seconds: float | None) -> None:
        """Wait in short turns: a signal just before a long wait of the main thread would be handled only after it."""
        end = None if seconds is None else time.monotonic() + seconds
        while not any(one.done() for one in several):
            left = TURN_SECONDS if end is None else min(TURN_SECONDS, end - time.monotonic())
            if left <= 0:
                return
            futures.wait(several, timeout=left, return_when=futures.FIRST_COMPLETED)


class CancelToken(Scope):
    """The run's own scope, with the renewable scope of the work under way below it."""

    def __init__(self) -> None:
        super().__init__()
        self.reason = ""
        self.at: float | None = None
        """Time of the cancellation, on the monotonic clock."""
        self._work = self.child()
        self._work_lock = threading.Lock()

    def cancel(self, reason: str) -> None:
        with self._work_lock:
            if not self.ended and self.at is None:
                self.reason, self.at = reason, time.monotonic()
        self.end()

    def check(self) -> None:
        """Raise `RunAborted` once the run is cancelled."""
        if self.ended:
            raise RunAborted(self.reason)

    @property
    def work(self) -> Scope:
        """The scope of the work under way, for a call that begins now."""
        return self._work

    def interrupt(self) -> None:
        """End the work under way; work that begins later is not affected."""
        with self._work_lock:
            ended, self._work = self._work, self.child()
        ended.end()


class Slots:
    """Limits how many sub-calls are in flight at once; the others wait for their turn."""

    def __init__(self, width: int) -> None:
        self._free = max(1, width)
        self._queue: list[futures.Future[None]] = []
        self._lock = threading.Lock()

    def take(self, scope: Scope) -> float | None:
        """Wait for a turn and return the seconds waited, or None when the scope ended first."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return 0.0
            turn: futures.Future[None] = futures.Future()
            self._queue.append(turn)
        began = time.monotonic()
        scope.wait(turn)
        with self._lock:
            if turn.done() and not scope.ended:
                return time.monotonic() - began
            if not turn.done():
                self._queue.remove(turn)
                return None
        self.give()
        return None

    def give(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.pop(0).set_result(None)
            else:
                self._free += 1
