"""Fold events into what screens show.

`fold(state, event)` is the only way a `RunState` changes; it grows in place (a copy an event would be quadratic) and
only forward: to see an earlier moment, fold a fresh state up to it (`state_at`). Screens read, they never write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from fleet_rlm import events as ev
from fleet_rlm.figures import waiting
from fleet_rlm.spent import Spent

RunStatus = Literal["starting", "running", "waiting", "submitted", "extracted", "stopped", "failed", "aborted"]
CallStatus = Literal["queued", "running", "done", "failed"]


@dataclass(slots=True)
class OutputChunk:
    """A piece of what an execution printed."""

    stream: ev.Stream
    text: str
    iteration: int | None
    execution: str | None
    t: float


_CAUSES = {
    "LMRateLimitError": "rate limit",
    "LMServerError": "server error",
    "LMTimeoutError": "no answer in time",
    "LMTransportError": "no connection",
    "LMStreamAssemblyError": "answer broke off",
    "AnswerCut": "answer cut off",
    "FormRefused": "parameter refused",
}
"""Why a model call is made again, in a word or two, by the type of its failure."""


@dataclass(slots=True)
class RetryState:
    """A model call that waits before it is tried again."""

    attempt: int
    of: int
    error: ev.Failure
    delay_seconds: float
    t: float

    def words(self, left: float | None = None) -> str:
        """`waiting 30 s (rate limit), attempt 2 of 4`; `left` are the seconds that it waits still."""
        left = self.delay_seconds if left is None else left
        doing = f"waiting {waiting(left)}" if left > 0 else "asking again"
        cause = _CAUSES.get(self.error.type, self.error.type)
        return f"{doing} ({cause}), attempt {self.attempt} of {self.of}" if self.of > 1 else f"{doing} ({cause})"


@dataclass(slots=True)
class PlannerState:
    """One planner call: the prompt it got, what it streamed, what came of it."""

    span: str
    started: float
    model: str = ""
    prompt: tuple[tuple[str, str], ...] = ()
    """(role, content), whole."""
    streamed: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    finished: ev.PlannerFinished | None = None
    ended: float | None = None
    retry: RetryState | None = None


@dataclass(slots=True)
class ExecutionState:
    """One cell that ran (or runs)."""

    span: str
    code: str
    origin: ev.Origin
    iteration: int | None
    started: float
    finished: ev.ExecutionFinished | None = None
    ended: float | None = None
    chunks: list[OutputChunk] = field(default_factory=list)
    calls: int = 0


@dataclass(slots=True)
class IterationState:
    """One turn: planner, then sandbox. `status` is what a timeline cell shows."""

    number: int
    of: int
    span: str | None
    started: float
    first_seq: int
    planners: list[PlannerState] = field(default_factory=list)
    executions: list[ExecutionState] = field(default_factory=list)
    skipped: bool = False
    hints: list[str] = field(default_factory=list)
    rejected: str | None = None
    shortened: ev.HistoryShortened | None = None
    """What the planner no longer saw whole of the steps before."""
    submitted: bool = False
    last_seq: int = -1
    planner_seconds: float = 0.0
    sandbox_seconds: float = 0.0
    """Executing, sub-calls included; `sub_llm_seconds` says how much of it waited for them."""
    sub_llm_seconds: float = 0.0

    @property
    def reasoning(self) -> str:
        return self.planners[-1].finished.reasoning if self.planners and self.planners[-1].finished else ""

    @property
    def code(self) -> str:
        """The code that ran last, else the code that was planned."""
        if self.executions:
            return self.executions[-1].code
        return self.planners[-1].finished.code if self.planners and self.planners[-1].finished else ""

    @property
    def error(self) -> ev.Failure | None:
        if self.executions and self.executions[-1].finished:
            return self.executions[-1].finished.error
        if self.planners and self.planners[-1].finished:
            return self.planners[-1].finished.error
        return None

    @property
    def status(self) -> Literal["planning", "planned", "executing", "ok", "error", "submitted", "skipped"]:
        if self.submitted:
            return "submitted"
        if self.skipped:
            return "skipped"
        if self.executions:
            done = self.executions[-1].finished
            if done is None:
                return "executing"
            return "ok" if done.outcome in ("ok", "submitted") and self.rejected is None else "error"
        if self.planners and self.planners[-1].finished:
            return "error" if self.planners[-1].finished.error else "planned"
        return "planning"


@dataclass(slots=True)
class CallState:
    """A sub-LLM call, a batch, a tool call or a sub-agent: one row of the calls pane."""

    number: int
    """From 1, in order of their start."""
    span: str
    parent: str | None
    type: ev.CallType
    function: str
    iteration: int | None
    execution: str | None
    depth: int
    """0 when generated code of the run itself called; a sub-agent's own calls are deeper."""
    started: float
    index: int | None = None
    size: int | None = None
    prompt: str | None = None
    arguments: ev.Json = None
    model: str = ""
    status: CallStatus = "running"
    streamed: list[str] = field(default_factory=list)
    ran: float | None = None
    """When it left the queue."""
    finished: ev.CallFinished | None = None
    ended: float | None = None
    retry: RetryState | None = None
    iterations: list[IterationState] = field(default_factory=list)
    """Of a sub-agent that is itself a Recursive Language Model."""
    members_done: int = 0
    """Of a batch: how many of its calls came back, failed ones included."""
    members_failed: int = 0
    failed_why: str = ""
    """For a batch, why its last failed call failed: a word or an HTTP status."""

    @property
    def answer(self) -> str:
        """The answer as text: what came so far while it streams."""
        if self.finished is None:
            return "".join(self.streamed)
        return "" if self.finished.answer is None else ev.as_text(self.finished.answer)


