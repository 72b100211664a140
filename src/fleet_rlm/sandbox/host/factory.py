"""What makes interpreters for a run, and ends all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.interpreter import CELL_SECONDS, Interpreter


class InterpreterFactory:
    """What `dspy.RLM(interpreter_factory=…)` takes, with the planner's instructions, and a way to end all it made."""

    def __init__(self, make: Callable[[], Interpreter], cell_seconds: float | None = CELL_SECONDS) -> None:
        """`make` makes an interpreter whose `execution_timeout` is `cell_seconds`."""
        self._make = make
        self.execution_instructions = instructions(cell_seconds)
        self._lock = threading.Lock()
        self._made: list[Interpreter] = []
        self._killed = ""

    def __call__(self) -> Interpreter:
        """Raises `CodeInterpreterError` after `kill`."""
        interpreter = self._make()
        with self._lock:
            self._made = [made for made in self._made if not made.stopped]
            self._made.append(interpreter)
            killed = self._killed
        if killed:
            interpreter.kill(killed)
            raise CodeInterpreterError(killed)
        return interpreter

    def kill(self, why: str = "the run was aborted") -> None:
        """End every sandbox made here, from any thread; no new one will start."""
        with self._lock:
            self._killed = why
            made = list(self._made)
        for interpreter in made:
            interpreter.kill(why)
