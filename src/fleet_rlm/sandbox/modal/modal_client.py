"""Modal's client, with deadlines of our own: imported when it is first needed, never waited for without end."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from fleet_rlm.config import modal_login
from fleet_rlm.sandbox.host.transport import TransportError
from fleet_rlm.sandbox.modal.modal_failures import CloudError, cloud_error, too_late

_T = TypeVar("_T")
_POLL_SECONDS = 0.1
_CANCEL_SECONDS = 2.0
"""Seconds that the client may take to give a call up."""
LOOK_UP = 10.0
"""Seconds for what Modal answers at once when it answers at all."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that each step may take. The client's own patience is a minute and more."""

    look_up: float = LOOK_UP
    """Seconds for the connection, an app, a secret, a volume, an image that exists."""
    build: float = 900.0
    create: float = 45.0
    boot: float = 90.0
    """Seconds from a created sandbox to a process in it: Modal pulls the image meanwhile."""
    reconnect: float = 40.0
    """Seconds that the network may be cut while code runs."""
    file: float = 30.0
    """Seconds for a file, beside one for each megabyte."""
    close: float = 3.0


def load() -> ModuleType:
    """Import the package `modal`. Raises `CloudError` if another file hides it or it can't be imported."""
    problem = modal_login.shadowed()
    if problem is not None:
        raise CloudError(problem.message, problem.hint)
    try:
        return importlib.import_module("modal")
    except Exception as error:  # a malformed ~/.modal.toml raises at import, as whatever its parser raises
        hint = "Fix or remove ~/.modal.toml (or the file that MODAL_CONFIG_PATH names); `modal token new` writes it."
        raise CloudError(f"Modal's client can't be loaded: {error}", hint) from error


def connect(seconds: float = LOOK_UP, stopped: Callable[[], bool] = lambda: False) -> tuple[ModuleType, Any]:
    """The package and its client for the account that is configured; one client a process.

    `Any`: Modal's client. Raises `CloudError`: no token, half a token, a profile that does not exist.
    """
    modal = load()
    client = within(modal, seconds, "connecting", modal.Client.from_env.aio, stopped)
    return modal, client


class Caller:
    """A thread with an event loop of its own, in which Modal's client is called by its asynchronous methods.

    So each call has a deadline and can be given up, and no synchronous one is made inside of an event loop of the
    caller's, which the client warns of. Threads of any number may call at once.
    """

    def __init__(self, modal: ModuleType) -> None:
        self._modal = modal
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="modal-calls", daemon=True)
        self._thread.start()

    def call(
        self, seconds: float, doing: str, make: Callable[[], Awaitable[_T]], stopped: Callable[[], bool] = lambda: False
    ) -> _T:
        """Return the result of `make()`, given up after `seconds` or once `stopped`. Raises `CloudError`."""

        async def bounded() -> _T:
            async with asyncio.timeout(seconds):
                return await make()

        began = time.monotonic()
        box = self.begin(bounded())
        while not box.done():
            wait([box], timeout=_POLL_SECONDS)
            if stopped():
                box.cancel()
                raise TransportError("the sandbox was ended")
            if time.monotonic() - began > seconds + _CANCEL_SECONDS:
                box.cancel()
                raise too_late(doing, seconds)
        try:
            return box.result()
        except TransportError:
            raise
        except CancelledError:
            raise TransportError("the sandbox was ended") from None
        except Exception as error:
            if isinstance(error, TimeoutError) and time.monotonic() - began >= seconds:
                raise too_late(doing, seconds) from None
            raise cloud_error(self._modal, error, doing) from error

    def begin(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start something in the thread; it is cancelled by `close`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the thread; nothing happens after `close`."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed
            return

    def close(self, seconds: float = 0.0) -> None:
        """Give up what is under way. Waits at most so long for the client to let it go."""
        self.soon(self._cancel_all)
        if seconds and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda *_: None)  # what is given up has nobody left to be told
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.create_task(self._end(tasks))

    async def _end(self, tasks: set[asyncio.Task[Any]]) -> None:
        if tasks:
            await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)
        self._loop.stop()


def within(
    modal: ModuleType,
    seconds: float,
    doing: str,
    make: Callable[[], Awaitable[_T]],
    stopped: Callable[[], bool] = lambda: False,
) -> _T:
    """One call with a deadline, in a thread of its own: `make` calls an asynchronous method (`thing.method.aio`).

    Given up after `seconds`, or once `stopped`. Raises `CloudError`.
    """
    caller = Caller(modal)
    try:
        return caller.call(seconds, doing, make, stopped)
    finally:
        caller.close(_CANCEL_SECONDS)
