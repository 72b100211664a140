"""Generated code in a sandbox, as dspy knows it: a `CodeInterpreter` over any transport."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
from collections.abc import Iterator
from typing import ClassVar

from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.executor import CELL_SECONDS, Executor
from fleet_rlm.sandbox.host.outcomes import ExecutionOutcome, SandboxObserver

__all__ = ["CELL_SECONDS", "Interpreter"]


class Interpreter(Executor):
    """Runs code in one sandbox, cell after cell, state kept between them; starts it when first needed.

    For dspy it is a `CodeInterpreter`: `tools` may be changed between executions, `output_fields` are SUBMIT's.
    `execute` returns the output (None when there was none) or a `FinalOutput`; it raises `CodeFailed` (a
    `CodeExecutionError`, with `.outcome`) or `SyntaxError` for what the planner can repair, `CodeInterpreterError`
    when the sandbox can't be started, is lost, or was ended. `last` tells about the latest execution.

    One execution at a time. `interrupt`, `kill` and `shutdown` may be called from any thread.

    Host functions run in threads of their own, `concurrency` at once, in a copy of the context in which `execute` was
    called. An exception that is no `Exception` (such as a run's abort) ends the sandbox and leaves `execute` with it.
    """

    execution_instructions: ClassVar[str] = instructions(CELL_SECONDS)

    # -- for a person

    def evaluate(self, expression: str, timeout: float = 10.0) -> ExecutionOutcome:
        """Evaluate a person's expression between two cells: `.value` is its `repr`, `.error` what went wrong.

        Host functions can't be called from it, and inputs stand as the last cell left them. Raises
        `CodeInterpreterError` while code runs, or when the sandbox is gone.
        """
        if not self._executing.acquire(blocking=False):
            raise CodeInterpreterError("code is running; expressions are evaluated between two cells")
        try:
            if not self._started or self._gone:
                self.start()
            self._stand_up()
            return self._run(expression, {}, "operator", timeout)[0]
        finally:
            self._executing.release()

    def interrupt(self) -> bool:
        """Interrupt the running code, keeping its variables if it heeds that within the grace; False if none runs.

        Its open calls count as cancelled at once.
        """
        cell = self._cell
        if cell is None:
            return False
        cell.cancel_calls()
        self.end_cell(cell, "interrupt")
        return True

    @contextlib.contextmanager
    def clock_stopped(self) -> Iterator[None]:
        """Stop the running execution's clock, while a person decides something in a host function."""
        cell = self._cell
        if cell is None:
            yield
            return
        cell.hold(+1)
        try:
            yield
        finally:
            cell.hold(-1)

    # -- for a pool

    @property
    def alive(self) -> bool:
        """True if the sandbox was started and is not gone."""
        return self._started and not self._gone and not self._channel.over

    def answers(self, seconds: float = 5.0) -> bool:
        """Return True if the sandbox answers in time."""
        if not self.alive:
            return False
        self._channel.send(protocol.Ping(n=0))
        try:
            return self._pongs.get(timeout=seconds) and self.alive
        except queue.Empty:
            return False

    def take(self, observer: SandboxObserver | None) -> None:
        """Give a warm sandbox its user, and tell that observer that it is ready."""
        self._observer = observer or SandboxObserver()
        if self.info is not None:
            self.info = dataclasses.replace(self.info, seconds=0.0, steps={})
            self._tell("on_ready", self.info)

    def __enter__(self) -> Interpreter:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
