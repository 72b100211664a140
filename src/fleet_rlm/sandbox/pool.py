"""A warm pool: sandboxes that are leased again and again, to successive and nested runs, as new each time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.sandbox.cell import instructions
from fleet_rlm.sandbox.errors import NotReusable
from fleet_rlm.sandbox.interpreter import CELL_SECONDS, Interpreter
from fleet_rlm.sandbox.observer import SandboxObserver

_log = logging.getLogger("fleet_rlm.sandbox")
SIZE = 4
MAX_IDLE = 300.0


class SandboxPool:
    """Leases sandboxes of one kind: `dspy.RLM(…, interpreter_factory=pool)`, or `with pool.lease() as interpreter`.

    `dspy.RLM` asks for an interpreter at each forward, also below another one; from a pool it has one in milliseconds.
    Between two leases a sandbox is made as new, in the background: the Python process of the generated code is ended
    with every thread and child, and a fresh one forked from a process that never ran any of it; the folders that the
    code may write to are emptied; inputs are seen by the next lease only if it binds the very same bytes. So variables,
    changed modules and builtins, environment, working folder, open files and `/tmp` are never those of another lease.

    Not taken back, but ended, and replaced when somebody asks: a sandbox that is lost or was killed; one whose
    isolation does not keep the code in folders of its own (`limits`, `none`), or can't find a process that the code
    left (`landlock`); a Modal sandbox in which any file was changed. What a lease keeps in a Modal volume is there for
    the next one: that is what volumes are for.

    From any thread. A lease is never waited for: when none is idle, a new sandbox starts.
    """

    def __init__(
        self,
        make: Callable[[], Interpreter],
        *,
        size: int = SIZE,
        max_idle: float | None = MAX_IDLE,
        warm: int = 0,
        execution_instructions: str | None = None,
    ) -> None:
        """Nothing is started but what `warm` asks for.

        Args:
            make: makes an interpreter, not started: `LocalInterpreter`, or `ModalInterpreter.factory(…)`.
            size: sandboxes that are kept for the next lease, at most; any number may be leased.
            max_idle: seconds after which one that nobody leases is ended; None: only with the pool.
            warm: sandboxes to start at once, in the background.
            execution_instructions: what planners are told of how their code runs; None: what `make` tells them.
        """
        if size < 0 or warm < 0:
            raise ValueError("a pool's size and its warm sandboxes are 0 or more")
        if max_idle is not None and max_idle <= 0:
            raise ValueError("max_idle must be positive, or None for no limit")
        told = execution_instructions or getattr(make, "execution_instructions", None)
        self.execution_instructions = told or instructions(CELL_SECONDS)
        self._make, self._size, self._max_idle = make, size, max_idle
        self._change = threading.Condition()
        self._idle: list[tuple[Interpreter, float]] = []
        """Longest idle first, each with the monotonic time since when."""
        self._leased: set[Interpreter] = set()
        self._working = 0
        """Sandboxes being started or made as new."""
        self._closed = ""
        self._sweeper: threading.Thread | None = None
        self.warm(warm)

    # -- leasing

    def __call__(self) -> Lease:
        """For dspy: its `shutdown` gives the sandbox back. Raises `CodeInterpreterError` once the pool is closed."""
        return Lease(self, self.take())

    lease = __call__

    def take(self, observer: SandboxObserver | None = None) -> Interpreter:
        """A sandbox of one's own until `give_back`: a warm one, else a new one that is not started yet.

        Raises `CodeInterpreterError` once the pool is closed.
        """
        while True:
            with self._change:
                if self._closed:
                    raise CodeInterpreterError(self._closed)
                interpreter = self._idle.pop()[0] if self._idle else None
            if interpreter is not None and not interpreter.answers():
                interpreter.kill("it died while nobody used it")
                continue
            interpreter = interpreter or self._make()
            interpreter.take(observer)
            if not self._registered(interpreter):
                interpreter.kill(self._closed)
                raise CodeInterpreterError(self._closed)
            return interpreter

    def _registered(self, interpreter: Interpreter) -> bool:
        """Whether the pool had not closed meanwhile."""
        with self._change:
            if not self._closed:
                self._leased.add(interpreter)
            return not self._closed

    def give_back(self, interpreter: Interpreter) -> None:
        """The end of a lease; returns at once. Its user's objects (functions, observer) are let go of first."""
        with self._change:
            if interpreter not in self._leased:
                return
            self._leased.discard(interpreter)
            wanted = not self._closed and len(self._idle) + self._working < self._size
        if wanted and interpreter.alive:
            self._in_background(lambda: self._prepare(interpreter.hand_on()))
        else:
            interpreter.shutdown()

    def end(self, interpreter: Interpreter, why: str) -> None:
        """The end of a lease whose sandbox must not be used again."""
        with self._change:
            self._leased.discard(interpreter)
        interpreter.kill(why)

    def warm(self, count: int = 1) -> None:
        """Have at least so many ready soon, as far as the pool's size goes; returns at once."""
        while True:
            with self._change:
                if self._closed or len(self._idle) + self._working >= min(count, self._size):
                    return
            self._in_background(lambda: self._prepare(self._make()))

    @property
    def idle(self) -> int:
        """Sandboxes that wait for a lease."""
        with self._change:
            return len(self._idle)

    def settled(self, seconds: float) -> bool:
        """Wait until none is being started or made as new; False after so many seconds."""
        with self._change:
            return self._change.wait_for(lambda: not self._working, seconds)

    # -- the end

    def kill(self, why: str = "the run was aborted") -> None:
        """End every sandbox, idle or leased, from any thread; no new one will start."""
        with self._change:
            self._closed = self._closed or why
            ending = [interpreter for interpreter, _ in self._idle] + list(self._leased)
            self._idle.clear()
            self._leased.clear()
            self._change.notify_all()
        threads = [threading.Thread(target=one.kill, args=(why,), daemon=True) for one in ending]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5.0)

    def close(self) -> None:
        """End every sandbox, leased ones too; idempotent."""
        self.kill("the pool is closed")
        self.settled(5.0)

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- in the background

    def _in_background(self, work: Callable[[], None]) -> None:
        with self._change:
            self._working += 1

        def do() -> None:
            try:
                work()
            except NotReusable as error:
                _log.info("a sandbox is not used again: %s", error)
            except CodeInterpreterError as error:
                _log.info("a sandbox is not kept warm: %s", error)
            finally:
                with self._change:
                    self._working -= 1
                    self._change.notify_all()

        threading.Thread(target=do, name="sandbox-pool", daemon=True).start()

    def _prepare(self, interpreter: Interpreter) -> None:
        """Warm it up and keep it, unless the pool has closed meanwhile."""
        try:
            interpreter.warm_up()
        except CodeInterpreterError:
            interpreter.kill()
            raise
        with self._change:
            closed = self._closed
            if not closed:
                self._idle.append((interpreter, time.monotonic()))
                if self._max_idle is not None and self._sweeper is None:
                    self._sweeper = threading.Thread(target=self._sweep, name="sandbox-sweeper", daemon=True)
                    self._sweeper.start()
        if closed:
            interpreter.kill(closed)

    def _sweep(self) -> None:
        """End what has been idle for too long."""
        assert self._max_idle is not None
        while True:
            with self._change:
                if self._closed or not self._idle:
                    self._sweeper = None
                    return
                left = self._idle[0][1] + self._max_idle - time.monotonic()
                if left > 0:
                    self._change.wait(left)
                    continue
                interpreter = self._idle.pop(0)[0]
            interpreter.shutdown()


