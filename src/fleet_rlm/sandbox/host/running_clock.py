"""Seconds that don't count while this program was stopped: ctrl+z costs no sandbox its deadline."""

from __future__ import annotations

import threading
import time

LONGEST_STEP = 1.5
"""Whoever waits looks at the clock at least once a second: a longer step means that this process did not run."""


class _Clock:
    """Monotonic seconds in which this process ran; to be asked at least once a second by whoever waits for a time."""

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
