"""Write an event as a line of a run file, and read it again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from fleet_rlm.events.event_kinds import KINDS, UNSTAMPED, AnyEvent, Event
from fleet_rlm.events.event_parts import Count, Int, Json

FORMAT = "fleet-rlm-run"
VERSION = 1


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that an event of any kind has."""

    kind: str
    seq: Int = UNSTAMPED
    t: float = float(UNSTAMPED)
    iteration: Count | None = None
    span: str | None = None
    parent: str | None = None


class Unknown(_Common, frozen=True, kw_only=True):
    """An event of a kind that this version does not know: kept, shown in Events, folded into nothing."""

    fields: dict[str, Json] = {}


_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)

_DEEPEST = 100
"""Levels of lists and objects that a value keeps; what lies deeper is named, not stored."""

_CONTAINERS = (msgspec.Struct, dict, list, tuple, set, frozenset)


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
        common = {name: getattr(event, name) for name in _Common.__struct_fields__}
        record = event.fields | {name: value for name, value in common.items() if value is not None}
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
    fields = {name: value for name, value in raw.items() if name not in _Common.__struct_fields__}
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
