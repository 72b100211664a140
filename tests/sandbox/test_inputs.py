"""Inputs cross once: recognised by identity, stored by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fleet_rlm.sandbox.host.sandbox_inputs import Inputs
from fleet_rlm.sandbox.host.transport import Stored

from .places import BootTransport


class Shelf(BootTransport):
    """Stores without starting anything."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, bytes] = {}

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        assert name not in self.stored
        self.stored[name] = b"".join(chunks)
        return Stored(f"/inputs/{name}")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def sent() -> list[tuple[str, int, str]]:
    return []


@pytest.fixture
def inputs(shelf: Shelf, sent: list[tuple[str, int, str]]) -> Inputs:
    return Inputs(shelf, lambda name, size, seconds, how: sent.append((name, size, how)))


@pytest.mark.parametrize(
    ("value", "kind"),
    [("ü\ud800" * 100_000, "text"), (bytes(200_000), "bytes"), ({"rows": ["ü\ud800" * 99] * 2000}, "json")],
    ids=["text", "bytes", "json"],
)
def test_a_large_value_is_a_file_named_by_what_is_in_it(inputs: Inputs, shelf: Shelf, value: Any, kind: str) -> None:
    bound = inputs.bind({"value": value})["value"]
    data = shelf.stored[str(bound.ref)]
    assert (bound.path, bound.type) == (f"/inputs/{bound.ref}", kind)
    assert hashlib.sha256(data).hexdigest() == bound.ref
    read = {
        "text": lambda: str(data, "utf-8", "surrogatepass"),
        "bytes": lambda: data,
        "json": lambda: json.loads(str(data, "utf-8", "surrogatepass")),
    }
    assert read[kind]() == value


def test_the_same_object_is_neither_read_nor_stored_again(inputs: Inputs, sent: list[tuple[str, int, str]]) -> None:
    rows = ["x" * 99] * 2000
    first = inputs.bind({"rows": rows})
    rows.append("a change in place goes unseen: that is the price")
    assert inputs.bind({"rows": rows}) == first
    assert len(sent) == 1


def test_equal_texts_are_stored_once_under_any_name(
    inputs: Inputs, shelf: Shelf, sent: list[tuple[str, int, str]]
) -> None:
    text = "a" * 100_000
    inputs.bind({"one": text})
    inputs.bind({"two": "".join([text[:50_000], text[50_000:]])})
    assert len(shelf.stored) == 1
    assert sent == [("one", 100_000, "file")]


def test_a_small_value_crosses_each_time_and_is_told_when_it_changes(
    inputs: Inputs, shelf: Shelf, sent: list[tuple[str, int, str]]
) -> None:
    for value in ("a", "a", ["b"], ["b"], "a"):
        assert json.loads(bytes(inputs.bind({"small": value})["small"].value)) == value
    assert sent == [("small", 3, "inline"), ("small", 5, "inline"), ("small", 3, "inline")]
    assert not shelf.stored


def test_many_small_values_do_not_make_one_line_too_long(inputs: Inputs, shelf: Shelf) -> None:
    values = {f"v{number}": f"{number:05}" * 10_000 for number in range(60)}
    bound = inputs.bind(values)
    assert sum(len(bytes(one.value)) for one in bound.values() if one.path is None) <= 1 << 20
    assert 0 < len(shelf.stored) < 60
    assert all(json.loads(shelf.stored[str(one.ref)]) == values[name] for name, one in bound.items() if one.path)


def test_what_is_gone_from_the_sandbox_is_stored_again(inputs: Inputs, shelf: Shelf) -> None:
    text = "a" * 100_000
    first = inputs.bind({"text": text})
    shelf.stored.clear()
    inputs.forget(["text"], {"text": text})
    assert inputs.bind({"text": text}) == first
    assert len(shelf.stored) == 1


def test_models_and_dataclasses_cross_as_what_they_hold(inputs: Inputs) -> None:
    import dataclasses
    import datetime

    import pydantic

    class Model(pydantic.BaseModel):
        when: datetime.date

    @dataclasses.dataclass
    class Point:
        x: int

    bound = inputs.bind({"both": [Model(when=datetime.date(2024, 1, 2)), Point(1), (1, 2), {3}]})
    assert json.loads(bytes(bound["both"].value)) == [{"when": "2024-01-02"}, {"x": 1}, [1, 2], [3]]
