"""Change the state of a run by one event: one handler for each kind of event."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from fleet_rlm import events as ev
from fleet_rlm.state.run_state import (
    CallState,
    ExecutionState,
    IterationState,
    OutputChunk,
    PlannerState,
    RetryState,
    RunState,
    SandboxState,
    VariableState,
    cause_of,
)


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


def _open_span(state: RunState, event: ev.Event) -> CallState | None:
    """Remember which sub-agent the span of an event belongs to, and return it; None for the run itself."""
    above = state.calls_by_span.get(event.parent or "")
    agent = above if above is not None and above.type == "sub_agent" else state.agent(event.parent)
    if event.span:
        state.agents[event.span] = agent
    return agent


def _iterations(state: RunState, agent: CallState | None) -> list[IterationState]:
    return state.iterations if agent is None else agent.iterations


def _iteration(state: RunState, agent: CallState | None, event: ev.Event) -> IterationState | None:
    """The iteration of the run, or of a sub-agent, that an event belongs to: the newest where it names none."""
    among = reversed(_iterations(state, agent))
    return next((one for one in among if event.iteration in (None, one.number)), None)


def _run_started(state: RunState, event: ev.RunStarted) -> None:
    state.started = event
    state.breakpoints = event.breakpoints
    if not state.is_over:
        state.status = "running"
    if event.span:
        _open_span(state, event)
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


def _iteration_started(state: RunState, event: ev.IterationStarted) -> None:
    among = _iterations(state, _open_span(state, event))
    among.append(IterationState(event.iteration or len(among) + 1, event.of, event.span, event.t, event.seq))


def _planner_started(state: RunState, event: ev.PlannerStarted) -> None:
    agent = _open_span(state, event)
    base = state.planners.get(event.base or "")
    prompt = []
    for place, message in enumerate(event.prompt):
        before = base.prompt[place][1][: message.reuse] if base and place < len(base.prompt) else ""
        prompt.append((message.role, before + message.content))
    planner = PlannerState(event.span or "", event.t, event.model, tuple(prompt))
    state.planners[planner.span] = planner
    iteration = _iteration(state, agent, event)
    if iteration is not None:
        iteration.planners.append(planner)
        if agent is None:
            iteration.hints.extend(state.pending_hints)
            state.pending_hints.clear()


def _history_shortened(state: RunState, event: ev.HistoryShortened) -> None:
    iteration = _iteration(state, state.agent(event.parent), event)
    if iteration is not None:
        iteration.shortened = event


def _planner_delta(state: RunState, event: ev.PlannerDelta) -> None:
    planner = state.planners.get(event.span or "")
    if planner is not None:
        planner.retry = None
        (planner.thinking if event.thinking else planner.streamed).append(event.text)


def _planner_finished(state: RunState, event: ev.PlannerFinished) -> None:
    planner = state.planners.get(event.span or "")
    if planner is None or planner.finished is None:
        state.spent.add(event.usage, event.cost_usd, sub=state.agent(event.span) is not None)
    if planner is None or planner.finished is not None:
        return
    planner.finished, planner.ended, planner.retry = event, event.t, None
    if event.thinking and not planner.thinking:
        planner.thinking.append(event.thinking)
    iteration = _iteration(state, state.agent(event.span), event)
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
    agent = _open_span(state, event)
    execution = ExecutionState(event.span or "", event.code, event.origin, event.iteration, event.t)
    state.executions[execution.span] = execution
    iteration = _iteration(state, agent, event)
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
    iteration = _iteration(state, state.agent(event.span), event)
    if iteration is not None and any(one is execution for one in iteration.executions):
        iteration.sandbox_seconds += event.seconds


def _output(state: RunState, event: ev.Output) -> None:
    chunk = OutputChunk(event.stream, event.text, event.iteration, event.span, event.t)
    execution = state.executions.get(event.span or "")
    if execution is not None:
        execution.chunks.append(chunk)
    if state.agent(event.span) is None:
        state.output.append(chunk)


def _variables(state: RunState, event: ev.Variables) -> None:
    if state.agent(event.span) is not None:
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
    agent = _open_span(state, event)
    parent = state.calls_by_span.get(event.parent or "")
    depth = 0
    if parent is not None:
        depth = parent.depth + (0 if parent.type == "batch" else 1)
    elif agent is not None:
        depth = agent.depth + 1
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
            batch.failed_why = status[1] if status else cause_of(event.error)
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
    agent = _open_span(state, event)
    iteration = _iteration(state, agent, event)
    if iteration is not None:
        iteration.rejected, iteration.submitted = event.rejected, event.rejected is None
    if event.rejected is None and agent is None:
        state.outputs = event.outputs


def _extraction_started(state: RunState, event: ev.ExtractionStarted) -> None:
    if _open_span(state, event) is None:
        state.extraction = event


def _extraction_finished(state: RunState, event: ev.ExtractionFinished) -> None:
    agent = state.agent(event.span)
    state.spent.add(event.usage, event.cost_usd, sub=agent is not None)
    if agent is None:
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
