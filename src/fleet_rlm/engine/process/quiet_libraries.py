"""Keep the logs of dspy and Modal's client away from a terminal that belongs to somebody else."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from fleet_rlm.log_text import logger

MODAL_LOGGERS = ("modal-client", "modal-utils")
_lock = threading.Lock()
_blocks: list[contextlib.ExitStack] = []
"""The open blocks of `quiet_libraries`; runs may overlap in one process."""


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within this block, send their logs to `fleet_rlm.<name>` instead of standard error."""
    restore = contextlib.ExitStack()
    with _lock:
        if not _blocks:
            _divert_logs(restore)
        _blocks.append(restore)
    try:
        yield
    finally:
        with _lock:
            _blocks.remove(restore)
            if _blocks:  # the last block to end puts the handlers back
                _blocks[0].push(restore.pop_all())
            restore.close()


def _divert_logs(restore: contextlib.ExitStack) -> None:
    dspys = logging.getLogger("dspy")
    restore.callback(vars(dspys).update, handlers=dspys.handlers, propagate=dspys.propagate)
    dspys.handlers, dspys.propagate = [_PassOn()], False
    for name in MODAL_LOGGERS:  # by a filter: the client adds its handler when it is imported, which is later
        logging.getLogger(name).addFilter(_divert)
        restore.callback(logging.getLogger(name).removeFilter, _divert)


class _PassOn(logging.Handler):
    """Passes dspy's log records on to the `fleet_rlm` logger, which is silent unless somebody listens to it."""

    def emit(self, record: logging.LogRecord) -> None:
        _pass_on(record, "dspy")


def _divert(record: logging.LogRecord) -> bool:
    _pass_on(record, "modal")
    return False


def _pass_on(record: logging.LogRecord, name: str) -> None:
    target = logger(f"fleet_rlm.{name}")
    if target.isEnabledFor(logging.DEBUG):
        target.debug("%s: %s", record.levelname, record.getMessage())