class Lease:
    """dspy's interpreter contract for a sandbox of a pool: `shutdown` gives it back, and ends this lease."""

    def __init__(self, pool: SandboxPool, interpreter: Interpreter) -> None:
        self._pool = pool
        self._interpreter: Interpreter | None = interpreter

    @property
    def interpreter(self) -> Interpreter:
        """The interpreter behind it, for what is not dspy's: `last`, `info`, `evaluate` … Raises once it is over."""
        if self._interpreter is None:
            raise CodeInterpreterError("this lease is over: the sandbox was given back")
        return self._interpreter

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        """Host functions that code may call by name."""
        return self.interpreter.tools

    @property
    def output_fields(self) -> list[dict[str, Any]] | None:
        """SUBMIT's values."""
        return self.interpreter.output_fields

    @output_fields.setter
    def output_fields(self, fields: list[dict[str, Any]] | None) -> None:
        self.interpreter.output_fields = fields

    def start(self) -> None:
        """As `Interpreter.start`."""
        self.interpreter.start()

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        """As `Interpreter.execute`."""
        return self.interpreter.execute(code, variables)

    def __call__(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        return self.execute(code, variables)

    def interrupt(self) -> bool:
        """As `Interpreter.interrupt`."""
        return self.interpreter.interrupt()

    def shutdown(self) -> None:
        """Give the sandbox back; idempotent."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            with contextlib.suppress(CodeInterpreterError):
                self._pool.give_back(interpreter)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
