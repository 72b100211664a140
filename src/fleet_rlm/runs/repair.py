"""Repair a line of a run file that can't be decoded as it is, where it is clear what it says.

Bytes that are no UTF-8 and halves of surrogate pairs become U+FFFD; numbers that a field can't have, below 0 or
beyond 63 bits, become the nearest that it can. A value of the run's own (an output, an argument) keeps its size.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from fleet_rlm import events as ev

LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Repaired:
    """An event, and what had to be changed to read it, in words."""

    event: ev.AnyEvent | ev.Unknown
    words: str


def decode_or_repair(line: bytes) -> ev.AnyEvent | ev.Unknown | None:
    """Decode the event in a line, repaired where it must be; None when the line holds none."""
    try:
        return ev.decode(line)
    except ev.NotAnEvent:
        return mended.event if (mended := repaired(line)) else None


def repaired(line: bytes | bytearray | memoryview) -> Repaired | None:
    """The event in a line that `events.decode` refuses; None when there is nothing that could be repaired."""
    changes: dict[str, None] = {}
    try:
        text = bytes(line).decode()
    except UnicodeDecodeError:
        text = bytes(line).decode(errors="replace")
        changes["bytes that are no UTF-8 were replaced"] = None
    try:
        raw = json.loads(text, parse_int=_integer, parse_constant=_refuse)
        if not isinstance(raw, dict):
            return None
        kind = ev.KINDS.get(str(raw.get("kind")), ev.Unknown)
        event = ev.decode(msgspec.json.encode(_fitted(raw, frozenset({kind}), changes)))
    except (ValueError, TypeError, RecursionError):
        return None
    return Repaired(event, ", ".join(changes)) if changes else None


def _integer(digits: str) -> int:
    return int(digits) if len(digits) < 4000 else LARGEST  # longer ones Python itself does not read


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _fitted(value: Any, leaves: frozenset[Any], changes: dict[str, None]) -> Any:
    """A value of decoded JSON as a field holds it whose annotation is made of `leaves`."""
    if isinstance(value, str):
        whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if whole != value:
            changes["halves of surrogate pairs were replaced"] = None
        return whole
    if isinstance(value, int) and not isinstance(value, bool) and leaves & {int, float}:
        bounds = [int(leaf.ge) for leaf in leaves if isinstance(leaf, msgspec.Meta) and leaf.ge is not None]
        fitting = min(max(value, *bounds, -LARGEST), LARGEST)
        if fitting != value:
            changes["numbers out of range were replaced"] = None
        return fitting
    if isinstance(value, list):
        return [_fitted(item, leaves, changes) for item in value]
    if isinstance(value, dict):
        struct = next((leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, msgspec.Struct)), None)
        fields = _fields(struct) if struct else {}
        names = {_fitted(name, leaves, changes): name for name in value}
        return {
            whole: _fitted(value[name], fields.get(name, frozenset()) if struct else leaves, changes)
            for whole, name in names.items()
        }
    return value


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, frozenset[Any]]:
    return {field.encode_name: _leaves(field.type) for field in msgspec.structs.fields(struct)}


def _leaves(annotation: Any) -> frozenset[Any]:
    """The types that an annotation such as `tuple[Usage, ...] | None` is made of."""
    inside = get_args(annotation)
    return frozenset().union(*map(_leaves, inside)) if inside else frozenset({annotation})
