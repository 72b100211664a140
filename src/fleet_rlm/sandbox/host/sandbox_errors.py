"""How a sandbox fails those who use it."""

from __future__ import annotations

from dspy.primitives.code_interpreter import CodeInterpreterError


class SandboxGone(CodeInterpreterError):  # type: ignore[misc]  # dspy ships no types
    """The sandbox could not be started, or is lost; `hint` says what to do, when that is known."""

    def __init__(self, message: str, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.reason = reason or message
        """Why it is gone, without what to do then."""
