"""What a run is asked to do (`RunSpec`) and what a person may tell a running one (`Command`).

Both cross a pipe as one JSON object a line, from a screen or a command line to the engine.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from fleet_rlm.events import Boundary, Decision, Failure, Json
from fleet_rlm.events import Breakpoints as Breakpoints

DEFAULT_MAX_ITERATIONS = 20
DEFAULT_MAX_LLM_CALLS = 50
DEFAULT_CONCURRENCY = 8


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may spend, enforced while things run. None is *no limit*."""

    max_iterations: int = DEFAULT_MAX_ITERATIONS
    max_llm_calls: int | None = DEFAULT_MAX_LLM_CALLS
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_cost_usd: float | None = None


class ModalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox in Modal's cloud. Nothing of the person's is in it unless it is named here."""

    app: str = "fleet-rlm"
    """Modal's app that the sandboxes belong to; made when it does not exist."""
    image: str | None = None
    """An image's id (`im-…`) or a registry's reference (`python:3.12`); None: Debian with `python_version`."""
    python_version: str = "3.12"
    packages: tuple[str, ...] = ()
    """From PyPI, installed into the image, in pip's notation."""
    cpu: float | None = None
    """Cores, reserved and at most; None: one reserved, four at most."""
    memory_mb: int | None = None
    """MiB, reserved and at most; None: 1 GiB reserved, 8 GiB at most."""
    volume: str | None = None
    """Name of a Volume (version 2) for documents and results that outlive the sandbox; made when it does not exist."""
    volume_path: str = "/data"
    secrets: tuple[str, ...] = ()
    """Names of Modal's secrets whose values the code may read in its environment."""
    tags: dict[str, str] = {}
    network: bool = False
    """Whether generated code reaches the network."""
    timeout: float = 3600.0
    """Longest life of a sandbox, in seconds."""
    idle_timeout: float = 60.0
    """Seconds after which a sandbox ends in which nothing runs."""
    orphan: float = 60.0
    """Seconds without a word from this program after which its sandbox ends what runs in it."""


SandboxChoice: TypeAlias = Literal["local", "modal", "auto"]
"""Where code runs: an isolated process of this machine, Modal's cloud, or Modal where it is configured, else local."""


OnSandboxLost: TypeAlias = Literal["restart", "fail"]
"""What becomes of a run that nobody watches when its sandbox is lost: rebuilt in a new one, or failed."""


class RunSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A run, complete: everything that New run, `fleet-rlm run` and a re-run can say."""

    question: str | None = None
    documents: tuple[str, ...] = ()
    """Files, folders and globs, as given; relative to `cwd`."""
    first_chars: int | None = None
    """Use only so many characters from the beginning of each document."""
    cwd: str = "."
    task: str = "ask"
    signature: str | None = None
    """DSPy's notation, or `module:Class` of a signature of one's own; overrides the task's."""
    tools: tuple[str, ...] = ()
    """Further functions for generated code to call, `module:function`; they run on the host."""
    instructions: str | None = None
    inputs: dict[str, Json] = {}
    """Values for further inputs of the signature."""
    model: str | None = None
    """None: what the environment configures, else `offline`."""
    sub_model: str | None = None
    settings: dict[str, Json] = {}
    """Settings of the models that were asked for, by their keys (`model.temperature`); others are as configured."""
    watched: bool = True
    """False when nobody looks on: the offline model then writes as fast as it can, and the run never waits to ask."""
    sandbox: SandboxChoice = "local"
    modal: ModalOptions = ModalOptions()
    on_sandbox_lost: OnSandboxLost = "restart"
    """While somebody watches, the run asks instead."""
    budgets: Budgets = Budgets()
    breakpoints: Breakpoints = Breakpoints()
    concurrency: int = DEFAULT_CONCURRENCY
    """Sub-LLM calls in flight at once."""
    cell_seconds: float = 600.0
    """Longest a single cell may execute, sub-calls included."""
    paused: bool = False
    """Start waiting at the first boundary."""
    record: str | None = None
    """Path of the run file; None: a new one in the run library."""


class Start(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="start"):
    spec: RunSpec


