"""Modal's client, with deadlines of our own: imported when it is first needed, never waited for without end."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from fleet_rlm import modal_login
from fleet_rlm.sandbox.modal.failures import CloudError, cloud_error, too_late
from fleet_rlm.sandbox.transport import TransportError

_T = TypeVar("_T")
_POLL_SECONDS = 0.1
LOOK_UP = 10.0
"""Seconds for what Modal answers at once when it answers at all."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that each step may take. The client's own patience is a minute and more."""

    look_up: float = LOOK_UP
    """The connection, an app, a secret, a volume, an image that exists."""
    build: float = 900.0
    create: float = 60.0
    boot: float = 120.0
    """From a created sandbox to a process in it: Modal pulls the image meanwhile."""
    reconnect: float = 40.0
    """How long a cut of the network may last while code runs."""
    file: float = 60.0
    """For a file, beside a second for each megabyte."""
    close: float = 3.0


def load() -> ModuleType:
    """The package `modal`. Raises `CloudError` when another file hides it, or it can't be imported."""
    problem = modal_login.shadowed()
    if problem is not None:
        raise CloudError(problem.message, problem.hint)
    try:
        return importlib.import_module("modal")
    except Exception as error:  # a malformed ~/.modal.toml raises at import, as whatever its parser raises
        hint = "Mend or remove ~/.modal.toml (or the file that MODAL_CONFIG_PATH names); `modal token new` writes it."
        raise CloudError(f"Modal's client can't be loaded: {error}", hint) from error


def connect(seconds: float = LOOK_UP, stopped: Callable[[], bool] = lambda: False) -> tuple[ModuleType, Any]:
    """The package and its client for the account that is configured; one client a process.

    `Any`: Modal's client. Raises `CloudError`: no token, half a token, a profile that does not exist.
    """
    modal = load()
    client = within(modal, seconds, "connecting", modal.Client.from_env, stopped)
    return modal, client


def within(
    modal: ModuleType,
    seconds: float,
    doing: str,
    function: Callable[[], _T],
    stopped: Callable[[], bool] = lambda: False,
) -> _T:
    """Call the client in a thread of its own, so that it can be left behind: after `seconds`, or once `stopped`.

    In such a thread runs no event loop, which the client's synchronous calls would warn of. Raises `CloudError`.
    """
    box: Future[_T] = Future()

    def call() -> None:
        try:
            box.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            box.set_exception(error)

    threading.Thread(target=call, name="modal-call", daemon=True).start()
    end = time.monotonic() + seconds
    while not box.done():
        left = end - time.monotonic()
        if left <= 0:
            raise too_late(doing, seconds)
        if stopped():
            raise TransportError("the sandbox was ended")
        wait([box], timeout=min(_POLL_SECONDS, left))
    try:
        return box.result()
    except TransportError:
        raise
    except Exception as error:
        raise cloud_error(modal, error, doing) from error
