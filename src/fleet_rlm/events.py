"""The vocabulary of a run: typed events, one JSON object a line (`fleet-rlm-run`, version 1).

A run *is* its events: fold them (`fleet_rlm.state`) and you have its state at any moment. The engine makes them,
the recorder stamps and writes them, screens and exporters read them. Fields and kinds may be added freely, since
readers ignore what they don't know; a meaning changes only with a new version.

Units: `t` and everything named `seconds` are seconds, `chars` are Unicode code points, `bytes` are bytes,
`cost_usd` is US dollars, and `usage` counts tokens. `None` means *not known*, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec

FORMAT = "fleet-rlm-run"
VERSION = 1

Json: TypeAlias = Any
"""A value that came as JSON: None, bool, int, float, str, list or dict of these (msgspec has no recursive alias)."""

Int = Annotated[int, msgspec.Meta(ge=-(2**63) + 1, le=2**63 - 1)]
"""A whole number that every index and calculation can hold: a run file may be anybody's."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of things, a size or a place, which is never below 0."""

Role = Literal["planner", "sub_llm"]
Status = Literal["submitted", "extracted", "stopped", "failed", "aborted"]
"""How a run ended: the planner submitted · the answer was forced out at a limit · the person finished it early ·
it broke · the person ended it."""
Origin = Literal["planner", "operator", "replayed"]
Outcome = Literal["ok", "error", "submitted", "interrupted", "timeout", "lost"]
Stream = Literal["stdout", "stderr"]
Boundary = Literal["planner", "code", "fanout", "error"]
Decision = Literal["continue", "step", "edit", "hint", "retry", "skip", "finish", "abort", "sample", "restart"]
CallType = Literal["sub_llm", "batch", "tool", "sub_agent"]
OperatorAction = Literal[
    "pause", "continue", "hint", "edit", "eval", "note", "bookmark", "finish", "abort", "breakpoints", "interrupt"
]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A piece of an event."""


class Usage(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one model call, or of many added up."""

    input: Count = 0
    output: Count = 0
    cached: Count = 0
    estimated: bool = False
    """True when the provider did not say and the numbers are characters divided by four."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input=self.input + other.input,
            output=self.output + other.output,
            cached=self.cached + other.cached,
            estimated=self.estimated or other.estimated,
        )


class Failure(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, in words for a person."""

    type: str
    message: str
    line: Count | None = None
    """Line of the model's code, from 1."""
    traceback: str | None = None
    hint: str | None = None
    """What the person can do next."""

    @property
    def words(self) -> str:
        """`ZeroDivisionError: division by zero`: the type once, also where the message is it or begins with it."""
        if self.message == self.type or self.message.startswith(f"{self.type}:"):
            return self.message
        return f"{self.type}: {self.message}" if self.message.strip() else self.type

    @property
    def line_of_words(self) -> str:
        """The words in one line: of a syntax error, whose message shows the code first, the last one."""
        if self.message.lstrip().startswith('File "'):
            return self.message.rstrip().rpartition("\n")[2].strip()
        return self.words


