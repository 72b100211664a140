"""Turn dspy's callbacks into the events of a run: planner calls, executions and sub-calls, at any depth.

One `Observer` watches one run, through dspy's public callbacks alone, whose call ids form a tree. Tokens, prices,
streamed text and queues, which callbacks don't have, come from `ObservedEngine` (see `observed_engine.Watch`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import dspy
from dspy.primitives.code_interpreter import FinalOutput
from dspy.primitives.facade import HOST_TOKEN_VAR

from fleet_rlm import code_blocks
from fleet_rlm import events as ev
from fleet_rlm.engine.models.observed_engine import Answered
from fleet_rlm.engine.run.reply_adapter import Verbatim
from fleet_rlm.engine.run.run_failures import AnswerCut, failure_of, unreadable
from fleet_rlm.engine.run_errors import FinishRequested, RunAborted
from fleet_rlm.engine.trace.call_events import CallEvents, Emit, jsonable
from fleet_rlm.engine.trace.cell_outcomes import CellReport, report_of
from fleet_rlm.engine.trace.spans import AgentState, Node
from fleet_rlm.engine.trace.stored_prompts import added, messages_of
from fleet_rlm.events import Json

RAW_PREFIX = "_raw_"
"""Prefix of the variables by which dspy sends a `SandboxSerializable` input."""


class Observer(CallEvents):
    """Emits a run's events from dspy's callbacks, each on the thread of its call."""

    failure_of = staticmethod(failure_of)

    def __init__(self, emit: Emit, run_span: str) -> None:
        super().__init__(emit, run_span)
        self.root: AgentState | None = None
        self.root_module: dspy.RLM | None = None
        self._thought: set[str | None] = set()
        """Planner calls whose thinking was streamed."""
        self.extraction_why = ""
        self.extracted = False
        """True once the run's own answer was asked for by the forced extraction."""
        self.answers: dict[str, Json] = {}
        """The run's own outputs, once they were accepted or extracted."""
        self.on_agent: Callable[[dspy.RLM], object] = lambda _: None
        """Called for each `dspy.RLM` that begins below the run's own."""

    # -- modules ---------------------------------------------------------------------------------------------------

    def on_module_start(self, call_id: str, instance: object, inputs: Mapping[str, Json]) -> None:
        node = self.tree.push(call_id, "module", instance)
        above = node.parent
        fields = inputs.get("kwargs") or {}
        if isinstance(instance, dspy.RLM):
            self._agent_started(node, instance)
            return
        owner = above.instance if above and above.kind == "rlm" else None
        if owner is not None and instance is owner.generate_action:  # type: ignore[attr-defined] # an RLM, by its kind
            node.kind = "plan"
            self._iteration_started(node, fields)
        elif self._is_extraction(owner, instance):
            node.kind = "extract"
            node.agent = node.agent or self.root
            self._decide_submission(node.agent, fields)
        elif above is not None and above.kind in ("plan", "extract"):
            node.kind = "predict"

    def _is_extraction(self, owner: object, instance: object) -> bool:
        module = owner if owner is not None else self.root_module
        return module is not None and instance is getattr(module, "extract", None)

    def _agent_started(self, node: Node, module: dspy.RLM) -> None:
        node.kind = "rlm"
        if self.root is None:
            self.root = node.agent = AgentState(root=True, span=self.run_span)
            self.root_module, node.span = module, self.run_span
            return
        call = node.nearest("call")
        if call is None or call.type != "sub_agent":  # a tool of the host, or a second run of the program, made it
            node.type = "sub_agent"
            self.emit(
                ev.CallStarted(
                    type="sub_agent", function=type(module).__name__, span=node.span, **self._place(node.parent)
                )
            )
            call = node
        node.agent = AgentState(root=False, span=call.span)
        self.on_agent(module)

    def _iteration_started(self, node: Node, fields: Mapping[str, Json]) -> None:
        agent = node.agent
        assert agent is not None
        self._decide_submission(agent, fields)
        number, _, of = str(fields.get("iteration", "")).partition("\n")[0].partition("/")
        agent.iteration = int(number) if number.isdigit() else agent.iteration + 1
        agent.iteration_span = node.span
        agent.origin = "planner"
        limit = int(of) if of.isdigit() else 0
        self.emit(ev.IterationStarted(of=limit, iteration=agent.iteration, span=node.span, parent=agent.span))

    def _decide_submission(self, agent: AgentState | None, fields: Mapping[str, Json]) -> None:
        """Emit that a submission was rejected, since the run goes on after it; its history says why."""
        if agent is None or agent.submission is None:
            return
        agent.submission = None
        entries = getattr(fields.get("repl_history"), "entries", None)
        why = entries[-1].output if entries else "it does not fit the signature"
        self.emit(ev.Submitted(rejected=why, iteration=agent.iteration, parent=agent.iteration_span))

    def on_module_end(self, call_id: str, outputs: Json, exception: BaseException | None = None) -> None:
        node = self.tree.pop(call_id)
        if node is None:
            return
        if node.kind in ("predict", "plan"):
            self._planner_finished(node, outputs, exception)
        elif node.kind == "extract":
            self._extraction_finished(node, outputs, exception)
        elif node.kind == "rlm":
            self._agent_finished(node, outputs, exception)

    def _agent_finished(self, node: Node, outputs: Json, exception: BaseException | None) -> None:
        agent = node.agent
        assert agent is not None
        if exception is None and agent.submission is not None:
            fields = fields_of(outputs) or agent.submission
            accepted = {name: jsonable(fields[name]) for name in agent.submission if name in fields}
            agent.submission = None
            self._answered_by(agent, accepted)
            self.emit(ev.Submitted(outputs=accepted, iteration=agent.iteration, parent=agent.iteration_span))
        if node.type == "sub_agent":
            named = fields_of(outputs)
            answer = outputs if named is None else {k: v for k, v in named.items() if k != "trajectory"}
            self._call_finished(node, None if exception else jsonable(answer), exception)

    def _answered_by(self, agent: AgentState | None, outputs: dict[str, Json]) -> None:
        if agent is None or agent.root:
            self.answers = outputs

    # -- model calls -----------------------------------------------------------------------------------------------

    def on_lm_start(self, call_id: str, instance: dspy.BaseLM, inputs: Mapping[str, Json]) -> None:
        node = self.tree.push(call_id, "lm", instance)
        asker = node.parent.nearest("predict", "plan", "extract", "call", "execution", "rlm") if node.parent else None
        model = str(getattr(instance, "model", ""))
        if asker is not None and asker.kind in ("predict", "plan") and asker.nearest("plan"):
            self._planner_started(node, asker, model, inputs)
        elif asker is not None and asker.nearest("extract"):
            self._extraction_started(node, asker, model, inputs)
        else:
            self._sub_call_started(node, asker, model, inputs)

    def _planner_started(self, node: Node, asker: Node, model: str, inputs: Mapping[str, Json]) -> None:
        node.role = "planner"
        agent = node.agent
        assert agent is not None
        if asker.open_planner is not None:  # dspy asked again by itself, in another form
            self._finish_planner_span(asker, failure=unreadable(truncated=asker.cut))
        prompt = messages_of(inputs)
        base = agent.last_prompt
        self.emit(
            ev.PlannerStarted(
                prompt=added(prompt, base[1] if base else None),
                base=base[0] if base else None,
                model=model,
                iteration=agent.iteration,
                span=node.span,
                parent=agent.iteration_span,
            )
        )
        agent.last_prompt = (node.span, prompt)
        asker.open_planner, asker.text, asker.answered, asker.began = node.span, None, None, time.monotonic()

    def _planner_finished(self, node: Node, outputs: Json, exception: BaseException | None) -> None:
        if node.open_planner is None:
            return
        if exception is None:
            self._finish_planner_span(
                node,
                reasoning=outputs.reasoning or "",
                code=_code(outputs.code or ""),
            )
        elif isinstance(exception, AnswerCut):
            node.text = exception.text
            self._finish_planner_span(node, failure=exception.failure())
        elif isinstance(exception, dspy.AdapterParseError):
            self._finish_planner_span(node, failure=unreadable(truncated=node.cut))
        elif isinstance(exception, RunAborted | FinishRequested):
            self._finish_planner_span(node, failure=ev.Failure(type="Interrupted", message=str(exception)))
        else:
            self._finish_planner_span(node, failure=self.failure_of(exception))

    def _finish_planner_span(
        self, node: Node, *, reasoning: str = "", code: str = "", failure: ev.Failure | None = None
    ) -> None:
        answered, agent = node.answered, node.agent
        self.emit(
            ev.PlannerFinished(
                reasoning=reasoning,
                code=code,
                text="" if failure is None else node.text or "",
                cut=node.cut,
                thinking=answered.thinking if answered and node.open_planner not in self._thought else "",
                model=answered.model if answered else "",
                **node.spent,
                seconds=node.seconds,
                error=failure,
                iteration=agent.iteration if agent else None,
                span=node.open_planner,
                parent=agent.iteration_span if agent else None,
            )
        )
        node.open_planner = None

    def _extraction_started(self, node: Node, asker: Node, model: str, inputs: Mapping[str, Json]) -> None:
        node.role = "extraction"
        extract = asker.nearest("extract")
        assert extract is not None
        agent = extract.agent
        self.extracted |= agent is None or agent.root
        base = agent.last_prompt if agent else None
        if extract.open_planner is None:
            extract.open_planner = extract.span
            why = self.extraction_why if agent is None or agent.root else ""
            self.emit(
                ev.ExtractionStarted(
                    why=why or f"the limit of {agent.iteration if agent else 0} iterations is reached",
                    prompt=added(messages_of(inputs), base[1] if base else None),
                    base=base[0] if base else None,
                    model=model,
                    span=extract.span,
                    parent=agent.span if agent else self.run_span,
                )
            )

    def _extraction_finished(self, node: Node, outputs: Json, exception: BaseException | None) -> None:
        agent = node.agent
        if node.open_planner is None and exception is None:
            return
        fields = {} if exception else {name: jsonable(value) for name, value in (fields_of(outputs) or {}).items()}
        self._answered_by(agent, fields)
        self.emit(
            ev.ExtractionFinished(
                outputs=fields,
                cut=node.cut,
                error=self.failure_of(exception) if exception else None,
                **node.spent,
                seconds=node.seconds,
                span=node.span,
                parent=agent.span if agent else self.run_span,
            )
        )

    def on_lm_end(self, call_id: str, outputs: Json, exception: BaseException | None = None) -> None:
        node = self.tree.pop(call_id)
        if node is None:
            return
        text = _answer_text(outputs)
        if node.role == "planner":
            asker = node.nearest("predict", "plan")
            if asker is not None:
                asker.text, asker.answered = text, node.answered
        elif node.role == "extraction":
            extract = node.nearest("extract")
            if extract is not None:
                before, answered = extract.answered, node.answered
                extract.answered = before + answered if before and answered else before or answered
        elif node.slot is not None:
            self._call_finished(node, text, exception)
            node.slot.finished = True
        else:
            call = node.nearest("call")
            if call is not None and call.span == node.span:
                call.answered, call.queued_seconds = node.answered, node.queued_seconds
            else:
                self._call_finished(node, text, exception)

    # -- models.Watch ----------------------------------------------------------------------------------------------

    def is_sub_call(self, call: str | None) -> bool:
        node = self.tree.get(call)
        if node is None or node.role == "sub":
            return True
        return node.agent is not None and not node.agent.root

    def is_planner(self, call: str | None) -> bool:
        node = self.tree.get(call)
        return node is not None and node.role == "planner"

    def call_running(self, call: str | None, queued_seconds: float) -> None:
        node = self.tree.get(call)
        if node is None:
            return
        node.queued_seconds = time.monotonic() - node.slot.began if node.slot else queued_seconds
        if node.role == "sub":
            self._emit_at(node, ev.CallRunning(queued_seconds=node.queued_seconds, span=node.span))

    def call_delta(self, call: str | None, text: str, *, thinking: bool) -> None:
        node = self.tree.get(call)
        if node is None:
            return
        if node.role == "planner":
            if thinking:
                self._thought.add(node.span)
            self._emit_at(node, ev.PlannerDelta(text=text, thinking=thinking, span=node.span))
        elif node.role == "sub" and not thinking:
            self._emit_at(node, ev.CallDelta(text=text, span=node.span))

    def call_retrying(self, call: str | None, attempt: int, of: int, error: ev.Failure, delay: float) -> None:
        node = self.tree.get(call)
        if node is None:
            return
        extract = node.nearest("extract")
        span = extract.span if node.role == "extraction" and extract else node.span
        self._emit_at(node, ev.ModelRetrying(attempt=attempt, of=of, error=error, delay_seconds=delay, span=span))

    def call_answered(self, call: str | None, answered: Answered) -> None:
        node = self.tree.get(call)
        if node is not None:
            node.answered = answered

    def is_cut(self) -> bool:
        """Return whether the newest answer to the module that runs in this thread ended at its limit of tokens."""
        node = self.tree.current()
        return node is not None and node.cut

    # -- sandboxes -------------------------------------------------------------------------------------------------

    def on_interpreter_execute_start(self, call_id: str, instance: object, inputs: Mapping[str, Json]) -> None:
        node = self.tree.push(call_id, "execution", instance)
        variables = inputs.get("variables") or {}
        if HOST_TOKEN_VAR in variables or any(name.startswith(RAW_PREFIX) for name in variables):
            node.kind = "hidden"
            return
        agent = node.agent
        self._executing[id(instance)] = node
        self.emit(
            ev.ExecutionStarted(
                code=inputs.get("code") or "",
                origin=agent.origin if agent else "planner",
                span=node.span,
                iteration=agent.iteration if agent else None,
                parent=agent.iteration_span if agent else self.run_span,
            )
        )

    def on_interpreter_execute_end(self, call_id: str, outputs: Json, exception: BaseException | None = None) -> None:
        node = self.tree.pop(call_id)
        if node is None or node.kind == "hidden":
            return
        self._executing.pop(id(node.instance), None)
        report = report_of(node.instance, outputs, exception)
        agent = node.agent
        if agent is not None:
            agent.last_error = report.error
            if isinstance(outputs, FinalOutput):
                submitted = outputs.output if isinstance(outputs.output, dict) else {"output": outputs.output}
                agent.submission = submitted
        self._emit_at(node, self._execution_finished(node, report))

    def _execution_finished(self, node: Node, report: CellReport) -> ev.ExecutionFinished:
        return ev.ExecutionFinished(
            outcome=report.outcome,
            error=report.error,
            seconds=report.seconds if report.seconds is not None else node.seconds,
            stdout_chars=report.stdout_chars,
            stderr_chars=report.stderr_chars,
            dropped=report.dropped,
            shown_to_planner=_shown(report, self._max_output_chars(node)),
            state_lost=report.state_lost,
            span=node.span,
        )

    def _max_output_chars(self, node: Node) -> int:
        rlm = node.nearest("rlm")
        return int(rlm.instance.max_output_chars) if rlm else 0  # type: ignore[attr-defined] # an RLM, by its kind

    def is_executing(self) -> bool:
        """Return whether generated code is executing anywhere in the run."""
        return bool(self._executing)


