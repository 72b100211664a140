"""Every event survives being written and read; what is no event says why."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm import events as ev
from strategies import any_event, json_values

PROJECT = Path(__file__).parents[1]


@settings(max_examples=400)
@given(any_event())
def test_every_event_reads_as_it_was_written(event: ev.Event) -> None:
    assert ev.decode(ev.encode(event)) == event


@given(any_event())
def test_every_event_validates_against_the_published_schema(event: ev.Event) -> None:
    SCHEMA.validate(json.loads(ev.encode(event)))


SCHEMA = jsonschema.Draft202012Validator(ev.json_schema())


def test_the_strategy_makes_every_kind() -> None:
    """A kind that is added to the vocabulary is tested by what stands here."""
    assert len(ev.KINDS) == len(ev.AnyEvent.__args__)


@given(
    st.text(min_size=1).filter(lambda kind: kind not in ev.KINDS),
    st.dictionaries(
        st.text().filter(lambda name: name not in ("kind", "seq", "t", "iteration", "span", "parent")), json_values
    ),
)
def test_an_unknown_kind_keeps_every_field(kind: str, fields: dict[str, ev.Json]) -> None:
    event = ev.Unknown(kind=kind, seq=3, t=0.5, span="s", fields=fields)
    assert ev.decode(ev.encode(event)) == event


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_raise_nothing_else(line: bytes) -> None:
    with pytest.raises(ev.NotAnEvent):
        ev.decode(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"seq":1}', "missing required field `kind`"),
        (b'{"kind":"notice"}', "notice: Object missing required field `text`"),
        (b'{"kind":"notice","text":1}', r"notice: Expected `str`, got `int` - at `\$.text`"),
        (b'{"kind":"new","seq":"x"}', r"Expected `int`, got `str` - at `\$.seq`"),
        (b'{"kind":"new","x":"\xff"}', "invalid start byte"),
        (b'{"kind":"new","x":' + b"[" * 9999 + b"]" * 9999 + b"}", "recursion"),
    ],
)
def test_a_line_that_is_no_event_says_what_is_wrong(line: bytes, words: str) -> None:
    with pytest.raises(ev.NotAnEvent, match=words):
        ev.decode(line)


def nested(levels: int) -> ev.Json:
    value: ev.Json = "deepest"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *("a\ud800b", {"\udfff": 1}, {(1, 2): 3}, {1: {2: 3}}, {"a", "b"}, object(), b"bytes", float("nan")),
        *(nested(99), nested(101), nested(990), nested(50_000), 10**30, {"x": object()}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_generated_code_submits_can_be_written_and_read(value: ev.Json) -> None:
    line = ev.encode(ev.Submitted(outputs={"answer": value, "other": "stays"}, seq=1, t=0.0))
    event = ev.decode(line)
    assert isinstance(event, ev.Submitted)
    assert event.outputs["other"] == "stays"


def test_what_was_written_from_a_shallow_stack_is_read_from_a_deep_one() -> None:
    line = ev.encode(ev.Submitted(outputs={"answer": nested(800)}, seq=1, t=0.0))

    def from_below(frames: int) -> ev.AnyEvent | ev.Unknown:
        return from_below(frames - 1) if frames else ev.decode(line)

    assert isinstance(from_below(200), ev.Submitted)


def test_ordinary_depth_is_kept() -> None:
    event = ev.Submitted(outputs={"answer": nested(80)}, seq=1, t=0.0)
    assert ev.decode(ev.encode(event)) == event


def test_a_later_field_does_not_trouble_a_reader() -> None:
    assert ev.decode(b'{"kind":"notice","seq":1,"t":0,"text":"x","mood":"good"}') == ev.Notice(seq=1, t=0.0, text="x")


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ev.Notice(text="x").text = "y"


def test_the_schema_in_the_docs_is_up_to_date() -> None:
    """`fleet-rlm runs schema > docs/run-file.schema.json` makes it again."""
    published = json.loads((PROJECT / "docs" / "run-file.schema.json").read_text())
    assert published == json.loads(json.dumps(ev.json_schema()))


def test_every_example_in_the_docs_is_an_event() -> None:
    text = (PROJECT / "docs" / "run-file.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith('{"kind"')]
    assert len(lines) >= 8
    for line in lines:
        assert isinstance(ev.decode(line), ev.Event), line
        SCHEMA.validate(json.loads(line))


def test_every_kind_is_described_in_the_docs() -> None:
    text = (PROJECT / "docs" / "run-file.md").read_text()
    assert [kind for kind in ev.KINDS if f"`{kind}`" not in text] == []


def test_usage_adds_up_and_stays_an_estimate() -> None:
    total = ev.Usage(input=1, output=2) + ev.Usage(input=3, cached=4, estimated=True)
    assert total == ev.Usage(input=4, output=2, cached=4, estimated=True)
    assert msgspec.json.decode(ev.encode(ev.CallFinished(usage=total)))["usage"]["estimated"] is True
