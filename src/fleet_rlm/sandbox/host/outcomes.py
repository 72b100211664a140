"""The records of executions, and the observer that hears of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fleet_rlm.events import Dropped, Failure, Outcome, Stream, Variable
from fleet_rlm.sandbox.host.transport import SandboxInfo

Purpose = Literal["cell", "setup", "operator"]
"""The planner's code · code that prepares the sandbox (dspy's facade, values that build themselves) · an expression
that a person evaluates."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One piece of code on its way into the sandbox."""

    id: int
    """The number within its interpreter, from 1; every purpose counts."""
    purpose: Purpose
    code: str
    name: str
    """The name in its tracebacks: `cell 3` is the third of the planner's."""


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables that an execution changed. Inputs, functions and classes count; modules and `_names` don't."""

    execution: int
    added: tuple[Variable, ...]
    changed: tuple[Variable, ...]
    removed: tuple[str, ...]
    total: int
    whole: bool
    """False if there was no time to compare all of them."""


@dataclass(frozen=True, slots=True)
class ExecutionOutcome:
    """The outcome of one execution."""

    execution: Execution
    outcome: Outcome
    error: Failure | None = None
    output: str = ""
    """Both streams as they came, with a line where bytes were dropped. Characters, at most some millions."""
    stdout_chars: int = 0
    stderr_chars: int = 0
    dropped: Dropped = field(default_factory=Dropped)
    seconds: float = 0.0
    """Time in the sandbox, calls to the host included."""
    state_lost: bool = False
    exit_code: int | None = None
    """The exit code of the Python process if it ended; 128 + signal if a signal ended it."""
    value: str = ""
    """The value of a person's expression, as text."""


@dataclass(frozen=True, slots=True)
class StateLost:
    """The Python process in the sandbox died and a fresh one took its place: all variables are gone."""

    reason: str
    exit_code: int | None


class SandboxObserver:
    """Hears what happens in one sandbox. Derive from it and override what you need: the others do nothing.

    `on_execution` and `on_finished` run in the thread (and context) that executes; the others in the thread that
    reads from the sandbox, which must not be kept waiting. All of an execution's output, and its variables, come
    before its `on_finished`. An exception here is logged and otherwise ignored.
    """

    def on_starting(self, backend: str, what: str) -> None:
        """The sandbox is being started, and `what` is what it waits for."""

    def on_ready(self, info: SandboxInfo) -> None:
        """The driver answered."""

    def on_input_sent(self, name: str, size: int, seconds: float, how: str) -> None:
        """An input crossed, for the first time or changed; `size` in bytes, `how`: `inline`, or as `Stored.how`."""

    def on_execution(self, execution: Execution) -> None:
        """Code is about to be sent to the sandbox."""

    def on_output(self, execution: int, stream: Stream, text: str, late: bool) -> None:
        """Output as it came, some thirty chunks a second at most; `late`: from what outlived its execution."""

    def on_heartbeat(self, execution: int, rss_bytes: int, open_calls: int) -> None:
        """Once a second while code runs; 0 bytes where the system does not say."""

    def on_variables(self, variables: Variables) -> None:
        """The variables were compared after an execution."""

    def on_finished(self, outcome: ExecutionOutcome) -> None:
        """Just before `execute` returns or raises."""

    def on_state_lost(self, lost: StateLost) -> None:
        """The sandbox goes on without its variables."""

    def on_lost(self, reason: str) -> None:
        """The sandbox itself is gone, unasked; nothing more can run in it."""

    def on_unkept(self, words: str) -> None:
        """Files that were to outlive the sandbox, such as those on its volume, may be lost with it."""

    def on_stopped(self) -> None:
        """The sandbox was ended by us. Once, and last."""
