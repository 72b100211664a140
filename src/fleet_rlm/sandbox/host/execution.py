"""One execution as the host sees it: its output and open calls while it runs, its outcome and words at its end."""

from __future__ import annotations

import contextvars
import queue
import signal
import threading
import time

from dspy.primitives.code_interpreter import CodeExecutionError

from fleet_rlm.events import Dropped, Failure, Outcome
from fleet_rlm.sandbox.host import equipment, protocol
from fleet_rlm.sandbox.host.bounds import Bounds
from fleet_rlm.sandbox.host.host_calls import HostCall
from fleet_rlm.sandbox.host.outcomes import Execution, ExecutionOutcome

_OUTCOMES: dict[protocol.Status, Outcome] = {
    "ok": "ok",
    "submit": "submitted",
    "error": "error",
    "syntax": "error",
    "inputs": "error",
    "interrupted": "interrupted",
    "killed": "interrupted",
    "crashed": "lost",
}


def instructions(cell_seconds: float | None, volume: str | None = None) -> str:
    """Return the planner's instructions for its Python, and for the volume if one is mounted."""
    limit = f" A step may run for {cell_seconds:g} seconds; then it is interrupted." if cell_seconds else ""
    return (
        "Code runs in a Python process of its own, isolated: don't count on a network, nor on files outside of the "
        "current directory. Variables, functions and imports persist between steps. The input variables and the "
        "functions listed here are bound again before each step, so what you assign to such a name lasts one step: "
        "keep results under other names. Top-level await works; shell lines and magics (!pip, %time) don't. "
        "What is printed, and the value of a step's last expression, is shown to you; very long output is cut."
        f"{limit} Functions listed here that reach outside, such as llm_query, may be called from threads (not from "
        "other processes), and only until the step ends. input() is not available. SUBMIT takes plain data: text, "
        f"numbers, booleans, None, lists and dicts.{equipment.instructions(volume)}"
    )


