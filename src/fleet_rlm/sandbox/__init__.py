"""Where generated code runs: an interpreter for dspy over one driver, one protocol, and a transport for each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_rlm.sandbox.calls import HostCall, current_call
    from fleet_rlm.sandbox.cell import CodeFailed
    from fleet_rlm.sandbox.errors import SandboxGone
    from fleet_rlm.sandbox.factory import InterpreterFactory
    from fleet_rlm.sandbox.interpreter import Interpreter
    from fleet_rlm.sandbox.local import LocalInterpreter, LocalTransport
    from fleet_rlm.sandbox.observer import Execution, ExecutionOutcome, SandboxObserver, StateLost, Variables
    from fleet_rlm.sandbox.pool import Lease, SandboxPool
    from fleet_rlm.sandbox.transport import (
        IsolationReport,
        Limits,
        SandboxInfo,
        Stored,
        Transport,
        TransportError,
    )

_HOMES = {
    "calls": ("HostCall", "current_call"),
    "cell": ("CodeFailed",),
    "factory": ("InterpreterFactory",),
    "errors": ("SandboxGone",),
    "interpreter": ("Interpreter",),
    "local": ("LocalInterpreter", "LocalTransport"),
    "observer": ("Execution", "ExecutionOutcome", "SandboxObserver", "StateLost", "Variables"),
    "pool": ("Lease", "SandboxPool"),
    "transport": ("IsolationReport", "Limits", "SandboxInfo", "Stored", "Transport", "TransportError"),
}

__all__ = [
    "CodeFailed",
    "Execution",
    "ExecutionOutcome",
    "HostCall",
    "Interpreter",
    "InterpreterFactory",
    "IsolationReport",
    "Lease",
    "Limits",
    "LocalInterpreter",
    "LocalTransport",
    "SandboxGone",
    "SandboxInfo",
    "SandboxObserver",
    "SandboxPool",
    "StateLost",
    "Stored",
    "Transport",
    "TransportError",
    "Variables",
    "current_call",
]


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for: the isolation's launcher passes here, and must not wait for dspy."""
    from importlib import import_module

    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