@dataclass(slots=True)
class VariableState:
    variable: ev.Variable
    iteration: int | None
    """In which it was last added or changed."""
    change: Literal["added", "changed"] = "added"


@dataclass(slots=True)
class SandboxState:
    backend: str
    status: Literal["none", "starting", "ready", "lost", "stopped"] = "none"
    what: str = ""
    id: str = ""
    isolation: str = ""
    mode: str = ""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()
    since: float = 0.0
    seconds: float | None = None
    steps: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    times_lost: int = 0
    restarts: int = 0
    """How often another sandbox took the place of a lost one."""


@dataclass(slots=True)
class SpanRef:
    """Where a span hangs: enough to find the iteration and the sub-agent it belongs to."""

    kind: str
    parent: str | None
    iteration: int | None
    agent: CallState | None
    """The nearest enclosing sub-agent, None for the run itself."""


@dataclass(slots=True)
class RunState:
    """A run at one moment. Built by `fold` alone."""

    started: ev.RunStarted | None = None
    status: RunStatus = "starting"
    events: int = 0
    last_seq: int = -1
    t: float = 0.0
    iterations: list[IterationState] = field(default_factory=list)
    executions: dict[str, ExecutionState] = field(default_factory=dict)
    planners: dict[str, PlannerState] = field(default_factory=dict)
    calls: list[CallState] = field(default_factory=list)
    calls_by_span: dict[str, CallState] = field(default_factory=dict)
    spans: dict[str, SpanRef] = field(default_factory=dict)
    output: list[OutputChunk] = field(default_factory=list)
    variables: dict[str, VariableState] = field(default_factory=dict)
    removed_variables: dict[str, int | None] = field(default_factory=dict)
    """Name → iteration that removed it."""
    sandbox: SandboxState = field(default_factory=lambda: SandboxState(backend=""))
    inputs_sent: list[ev.InputSent] = field(default_factory=list)
    gate: ev.GateWaiting | None = None
    gate_since: float | None = None
    pause_requested: bool = False
    pending_hints: list[str] = field(default_factory=list)
    operator: list[ev.Operator] = field(default_factory=list)
    breakpoints: ev.Breakpoints = field(default_factory=ev.Breakpoints)
    """Those that the run obeys now."""
    notices: list[ev.Notice] = field(default_factory=list)
    progress: dict[str, ev.Progress] = field(default_factory=dict)
    """Unfinished long work, by what it is."""
    outputs: dict[str, ev.Json] = field(default_factory=dict)
    extraction: ev.ExtractionStarted | None = None
    extraction_finished: ev.ExtractionFinished | None = None
    extraction_retry: RetryState | None = None
    imported: ev.Imported | None = None
    finished: ev.RunFinished | None = None
    spent: Spent = field(default_factory=Spent)
    """Tokens and money, the planner's and the sub-models'."""
    open_sub_calls: int = 0
    """Sub-LLM calls under way or queued."""
    failed_calls: int = 0
    failed_sub_calls: int = 0
    """The number of failed sub-LLM calls among `failed_calls`."""
    sub_calls: int = 0
    """Sub-LLM calls made so far, batches counted by their members."""
    sub_llm_since: float | None = None

    @property
    def question(self) -> str:
        return (self.started.task.question or "") if self.started else ""

    @property
    def cost_limit(self) -> float | None:
        """US dollars that the run may spend, None without a limit."""
        return self.started.budgets.max_cost_usd if self.started else None

    @property
    def iteration(self) -> IterationState | None:
        """The newest of the run itself."""
        return self.iterations[-1] if self.iterations else None

    @property
    def waits_for_sandbox(self) -> bool:
        """Whether the gate asks what is to become of the run without its sandbox."""
        return self.gate is not None and self.gate.at == "error" and self.sandbox.status == "lost"

    @property
    def is_over(self) -> bool:
        return self.finished is not None

    def owner(self, span: str | None) -> list[IterationState]:
        """The iterations that a span belongs to: the run's, or those of the sub-agent around it."""
        ref = self.spans.get(span or "")
        return ref.agent.iterations if ref and ref.agent else self.iterations


