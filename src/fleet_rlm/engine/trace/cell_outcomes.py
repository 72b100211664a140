"""Describe how a cell ended, in the event vocabulary, whichever interpreter ran it."""

from __future__ import annotations

from dataclasses import dataclass

from dspy.primitives.code_interpreter import CodeExecutionError, CodeInterpreterError, FinalOutput

from fleet_rlm import events as ev
from fleet_rlm.engine.run_errors import RunAborted
from fleet_rlm.events import Json
from fleet_rlm.sandbox.host.outcomes import ExecutionOutcome

NO_OUTPUT = "(no output - did you forget to print?)"
"""Text that dspy shows the planner for a cell without output."""


@dataclass(frozen=True, slots=True)
class CellReport:
    """The result of a finished execution."""

    outcome: ev.Outcome
    error: ev.Failure | None = None
    seconds: float | None = None
    """None when the sandbox did not measure it: the host's own time is used."""
    stdout_chars: int = 0
    stderr_chars: int = 0
    dropped: ev.Dropped | None = None
    planner_chars: int = 0
    """Length of the result in the planner's prompt, before dspy shortens it."""
    state_lost: bool = False


def report_of(interpreter: object, outputs: Json, exception: BaseException | None) -> CellReport:
    """Return the report of the cell that the interpreter has just finished."""
    planner_chars = _planner_chars(outputs, exception)
    gone = isinstance(exception, CodeInterpreterError) and not isinstance(exception, CodeExecutionError)
    outcome = getattr(interpreter, "last", None)
    if isinstance(outcome, ExecutionOutcome) and (exception is None or (isinstance(exception, Exception) and not gone)):
        dropped = outcome.dropped
        return CellReport(
            outcome=outcome.outcome,
            error=outcome.error,
            seconds=outcome.seconds,
            stdout_chars=outcome.stdout_chars,
            stderr_chars=outcome.stderr_chars,
            dropped=dropped if dropped.stdout or dropped.stderr else None,
            planner_chars=planner_chars,
            state_lost=outcome.state_lost,
        )
    if exception is None:
        if isinstance(outputs, FinalOutput):
            return CellReport("submitted")
        return CellReport("ok", stdout_chars=len(_text(outputs)), planner_chars=planner_chars)
    message = str(exception)
    if gone:
        failure = ev.Failure(type="SandboxLost", message=message)
        return CellReport("lost", error=failure, planner_chars=planner_chars, state_lost=True)
    if isinstance(exception, RunAborted):
        return CellReport("interrupted", error=ev.Failure(type="Interrupted", message=message or "the run was aborted"))
    head, colon, rest = message.partition(":")
    named = colon and head.isidentifier()
    failure = ev.Failure(type=head if named else type(exception).__name__, message=rest.strip() if named else message)
    return CellReport("error", error=failure, planner_chars=planner_chars)


def _text(outputs: Json) -> str:
    return "\n".join(map(str, outputs)) if isinstance(outputs, list) else str(outputs or "")


def _planner_chars(outputs: Json, exception: BaseException | None) -> int:
    if exception is not None:
        return len(f"[Error] {exception}")
    return 0 if isinstance(outputs, FinalOutput) else len(_text(outputs) or NO_OUTPUT)