class Tool(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A function of the host that generated code may call by its name."""

    name: str
    reference: str | None = None
    """Where it stands, `module:function`; None when only the program had it that made the run."""
    description: str = ""


class Task(_Part, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    signature: str
    """DSPy's notation, such as `context, question -> answer: str`."""
    instructions: str = ""
    question: str | None = None
    """The question, when one of the inputs is one (shown as the run's title)."""
    reference: str | None = None
    """Where the signature's class stands, `module:Class`, when it was one of a person's own."""
    tools: tuple[Tool, ...] = ()
    """Besides those that every run has."""


class DocumentRef(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A document that an input was made of; the text itself is not stored in the run."""

    path: str
    name: str
    """The key under which the planner sees it when there are several."""
    bytes: Count
    sha256: str
    chars: Count
    encoding: str = "utf-8"
    format: str = ""
    """What the text was taken out of (pdf, docx, html, mail, mbox, notebook); '' for plain text."""
    member: str = ""
    """Its name in the archive at `path`; `bytes` and `sha256` are then those of the member, unpacked."""


class Input(_Part, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    type: str
    chars: Count
    sha256: str | None = None
    documents: tuple[DocumentRef, ...] = ()
    value: Json = None
    """The value itself when it is small (4,096 characters at most as JSON)."""
    first_chars: Count | None = None
    """Only so many characters from the beginning of each document were used, where some have more."""


class Models(_Part, frozen=True, kw_only=True, omit_defaults=True):
    planner: str
    sub: str
    offline: bool = False
    """True when the planner is the built-in model without weights."""


class Sandbox(_Part, frozen=True, kw_only=True, omit_defaults=True):
    backend: str
    isolation: str
    """In plain words, what was proven: `no network, no files of yours, memory limited by the kernel`.

    Empty until the sandbox is ready.
    """
    mode: str = ""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()


class BudgetLimits(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """What the run may spend; None is *no limit*."""

    max_iterations: Count
    max_llm_calls: Count | None = None
    max_tokens: Count | None = None
    max_seconds: float | None = None
    max_cost_usd: float | None = None


class ForkPoint(_Part, frozen=True, kw_only=True, omit_defaults=True):
    run_id: str
    iteration: Count


class Message(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt's message. Later prompts store only what was added: the whole text is the first `reuse`
    characters of the message at the same place in the prompt of span `PlannerStarted.base`, then `content`.
    """

    role: str
    content: str
    reuse: Count = 0


class Shown(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """How much of an execution's output the planner got to see, in characters from its start and its end."""

    head: Count
    tail: Count = 0


class Dropped(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """Output that was thrown away at the cap, in bytes."""

    stdout: Count = 0
    stderr: Count = 0


class Variable(_Part, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    type: str
    size: Count | None = None
    """Characters, items or bytes, by type; None where a size says nothing."""
    preview: str = ""
    digest: str = ""


class FanOut(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """What a batch of sub-calls is about to send."""

    prompts: Count
    chars: Count
    duplicates: Count = 0
    estimated_cost_usd: float | None = None
    samples: tuple[str, ...] = ()
    """The first few prompts, shortened."""


class Totals(_Part, frozen=True, kw_only=True, omit_defaults=True):
    iterations: Count = 0
    calls: Count = 0
    failed_calls: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cached_tokens: Count = 0
    tokens_estimated: bool = False
    """True when a provider did not count, so that some of the tokens are estimated."""
    cost_usd: float | None = None
    """None when no call's price is known."""
    unpriced_calls: Count = 0
    """Model calls whose price is not known: `cost_usd` is without them."""
    planner_cost_usd: float | None = None
    sub_tokens: Count = 0
    """Input and output of sub-models; the rest is the planner's."""
    sub_cost_usd: float | None = None
    seconds: float = 0.0
    planner_seconds: float = 0.0
    sandbox_seconds: float = 0.0
    """Executing code, sub-calls excluded."""
    sub_llm_seconds: float = 0.0
    """Wall time during which at least one sub-call was open."""


UNSTAMPED = -1


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """What every event carries. The recorder stamps `seq` and `t`; makers leave them out."""

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


class Breakpoints(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a run waits by itself. All off: it never waits unless told to pause."""

    every_cell: bool = False
    on_error: bool = False
    code_pattern: str | None = None
    """A regular expression searched in the code that is about to run."""
    fanout: Count | None = None
    """A batch of this many sub-calls or more."""
    spend_usd: float | None = None
    """Once, when the run's cost passes this."""


class RunStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="run.started"):
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


class SandboxStarting(Event, frozen=True, kw_only=True, omit_defaults=True, tag="sandbox.starting"):
    backend: str
    what: str = ""
    """What is being waited for, such as `building the image`."""


class SandboxReady(Event, frozen=True, kw_only=True, omit_defaults=True, tag="sandbox.ready"):
    backend: str
    id: str
    seconds: float
    steps: dict[str, float] = {}
    isolation: str = ""
    mode: str = ""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()
    volume: str | None = None


class SandboxLost(Event, frozen=True, kw_only=True, omit_defaults=True, tag="sandbox.lost"):
    """The sandbox, or only its Python process, died: variables are gone."""

    backend: str
    id: str = ""
    reason: str
    exit_code: Int | None = None
    recovered: bool = False
    """True when a new Python process took its place, without the variables."""


class SandboxStopped(Event, frozen=True, kw_only=True, omit_defaults=True, tag="sandbox.stopped"):
    backend: str
    id: str = ""
    reason: str = ""
    exit_code: Int | None = None


class InputSent(Event, frozen=True, kw_only=True, omit_defaults=True, tag="input.sent"):
    name: str
    bytes: Count
    seconds: float
    how: str
    """`inline`, `file`, `volume`, …"""


class IterationStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="iteration.started"):
    of: Count


class PlannerStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="planner.started"):
    prompt: tuple[Message, ...] = ()
    base: str | None = None
    """Span of the planner call whose prompt `Message.reuse` refers to."""
    model: str = ""


class HistoryShortened(Event, frozen=True, kw_only=True, omit_defaults=True, tag="history.shortened"):
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


class PlannerDelta(Event, frozen=True, kw_only=True, omit_defaults=True, tag="planner.delta"):
    text: str
    thinking: bool = False


class PlannerFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="planner.finished"):
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


class ModelRetrying(Event, frozen=True, kw_only=True, omit_defaults=True, tag="model.retrying"):
    """A model call (its `span`) failed and is tried again after a wait."""

    attempt: Count
    of: Count
    error: Failure
    delay_seconds: float


class GateWaiting(Event, frozen=True, kw_only=True, omit_defaults=True, tag="gate.waiting"):
    at: Boundary
    why: str
    reasoning: str = ""
    code: str = ""
    """The pending code, at `code`."""
    fanout: FanOut | None = None
    error: Failure | None = None


class GateResumed(Event, frozen=True, kw_only=True, omit_defaults=True, tag="gate.resumed"):
    at: Boundary
    decision: Decision
    code: str = ""
    text: str = ""
    seconds: float = 0.0
    stepping: bool = False
    """True when the run waits again at the next boundary."""


class ExecutionStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="execution.started"):
    code: str
    origin: Origin = "planner"


class ExecutionFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="execution.finished"):
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


class Output(Event, frozen=True, kw_only=True, omit_defaults=True, tag="output"):
    """A chunk of an execution's output (`span` is the execution's)."""

    stream: Stream
    text: str


class Variables(Event, frozen=True, kw_only=True, omit_defaults=True, tag="variables"):
    """After an execution (`span`): what it did to the sandbox's variables."""

    added: tuple[Variable, ...] = ()
    changed: tuple[Variable, ...] = ()
    removed: tuple[str, ...] = ()


class CallStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call.started"):
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


class CallRunning(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call.running"):
    queued_seconds: float = 0.0


class CallDelta(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call.delta"):
    text: str


class CallFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="call.finished"):
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


class Submitted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="submitted"):
    outputs: dict[str, Json] = {}
    rejected: str | None = None
    """Why the submission was refused, as the planner was told."""


class ExtractionStarted(Event, frozen=True, kw_only=True, omit_defaults=True, tag="extraction.started"):
    why: str
    prompt: tuple[Message, ...] = ()
    base: str | None = None
    """Span of the planner call whose prompt `Message.reuse` refers to."""
    model: str = ""


class ExtractionFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="extraction.finished"):
    outputs: dict[str, Json] = {}
    cut: bool = False
    """The answer ended at the limit of its tokens: the last of the outputs may be incomplete."""
    error: Failure | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float = 0.0


