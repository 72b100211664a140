"""The error for a sandbox that can't be started or is lost."""

from __future__ import annotations

from dspy.primitives.code_interpreter import CodeInterpreterError


class SandboxGone(CodeInterpreterError):  # type: ignore[misc]  # dspy ships no types
    """The sandbox could not be started, or is lost; `hint` says what to do, when that is known."""

    def __init__(self, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.reason = reason or message
        """The reason, without what to do then."""
