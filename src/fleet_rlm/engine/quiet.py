"""Keep dspy's own log away from a terminal that belongs to somebody else."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_dspy() -> Iterator[None]:
    """In here, what dspy logs goes to `fleet_rlm.dspy`, not through a handler of its own to standard error."""
    with _quiet:
        _quiet.enter()
    try:
        yield
    finally:
        with _quiet:
            _quiet.leave()


class _Quiet:
    """Runs may overlap in one process: the first takes dspy's handlers away, the last gives them back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._handlers: list[logging.Handler] = []
        self._propagates = True

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def enter(self) -> None:
        self._runs += 1
        if self._runs == 1:
            logger = logging.getLogger("dspy")
            self._handlers, self._propagates = logger.handlers, logger.propagate
            logger.handlers, logger.propagate = [_PassOn()], False

    def leave(self) -> None:
        self._runs -= 1
        if self._runs == 0:
            logger = logging.getLogger("dspy")
            logger.handlers, logger.propagate = self._handlers, self._propagates


class _PassOn(logging.Handler):
    """To the run's diagnostics: nobody hears them unless they listen to `fleet_rlm`."""

    def emit(self, record: logging.LogRecord) -> None:
        target = logging.getLogger("fleet_rlm.dspy")
        if target.isEnabledFor(logging.DEBUG):
            target.debug("%s: %s", record.levelname, record.getMessage())


_quiet = _Quiet()