class Operator(Event, frozen=True, kw_only=True, omit_defaults=True, tag="operator"):
    action: OperatorAction
    text: str = ""
    result: str | None = None
    error: Failure | None = None
    """Why the action was not carried out."""
    breakpoints: Breakpoints | None = None
    """Those that `breakpoints` set; none where the action was refused."""


class Notice(Event, frozen=True, kw_only=True, omit_defaults=True, tag="notice"):
    """Something the person should know that changes nothing: a decoded file, a skipped one, a budget nearly spent."""

    level: Literal["info", "warning", "error"] = "info"
    text: str


class Progress(Event, frozen=True, kw_only=True, omit_defaults=True, tag="progress"):
    """Long work under way outside planner, sandbox and calls; `done` equals `total` when it is over."""

    what: str
    done: Count
    total: Count
    unit: str = "bytes"


class Imported(Event, frozen=True, kw_only=True, omit_defaults=True, tag="imported"):
    source: str
    lost: dict[str, str] = {}
    """Per field, what the source never recorded."""


class RunFinished(Event, frozen=True, kw_only=True, omit_defaults=True, tag="run.finished"):
    status: Status
    outputs: dict[str, Json] = {}
    error: Failure | None = None
    reason: str = ""
    """Why it ended as it did when the status alone does not say: `the budget of 50 calls is spent`."""
    totals: Totals


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a kind that this version does not know: kept, shown in Events, folded into nothing."""

    kind: str
    seq: Int = UNSTAMPED
    t: float = float(UNSTAMPED)
    iteration: Count | None = None
    span: str | None = None
    parent: str | None = None
    fields: dict[str, Json] = {}


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

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)

_COMMON = ("seq", "t", "iteration", "span", "parent")
_DEEPEST = 100
"""Levels of lists and objects that a value keeps; what lies deeper is named, not stored."""

_CONTAINERS = (msgspec.Struct, dict, list, tuple, set, frozenset)


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    """What can be said of an event whose kind is not known."""

    kind: str
    seq: Int = UNSTAMPED
    t: float = float(UNSTAMPED)
    iteration: Count | None = None
    span: str | None = None
    parent: str | None = None


_common_decoder = msgspec.json.Decoder(_Common)


class NotAnEvent(ValueError):
    """A line that holds no event: not JSON, no `kind`, or a known kind with a field of the wrong type."""


def encode(event: Event | Unknown) -> bytes:
    """One line of a run file, without its newline.

    Always possible, since generated code decides what an output holds: a lone surrogate becomes U+FFFD, a key that is
    no text becomes text, and a value that JSON can't say is named by its type.
    """
    record: Json = event
    if isinstance(event, Unknown):
        known = {name: value for name in _COMMON if (value := getattr(event, name)) is not None}
        record = {**event.fields, "kind": event.kind, **known}
    try:
        line = _encoder.encode(record)
    except (TypeError, ValueError, RecursionError):
        return _encoder.encode(_plain(record))
    if line.count(b"[") + line.count(b"{") > _DEEPEST and _is_deeper_than(_DEEPEST, record):
        return _encoder.encode(_plain(record))  # what can be encoded may be too deep for the decoder's stack
    return line


def _is_deeper_than(levels: int, value: Json) -> bool:
    level = [value]
    for _ in range(levels):
        level = [item for above in level for item in _members(above) if isinstance(item, _CONTAINERS)]
        if not level:
            return False
    return True


def _members(value: Json) -> Iterable[Json]:
    if isinstance(value, msgspec.Struct):
        return (getattr(value, name) for name in value.__struct_fields__)
    return value.values() if isinstance(value, dict) else value


def _plain(value: Json, depth: int = 0) -> Json:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return f"(deeper than {_DEEPEST} levels)"
    if isinstance(value, msgspec.Struct):
        tag = value.__struct_config__.tag
        fields = {name: _plain(getattr(value, name), depth + 1) for name in value.__struct_fields__}
        return {"kind": tag, **fields} if tag else fields
    if isinstance(value, dict):
        return {_plain(str(key)): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    try:
        return _plain(msgspec.to_builtins(value), depth + 1)
    except (TypeError, ValueError, RecursionError):
        return f"({type(value).__qualname__})"


def decode(line: bytes | bytearray | memoryview | str) -> AnyEvent | Unknown:
    """The event in one line. Raises `NotAnEvent`, whose message names the field that is wrong."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _decode_unknown(line, error)


def _decode_unknown(line: bytes | bytearray | memoryview | str, error: Exception) -> Unknown:
    try:
        common = _common_decoder.decode(line)
        if common.kind in KINDS:
            raise NotAnEvent(f"{common.kind}: {error}") from error
        raw = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as second:
        raise NotAnEvent(str(second)) from second
    fields = {name: value for name, value in raw.items() if name != "kind" and name not in _COMMON}
    return Unknown(**msgspec.structs.asdict(common), fields=fields)


def as_text(value: Json) -> str:
    """A value as a person reads it: text as it is, everything else as indented JSON."""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line of a run file."""
    schema = msgspec.json.schema(AnyEvent)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{FORMAT}, version {VERSION}: one event, one line",
        **schema,
    }
