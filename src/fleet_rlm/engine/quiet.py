"""Keep dspy's own log away from a terminal that belongs to somebody else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_dspy() -> Iterator[None]:
    """In here, what dspy logs goes to `fleet_rlm.dspy`, not through a handler of its own to standard error."""
    logger = logging.getLogger("dspy")
    handlers, propagates, ours = logger.handlers[:], logger.propagate, _PassOn()
    logger.handlers, logger.propagate = [ours], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates


class _PassOn(logging.Handler):
    """To the run's diagnostics: nobody hears them unless they listen to `fleet_rlm`."""

    def emit(self, record: logging.LogRecord) -> None:
        target = logging.getLogger("fleet_rlm.dspy")
        if target.isEnabledFor(logging.DEBUG):
            target.debug("%s: %s", record.levelname, record.getMessage())
