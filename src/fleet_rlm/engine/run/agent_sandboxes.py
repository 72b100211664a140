"""The run's sandboxes: started while the planner thinks, told of as events, interrupted and killed with the run.

dspy makes one interpreter for each agent and sets its facade up before the first thought. `AgentInterpreter` stands
before the real one: it starts it in a thread, sends the inputs and runs that set-up there, and lets the planner think
meanwhile.
"""

from __future__ import annotations

import contextvars
import dataclasses
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from dspy.primitives.code_interpreter import CodeExecutionError, CodeInterpreterError
from dspy.primitives.facade import HOST_TOKEN_VAR

from fleet_rlm import events as ev
from fleet_rlm.engine.control.cancel import CancelToken
from fleet_rlm.engine.restore.rebuild import CURRENT_TAPE, Journal, Said, Step, Tape
from fleet_rlm.engine.restore.restarts import Restarts
from fleet_rlm.engine.run.llm_query import Bridge, BridgedTools
from fleet_rlm.engine.run.sandbox_backends import Backend
from fleet_rlm.engine.run_errors import RunAborted
from fleet_rlm.engine.trace.run_observer import RAW_PREFIX, Observer
from fleet_rlm.engine.trace.sandbox_events import SandboxEvents
from fleet_rlm.engine.trace.spans import AgentState
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver
from fleet_rlm.sandbox.host.pool import SandboxPool
from fleet_rlm.sandbox.host.sandbox_errors import SandboxGone
from fleet_rlm.spec import OnSandboxLost