def fold(state: RunState, event: ev.AnyEvent | ev.Unknown) -> RunState:
    """The same state, one event further. Never raises: an event out of place changes only what it can."""
    state.events += 1
    if event.seq > state.last_seq:
        state.last_seq = event.seq
    if event.t > state.t:
        state.t = event.t
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(state, event)
    if event.iteration is not None:
        own = state.owner(event.span or event.parent)
        if own and own[-1].number == event.iteration:
            own[-1].last_seq = event.seq
    return state


def fold_all(events: Iterable[ev.AnyEvent | ev.Unknown], state: RunState | None = None) -> RunState:
    """Fold many, from an empty state unless one is given."""
    state = RunState() if state is None else state
    for event in events:
        fold(state, event)
    return state


def state_at(events: Iterable[ev.AnyEvent | ev.Unknown], seq: int) -> RunState:
    """A fresh state after the event numbered `seq`."""
    state = RunState()
    for event in events:
        if event.seq > seq:
            break
        fold(state, event)
    return state


def _span(state: RunState, event: ev.Event, kind: str) -> SpanRef:
    above = state.spans.get(event.parent or "")
    agent = above.agent if above else None
    if above and above.kind == "call" and event.parent in state.calls_by_span:
        call = state.calls_by_span[event.parent]
        if call.type == "sub_agent":
            agent = call
    ref = SpanRef(kind, event.parent, event.iteration, agent)
    if event.span:
        state.spans[event.span] = ref
    return ref


def _current(state: RunState, ref: SpanRef, event: ev.Event) -> IterationState | None:
    own = ref.agent.iterations if ref.agent else state.iterations
    if not own:
        return None
    if event.iteration is None or own[-1].number == event.iteration:
        return own[-1]
    return next((it for it in reversed(own) if it.number == event.iteration), None)


def _run_started(state: RunState, event: ev.RunStarted) -> None:
    state.started = event
    state.breakpoints = event.breakpoints
    if not state.is_over:
        state.status = "running"
    if event.span:
        _span(state, event, "run")
    sandbox = event.sandbox
    state.sandbox = SandboxState(
        backend=sandbox.backend,
        isolation=sandbox.isolation,
        mode=sandbox.mode,
        proven=sandbox.proven,
        not_protected=sandbox.not_protected,
    )


def _sandbox_starting(state: RunState, event: ev.SandboxStarting) -> None:
    box = state.sandbox
    box.restarts += box.status == "lost"
    if box.status != "starting":
        box.since = event.t
    box.backend, box.status, box.what = event.backend, "starting", event.what


