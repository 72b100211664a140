"""The state of a run as screens show it. Only `fleet_rlm.state.fold` changes it."""

from __future__ import annotations

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


def cause_of(error: ev.Failure) -> str:
    """Return why a model call failed, in a word or two: `rate limit`."""
    return _CAUSES.get(error.type, error.type)


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
        cause = cause_of(self.error)
        return f"{doing} ({cause}), attempt {self.attempt} of {self.of}" if self.of > 1 else f"{doing} ({cause})"


@dataclass(slots=True)
class PlannerState:
    """One planner call: its prompt, the text that it streamed, its result."""

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
    """How much of the earlier steps the planner no longer saw whole."""
    submitted: bool = False
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
    """The iterations of a sub-agent that is itself a Recursive Language Model."""
    members_done: int = 0
    """For a batch, how many of its calls came back, failed ones included."""
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
    """The iteration that last added or changed it."""
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
    agents: dict[str, CallState | None] = field(default_factory=dict)
    """Span → the nearest sub-agent around it, None for a span of the run itself."""
    output: list[OutputChunk] = field(default_factory=list)
    variables: dict[str, VariableState] = field(default_factory=dict)
    removed_variables: dict[str, int | None] = field(default_factory=dict)
    """Name → iteration that removed it."""
    sandbox: SandboxState = field(default_factory=lambda: SandboxState(backend=""))
    gate: ev.GateWaiting | None = None
    gate_since: float | None = None
    pause_requested: bool = False
    pending_hints: list[str] = field(default_factory=list)
    operator: list[ev.Operator] = field(default_factory=list)
    breakpoints: ev.Breakpoints = field(default_factory=ev.Breakpoints)
    """The breakpoints that the run obeys now."""
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
        """The newest iteration of the run itself."""
        return self.iterations[-1] if self.iterations else None

    @property
    def waits_for_sandbox(self) -> bool:
        """True when the gate asks how the run is to go on after its sandbox was lost."""
        return self.gate is not None and self.gate.at == "error" and self.sandbox.status == "lost"

    @property
    def is_over(self) -> bool:
        return self.finished is not None

    def agent(self, span: str | None) -> CallState | None:
        """The nearest sub-agent around a span, None for a span of the run itself."""
        return self.agents.get(span or "")
