"""A pool of sandboxes that were started ahead: each is fresh, serves one user, and is thrown away after that."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm.log_text import logger
from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.interpreter import CELL_SECONDS, Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver

_log = logger("fleet_rlm.sandbox")
MOST_WARM = 16
MAX_IDLE = 300.0


class SandboxPool:
    """Leases sandboxes of one kind: `dspy.RLM(…, interpreter_factory=pool)`, or `with pool.lease() as interpreter`.

    `dspy.RLM` asks for an interpreter at each forward, also below another one; from a pool it has one in milliseconds.
    No code ran in a sandbox that is leased, and none is leased twice: nothing that code does inside can reach the next
    user, and nothing inside has to be believed about it. In place of one that was leased another is started, in the
    background. What a lease keeps in a Modal volume is there for the next one: that is what volumes are for.

    From any thread. A lease is never waited for: when none is ready, a new sandbox starts.
    """

    def __init__(
        self,
        make: Callable[[], Interpreter],
        *,
        warm: int = 1,
        max_idle: float | None = MAX_IDLE,
        execution_instructions: str | None = None,
    ) -> None:
        """Begins to start as many sandboxes as `warm` asks for, in the background.

        Args:
            make: makes an interpreter, not started: `LocalInterpreter`, or `ModalInterpreter.factory(…)`.
            warm: sandboxes that are kept ready, at most 16; any number may be leased. See also `warm()`.
            max_idle: seconds after which one that nobody leases is ended, to be replaced after the next lease; None:
                only with the pool.
            execution_instructions: what planners are told of how their code runs; None: what `make` tells them.
        """
        if not 0 <= warm <= MOST_WARM:
            raise ValueError(f"a pool keeps 0 to {MOST_WARM} sandboxes warm, not {warm}")
        if max_idle is not None and max_idle <= 0:
            raise ValueError("max_idle must be positive, or None for no limit")
        told = execution_instructions or getattr(make, "execution_instructions", None)
        self.execution_instructions = told or instructions(CELL_SECONDS)
        self._make, self._warm, self._max_idle = make, 0, max_idle
        self._change = threading.Condition()
        self._idle: list[tuple[Interpreter, float]] = []
        """Fresh sandboxes, longest idle first, each with the monotonic time since when."""
        self._leased: set[Interpreter] = set()
        self._starting = self._ending = 0
        """The numbers of sandboxes that are being started and ended in the background."""
        self._closed = ""
        self._sweeper: threading.Thread | None = None
        self.warm(warm)

    # -- leasing

    def __call__(self) -> Lease:
        """Lease a sandbox, which the lease's `shutdown` ends. Raises `CodeInterpreterError` once the pool is closed."""
        return Lease(self, self.take())

    lease = __call__

    def take(self, observer: SandboxObserver | None = None) -> Interpreter:
        """Return a sandbox to use until `give_back`: a warm one, else a new one that is not started yet.

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
            self._fill()
            return interpreter

    def _registered(self, interpreter: Interpreter) -> bool:
        """Count a sandbox as leased and return True, unless the pool has closed meanwhile."""
        with self._change:
            if not self._closed:
                self._leased.add(interpreter)
            return not self._closed

    def give_back(self, interpreter: Interpreter) -> None:
        """End a lease, and its sandbox in good order in the background."""
        with self._change:
            if interpreter not in self._leased:
                return
            self._leased.discard(interpreter)
            self._ending += 1
        threading.Thread(target=self._end, args=(interpreter,), name="sandbox-end", daemon=True).start()

    def end(self, interpreter: Interpreter, why: str) -> None:
        """End a lease and its sandbox now, whatever runs there."""
        with self._change:
            self._leased.discard(interpreter)
        interpreter.kill(why)

    def warm(self, count: int = 1) -> None:
        """Keep at least so many ready from now on (16 at most); returns at once."""
        with self._change:
            self._warm = max(self._warm, min(count, MOST_WARM))
        self._fill()

    @property
    def idle(self) -> int:
        """The number of sandboxes that wait for a lease."""
        with self._change:
            return len(self._idle)

    def settled(self, seconds: float) -> bool:
        """Wait until none is being started or ended in the background; False after so many seconds."""
        with self._change:
            return self._change.wait_for(lambda: not self._starting + self._ending, seconds)

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

    def _fill(self) -> None:
        """Start as many sandboxes as are missing."""
        with self._change:
            missing = 0 if self._closed else max(0, self._warm - len(self._idle) - self._starting)
            self._starting += missing
        for _ in range(missing):
            threading.Thread(target=self._prepare, name="sandbox-pool", daemon=True).start()

    def _prepare(self) -> None:
        """Start a sandbox and keep it, unless the pool has closed meanwhile."""
        interpreter = self._make()
        try:
            interpreter.start()
        except CodeInterpreterError as error:
            interpreter.kill()
            _log.info("a sandbox is not kept warm: %s", error)
        finally:
            with self._change:
                self._starting -= 1
                closed = self._closed
                if not closed and interpreter.alive:
                    self._idle.append((interpreter, time.monotonic()))
                    if self._max_idle is not None and self._sweeper is None:
                        self._sweeper = threading.Thread(target=self._sweep, name="sandbox-sweeper", daemon=True)
                        self._sweeper.start()
                self._change.notify_all()
        if closed:
            interpreter.kill(closed)

    def _end(self, interpreter: Interpreter) -> None:
        try:
            interpreter.shutdown()
        finally:
            with self._change:
                self._ending -= 1
                self._change.notify_all()

    def _sweep(self) -> None:
        """End sandboxes that have been idle for too long."""
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
    """dspy's interpreter contract for a sandbox of a pool: `shutdown` ends this lease, and the sandbox with it."""

    def __init__(self, pool: SandboxPool, interpreter: Interpreter) -> None:
        self._pool = pool
        self._interpreter: Interpreter | None = interpreter

    @property
    def interpreter(self) -> Interpreter:
        """The interpreter behind it, for what is not dspy's: `last`, `info`, `evaluate` … Raises once it is over."""
        if self._interpreter is None:
            raise CodeInterpreterError("this lease is over, and its sandbox has ended; lease another one")
        return self._interpreter

    @property
    def tools(self) -> dict[str, Callable[..., Any]]:
        """Host functions that code may call by name."""
        return self.interpreter.tools

    @property
    def output_fields(self) -> list[dict[str, Any]] | None:
        """The names of SUBMIT's values, as dspy describes them."""
        return self.interpreter.output_fields

    @output_fields.setter
    def output_fields(self, fields: list[dict[str, Any]] | None) -> None:
        self.interpreter.output_fields = fields

    def start(self) -> None:
        """Start the sandbox: see `Interpreter.start`."""
        self.interpreter.start()

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        """Run code: see `Interpreter.execute`."""
        return self.interpreter.execute(code, variables)

    def __call__(self, code: str, variables: dict[str, Any] | None = None) -> Any:
        return self.execute(code, variables)

    def interrupt(self) -> bool:
        """Interrupt the running code: see `Interpreter.interrupt`."""
        return self.interpreter.interrupt()

    def shutdown(self) -> None:
        """End the sandbox; idempotent."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            with contextlib.suppress(CodeInterpreterError):
                self._pool.give_back(interpreter)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