def _sandbox_ready(state: RunState, event: ev.SandboxReady) -> None:
    box = state.sandbox
    box.backend, box.status, box.what, box.id = event.backend, "ready", "", event.id
    box.seconds, box.steps = event.seconds, event.steps
    box.isolation, box.mode = event.isolation, event.mode
    box.proven, box.not_protected = event.proven, event.not_protected


def _sandbox_lost(state: RunState, event: ev.SandboxLost) -> None:
    box = state.sandbox
    box.status = "ready" if event.recovered else "lost"
    box.reason = event.reason
    box.times_lost += 1
    state.variables.clear()


def _sandbox_stopped(state: RunState, event: ev.SandboxStopped) -> None:
    if state.sandbox.status != "lost":
        state.sandbox.status, state.sandbox.reason = "stopped", event.reason


def _input_sent(state: RunState, event: ev.InputSent) -> None:
    state.inputs_sent.append(event)


def _iteration_started(state: RunState, event: ev.IterationStarted) -> None:
    ref = _span(state, event, "iteration")
    own = ref.agent.iterations if ref.agent else state.iterations
    own.append(IterationState(event.iteration or len(own) + 1, event.of, event.span, event.t, event.seq))


def _planner_started(state: RunState, event: ev.PlannerStarted) -> None:
    ref = _span(state, event, "planner")
    base = state.planners.get(event.base or "")
    prompt = []
    for place, message in enumerate(event.prompt):
        before = base.prompt[place][1][: message.reuse] if base and place < len(base.prompt) else ""
        prompt.append((message.role, before + message.content))
    planner = PlannerState(event.span or "", event.t, event.model, tuple(prompt))
    state.planners[planner.span] = planner
    iteration = _current(state, ref, event)
    if iteration is not None:
        iteration.planners.append(planner)
        if ref.agent is None:
            iteration.hints.extend(state.pending_hints)
            state.pending_hints.clear()


def _history_shortened(state: RunState, event: ev.HistoryShortened) -> None:
    own = state.owner(event.parent)
    if own and own[-1].number == event.iteration:
        own[-1].shortened = event


def _planner_delta(state: RunState, event: ev.PlannerDelta) -> None:
    planner = state.planners.get(event.span or "")
    if planner is not None:
        planner.retry = None
        (planner.thinking if event.thinking else planner.streamed).append(event.text)


def _planner_finished(state: RunState, event: ev.PlannerFinished) -> None:
    planner = state.planners.get(event.span or "")
    if planner is None or planner.finished is None:
        ref = state.spans.get(event.span or "")
        state.spent.add(event.usage, event.cost_usd, sub=ref is not None and ref.agent is not None)
    if planner is None or planner.finished is not None:
        return
    planner.finished, planner.ended, planner.retry = event, event.t, None
    if event.thinking and not planner.thinking:
        planner.thinking.append(event.thinking)
    iteration = _current(state, state.spans[planner.span], event) if planner.span in state.spans else None
    if iteration is not None:
        iteration.planner_seconds += event.seconds


def _model_retrying(state: RunState, event: ev.ModelRetrying) -> None:
    retry = RetryState(event.attempt, event.of, event.error, event.delay_seconds, event.t)
    planner, call = state.planners.get(event.span or ""), state.calls_by_span.get(event.span or "")
    if planner is not None:
        planner.retry = retry
        planner.streamed.clear()
    elif call is not None:
        call.retry = retry
        call.streamed.clear()
    elif state.extraction is not None and event.span == state.extraction.span:
        state.extraction_retry = retry


def _gate_waiting(state: RunState, event: ev.GateWaiting) -> None:
    if not state.is_over:
        state.gate, state.gate_since, state.status, state.pause_requested = event, event.t, "waiting", False


def _gate_resumed(state: RunState, event: ev.GateResumed) -> None:
    state.gate = state.gate_since = None
    if not state.is_over:
        state.status = "running"
    state.pause_requested = event.stepping or event.decision == "step"
    if event.decision == "skip" and event.at == "code" and state.iterations:
        state.iterations[-1].skipped = True


