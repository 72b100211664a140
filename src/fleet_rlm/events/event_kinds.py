"""The kinds of events: what happened in a run, one class each."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import msgspec

from fleet_rlm.events.event_parts import (
    Boundary,
    Breakpoints,
    BudgetLimits,
    CallType,
    Count,
    Decision,
    Dropped,
    Failure,
    FanOut,
    ForkPoint,
    Input,
    Int,
    Json,
    Message,
    Models,
    OperatorAction,
    Origin,
    Outcome,
    Sandbox,
    Shown,
    Status,
    Stream,
    Task,
    Totals,
    Usage,
    Variable,
)

UNSTAMPED = -1


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """The fields of every event. The recorder sets `seq` and `t`; whoever emits an event leaves them out."""

    seq: Int = UNSTAMPED
    """From 0, no gaps."""
    t: float = float(UNSTAMPED)
    """Seconds since the run began, on a monotonic clock."""
    iteration: Count | None = None
    """From 1, within the nearest enclosing run or sub-agent."""
    span: str | None = None
    """Id of the thing that begins, ends or speaks. Run ⊃ iteration ⊃ planner call | execution ⊃ call ⊃ …"""
    parent: str | None = None

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class RunStarted(Event, frozen=True, kw_only=True, tag="run.started"):
    format: str
    version: Int
    run_id: str
    started_at: str
    """RFC 3339, UTC."""
    task: Task
    inputs: tuple[Input, ...] = ()
    models: Models
    sandbox: Sandbox
    budgets: BudgetLimits
    settings: dict[str, Json] = {}
    """Settings of the models that this run asked for, by their names (`model.temperature`); of a key, its variable."""
    versions: dict[str, str] = {}
    forked_from: ForkPoint | None = None
    breakpoints: Breakpoints = Breakpoints()
    """Where the run was to wait by itself when it began."""


class SandboxStarting(Event, frozen=True, kw_only=True, tag="sandbox.starting"):
    backend: str
    what: str = ""
    """What is being waited for, such as `building the image`."""


class SandboxReady(Event, frozen=True, kw_only=True, tag="sandbox.ready"):
    backend: str
    id: str
    seconds: float
    steps: dict[str, float] = {}
    isolation: str = ""
    mode: str = ""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()
    volume: str | None = None


class SandboxLost(Event, frozen=True, kw_only=True, tag="sandbox.lost"):
    """The sandbox, or only its Python process, died: variables are gone."""

    backend: str
    id: str = ""
    reason: str
    exit_code: Int | None = None
    recovered: bool = False
    """True when a new Python process took its place, without the variables."""


class SandboxStopped(Event, frozen=True, kw_only=True, tag="sandbox.stopped"):
    backend: str
    id: str = ""
    reason: str = ""
    exit_code: Int | None = None


class InputSent(Event, frozen=True, kw_only=True, tag="input.sent"):
    name: str
    bytes: Count
    seconds: float
    how: str
    """`inline`, `file`, `volume`, …"""


class IterationStarted(Event, frozen=True, kw_only=True, tag="iteration.started"):
    of: Count


class PlannerStarted(Event, frozen=True, kw_only=True, tag="planner.started"):
    prompt: tuple[Message, ...] = ()
    base: str | None = None
    """Span of the planner call whose prompt `Message.reuse` refers to."""
    model: str = ""


class HistoryShortened(Event, frozen=True, kw_only=True, tag="history.shortened"):
    """Earlier steps were shortened in the planner's (or the extraction's) prompt, so that it fits the model's window.

    The record keeps them whole; from here on the model sees them so.
    """

    steps: Count
    """Number of steps that are shortened or left out by now."""
    of: Count
    chars_before: Count
    """Characters of the history as it stands in the prompt."""
    chars_after: Count
    window: Count | None = None
    """The model's context window in tokens; None: not known."""

    @property
    def words(self) -> str:
        """What happened, in one line for a person."""
        window = f" of {self.window:,} tokens" if self.window else ""
        return (
            f"history shortened to fit the model's window{window}: {self.steps} of {self.of} steps, "
            f"{self.chars_before:,} → {self.chars_after:,} characters"
        )


class PlannerDelta(Event, frozen=True, kw_only=True, tag="planner.delta"):
    text: str
    thinking: bool = False


class PlannerFinished(Event, frozen=True, kw_only=True, tag="planner.finished"):
    reasoning: str = ""
    code: str = ""
    text: str = ""
    """The raw answer when it could not be split into reasoning and code, or was cut off."""
    cut: bool = False
    """The answer ended at the limit of its tokens: nothing of it was run."""
    thinking: str = ""
    """What the model thought, where it was not streamed."""
    model: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float = 0.0
    error: Failure | None = None


class ModelRetrying(Event, frozen=True, kw_only=True, tag="model.retrying"):
    """A model call (its `span`) failed and is tried again after a wait."""

    attempt: Count
    of: Count
    error: Failure
    delay_seconds: float


class GateWaiting(Event, frozen=True, kw_only=True, tag="gate.waiting"):
    at: Boundary
    why: str
    reasoning: str = ""
    code: str = ""
    """The pending code, at `code`."""
    fanout: FanOut | None = None
    error: Failure | None = None


