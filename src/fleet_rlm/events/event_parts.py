"""Values inside events: their types, the tokens of a call, a failure, an input, a variable, a run's totals, …"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

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


class Usage(_Part, frozen=True, kw_only=True):
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


class Failure(_Part, frozen=True, kw_only=True):
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


class Tool(_Part, frozen=True, kw_only=True):
    """A function of the host that generated code may call by its name."""

    name: str
    reference: str | None = None
    """Where it stands, `module:function`; None when only the program had it that made the run."""
    description: str = ""


class Task(_Part, frozen=True, kw_only=True):
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


class DocumentRef(_Part, frozen=True, kw_only=True):
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


class Input(_Part, frozen=True, kw_only=True):
    name: str
    type: str
    chars: Count
    sha256: str | None = None
    documents: tuple[DocumentRef, ...] = ()
    value: Json = None
    """The value itself when it is small (4,096 characters at most as JSON)."""
    first_chars: Count | None = None
    """Only so many characters from the beginning of each document were used, where some have more."""


class Models(_Part, frozen=True, kw_only=True):
    planner: str
    sub: str
    offline: bool = False
    """True when the planner is the built-in model without weights."""


class Sandbox(_Part, frozen=True, kw_only=True):
    backend: str
    isolation: str
    """In plain words, what was proven: `no network, no files of yours, memory limited by the kernel`.

    Empty until the sandbox is ready.
    """
    mode: str = ""
    proven: tuple[str, ...] = ()
    not_protected: tuple[str, ...] = ()


class BudgetLimits(_Part, frozen=True, kw_only=True):
    """What the run may spend; None is *no limit*."""

    max_iterations: Count
    max_llm_calls: Count | None = None
    max_tokens: Count | None = None
    max_seconds: float | None = None
    max_cost_usd: float | None = None


class ForkPoint(_Part, frozen=True, kw_only=True):
    run_id: str
    iteration: Count


class Message(_Part, frozen=True, kw_only=True):
    """A prompt's message. Later prompts store only what was added: the whole text is the first `reuse`
    characters of the message at the same place in the prompt of span `PlannerStarted.base`, then `content`.
    """

    role: str
    content: str
    reuse: Count = 0


class Shown(_Part, frozen=True, kw_only=True):
    """How much of an execution's output the planner got to see, in characters from its start and its end."""

    head: Count
    tail: Count = 0


class Dropped(_Part, frozen=True, kw_only=True):
    """Output that was thrown away at the cap, in bytes."""

    stdout: Count = 0
    stderr: Count = 0


class Variable(_Part, frozen=True, kw_only=True):
    name: str
    type: str
    size: Count | None = None
    """Characters, items or bytes, by type; None where a size says nothing."""
    preview: str = ""
    digest: str = ""


class FanOut(_Part, frozen=True, kw_only=True):
    """What a batch of sub-calls is about to send."""

    prompts: Count
    chars: Count
    duplicates: Count = 0
    estimated_cost_usd: float | None = None
    samples: tuple[str, ...] = ()
    """The first few prompts, shortened."""


class Totals(_Part, frozen=True, kw_only=True):
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


class Breakpoints(_Part, frozen=True, kw_only=True):
    """Where a run waits by itself. All off: it never waits unless told to pause."""

    every_cell: bool = False
    on_error: bool = False
    code_pattern: str | None = None
    """A regular expression searched in the code that is about to run."""
    fanout: Count | None = None
    """A batch of this many sub-calls or more."""
    spend_usd: float | None = None
    """Once, when the run's cost passes this."""
