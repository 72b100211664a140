"""Which interpreter runs generated code: the place of the engine that knows where sandboxes come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fleet_rlm.engine.prepare.preparation import Prepared
from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter
from fleet_rlm.sandbox.modal.modal_interpreter import ANSWER, SILENCE
from fleet_rlm.sandbox.modal.modal_transport import ModalTransport
from fleet_rlm.spec import ModalOptions, RunSpec

KEEPING_SECONDS = 10.0
LEAST_CALLS = 16
"""Host functions that run at once in a sandbox, at least: batches and tools beside the sub-calls."""


@dataclass(frozen=True, slots=True)
class Backend:
    """How sandboxes of a run are made."""

    make: Callable[[SandboxObserver], Interpreter]
    instructions: str
    """What a planner is told of how its code runs."""
    name: str
    keeping_seconds: float = 0.0
    """How long the end of a run waits until what sub-agents wrote to a volume is kept."""


def choose(spec: RunSpec, prepared: Prepared, run_id: str) -> Backend:
    """The backend that the run asks for."""
    seconds = spec.cell_seconds if spec.cell_seconds > 0 else None
    width = max(LEAST_CALLS, 2 * spec.concurrency)
    if prepared.sandbox == "modal":
        options = spec.modal
        volume = options.volume_path if options.volume else None

        def make_modal(observer: SandboxObserver) -> Interpreter:
            return Interpreter(
                lambda: ModalTransport(options, tags={"run": run_id}),
                execution_timeout=seconds,
                concurrency=width,
                silence=SILENCE,
                start_timeout=ANSWER,
                orphan=options.orphan,
                volume=volume,
                observer=observer,
            )

        words, keeping = f"{instructions(seconds, volume)}{_there(options)}", KEEPING_SECONDS if volume else 0.0
        return Backend(make_modal, words, "modal", keeping)

    def make(observer: SandboxObserver) -> Interpreter:
        return LocalInterpreter(
            modes=prepared.isolation, execution_timeout=seconds, concurrency=width, observer=observer
        )

    return Backend(make, instructions(seconds), "local")


def _there(options: ModalOptions) -> str:
    """What a planner may count on in this run's cloud sandboxes beyond the usual."""
    words = ""
    if options.packages:
        words += f" Installed packages: {', '.join(options.packages)}."
    if options.network:
        words += " The network can be reached."
    return words
