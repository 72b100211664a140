"""Faults that a test asks for: what happens to the next call of a name."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Literal

Action = Literal["delay", "fail", "lose", "hang", "drop"]


@dataclass
class Fault:
    """Something that befalls calls.

    `delay` answers later, `fail` answers with a status and does nothing, `lose` does the work and answers with a
    status, `hang` never answers, `drop` closes the connection. With `after_bytes`, `fail` and `drop` come when that
    many bytes of a stream have passed.
    """

    rpc: str
    """A regular expression for the whole name: `SandboxCreateV2`, `TaskExec.*`."""
    action: Action
    seconds: float = 0.0
    """For `delay`."""
    status: str = "UNAVAILABLE"
    """The name of a gRPC status."""
    message: str = "injected by a test"
    after_bytes: int = 0
    skip: int = 0
    """Calls that pass unharmed before the first that does not."""
    times: int = 1
    """Calls that it befalls; -1: all."""


class Faults:
    """Those that are still to come."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []
        self._over = asyncio.Event()

    def add(self, fault: Fault) -> None:
        self._waiting.append(fault)

    def clear(self) -> None:
        """None are to come, and what hangs is let go."""
        self._waiting.clear()
        self._over.set()
        self._over = asyncio.Event()

    async def hang(self) -> None:
        await self._over.wait()

    def befalling(self, rpc: str) -> Fault | None:
        """The fault of this call, used up by it."""
        for fault in self._waiting:
            if fault.times == 0 or not re.fullmatch(fault.rpc, rpc):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
            return fault
        return None
