"""Which interpreter runs generated code: the place of the engine that knows where sandboxes come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_rlm.engine.preparation import Prepared
from fleet_rlm.sandbox.cell import instructions
from fleet_rlm.sandbox.interpreter import Interpreter
from fleet_rlm.sandbox.local import LocalInterpreter
from fleet_rlm.sandbox.observer import SandboxObserver
from fleet_rlm.spec import RunSpec

LEAST_CALLS = 16
"""Host functions that run at once in a sandbox, at least: batches and tools beside the sub-calls."""


@dataclass(frozen=True, slots=True)
class Backend:
    """How sandboxes of a run are made."""

    make: Callable[[SandboxObserver], Interpreter]
    instructions: str
    """What a planner is told of how its code runs."""
    name: str


def choose(spec: RunSpec, prepared: Prepared) -> Backend:
    """The backend that the run asks for."""
    seconds = spec.cell_seconds if spec.cell_seconds > 0 else None

    def make(observer: SandboxObserver) -> Interpreter:
        return LocalInterpreter(
            modes=prepared.isolation,
            execution_timeout=seconds,
            concurrency=max(LEAST_CALLS, 2 * spec.concurrency),
            observer=observer,
        )

    return Backend(make, instructions(seconds), spec.sandbox)
