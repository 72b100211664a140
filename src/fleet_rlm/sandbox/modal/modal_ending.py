"""The reason why a sandbox, or the driver in it, ended, in words, with what to do."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fleet_rlm.spec import ModalOptions

_TIMED_OUT, _KILLED = 124, 137
_ORPHANED = 75
"""Exit code of a driver that heard nothing from its host."""
_PAGE = "Modal's page of the app has its log."
_MEMORY = "Give it more memory: --memory MIB."


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a sandbox: the reason, and what to do."""

    why: str
    hint: str = ""


async def how_it_ended(modal: ModuleType, sandbox: Any, process: Any, options: ModalOptions) -> Ended | None:
    """None while both run. `Any`: Modal's objects. Raises what its client raises."""
    code = await sandbox.poll.aio()
    if code is None:
        driver = await process.poll.aio()
        return None if driver is None else _driver_ended(driver, options)
    if code == _TIMED_OUT:
        return Ended(
            f"its life of {options.timeout:g} s was over",
            "Give it longer: --sandbox-timeout SECONDS, or ModalInterpreter(timeout=…).",
        )
    try:
        await sandbox.wait.aio(raise_on_termination=True)
    except modal.exception.SandboxTerminatedError:
        return Ended("somebody or something else terminated it at Modal", _PAGE)
    if code == _KILLED:
        memory = options.memory_mb or 8192
        return Ended(
            f"it was killed: out of memory (it may use {memory:,} MiB), or idle for {options.idle_timeout:g} s", _MEMORY
        )
    return Ended(f"its container ended with exit code {code}", _PAGE)


def _driver_ended(code: int, options: ModalOptions) -> Ended:
    if code == _ORPHANED:
        return Ended(
            f"it had not heard from this program for {options.orphan:g} s, and ended itself",
            "The network was cut, or this machine slept: start the run again.",
        )
    if code == _KILLED:
        return Ended("its driver was killed (out of memory?)", _MEMORY)
    return Ended(f"its driver ended with exit code {code}", _PAGE)
