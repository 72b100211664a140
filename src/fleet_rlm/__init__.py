"""fleet-rlm: watch, steer and replay Recursive Language Model runs.

The public API: `run` asks a question of documents (a `RunResult`), `record` records the `dspy.RLM` calls of a program
of one's own, `lm` is the configured model for such a program, `open_run` reads or follows a run file (a `RunFile` of
`events`), and `LocalInterpreter` and `ModalInterpreter` run generated code isolated, here and in the cloud. Each is
imported when it is first used: importing this package loads nothing.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

# By name and not by import: whatever imports this package for its version must not load the engine, and the contracts
# that keep the engine out of the screen's process see it so. `__init__.pyi` tells type checkers the same.
_HOMES = {
    "Budgets": "fleet_rlm.spec",
    "LocalInterpreter": "fleet_rlm.sandbox.local",
    "ModalInterpreter": "fleet_rlm.sandbox.modal.interpreter",
    "ModalOptions": "fleet_rlm.spec",
    "NotARun": "fleet_rlm.runs.reader",
    "RunFile": "fleet_rlm.runs.reader",
    "RunResult": "fleet_rlm.engine.api",
    "SandboxPool": "fleet_rlm.sandbox.pool",
    "SetupError": "fleet_rlm.engine.errors",
    "lm": "fleet_rlm.engine.program",
    "open_run": "fleet_rlm.runs.reader",
    "record": "fleet_rlm.engine.recording",
    "regex_extract": "fleet_rlm.tasks.tools",
    "run": "fleet_rlm.engine.api",
}

__all__ = ["__version__", "events", *_HOMES]  # noqa: PLE0604 - the names of a literal dict


def __getattr__(name: str) -> object:
    if name == "events":
        return importlib.import_module("fleet_rlm.events")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