def _execution_started(state: RunState, event: ev.ExecutionStarted) -> None:
    ref = _span(state, event, "execution")
    execution = ExecutionState(event.span or "", event.code, event.origin, event.iteration, event.t)
    state.executions[execution.span] = execution
    iteration = _current(state, ref, event)
    if iteration is not None and not (execution.origin == "replayed" and iteration.executions):
        iteration.executions.append(execution)  # a rebuilt step shows what it did when it ran first
        iteration.skipped = False


def _execution_finished(state: RunState, event: ev.ExecutionFinished) -> None:
    execution = state.executions.get(event.span or "")
    if execution is None or execution.finished is not None:
        return
    execution.finished, execution.ended = event, event.t
    if event.state_lost:
        state.variables.clear()
    iteration = _current(state, state.spans[execution.span], event) if execution.span in state.spans else None
    if iteration is not None and any(one is execution for one in iteration.executions):
        iteration.sandbox_seconds += event.seconds


def _output(state: RunState, event: ev.Output) -> None:
    chunk = OutputChunk(event.stream, event.text, event.iteration, event.span, event.t)
    execution = state.executions.get(event.span or "")
    if execution is not None:
        execution.chunks.append(chunk)
    ref = state.spans.get(event.span or "")
    if ref is None or ref.agent is None:
        state.output.append(chunk)


def _variables(state: RunState, event: ev.Variables) -> None:
    ref = state.spans.get(event.span or "")
    if ref is not None and ref.agent is not None:
        return
    for name in event.removed:
        state.variables.pop(name, None)
        state.removed_variables[name] = event.iteration
    for variable in event.added:
        state.removed_variables.pop(variable.name, None)
        state.variables[variable.name] = VariableState(variable, event.iteration, "added")
    for variable in event.changed:
        state.variables[variable.name] = VariableState(variable, event.iteration, "changed")


def _call_started(state: RunState, event: ev.CallStarted) -> None:
    same = state.calls_by_span.get(event.span or "")
    if same is not None and same.finished is None:
        return
    ref = _span(state, event, "call")
    parent = state.calls_by_span.get(event.parent or "")
    depth = 0
    if parent is not None:
        depth = parent.depth + (0 if parent.type == "batch" else 1)
    elif ref.agent is not None:
        depth = ref.agent.depth + 1
    execution = state.executions.get(event.parent or "")
    call = CallState(
        number=len(state.calls) + 1,
        span=event.span or "",
        parent=event.parent,
        type=event.type,
        function=event.function,
        iteration=event.iteration,
        execution=execution.span if execution else (parent.execution if parent else None),
        depth=depth,
        started=event.t,
        index=event.index,
        size=event.size,
        prompt=event.prompt,
        arguments=event.arguments,
        model=event.model,
        status="queued" if event.queued else "running",
        ran=None if event.queued else event.t,
    )
    state.calls.append(call)
    state.calls_by_span[call.span] = call
    if call.execution in state.executions:
        state.executions[call.execution or ""].calls += 1
    if call.type == "sub_llm":
        state.sub_calls += 1
        if state.open_sub_calls == 0:
            state.sub_llm_since = event.t
        state.open_sub_calls += 1


def _call_running(state: RunState, event: ev.CallRunning) -> None:
    call = state.calls_by_span.get(event.span or "")
    if call is not None and call.finished is None:
        call.status, call.ran = "running", event.t


def _call_delta(state: RunState, event: ev.CallDelta) -> None:
    call = state.calls_by_span.get(event.span or "")
    if call is not None:
        call.retry = None
        call.streamed.append(event.text)


