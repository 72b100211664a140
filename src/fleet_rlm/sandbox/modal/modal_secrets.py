"""Modal's secrets: which exist and which keys they have. Their values never reach this program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from fleet_rlm.sandbox.modal.modal_client import LOOK_UP, connect, within
from fleet_rlm.sandbox.modal.modal_failures import PHRASES, CloudError, NotThere


def open_secret(
    modal: ModuleType,
    name: str,
    *,
    seconds: float = LOOK_UP,
    stopped: Callable[[], bool] = lambda: False,
    keys: tuple[str, ...] = (),
) -> Any:
    """Return a hydrated secret. `Any`: Modal's secret. Raises `NotThere` if it, or one of `keys`, does not exist."""

    def look_up() -> Any:
        return modal.Secret.from_name(name, required_keys=list(keys)).hydrate.aio()

    try:
        return within(modal, seconds, f"looking up the secret {name}", look_up, stopped)
    except NotThere as error:
        raise NotThere(
            f"{PHRASES['no secret']} {name!r} in this Modal workspace{_which(error, keys)}",
            f"Make it: modal secret create {name} KEY=value",
        ) from error


def missing_keys(name: str, keys: tuple[str, ...], *, seconds: float = LOOK_UP) -> tuple[str, ...]:
    """Return which of these keys a secret lacks; nothing is started for it, and no value is read.

    Raises `NotThere` when there is no such secret, `CloudError` when Modal can't say.
    """
    modal, _ = connect(seconds)
    open_secret(modal, name, seconds=seconds)

    stopped = threading.Event()

    def lacks(key: str) -> bool:
        try:
            open_secret(modal, name, seconds=seconds, stopped=stopped.is_set, keys=(key,))
        except CloudError as error:
            # The secret exists, so a refusal is about the key; servers refuse in more than one way.
            if isinstance(error, NotThere) or isinstance(error.__cause__, modal.exception.InvalidError):
                return True
            raise
        return False

    with ThreadPoolExecutor(max(len(keys), 1), thread_name_prefix="modal-keys") as pool:
        try:
            return tuple(key for key, lacking in zip(keys, pool.map(lacks, keys), strict=True) if lacking)
        finally:
            stopped.set()


def _which(error: CloudError, keys: tuple[str, ...]) -> str:
    return f" with {', '.join(keys)}" if keys and any(key in str(error) for key in keys) else ""
