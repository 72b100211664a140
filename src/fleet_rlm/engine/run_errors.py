"""What can go wrong with a run, by cause. Nothing here imports dspy, so that a face may catch these cheaply."""

from __future__ import annotations

from fleet_rlm.events import Failure


class SetupError(Exception):
    """The run cannot start: a missing document, a wrong signature, a model that isn't configured."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        """What the person can do next."""


class RunAborted(BaseException):
    """The run was ended. A `BaseException`, so that nothing that guards model or tool calls takes it for theirs."""


class FinishRequested(BaseException):
    """The run is to end now with the forced extraction: the person asked for it, or a budget is spent."""

    def __init__(self, reason: str, *, by_person: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.by_person = by_person


class AgentStopped(RuntimeError):
    """A sub-agent may not go on, because the run around it is being finished or its cell was interrupted."""


class OperatorRefused(RuntimeError):
    """The person refused what generated code asked for; the planner reads the message."""


class PlannerGaveUp(RuntimeError):
    """The planner can't go on: what is known is all there will be to answer from."""

    def __init__(self, reason: str, failure: Failure) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failure = failure