def _call_finished(state: RunState, event: ev.CallFinished) -> None:
    call = state.calls_by_span.get(event.span or "")
    if call is None or call.finished is None:
        state.spent.add(event.usage, event.cost_usd, sub=True)
    if call is None or call.finished is not None:
        return
    call.finished, call.ended, call.retry = event, event.t, None
    call.status = "failed" if event.error else "done"
    call.model = event.model or call.model
    call.streamed.clear()
    if event.error:
        state.failed_calls += 1
        state.failed_sub_calls += call.type == "sub_llm"
    batch = state.calls_by_span.get(call.parent or "")
    if batch is not None and batch.type == "batch":
        batch.members_done += 1
        batch.members_failed += event.error is not None
        if event.error is not None:
            status = re.search(r"HTTP (\d{3})", event.error.message)
            batch.failed_why = status[1] if status else _CAUSES.get(event.error.type, event.error.type)
    if event.origin == "recorded":  # it was made, and paid for, before
        state.sub_calls -= call.type == "sub_llm"
        call.members_done = call.size or 0
    if call.type == "sub_llm":
        state.open_sub_calls -= 1
        if state.open_sub_calls == 0 and state.sub_llm_since is not None:
            if state.iterations:
                state.iterations[-1].sub_llm_seconds += event.t - state.sub_llm_since
            state.sub_llm_since = None


def _submitted(state: RunState, event: ev.Submitted) -> None:
    ref = _span(state, event, "submission")
    iteration = _current(state, ref, event)
    if iteration is not None:
        iteration.rejected, iteration.submitted = event.rejected, event.rejected is None
    if event.rejected is None and ref.agent is None:
        state.outputs = event.outputs


def _extraction_started(state: RunState, event: ev.ExtractionStarted) -> None:
    ref = _span(state, event, "extraction")
    if ref.agent is None:
        state.extraction = event


def _extraction_finished(state: RunState, event: ev.ExtractionFinished) -> None:
    ref = state.spans.get(event.span or "")
    state.spent.add(event.usage, event.cost_usd, sub=ref is not None and ref.agent is not None)
    if ref is None or ref.agent is None:
        state.extraction_finished = event
        state.outputs = event.outputs


def _operator(state: RunState, event: ev.Operator) -> None:
    state.operator.append(event)
    if event.action == "pause":
        state.pause_requested = True
    elif event.action == "continue":
        state.pause_requested = False
    elif event.action == "hint":
        state.pending_hints.append(event.text)
    elif event.action == "breakpoints" and event.breakpoints is not None and event.error is None:
        state.breakpoints = event.breakpoints


def _notice(state: RunState, event: ev.Notice) -> None:
    state.notices.append(event)


def _progress(state: RunState, event: ev.Progress) -> None:
    if event.done >= event.total:
        state.progress.pop(event.what, None)
    else:
        state.progress[event.what] = event


def _imported(state: RunState, event: ev.Imported) -> None:
    state.imported = event


def _run_finished(state: RunState, event: ev.RunFinished) -> None:
    state.finished, state.status = event, event.status
    state.gate, state.gate_since, state.pause_requested = None, None, False
    state.progress.clear()
    if event.outputs:
        state.outputs = event.outputs


_HANDLERS: dict[type, Callable[[RunState, ev.Json], None]] = {
    ev.RunStarted: _run_started,
    ev.SandboxStarting: _sandbox_starting,
    ev.SandboxReady: _sandbox_ready,
    ev.SandboxLost: _sandbox_lost,
    ev.SandboxStopped: _sandbox_stopped,
    ev.InputSent: _input_sent,
    ev.IterationStarted: _iteration_started,
    ev.PlannerStarted: _planner_started,
    ev.HistoryShortened: _history_shortened,
    ev.PlannerDelta: _planner_delta,
    ev.PlannerFinished: _planner_finished,
    ev.ModelRetrying: _model_retrying,
    ev.GateWaiting: _gate_waiting,
    ev.GateResumed: _gate_resumed,
    ev.ExecutionStarted: _execution_started,
    ev.ExecutionFinished: _execution_finished,
    ev.Output: _output,
    ev.Variables: _variables,
    ev.CallStarted: _call_started,
    ev.CallRunning: _call_running,
    ev.CallDelta: _call_delta,
    ev.CallFinished: _call_finished,
    ev.Submitted: _submitted,
    ev.ExtractionStarted: _extraction_started,
    ev.ExtractionFinished: _extraction_finished,
    ev.Operator: _operator,
    ev.Notice: _notice,
    ev.Progress: _progress,
    ev.Imported: _imported,
    ev.RunFinished: _run_finished,
}
