"""The run's sandboxes: started while the planner thinks, told of as events, interrupted and killed with the run.

dspy makes one interpreter for each agent and sets its facade up before the first thought. `AgentInterpreter` stands
before the real one: it starts it in a thread, sends the inputs and runs that set-up there, and lets the planner think
meanwhile.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from dspy.primitives.code_interpreter import CodeInterpreterError
from dspy.primitives.facade import HOST_TOKEN_VAR

from fleet_rlm import events as ev
from fleet_rlm.engine.backends import Backend
from fleet_rlm.engine.bridge import Bridge, BridgedTools
from fleet_rlm.engine.cancel import CancelToken
from fleet_rlm.engine.errors import RunAborted
from fleet_rlm.engine.observer import RAW_PREFIX, Observer
from fleet_rlm.sandbox.observer import Execution, SandboxObserver, StateLost, Variables
from fleet_rlm.sandbox.transport import SandboxInfo

SKIPPED = "[The operator skipped this cell: it did not run.]"
Inputs = Mapping[str, Any]  # what the person's documents and JSON hold


class Sandboxes:
    """Every interpreter of a run. Also dspy's `interpreter_factory`, which is called once for each agent."""

    def __init__(
        self,
        backend: Backend,
        *,
        emit: Callable[[ev.Event], object],
        observer: Observer,
        bridge: Bridge,
        token: CancelToken,
    ) -> None:
        self.backend = backend
        self.execution_instructions = backend.instructions
        """dspy reads it from the factory and tells the planner how code runs."""
        self.emit = emit
        self.observer = observer
        self.bridge = bridge
        self.token = token
        self._lock = threading.Lock()
        self._live: list[AgentInterpreter] = []
        self._early: AgentInterpreter | None = None
        self._root: AgentInterpreter | None = None
        token.on_end(self.kill_all)

    def start_early(self, inputs: Inputs) -> None:
        """Start the run's own sandbox now, and send its inputs; the first interpreter that dspy asks for is this."""
        self._early = self._root = self._new(root=True)
        self._early.start(inputs)

    def __call__(self) -> AgentInterpreter:
        """The factory: a fresh interpreter. Raises `RunAborted`."""
        self.token.check()
        with self._lock:
            early, self._early = self._early, None
        return early or self._new(root=False)

    def _new(self, *, root: bool) -> AgentInterpreter:
        interpreter = AgentInterpreter(self, root=root)
        with self._lock:
            self._live.append(interpreter)
        if self.token.ended:
            interpreter.kill()
        return interpreter

    def forget(self, interpreter: AgentInterpreter) -> None:
        with self._lock:
            if interpreter in self._live:
                self._live.remove(interpreter)

    def _all(self) -> list[AgentInterpreter]:
        with self._lock:
            return list(self._live)

    def interrupt_cells(self) -> None:
        """Interrupt what runs in every sandbox."""
        for interpreter in self._all():
            interpreter.inner.interrupt()

    def kill_all(self) -> None:
        """End every sandbox now, all at once; from any thread."""
        threads = [threading.Thread(target=interpreter.kill, daemon=True) for interpreter in self._all()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2.0)

    def evaluate(self, expression: str) -> str:
        """For the gate: an expression's value in the run's own sandbox. Raises what went wrong."""
        if self._root is None:
            raise CodeInterpreterError("there is no sandbox yet")
        return self._root.evaluate(expression)