class CodeFailed(CodeExecutionError):  # type: ignore[misc]  # dspy ships no types
    """Code that raised, was interrupted, or took its Python process with it; the planner reads the message."""

    def __init__(self, message: str, outcome: ExecutionOutcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class Cell:
    """An execution under way. Output is added by the reading thread alone."""

    def __init__(self, execution: Execution, output_bytes: int, context: contextvars.Context) -> None:
        self.execution, self.context = execution, context
        self.news: queue.SimpleQueue[protocol.Done | BaseException] = queue.SimpleQueue()
        self.calls: dict[int, HostCall] = {}
        self._lock = threading.Lock()
        self._pieces: list[str] = []
        self._chars = {"stdout": 0, "stderr": 0}
        self._most_chars = output_bytes + (1 << 20)
        self._began = time.monotonic()
        self._gaps: set[str] = set()
        self.bounds = Bounds()
        self.limit = ""
        """The kind of data that exceeded a bound, in words."""
        self.held = 0
        """The number of persons who decide something for this cell: above zero its time stands still."""
        self.told_to_end = False

    def hold(self, more: int) -> None:
        """Stop the execution's time (1), or let it go on (-1); several may hold it at once."""
        with self._lock:
            self.held += more

    def settle(self, news: protocol.Done | BaseException) -> None:
        """Give the thread that waits for this cell its outcome; only the first one counts."""
        self.news.put(news)

    def add_output(self, message: protocol.Out) -> str:
        """Keep a chunk; return the text to show, with a line where bytes were dropped. Bounded here again."""
        new = message.gap and message.stream not in self._gaps
        self._gaps.add(message.stream if new else "")
        gap = f"\n[… {message.gap:,} bytes of {message.stream} dropped …]\n" if new else ""
        text = gap + message.data[: max(0, self._most_chars - self._chars[message.stream])]
        self._chars[message.stream] += len(text)
        self._pieces.append(text)
        return text

    def open_call(self, number: int, name: str) -> HostCall:
        call = HostCall(self.execution.id, number, name)
        with self._lock:
            self.calls[number] = call
        return call

    def close_call(self, call: HostCall) -> None:
        with self._lock:
            self.calls.pop(call.id, None)

    def cancel_calls(self, number: int | None = None) -> None:
        """Cancel this open call, or all of them."""
        with self._lock:
            calls = [call for call in self.calls.values() if number is None or call.id == number]
            for call in calls:
                del self.calls[call.id]
        for call in calls:
            call.cancelled.set()

    def outcome(self, done: protocol.Done) -> ExecutionOutcome:
        outcome = "error" if self.limit else _OUTCOMES[done.status]
        if outcome == "interrupted" and done.why == "timeout":
            outcome = "timeout"
        code = None
        if done.lost:
            code = 128 + done.signal if done.signal else done.code
        return ExecutionOutcome(
            execution=self.execution,
            outcome=outcome,
            error=self._error(done, outcome),
            output="".join(self._pieces),
            stdout_chars=self._chars["stdout"],
            stderr_chars=self._chars["stderr"],
            dropped=Dropped(stdout=done.dropped.get("stdout", 0), stderr=done.dropped.get("stderr", 0)),
            seconds=min(done.ms / 1000 or 1e9, time.monotonic() - self._began),
            state_lost=done.lost,
            exit_code=code,
            value=done.value,
        )

    def why_lost(self, done: protocol.Done) -> str:
        """Return the reason why the Python process ended, in words."""
        if done.status == "killed":
            return "the code did not stop when it was interrupted, so its Python process was ended"
        if done.garbled:
            return "the code wrote into the connection of its Python process, so that was ended"
        if done.closed:
            return "the Python process lost its connection (did the code close file descriptors?)"
        if done.signal:
            name = signal.Signals(done.signal).name if done.signal in set(signal.Signals) else "unknown"
            memory = ": out of memory?" if done.signal == signal.SIGKILL else ""
            return f"the Python process was killed by signal {done.signal} ({name}{memory})"
        return f"the Python process ended by itself with exit code {done.code}"

    def _error(self, done: protocol.Done, outcome: Outcome) -> Failure | None:
        line = done.error.line if done.error else None
        traceback = done.error.traceback if done.error else None
        lost = f"{self.why_lost(done)}. All variables are lost; the inputs are there again" if done.lost else ""
        if self.limit:
            kept = lost or "variables are kept"
            return Failure(type="HostLimit", message=f"HostLimit: the step was ended: {self.limit}. {kept}", line=line)
        if outcome == "timeout":
            words = lost or "the step ran for too long and was interrupted; variables are kept"
            return Failure(type="TimeoutError", message=f"TimeoutError: {words}", line=line, traceback=traceback)
        if outcome == "interrupted":
            words = lost or "the step was interrupted; variables are kept"
            return Failure(
                type="KeyboardInterrupt", message=f"KeyboardInterrupt: {words}", line=line, traceback=traceback
            )
        if outcome == "lost":
            return Failure(type="StateLost", message=f"StateLost: {lost}")
        if done.error is None:
            return None
        error, syntax = done.error, done.status == "syntax"
        words = error.traceback.strip() if syntax else error.message
        kind = "SyntaxError" if syntax else error.type
        return Failure(type=kind, message=words, line=error.line, traceback=None if syntax else error.traceback)


def message_for_planner(outcome: ExecutionOutcome) -> str:
    """Return a failure as the planner reads it: the error first, since long messages are cut in their middle."""
    error = outcome.error
    if error is None:
        return outcome.outcome
    where = f" (line {error.line})" if error.line and error.traceback else ""
    message = error.message + where
    if error.traceback:
        message += f"\n{error.traceback.rstrip()}"
    output = outcome.output.strip("\n")
    return f"{message}\n\nOutput until then:\n{output}" if output else message
