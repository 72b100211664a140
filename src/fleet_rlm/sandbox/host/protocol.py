"""The protocol between host and driver (`inside/`), version 1: JSON Lines, UTF-8, over the driver's stdin and stdout.

Everything that comes from a driver is data: lines are bounded, decoded into the structs below, and never evaluated.
A line that is none of them counts as a violation; a driver with too many of them is ended. What may be sent in one
execution is bounded (`bounds.py`). The end of an execution in time is the host's: it sends `interrupt`, and ends the
sandbox when no `done` follows.

**Host → driver.** `init` (limits, once, after `hello`; the worker is forked then) · `run` (one execution: code, names
of the host's functions, names of SUBMIT's fields, variables by value or by `path`) · `part`, `ret` (the answer of a
call) · `interrupt` · `ping`. The end of stdin ends the driver.

**Driver → host.** `hello` · `out` (output, at most some thirty a second and stream; `late` after the cell's end, `gap`
bytes dropped before it) · `part`, `call`, `cancel` · `vars`, `done` (in this order, the last of an execution) · `beat`
(once a second while code runs) · `died` (the worker, between executions) · `pong` · `ack`.

**Values** are JSON. One longer than `PART_CHARS` goes ahead of its message in `part`s under a key: `c<call>` for a
call's body, `d<cell>` for what was submitted, `r<call>` for an answer. At most `VALUE_CHARS` cross at once, either way.
Inputs over `INLINE_BYTES` cross once, as a file beside the driver named by the SHA-256 of its bytes.

**Flow.** The driver's supervisor always reads; what the worker does not take yet waits in its memory. The host
therefore keeps at most `WINDOW_BYTES` of `run`, `ret` and `part` unacknowledged (`ack` carries the total so far);
`interrupt` and `ping` go past the window. The supervisor stops reading from the worker while 4 MiB wait for
the host.

**Executions** are numbered from 1 by the host, one at a time. `done.status`: `ok`, `submit`, `error`, `syntax`,
`interrupted` (state kept); `killed` (did not stop within the grace) and `crashed` (state lost, a fresh worker stands
ready); `inputs` (files in `missing` are gone: nothing ran, send them again).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec

from fleet_rlm.events import Json, Stream, Variable

VALUE_CHARS = 64 << 20
"""Largest value that crosses at once: a call's arguments, its answer, what is submitted."""
INLINE_BYTES = 64 << 10
"""Larger inputs cross as files."""
INLINE_TOTAL_BYTES = 1 << 20
"""The most bytes of one execution's small inputs together; the rest cross as files too."""
WINDOW_BYTES = 8 << 20
CODE_CHARS = 1 << 20
"""The length of the longest code of one execution."""
VIOLATIONS = 20
"""The number of lines outside the protocol after which the driver is ended."""

Status = Literal["ok", "submit", "error", "syntax", "interrupted", "killed", "crashed", "inputs"]
Mode = Literal["cell", "setup", "operator"]
Why = Literal["", "timeout", "interrupt", "limit"]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""A number that a run file and its index can hold."""
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=256)]
_Value = TypeVar("_Value")
Words: TypeAlias = Annotated[str, msgspec.Meta(max_length=64 << 10)]


class ProtocolError(ValueError):
    """A line from a driver that is not of the protocol, or a value too large to cross."""


class _Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """One line."""


# -- host → driver


class Init(_Message, frozen=True, kw_only=True, omit_defaults=False, tag="init"):
    cap: int
    """Bytes of each output stream of a cell that are passed on; then only the last `tail` bytes."""
    tail: int
    value: int = VALUE_CHARS
    beat: float = 1.0
    """Seconds between two `beat`s."""
    orphan: float
    """The driver ends after so many seconds without a word from the host; 0: it trusts the end of stdin."""
    helpers: bool
    """Give generated code the functions of `inside/toolbox.py`."""
    volume: str | None
    """The folder where a volume is mounted."""


class Bound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A variable's value, or the file that holds it."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    path: str | None = None
    ref: str | None = None
    """SHA-256 of the file's bytes."""
    type: Literal["", "text", "bytes", "json"] = ""


class Run(_Message, frozen=True, kw_only=True, tag="run"):
    cell: int
    name: str
    """The name in tracebacks, such as `cell 3`."""
    mode: Mode
    code: msgspec.Raw
    tools: list[str]
    fields: list[str] | None
    variables: dict[str, Bound]
    grace: float


class Return(_Message, frozen=True, kw_only=True, tag="ret"):
    id: int
    ok: bool
    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    key: str = ""
    parts: int = 0


class Interrupt(_Message, frozen=True, kw_only=True, tag="interrupt"):
    cell: int
    grace: float
    why: Why


class Ping(_Message, frozen=True, kw_only=True, omit_defaults=False, tag="ping"):
    n: int


# -- both ways


class Part(_Message, frozen=True, kw_only=True, tag="part"):
    key: Annotated[str, msgspec.Meta(max_length=32)]
    data: str


# -- driver → host


class Hello(_Message, frozen=True, kw_only=True, tag="hello"):
    version: Count
    python: Name
    pid: Count


class Out(_Message, frozen=True, kw_only=True, tag="out"):
    cell: int
    stream: Stream
    data: str
    late: bool = False
    gap: Count = 0


class CallBody(msgspec.Struct, frozen=True):
    args: list[Json]
    kwargs: dict[str, Json]


