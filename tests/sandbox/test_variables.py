"""What is told about variables, and that telling runs none of the code's."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.sandbox.inside.inspector import Inspector

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def report(inspector: Inspector, namespace: dict[str, Any]) -> dict[str, Any]:
    return inspector.report(namespace, hidden={"SUBMIT"})


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


def test_what_was_added_changed_and_removed() -> None:
    inspector = Inspector()
    namespace: dict[str, Any] = {"kept": "a", "grown": [1], "gone": 1, "_hidden": 1, "SUBMIT": print, "module": time}
    assert names(report(inspector, namespace)["added"]) == ["kept", "grown", "gone"]
    namespace["grown"].append(2)
    del namespace["gone"]
    namespace["new"] = {"a": "b"}
    told = report(inspector, namespace)
    assert (names(told["added"]), names(told["changed"]), told["removed"]) == (["new"], ["grown"], ["gone"])
    assert told["changed"][0] | {"digest": ""} == {
        "name": "grown", "type": "list", "size": 2, "preview": "[1, 2]", "digest": ""
    }  # fmt: skip
    told = report(inspector, namespace)
    assert not told["added"] + told["changed"] + told["removed"]
    assert told["whole"]


@given(JSON, JSON)
def test_equal_values_have_equal_digests_and_a_change_is_seen(one: Any, other: Any) -> None:
    inspector = Inspector()
    first = report(inspector, {"value": one})["added"][0]
    second = Inspector().report({"value": other}, set())["added"][0]
    assert len(first["preview"]) <= 201
    if repr(one) == repr(other):
        assert first == second
    else:
        assert first["digest"] != second["digest"]


class Trap:
    """Everything that a curious reader might touch ends the test."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(f"{name} was read")

    def __repr__(self) -> str:
        raise SystemExit("repr")

    __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = __format__ = __repr__  # type: ignore[assignment]


class TrapText(str):
    def __repr__(self) -> str:
        raise SystemExit("repr")

    __str__ = __len__ = __iter__ = __getitem__ = encode = __format__ = __repr__  # type: ignore[assignment]


class TrapList(list[Any]):
    def __iter__(self) -> Any:
        raise SystemExit("iter")

    __len__ = __getitem__ = __repr__ = __iter__  # type: ignore[assignment]


class TrapDict(dict[Any, Any]):
    def __iter__(self) -> Any:
        raise SystemExit("iter")

    __len__ = __getitem__ = __repr__ = items = keys = __iter__  # type: ignore[assignment]


class TrapMeta(type):
    def __repr__(cls) -> str:
        raise SystemExit("repr")

    __name__ = property(__repr__)  # type: ignore[assignment]
    __module__ = property(__repr__)  # type: ignore[assignment]


class TrapClass(metaclass=TrapMeta):
    pass


class TrapDictionary:
    @property  # type: ignore[misc]
    def __dict__(self) -> Any:
        raise SystemExit("__dict__")


@pytest.mark.parametrize(
    ("make", "preview"),
    [
        (Trap, "<Trap>"),
        (lambda: TrapText("text"), "'text'"),
        (lambda: TrapList([1, Trap()]), "[1, <Trap>]"),
        (lambda: TrapDict({"a": Trap()}), "{'a': <Trap>}"),
        (lambda: {"a": [Trap()]}, "{'a': [<Trap>]}"),
        (lambda: TrapClass(), "<TrapClass>"),
        (lambda: TrapClass, "class TrapClass"),
        (TrapDictionary, "<TrapDictionary>"),
    ],
    ids=["object", "text", "list", "dict", "nested", "instance", "class", "property"],
)
def test_looking_at_a_hostile_value_runs_none_of_its_code(make: Callable[[], Any], preview: str) -> None:
    told = report(Inspector(), {"value": make()})["added"][0]
    assert told["preview"] == preview


def test_an_object_shows_what_it_holds() -> None:
    class Point:
        def __init__(self) -> None:
            self.x, self.label = 1, "here"

    assert report(Inspector(), {"p": Point()})["added"][0]["preview"] == "<Point x=1, label='here'>"


def test_a_function_shows_how_it_is_called() -> None:
    def search(term: str, most: int = 3) -> None: ...

    assert report(Inspector(), {"search": search})["added"][0]["preview"] == "def search(term, most)"


def test_huge_values_are_looked_at_in_bounded_work() -> None:
    """Counted, not timed: of ten million elements some thousands are looked at."""
    inspector = Inspector()
    inspector.SECONDS = 60.0  # type: ignore[misc]
    namespace = {"list": [0] * 10_000_000, "dict": dict.fromkeys(range(100_000)), "deep": (deep := [])}
    for _ in range(100_000):
        deep.append(inner := [])
        deep = inner
    told = report(inspector, namespace)
    assert [row.get("size") for row in told["added"]] == [10_000_000, 100_000, 1]
    assert inspector.nodes >= -1


def test_an_integer_of_millions_of_digits_is_not_written_out() -> None:
    assert report(Inspector(), {"n": 1 << 10_000_000})["added"][0]["preview"] == "(10,000,001 bits)"


def test_when_there_is_no_time_for_all_each_has_its_turn() -> None:
    inspector = Inspector()
    inspector.ROWS, inspector.SECONDS = 3, 60.0  # type: ignore[misc]
    namespace = {f"v{number}": [number] for number in range(10)}
    added: list[str] = []
    for _ in range(4):
        told = report(inspector, namespace)
        assert not told["whole"]
        added += names(told["added"])
    assert added == list(namespace)
    for value in namespace.values():
        value.append(0)
    changed = [name for _ in range(4) for name in names(report(inspector, namespace)["changed"])]
    assert sorted(changed) == sorted(namespace)
    del namespace["v0"], namespace["v9"]
    assert sorted(report(inspector, namespace)["removed"]) == ["v0", "v9"]


def test_thousands_of_variables_are_told_as_a_part() -> None:
    told = report(Inspector(), {f"v{number}": number for number in range(5000)})
    assert len(told["added"]) <= Inspector.ROWS
    assert not told["whole"]
