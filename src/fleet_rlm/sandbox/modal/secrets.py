"""Modal's secrets: which exist and which keys they have. Their values never reach this program."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from fleet_rlm.sandbox.modal.client import LOOK_UP, connect, within
from fleet_rlm.sandbox.modal.failures import CloudError, NotThere


def open_secret(
    modal: ModuleType,
    name: str,
    *,
    seconds: float = LOOK_UP,
    stopped: Callable[[], bool] = lambda: False,
    keys: tuple[str, ...] = (),
) -> Any:
    """A hydrated secret. `Any`: Modal's secret. Raises `NotThere` when it, or one of `keys`, does not exist."""

    def look_up() -> Any:
        return modal.Secret.from_name(name, required_keys=list(keys)).hydrate.aio()

    try:
        return within(modal, seconds, f"looking up the secret {name}", look_up, stopped)
    except NotThere as error:
        raise NotThere(
            f"there is no secret named {name!r} in this Modal workspace{_which(error, keys)}",
            f"Make it: modal secret create {name} KEY=value",
        ) from error


def missing_keys(name: str, keys: tuple[str, ...]) -> tuple[str, ...]:
    """Which of these keys a secret lacks; nothing is started for it. Raises `NotThere` when there is no such secret."""
    modal, _ = connect()
    open_secret(modal, name)
    missing = []
    for key in keys:
        try:
            open_secret(modal, name, keys=(key,))
        except CloudError as error:
            if not _lacks(error, key):
                raise
            missing.append(key)
    return tuple(missing)


def _lacks(error: CloudError, key: str) -> bool:
    """Is it the key that is missing, in a secret that exists? Servers say so in more than one way."""
    return isinstance(error, NotThere) or key in str(error)


def _which(error: CloudError, keys: tuple[str, ...]) -> str:
    return f" with {', '.join(keys)}" if keys and any(key in str(error) for key in keys) else ""
