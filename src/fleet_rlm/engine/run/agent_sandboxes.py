"""The run's sandboxes: started while the planner thinks, recorded as events, interrupted and killed with the run.

dspy makes one interpreter for each agent and sends it set-up code before the planner's first call. `AgentInterpreter`
wraps the real interpreter: it starts it in a thread, sends the inputs and runs that set-up there meanwhile.
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
from fleet_rlm.engine.restore.rebuild import CURRENT_REPLIES, CallReplies, Journal, OutputFingerprint, Step
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
"""Code with one of these soon needs another sandbox."""
Inputs = Mapping[str, Any]  # the run's documents and other input values


class Sandboxes:
    """All interpreters of a run; also dspy's `interpreter_factory`, which is called once for each agent."""

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
        """Read by dspy, which puts it into the planner's prompt: how code runs."""
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
        """Supplies sub-agents; the run's own sandbox is made apart from it."""
        self._lock = threading.Lock()
        self._live: list[AgentInterpreter] = []
        self._early: AgentInterpreter | None = None
        self._root: AgentInterpreter | None = None
        token.on_end(self.kill_all)

    def start_early(self, inputs: Inputs) -> None:
        """Start the run's own sandbox and send its inputs; dspy gets it as its first interpreter."""
        self._early = self._root = self._new(root=True)
        self._early.start(inputs)

    def __call__(self) -> AgentInterpreter:
        """Return a fresh interpreter for an agent. Raises `RunAborted`."""
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
        """Interrupt the running cell of every sandbox."""
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
        """Evaluate an expression in the run's own sandbox and return its value. Raises `CodeInterpreterError`."""
        if self._root is None:
            raise CodeInterpreterError("there is no sandbox yet")
        return self._root.evaluate(expression)


