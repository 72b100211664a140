"""Hypothesis strategies for events: made from the vocabulary itself, so that a new kind or field is covered at once."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union

import msgspec
from hypothesis import strategies as st

from fleet_rlm import events as ev

texts = st.text(max_size=30)
numbers = st.floats(0, 1e9, allow_nan=False).map(lambda x: round(x, 6))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
spans = st.sampled_from(["run", "i1", "p1", "x1", "c1", "c2", "b1", "agent"])


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return of(arguments[0])
    if kind is Any:
        return json_values
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(of, arguments))
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return struct(kind)
    return {
        str: texts, int: st.integers(0, 10**9), float: numbers, bool: st.booleans(), type(None): st.none()
    }[kind]  # fmt: skip


def struct(kind: type[msgspec.Struct], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Structs of a type, with all their fields or only those that must be there."""
    required, optional = {}, {}
    for field in msgspec.structs.fields(kind):
        strategy = given[field.name] if field.name in given else of(field.type)
        (required if field.required else optional)[field.name] = strategy
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: kind(**fields))


def any_event(kinds: typing.Iterable[type[ev.Event]] = tuple(ev.KINDS.values())) -> st.SearchStrategy[ev.Event]:
    """Any event, with few spans and iterations so that events meet each other."""
    common = {
        "span": st.none() | spans,
        "parent": st.none() | spans,
        "base": st.none() | spans,
        "iteration": st.none() | st.integers(0, 4),
    }
    return st.one_of(*(struct(kind, **common) for kind in kinds))
