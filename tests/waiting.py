"""Wait for a condition instead of sleeping: tests are as fast as the thing they watch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(predicate: Callable[[], T], seconds: float = 10.0, what: str = "the condition") -> T:
    """The predicate's first true value; `AssertionError` after `seconds`."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        pause.wait(0.01)
