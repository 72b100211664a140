"""Make what is logged, warned of and raised harmless to a terminal: it may quote a model, a document or a sandbox."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any

from fleet_rlm.terminal_text import clean


def logger(name: str) -> logging.Logger:
    """The logger of this name, whose records are cleaned before any handler of anybody's has them."""
    found = logging.getLogger(name)
    found.addFilter(_cleaned)
    return found


def clean_process() -> None:
    """Clean what every logger, `warnings` and uncaught exceptions write from here on. For our own programs only."""
    make, format_warning = logging.getLogRecordFactory(), warnings.formatwarning

    def cleaned_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        _cleaned(record)
        return record

    def cleaned_warning(*args: Any, **kwargs: Any) -> str:
        return clean(format_warning(*args, **kwargs))

    logging.setLogRecordFactory(cleaned_record)
    warnings.formatwarning = cleaned_warning
    sys.excepthook = _show
    threading.excepthook = _show_of_thread


def _cleaned(record: logging.LogRecord) -> bool:
    try:
        record.msg, record.args = clean(record.getMessage()), None
    except (TypeError, ValueError, KeyError):  # arguments that don't fit: logging itself says so, in its own words
        record.msg, record.args = clean(str(record.msg)), None
    if record.exc_info and record.exc_info[0] is not None and not record.exc_text:
        record.exc_text = clean("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
    if record.stack_info:
        record.stack_info = clean(record.stack_info)
    return True


def _show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if sys.stderr is not None:
        sys.stderr.write(clean("".join(traceback.format_exception(kind, error, trace))))


def _show_of_thread(about: threading.ExceptHookArgs) -> None:
    if about.exc_type is not SystemExit:
        _show(about.exc_type, about.exc_value, about.exc_traceback)