class Call(_Message, frozen=True, kw_only=True, tag="call"):
    cell: int
    id: Count
    name: Name
    body: msgspec.Raw = msgspec.Raw(b"")
    """A `CallBody`, which is not decoded before its size is known to be bearable."""
    parts: Count = 0


class Cancel(_Message, frozen=True, kw_only=True, tag="cancel"):
    id: Count


class CellError(msgspec.Struct, frozen=True, kw_only=True):
    type: Name
    message: Words
    line: Count | None = None
    traceback: Words = ""


class Done(_Message, frozen=True, kw_only=True, tag="done"):
    cell: int
    status: Status
    final: msgspec.Raw = msgspec.Raw(b"")
    parts: Count = 0
    value: Words = ""
    error: CellError | None = None
    ms: float = 0.0
    dropped: dict[Stream, Count] = {}
    why: Why = ""
    missing: Annotated[list[Name], msgspec.Meta(max_length=1000)] = []
    lost: bool = False
    code: Count | None = None
    signal: Count | None = None
    closed: bool = False
    """The worker lived, but had closed its connection."""
    garbled: bool = False
    """The worker lived, but what it sent could not be read."""


class Vars(_Message, frozen=True, kw_only=True, tag="vars"):
    cell: int
    added: list[Variable] = []
    changed: list[Variable] = []
    removed: list[Name] = []
    total: Count = 0
    whole: bool = True


class Beat(_Message, frozen=True, kw_only=True, tag="beat"):
    cell: int
    rss: Count = 0
    calls: Count = 0


class Died(_Message, frozen=True, kw_only=True, tag="died"):
    code: Count | None = None
    signal: Count | None = None
    closed: bool = False
    lost: bool = True


class Pong(_Message, frozen=True, kw_only=True, tag="pong"):
    n: int


class Ack(_Message, frozen=True, kw_only=True, tag="ack"):
    bytes: int


ToDriver: TypeAlias = Init | Run | Return | Interrupt | Ping | Part
FromDriver: TypeAlias = Hello | Out | Part | Call | Cancel | Done | Vars | Beat | Died | Pong | Ack

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[FromDriver] = msgspec.json.Decoder(FromDriver)
_body_decoder = msgspec.json.Decoder(CallBody)
_final_decoder: msgspec.json.Decoder[dict[str, Json]] = msgspec.json.Decoder(dict[str, Json])


def encode(message: ToDriver) -> bytes:
    """Return a message as one line, with its newline."""
    return _encoder.encode(message) + b"\n"


def decode(line: bytes) -> FromDriver:
    """Return the message in a line. Raises `ProtocolError` when it is not one of a driver's."""
    return _decoded(_decoder, line)


def decode_body(text: bytes) -> CallBody:
    """Return a call's body. Raises `ProtocolError`."""
    return _decoded(_body_decoder, text)


def decode_final(text: bytes) -> dict[str, Json]:
    """Return what was submitted. Raises `ProtocolError`."""
    return _decoded(_final_decoder, text)


def _decoded(decoder: msgspec.json.Decoder[_Value], text: bytes) -> _Value:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(str(error)) from error


def to_json(value: Any, what: str, *, ascii_only: bool = True) -> str:
    """Return a host's value as JSON text for code in the sandbox. `Any`: whatever a caller or a tool hands over.

    Tuples and sets become lists; dataclasses, pydantic models and msgspec structs become dicts. Raises `TypeError`
    naming `what` for anything that has no such form: nothing is turned into text silently.
    """
    try:
        return json.dumps(value, separators=(",", ":"), default=_plain, ensure_ascii=ascii_only)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise TypeError(f"{what} can't cross into the sandbox: {reason}") from error


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("bytes are not JSON; decode them to text, or encode them as base64")
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        raise TypeError(f"a {type(value).__name__} is not JSON") from None


class Parts:
    """Collects the parts of large values, bounded: past the limit a value is dropped and `take` raises."""

    def __init__(self, most: int = VALUE_CHARS, most_at_once: int = 4 * VALUE_CHARS) -> None:
        self._most, self._most_at_once = most, most_at_once
        self._texts: dict[str, list[str]] = {}
        self._sizes: dict[str, int] = {}

    def add(self, part: Part) -> None:
        """Keep a part. Raises `ProtocolError` if there are more unfinished values than a driver may have."""
        if part.key not in self._texts and len(self._texts) >= 1024:
            raise ProtocolError("too many unfinished values")
        size = self._sizes[part.key] = self._sizes.get(part.key, 0) + max(len(part.data), 64)
        pieces = self._texts.setdefault(part.key, [])
        if size > self._most or sum(self._sizes.values()) > self._most_at_once:
            pieces.clear()
            self._sizes[part.key] = self._most + 1
        else:
            pieces.append(part.data)

    def take(self, key: str) -> bytes:
        """Return a whole value. Raises `ProtocolError` if it was too large or never came."""
        pieces, size = self._texts.pop(key, None), self._sizes.pop(key, 0)
        if pieces is None or size > self._most:
            raise ProtocolError(f"the value is larger than {self._most:,} characters")
        return "".join(pieces).encode("utf-8", "surrogatepass")

    def clear(self) -> None:
        """Forget all parts: nobody waits for them any more."""
        self._texts.clear()
        self._sizes.clear()