class GateResumed(Event, frozen=True, kw_only=True, tag="gate.resumed"):
    at: Boundary
    decision: Decision
    code: str = ""
    text: str = ""
    seconds: float = 0.0
    stepping: bool = False
    """True when the run waits again at the next boundary."""


class ExecutionStarted(Event, frozen=True, kw_only=True, tag="execution.started"):
    code: str
    origin: Origin = "planner"


class ExecutionFinished(Event, frozen=True, kw_only=True, tag="execution.finished"):
    outcome: Outcome
    error: Failure | None = None
    seconds: float = 0.0
    value: str | None = None
    """What the cell's last expression evaluated to, as text."""
    stdout_chars: Count = 0
    stderr_chars: Count = 0
    dropped: Dropped | None = None
    shown_to_planner: Shown | None = None
    state_lost: bool = False
    """True when the variables of earlier cells are gone."""


class Output(Event, frozen=True, kw_only=True, tag="output"):
    """A chunk of an execution's output (`span` is the execution's)."""

    stream: Stream
    text: str


class Variables(Event, frozen=True, kw_only=True, tag="variables"):
    """After an execution (`span`): what it did to the sandbox's variables."""

    added: tuple[Variable, ...] = ()
    changed: tuple[Variable, ...] = ()
    removed: tuple[str, ...] = ()


class CallStarted(Event, frozen=True, kw_only=True, tag="call.started"):
    """Generated code called the host: a sub-LLM call, a batch of them, a tool or a sub-agent."""

    type: CallType
    function: str
    """`llm_query`, `llm_query_batched`, a tool's name, a sub-agent's class."""
    index: Count | None = None
    """Place in the batch (`parent`), from 0."""
    size: Count | None = None
    """For a batch, how many calls it has."""
    prompt: str | None = None
    arguments: Json = None
    model: str = ""
    queued: bool = False
    """True while it waits for its turn; `call.running` tells when that comes."""


class CallRunning(Event, frozen=True, kw_only=True, tag="call.running"):
    queued_seconds: float = 0.0


class CallDelta(Event, frozen=True, kw_only=True, tag="call.delta"):
    text: str


class CallFinished(Event, frozen=True, kw_only=True, tag="call.finished"):
    answer: Json = None
    cut: bool = False
    """The answer ended at the limit of its tokens, and says so at its end."""
    thinking: str = ""
    """What the model thought before it answered."""
    error: Failure | None = None
    model: str = ""
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float = 0.0
    queued_seconds: float = 0.0
    origin: Literal["live", "recorded", "cache"] = "live"


class Submitted(Event, frozen=True, kw_only=True, tag="submitted"):
    outputs: dict[str, Json] = {}
    rejected: str | None = None
    """Why the submission was refused, as the planner was told."""


class ExtractionStarted(Event, frozen=True, kw_only=True, tag="extraction.started"):
    why: str
    prompt: tuple[Message, ...] = ()
    base: str | None = None
    """Span of the planner call whose prompt `Message.reuse` refers to."""
    model: str = ""


class ExtractionFinished(Event, frozen=True, kw_only=True, tag="extraction.finished"):
    outputs: dict[str, Json] = {}
    cut: bool = False
    """The answer ended at the limit of its tokens: the last of the outputs may be incomplete."""
    error: Failure | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float = 0.0


class Operator(Event, frozen=True, kw_only=True, tag="operator"):
    action: OperatorAction
    text: str = ""
    result: str | None = None
    error: Failure | None = None
    """Why the action was not carried out."""
    breakpoints: Breakpoints | None = None
    """Those that `breakpoints` set; none where the action was refused."""


class Notice(Event, frozen=True, kw_only=True, tag="notice"):
    """Something the person should know that changes nothing: a decoded file, a skipped one, a budget nearly spent."""

    level: Literal["info", "warning", "error"] = "info"
    text: str


class Progress(Event, frozen=True, kw_only=True, tag="progress"):
    """Long work under way outside planner, sandbox and calls; `done` equals `total` when it is over."""

    what: str
    done: Count
    total: Count
    unit: str = "bytes"


class Imported(Event, frozen=True, kw_only=True, tag="imported"):
    source: str
    lost: dict[str, str] = {}
    """Per field, what the source never recorded."""


class RunFinished(Event, frozen=True, kw_only=True, tag="run.finished"):
    status: Status
    outputs: dict[str, Json] = {}
    error: Failure | None = None
    reason: str = ""
    """Why it ended as it did when the status alone does not say: `the budget of 50 calls is spent`."""
    totals: Totals


AnyEvent: TypeAlias = (
    RunStarted
    | SandboxStarting
    | SandboxReady
    | SandboxLost
    | SandboxStopped
    | InputSent
    | IterationStarted
    | PlannerStarted
    | HistoryShortened
    | PlannerDelta
    | PlannerFinished
    | ModelRetrying
    | GateWaiting
    | GateResumed
    | ExecutionStarted
    | ExecutionFinished
    | Output
    | Variables
    | CallStarted
    | CallRunning
    | CallDelta
    | CallFinished
    | Submitted
    | ExtractionStarted
    | ExtractionFinished
    | Operator
    | Notice
    | Progress
    | Imported
    | RunFinished
)

KINDS: dict[str, type[Event]] = {str(cls.__struct_config__.tag): cls for cls in get_args(AnyEvent)}