class AgentInterpreter:
    """dspy's interpreter contract around a real interpreter, for one agent."""

    def __init__(self, sandboxes: Sandboxes, *, root: bool) -> None:
        self._of = sandboxes
        self.inner = sandboxes.backend.make(SandboxEvents(sandboxes, root=root))
        self._tools = BridgedTools(sandboxes.bridge)
        self.inner.tools = self._tools
        self._ready: Future[None] | None = None
        self._set_up: list[tuple[str, dict[str, Any]]] = []
        self._set_up_lock = threading.Lock()
        self._over = False

    @property
    def tools(self) -> BridgedTools:
        """The host's functions, which dspy fills in."""
        return self._tools

    @property
    def output_fields(self) -> list[dict[str, Any]] | None:
        """What SUBMIT takes, as dspy says."""
        return self.inner.output_fields

    @output_fields.setter
    def output_fields(self, fields: list[dict[str, Any]] | None) -> None:
        self.inner.output_fields = fields

    def start(self, inputs: Inputs | None = None) -> None:
        """Begin to start, and to send these inputs; `execute` waits for the end of it."""
        if self._ready is not None:
            return
        ready: Future[None] = Future()
        self._ready = ready
        context = contextvars.copy_context()

        def begin() -> None:
            try:
                self.inner.start()
                if inputs:  # bound once here, they are only named when a cell runs
                    self.inner.execute("", {**inputs, f"{RAW_PREFIX}early": None})
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits for the sandbox
                ready.set_exception(error)
            else:
                ready.set_result(None)

        threading.Thread(target=context.run, args=(begin,), name="fleet-sandbox-start", daemon=True).start()

    def _wait_until_ready(self) -> None:
        self.start()
        assert self._ready is not None
        if not self._of.token.wait(self._ready):
            raise RunAborted(self._of.token.reason)
        self._ready.result()
        with self._set_up_lock:
            while self._set_up:
                self.inner.execute(*self._set_up.pop(0))

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> object:
        """Raises as dspy's contract says, and `RunAborted`."""
        self._of.token.check()
        if variables and HOST_TOKEN_VAR in variables and (self._ready is None or not self._ready.done()):
            self._set_up.append((code, variables))
            self.start()
            return None
        node = self._of.observer.tree.current()
        if node is not None and node.agent is not None and node.agent.skip_next:
            node.agent.skip_next = False
            return SKIPPED
        try:
            self._wait_until_ready()
            return self.inner.execute(code, variables)
        except CodeInterpreterError:
            self._of.token.check()  # a killed sandbox is how an abort looks from here
            raise

    def evaluate(self, expression: str) -> str:
        """An expression's value, as text. Raises `CodeInterpreterError` with what went wrong."""
        self._wait_until_ready()
        outcome = self.inner.evaluate(expression)
        if outcome.error is not None:
            raise EvaluationFailed(outcome.error)
        return outcome.value or outcome.output

    def kill(self) -> None:
        """End the sandbox now."""
        reason = self._of.token.reason
        self.inner.kill(f"the run was ended: {reason}" if reason else "the run is over")

    def shutdown(self) -> None:
        """The end of it; harmless when repeated."""
        if self._over:
            return
        self._over = True
        try:
            self.inner.shutdown()
        finally:
            self._of.forget(self)


class EvaluationFailed(CodeInterpreterError):
    """A person's expression raised in the sandbox."""

    def __init__(self, failure: ev.Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class SandboxEvents(SandboxObserver):
    """What happens in one sandbox, as events. Only the run's own sandbox speaks of its life."""

    def __init__(self, sandboxes: Sandboxes, *, root: bool) -> None:
        self._of = sandboxes
        self._root = root
        self._backend, self._id = sandboxes.backend.name, ""
        self._cells: dict[int, tuple[str, int | None]] = {}
        """By execution: its span and its iteration. The newest few, for output that comes late."""

    def on_starting(self, backend: str, what: str) -> None:
        self._of_root(ev.SandboxStarting(backend=backend, what=what))

    def on_ready(self, info: SandboxInfo) -> None:
        self._id = info.id
        isolation = info.isolation
        self._of_root(
            ev.SandboxReady(
                backend=info.backend,
                id=info.id,
                seconds=info.seconds,
                steps=info.steps,
                isolation=isolation.words,
                mode=isolation.mode,
                proven=isolation.proven,
                not_protected=isolation.not_protected,
            )
        )
        for note in isolation.notes if self._root else ():
            self._of.emit(ev.Notice(level="info", text=note))

    def on_input_sent(self, name: str, size: int, seconds: float, how: str) -> None:
        if not name.startswith("_"):
            self._of_root(ev.InputSent(name=name, bytes=size, seconds=seconds, how=how))

    def on_execution(self, execution: Execution) -> None:
        node = self._of.observer.tree.current()
        if execution.purpose != "cell" or node is None:
            return
        self._cells[execution.id] = (node.span, node.agent.iteration if node.agent else None)
        while len(self._cells) > 8:
            del self._cells[next(iter(self._cells))]

    def on_output(self, execution: int, stream: ev.Stream, text: str, late: bool) -> None:  # noqa: ARG002 - late output is its cell's too
        if (place := self._cells.get(execution)) is not None:
            self._of.emit(ev.Output(stream=stream, text=text, span=place[0], iteration=place[1]))

    def on_variables(self, variables: Variables) -> None:
        if (place := self._cells.get(variables.execution)) is None:
            return
        if variables.added or variables.changed or variables.removed:
            self._of.emit(
                ev.Variables(
                    added=variables.added,
                    changed=variables.changed,
                    removed=variables.removed,
                    span=place[0],
                    iteration=place[1],
                )
            )

    def on_state_lost(self, lost: StateLost) -> None:
        self._lost(
            ev.SandboxLost(
                backend=self._backend, id=self._id, reason=lost.reason, exit_code=lost.exit_code, recovered=True
            )
        )

    def on_lost(self, reason: str) -> None:
        self._lost(ev.SandboxLost(backend=self._backend, id=self._id, reason=reason))

    def on_stopped(self) -> None:
        self._of_root(ev.SandboxStopped(backend=self._backend, id=self._id, reason=self._of.token.reason))

    def _of_root(self, event: ev.Event) -> None:
        if self._root:
            self._of.emit(event)

    def _lost(self, event: ev.SandboxLost) -> None:
        if self._root:
            self._of.emit(event)
        else:
            self._of.emit(ev.Notice(level="warning", text=f"a sub-agent's sandbox was lost: {event.reason}"))
