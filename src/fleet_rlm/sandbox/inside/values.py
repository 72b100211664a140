"""Values of generated code on their way to the host, as JSON text."""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Mapping, MappingView
from typing import Any

from .wire import as_text

DIGITS = 4300
"""The most digits of an integer: as many as Python reads at the other end."""
_REASONS = {  # how an error of `json` begins, and what to do about it
    "Exceeds the limit": f"an integer has more than {DIGITS:,} digits; make it text first, or round it",
    "Out of range float": "nan and infinity are no JSON numbers; make them text or None first",
    "keys must be": "a dict's keys must be text or numbers; make them text first",
    "Circular": "the value contains itself",
}
_LISTED: Any = (collections.deque, range, MappingView)


def to_json(value: Any, what: str, most: int) -> str:
    """Return a value as JSON text of at most `most` characters. Raises TypeError or ValueError, which says how to fix
    it and begins with `what`.
    """
    digits = sys.get_int_max_str_digits()
    if not 0 < digits <= DIGITS:  # the host reads no longer integers, whatever the code allowed itself
        sys.set_int_max_str_digits(DIGITS)
    try:
        text = _encode(value)
        _check_keys(value)
    except (TypeError, ValueError, RecursionError) as error:
        reason = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
        reason = next((words for start, words in _REASONS.items() if reason.startswith(start)), reason)
        raise TypeError(f"{what}: {reason}") from None
    finally:
        sys.set_int_max_str_digits(digits)
    if len(text) > most:
        raise ValueError(f"{what}: {len(text):,} characters as JSON, and at most {most:,} can cross at once")
    return text


def _plain(value: Any) -> Any:
    """Return the JSON form of a value of a well-known type (`json.dumps(default=…)`). Raises TypeError for others."""
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(
        value,
        _LISTED,
    ):
        return list(value)
    if module == "datetime" and hasattr(value, "isoformat"):
        return value.isoformat()
    if module == "pathlib":
        return str(value)
    if module in ("numpy", "pandas") and hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if callable(getattr(value, "model_dump", None)):
        return value.model_dump(mode="json")
    raise TypeError(
        f"a value of type {kind.__name__} can't leave the sandbox; make it text, a number, a list or a dict first"
    )


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode


def _check_keys(value: Any) -> None:
    """Raise ValueError for a dict of which JSON would lose a member, such as `{1: "a", "1": "b"}`."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            if len({key if isinstance(key, str) else as_text(key) for key in one}) < len(one):
                raise ValueError("two keys of a dict are the same as text")
            rest.extend(one.values())
        elif isinstance(one, (list, tuple)):
            rest.extend(part for part in one if isinstance(part, (dict, list, tuple)))
