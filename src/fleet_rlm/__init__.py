"""fleet-rlm: watch, steer and replay Recursive Language Model runs.

The public API: `run` asks a question of documents (a `RunResult`), `record` records the `dspy.RLM` calls of a program
of one's own, `lm` is the configured model for such a program, `open_run` reads or follows a run file (a `RunFile` of
`events`), and `LocalInterpreter` and `ModalInterpreter` run generated code isolated, here and in the cloud. Each is
imported when it is first used: importing this package loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_rlm import events as events
    from fleet_rlm.engine.api import RunResult as RunResult
    from fleet_rlm.engine.api import run as run
    from fleet_rlm.engine.models.program_model import lm as lm
    from fleet_rlm.engine.run_errors import SetupError as SetupError
    from fleet_rlm.engine.trace.recording import record as record
    from fleet_rlm.runs.run_reader import NotARun as NotARun
    from fleet_rlm.runs.run_reader import RunFile as RunFile
    from fleet_rlm.runs.run_reader import open_run as open_run
    from fleet_rlm.sandbox.host.pool import SandboxPool as SandboxPool
    from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter as LocalInterpreter
    from fleet_rlm.sandbox.modal.modal_interpreter import ModalInterpreter as ModalInterpreter
    from fleet_rlm.spec import Budgets as Budgets
    from fleet_rlm.spec import ModalOptions as ModalOptions
    from fleet_rlm.tasks.tools import regex_extract as regex_extract

__version__ = "0.1.0"

# The same names for a running program, which imports each when it is first used: whoever imports this package for its
# version must not load the engine.
_HOMES = {
    "Budgets": "fleet_rlm.spec",
    "LocalInterpreter": "fleet_rlm.sandbox.local.local_interpreter",
    "ModalInterpreter": "fleet_rlm.sandbox.modal.modal_interpreter",
    "ModalOptions": "fleet_rlm.spec",
    "NotARun": "fleet_rlm.runs.run_reader",
    "RunFile": "fleet_rlm.runs.run_reader",
    "RunResult": "fleet_rlm.engine.api",
    "SandboxPool": "fleet_rlm.sandbox.host.pool",
    "SetupError": "fleet_rlm.engine.run_errors",
    "lm": "fleet_rlm.engine.models.program_model",
    "open_run": "fleet_rlm.runs.run_reader",
    "record": "fleet_rlm.engine.trace.recording",
    "regex_extract": "fleet_rlm.tasks.tools",
    "run": "fleet_rlm.engine.api",
}

__all__ = ["__version__", "events", *_HOMES]  # noqa: PLE0604 - the names of a literal dict


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name: str) -> object:
        if name == "events":
            return importlib.import_module("fleet_rlm.events")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