def fields_of(returned: Json) -> dict[str, Json] | None:
    """Return the outputs in a module's result: a prediction, a dictionary, or a tuple with one (as optimizers return).

    None when it holds none.
    """
    if isinstance(returned, dspy.Prediction):
        return {name: returned[name] for name in returned.keys(include_dspy=True)}
    if isinstance(returned, SimpleNamespace):  # from our own extraction: output names may equal those of methods
        return dict(vars(returned))
    if isinstance(returned, Mapping):
        return dict(returned)
    if isinstance(returned, tuple | list):
        return next((fields for part in returned if (fields := fields_of(part)) is not None), None)
    return None


def _code(answer: str) -> str:
    """Return the code as it will run, or as it came when no code is found in it."""
    if isinstance(answer, Verbatim):
        return answer
    try:
        return code_blocks.find(answer).code
    except code_blocks.NotPython:
        return answer


def _answer_text(outputs: Json) -> str | None:
    if isinstance(outputs, dspy.lm15.Response):
        outputs = outputs.text
    first = outputs[0] if isinstance(outputs, list) and outputs else outputs
    if isinstance(first, Mapping):
        first = first.get("text")
    return first if isinstance(first, str) else None


def _shown(report: CellReport, limit: int) -> ev.Shown:
    """Return which part of an execution's result dspy puts into the prompt: all, or the two ends up to the limit."""
    if limit <= 0 or report.planner_chars <= limit:
        # The prompt lacks only the last newline, which the planner does not miss.
        return ev.Shown(head=max(report.planner_chars, report.stdout_chars))
    return ev.Shown(head=limit // 2, tail=limit - limit // 2)