SKIPPED = "[The operator skipped this cell: it did not run.]"
IDLE_SECONDS = 120.0
"""How long a sandbox that was started ahead waits for a sub-agent."""
SUB_AGENT_MAKERS = ("dspy.RLM(", "dspy.CodeAct(", "dspy.ProgramOfThought(")
"""Code with one of these will want a sandbox in a moment."""
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
        on_lost: OnSandboxLost = "restart",
    ) -> None:
        self.backend = backend
        self.execution_instructions = backend.instructions
        """dspy reads it from the factory and tells the planner how code runs."""
        self.emit = emit
        self.observer = observer
        self.bridge = bridge
        self.token = token
        self.on_lost = on_lost
        self.pool = SandboxPool(
            lambda: backend.make(SandboxObserver()),
            warm=0,
            max_idle=IDLE_SECONDS,
            execution_instructions=backend.instructions,
        )
        """For sub-agents, which come and go: the run's own sandbox is not of it."""
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
        ends: list[Callable[[], None]] = [interpreter.kill for interpreter in self._all()]
        ends.append(lambda: self.pool.kill(self.token.reason or "the run is over"))
        threads = [threading.Thread(target=end, daemon=True) for end in ends]
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
    """dspy's interpreter contract around a real interpreter, for one agent; a lost one is replaced (see `Restarts`)."""

    def __init__(self, sandboxes: Sandboxes, *, root: bool) -> None:
        self.of = sandboxes
        self.root = root
        self.journal = Journal()
        self._tools = BridgedTools(sandboxes.bridge)
        self._output_fields: list[dict[str, Any]] | None = None
        self.inner, self.events = self._make()
        self._restarts = Restarts(self)
        self._ready: Future[None] | None = None
        self._set_up: list[tuple[str, dict[str, Any]]] = []
        self._set_up_lock = threading.Lock()
        self._left: Tape | None = None
        """What a step was answered that was lost and will not run again: the next one may ask the same."""
        self._over = False

    def _make(self) -> tuple[Interpreter, SandboxEvents]:
        events = SandboxEvents(self.of, root=self.root)
        inner = self.of.backend.make(events) if self.root else self.of.pool.take(events)
        inner.tools, inner.output_fields = self._tools, self._output_fields
        return inner, events

    @property
    def tools(self) -> BridgedTools:
        """The host's functions, which dspy fills in."""
        return self._tools

    @property
    def output_fields(self) -> list[dict[str, Any]] | None:
        """What SUBMIT takes, as dspy says."""
        return self._output_fields

    @output_fields.setter
    def output_fields(self, fields: list[dict[str, Any]] | None) -> None:
        self._output_fields = self.inner.output_fields = fields

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

    def wait_until_ready(self) -> None:
        """Until it runs and is prepared. Raises `RunAborted`, and `CodeInterpreterError` when it can't be started."""
        self.start()
        assert self._ready is not None
        if not self.of.token.wait(self._ready):
            raise RunAborted(self.of.token.reason)
        self._ready.result()
        with self._set_up_lock:
            while self._set_up:
                step = Step(*self._set_up.pop(0))
                self.journal.steps.append(step)
                self.inner.execute(step.code, step.variables)

    def renew(self) -> Interpreter:
        """A fresh sandbox in place of the lost one, started and empty. Raises `CodeInterpreterError`."""
        lost, self.events.replaced = self.inner, True
        self.of.pool.end(lost, "another sandbox takes its place")
        self.inner, self.events = self._make()
        if self.of.token.ended:
            self.kill()
        self.inner.start()
        return self.inner

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> object:
        """Raises as dspy's contract says, `RunAborted`, and `FinishRequested` when that is decided for a lost one."""
        self.of.token.check()
        facade = bool(variables) and HOST_TOKEN_VAR in (variables or {})
        if facade and (self._ready is None or not self._ready.done()):
            self._set_up.append((code, variables or {}))
            self.start()
            return None
        agent = self.agent()
        if agent.skip_next:
            agent.skip_next = False
            return SKIPPED
        if any(maker in code for maker in SUB_AGENT_MAKERS):
            self.of.pool.warm()
        ours = facade or any(name.startswith(RAW_PREFIX) for name in variables or ())
        step = Step(code, variables, None if ours else self._tape(), 0, agent.iteration, agent.iteration_span)
        try:
            self.wait_until_ready()
            if step.tape is not None:
                self._restarts.check_end()  # what was said while the sandbox started had no cell to interrupt
            return self.run(step)
        except SandboxGone as gone:
            self.of.token.check()  # a killed sandbox is how an abort looks from here
            if self.inner.stopped or self.inner.info is None:
                raise
            return self._restarts.after(gone, step)
        except CodeInterpreterError:
            self.of.token.check()
            raise

    def agent(self) -> AgentState:
        """Whose cell runs."""
        node = self.of.observer.tree.current()
        if node is not None and node.agent is not None:
            return node.agent
        return AgentState(root=self.root, span=self.of.observer.run_span)

    def run(self, step: Step) -> object:
        """Execute a step, and keep it in the journal if it comes to an end. Raises as `Interpreter.execute`."""
        before = self.inner.cells
        tape = CURRENT_TAPE.set(step.tape)
        try:
            result = self.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError):
            self._ended(step, before)
            raise
        finally:
            CURRENT_TAPE.reset(tape)
        self._ended(step, before)
        return result

    def _ended(self, step: Step, before: int) -> None:
        if step.tape is not None:
            if self.inner.cells == before or self.inner.last is None:
                return  # it was refused, and never ran
            step = dataclasses.replace(step, number=self.inner.cells, said=Said.of(self.inner.last))
            self.journal.variables, self.journal.saw_all = dict(self.events.variables), self.events.saw_all
            self._restarts.in_a_row = 0
        self.journal.steps.append(step)

    def _tape(self) -> Tape:
        left, self._left = self._left, None
        return left.again() if left is not None else Tape(self.of.token.wait, self.of.observer.recalled)

    def give_up(self, step: Step) -> None:
        """A lost step does not run again."""
        self._left = step.tape

    def evaluate(self, expression: str) -> str:
        """An expression's value, as text. Raises `CodeInterpreterError` with what went wrong."""
        self.wait_until_ready()
        outcome = self.inner.evaluate(expression)
        if outcome.error is not None:
            raise EvaluationFailed(outcome.error)
        return outcome.value or outcome.output

    def kill(self) -> None:
        """End the sandbox now."""
        reason = self.of.token.reason
        self.inner.kill(f"the run was ended: {reason}" if reason else "the run is over")

    def shutdown(self) -> None:
        """The end of it; harmless when repeated."""
        if self._over:
            return
        self._over = True
        try:
            if self.root:
                self.inner.shutdown()
                self.of.pool.settled(self.of.backend.keeping_seconds)  # sub-agents' files may be on their way
            else:
                self.of.pool.give_back(self.inner)
        finally:
            self.of.forget(self)


class EvaluationFailed(CodeInterpreterError):
    """A person's expression raised in the sandbox."""

    def __init__(self, failure: ev.Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