class Pause(msgspec.Struct, frozen=True, tag_field="do", tag="pause"):
    """Wait at the next boundary."""


class Continue(msgspec.Struct, frozen=True, tag_field="do", tag="continue"):
    """Leave the gate (if waiting) and don't stop again by itself."""


class Step(msgspec.Struct, frozen=True, tag_field="do", tag="step"):
    """Leave the gate and wait at the next boundary."""


class Edit(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="edit"):
    """At `code`: run this code instead. `step` waits again at the next boundary."""

    code: str
    step: bool = False


class Hint(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="hint"):
    """Tell the planner something; it stands in its next prompt. Accepted at any time."""

    text: str


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="retry"):
    """At `code` or `error`: ask the planner for another version of this step (in a new sandbox, if it is lost)."""

    text: str = ""


class Skip(msgspec.Struct, frozen=True, tag_field="do", tag="skip"):
    """At `code`: don't run this cell. At `fanout`: refuse the batch."""


class Sample(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="sample"):
    """At `fanout`: send only the first `count` prompts; the others get a note instead of an answer."""

    count: int = 5


class Restart(msgspec.Struct, frozen=True, tag_field="do", tag="restart"):
    """At `error`, when the sandbox is lost: a new one whose state is rebuilt; the step that was lost runs again."""


class Finish(msgspec.Struct, frozen=True, tag_field="do", tag="finish"):
    """Force the final extraction from what is known, now or at the next boundary (a running cell is interrupted)."""


class Abort(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="abort"):
    """End everything within a second; the run is kept."""

    reason: str = ""


class Interrupt(msgspec.Struct, frozen=True, tag_field="do", tag="interrupt"):
    """Interrupt the running cell; the planner sees a KeyboardInterrupt and the run goes on."""


class Evaluate(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="eval"):
    """While waiting: evaluate an expression in the sandbox; the answer comes as an `operator` event."""

    expression: str


class Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="note"):
    """Write a note or a bookmark into the record."""

    text: str = ""
    bookmark: bool = False


class SetBreakpoints(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag="breakpoints"):
    breakpoints: Breakpoints


class Detach(msgspec.Struct, frozen=True, tag_field="do", tag="detach"):
    """The screen leaves and the run goes on: the end of the command pipe is then no reason to abort."""


Command: TypeAlias = (
    Start
    | Pause
    | Continue
    | Step
    | Edit
    | Hint
    | Retry
    | Skip
    | Sample
    | Restart
    | Finish
    | Abort
    | Interrupt
    | Evaluate
    | Note
    | SetBreakpoints
    | Detach
)


ALLOWED_AT: dict[Decision | Literal["eval"], frozenset[Boundary]] = {
    "edit": frozenset({"code"}),
    "retry": frozenset({"code", "error"}),
    "skip": frozenset({"code", "fanout"}),
    "sample": frozenset({"fanout"}),
    "restart": frozenset({"error"}),
    "eval": frozenset({"planner", "code", "error"}),
}
"""The boundaries at which a command means something; one that is not named is taken at each of them."""


def is_allowed(decision: Decision | Literal["eval"], at: Boundary | None) -> bool:
    """Return whether a decision means something at the boundary where a run waits; None: it does not wait."""
    return at is not None and at in ALLOWED_AT.get(decision, (at,))


class EngineRecording(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="engine.recording"):
    """A line of an engine's stdout that belongs to no run file: where the run is recorded."""

    path: str


class EngineFailed(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="engine.failed"):
    """A line of an engine's stdout that belongs to no run file: why no run could begin."""

    error: Failure


_decoder: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def encode_command(command: Command) -> bytes:
    """One line of the command pipe, with its newline."""
    return msgspec.json.encode(command) + b"\n"


def decode_command(line: bytes) -> Command:
    """Raises `msgspec.DecodeError` (a `ValueError`) with the field that is wrong."""
    return _decoder.decode(line)


def encode_line(line: EngineRecording | EngineFailed) -> bytes:
    """One line of an engine's stdout that belongs to no run file, with its newline."""
    return msgspec.json.encode(line) + b"\n"
