"""A clock that stands still while this program is stopped, so that ctrl+z costs no sandbox its deadline."""

from __future__ import annotations

import threading
import time

LONGEST_STEP = 1.5
"""Callers ask the clock at least once a second: a longer step means that this process did not run."""


class _Clock:
    """Counts the monotonic seconds in which this process ran; ask it at least once a second while you wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last, self._stopped = time.monotonic(), 0.0

    def __call__(self) -> float:
        with self._lock:
            now = time.monotonic()
            self._stopped += max(0.0, now - self._last - LONGEST_STEP)
            self._last = now
            return now - self._stopped


awake = _Clock()
