"""The errors that end or stop a run. Nothing here imports dspy, so that the command line can catch them cheaply."""

from __future__ import annotations

from fleet_rlm.events import Failure


class SetupError(Exception):
    """The run can't start: a missing document, a wrong signature, a model that isn't configured."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        """The next step for the person, such as a command to type."""


class RunAborted(BaseException):
    """The run was aborted. A `BaseException`, so that no handler of model or tool errors catches it."""


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
    """The planner can't go on: the answer must be made from the steps so far."""

    def __init__(self, reason: str, failure: Failure) -> None:
        super().__init__(reason)
        self.reason = reason
        self.failure = failure
