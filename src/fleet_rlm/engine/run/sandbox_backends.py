"""Choose the sandbox backend of a run: the only place of the engine that knows where sandboxes come from."""

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
    """Makes the sandboxes of a run, and describes them to the planner."""

    make: Callable[[SandboxObserver], Interpreter]
    instructions: str
    """The part of the planner's prompt that describes this sandbox."""
    name: str
    keeping_seconds: float = 0.0
    """The longest time, in seconds, that the end of a run waits for sub-agents' files to be saved to the volume."""


def choose(spec: RunSpec, prepared: Prepared, run_id: str) -> Backend:
    """Return the backend that the run asks for."""
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

        words, keeping = f"{instructions(seconds, volume)}{_extras(options)}", KEEPING_SECONDS if volume else 0.0
        return Backend(make_modal, words, "modal", keeping)

    def make(observer: SandboxObserver) -> Interpreter:
        return LocalInterpreter(
            modes=prepared.isolation, execution_timeout=seconds, concurrency=width, observer=observer
        )

    return Backend(make, instructions(seconds), "local")


def _extras(options: ModalOptions) -> str:
    """Name the packages and the network access of this run's cloud sandboxes, for the planner."""
    words = ""
    if options.packages:
        words += f" Installed packages: {', '.join(options.packages)}."
    if options.network:
        words += " The network can be reached."
    return words