class AgentInterpreter:
    """One agent's interpreter, as dspy expects it; replaces the real interpreter inside when that is lost."""

    def __init__(self, sandboxes: Sandboxes, *, root: bool) -> None:
        self.sandboxes = sandboxes
        self.root = root
        self.journal = Journal()
        self._tools = BridgedTools(sandboxes.bridge)
        self._output_fields: list[dict[str, Any]] | None = None
        self.inner, self.events = self._make()
        self._restarts = Restarts(self)
        self._ready: Future[None] | None = None
        self._set_up: list[tuple[str, dict[str, Any]]] = []
        self._set_up_lock = threading.Lock()
        self._unused_replies: CallReplies | None = None
        """Replies of a lost step that will not run again: the next step may make the same calls."""
        self._over = False

    def _make(self) -> tuple[Interpreter, SandboxEvents]:
        events = SandboxEvents(self.sandboxes, root=self.root)
        inner = self.sandboxes.backend.make(events) if self.root else self.sandboxes.pool.take(events)
        inner.tools, inner.output_fields = self._tools, self._output_fields
        return inner, events

    @property
    def tools(self) -> BridgedTools:
        """The host functions that generated code may call; dspy fills them in."""
        return self._tools

    @property
    def output_fields(self) -> list[dict[str, Any]] | None:
        """The fields that SUBMIT takes; dspy sets them."""
        return self._output_fields

    @output_fields.setter
    def output_fields(self, fields: list[dict[str, Any]] | None) -> None:
        self._output_fields = self.inner.output_fields = fields

    def start(self, inputs: Inputs | None = None) -> None:
        """Start the sandbox and send the inputs, in a thread that `execute` waits for."""
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
        """Wait until the sandbox runs and is set up. Raises `RunAborted` and `CodeInterpreterError`."""
        self.start()
        assert self._ready is not None
        if not self.sandboxes.token.wait(self._ready):
            raise RunAborted(self.sandboxes.token.reason)
        self._ready.result()
        with self._set_up_lock:
            while self._set_up:
                step = Step(*self._set_up.pop(0))
                self.journal.steps.append(step)
                self.inner.execute(step.code, step.variables)

    def renew(self) -> Interpreter:
        """Replace the lost sandbox by a new, empty one and return it. Raises `CodeInterpreterError`."""
        lost, self.events.replaced = self.inner, True
        self.sandboxes.pool.end(lost, "another sandbox takes its place")
        self.inner, self.events = self._make()
        if self.sandboxes.token.ended:
            self.kill()
        self.inner.start()
        return self.inner

    def execute(self, code: str, variables: dict[str, Any] | None = None) -> object:
        """Run code, as dspy's contract says. Raises also `RunAborted`, and `FinishRequested` after a loss."""
        self.sandboxes.token.check()
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
            self.sandboxes.pool.warm()
        ours = facade or any(name.startswith(RAW_PREFIX) for name in variables or ())
        step = Step(code, variables, None if ours else self._replies(), 0, agent.iteration, agent.iteration_span)
        try:
            self.wait_until_ready()
            if step.replies is not None:
                self._restarts.check_end()  # a command that came while the sandbox started had no cell to interrupt
            return self.run(step)
        except SandboxGone as gone:
            self.sandboxes.token.check()  # a killed sandbox is how an abort looks from here
            if self.inner.stopped or self.inner.info is None:
                raise
            return self._restarts.continue_after_loss(gone, step)
        except CodeInterpreterError:
            self.sandboxes.token.check()
            raise

    def agent(self) -> AgentState:
        """Return the agent whose cell is executing."""
        node = self.sandboxes.observer.tree.current()
        if node is not None and node.agent is not None:
            return node.agent
        return AgentState(root=self.root, span=self.sandboxes.observer.run_span)

    def run(self, step: Step) -> object:
        """Execute a step and add it to the journal when it ends. Raises as `Interpreter.execute` does."""
        before = self.inner.cells
        replies = CURRENT_REPLIES.set(step.replies)
        try:
            result = self.inner.execute(step.code, step.variables)
        except (CodeExecutionError, SyntaxError):
            self._ended(step, before)
            raise
        finally:
            CURRENT_REPLIES.reset(replies)
        self._ended(step, before)
        return result

    def _ended(self, step: Step, before: int) -> None:
        if step.replies is not None:
            if self.inner.cells == before or self.inner.last is None:
                return  # the cell was refused and did not run
            step = dataclasses.replace(step, number=self.inner.cells, fingerprint=OutputFingerprint.of(self.inner.last))
            self.journal.variables, self.journal.variables_complete = (
                dict(self.events.variables),
                self.events.variables_complete,
            )
            self._restarts.in_a_row = 0
        self.journal.steps.append(step)

    def _replies(self) -> CallReplies:
        left, self._unused_replies = self._unused_replies, None
        return (
            left.again()
            if left is not None
            else CallReplies(self.sandboxes.token.wait, self.sandboxes.observer.recalled)
        )

    def keep_unused_replies(self, step: Step) -> None:
        """Keep the replies of a lost step that will not run again, for the next step."""
        self._unused_replies = step.replies

    def evaluate(self, expression: str) -> str:
        """Return an expression's value as text. Raises `CodeInterpreterError`."""
        self.wait_until_ready()
        outcome = self.inner.evaluate(expression)
        if outcome.error is not None:
            raise EvaluationFailed(outcome.error)
        return outcome.value or outcome.output

    def kill(self) -> None:
        """Kill the sandbox now."""
        reason = self.sandboxes.token.reason
        self.inner.kill(f"the run was ended: {reason}" if reason else "the run is over")

    def shutdown(self) -> None:
        """Stop the sandbox; a second call does nothing."""
        if self._over:
            return
        self._over = True
        try:
            if self.root:
                self.inner.shutdown()
                self.sandboxes.pool.settled(
                    self.sandboxes.backend.keeping_seconds
                )  # sub-agents' files may be on their way
            else:
                self.sandboxes.pool.give_back(self.inner)
        finally:
            self.sandboxes.forget(self)


class EvaluationFailed(CodeInterpreterError):
    """An expression that a person had evaluated raised an error in the sandbox."""

    def __init__(self, failure: ev.Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure
