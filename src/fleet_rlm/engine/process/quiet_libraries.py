"""Keep the logs of dspy and Modal's client away from a terminal that belongs to somebody else."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from fleet_rlm.log_text import logger

MODAL_LOGGERS = ("modal-client", "modal-utils")


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """In here, what they log goes to `fleet_rlm.<name>`, not through handlers of their own to standard error."""
    with _quiet:
        _quiet.enter()
    try:
        yield
    finally:
        with _quiet:
            _quiet.leave()


class _Quiet:
    """Runs may overlap in one process: the first takes the handlers away, the last gives them back."""

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
            for name in MODAL_LOGGERS:  # by a filter: the client adds its handler when it is imported, which is later
                logging.getLogger(name).addFilter(_divert)

    def leave(self) -> None:
        self._runs -= 1
        if self._runs == 0:
            logger = logging.getLogger("dspy")
            logger.handlers, logger.propagate = self._handlers, self._propagates
            for name in MODAL_LOGGERS:
                logging.getLogger(name).removeFilter(_divert)


class _PassOn(logging.Handler):
    """To the run's diagnostics: nobody hears them unless they listen to `fleet_rlm`."""

    def emit(self, record: logging.LogRecord) -> None:
        _pass_on(record, "dspy")


def _divert(record: logging.LogRecord) -> bool:
    _pass_on(record, "modal")
    return False


def _pass_on(record: logging.LogRecord, name: str) -> None:
    target = logger(f"fleet_rlm.{name}")
    if target.isEnabledFor(logging.DEBUG):
        target.debug("%s: %s", record.levelname, record.getMessage())


_quiet = _Quiet()
