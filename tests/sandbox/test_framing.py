"""Lines and parts, on both ends: any split of any bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.protocol import Parts, ProtocolError
from fleet_rlm.sandbox.inside.wire import Lines, dumps

LINES = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), max_size=8)
CUTS = st.lists(st.integers(min_value=1, max_value=30), max_size=20)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    for cut in cuts:
        found.append(data[:cut])
        data = data[cut:]
    return [*found, data]


@given(LINES, CUTS)
def test_the_same_lines_are_read_however_they_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    reader = Lines(most=30)
    got = [line for piece in pieces(b"".join(line + b"\n" for line in lines), cuts) for line in reader.feed(piece)]
    assert got == [line if len(line) <= 30 else None for line in lines if line]


def test_a_line_without_end_takes_no_memory() -> None:
    reader = Lines(most=1000)
    for _ in range(100):
        assert list(reader.feed(b"x" * 500)) == []
    assert sum(map(len, reader.pieces)) <= 1000
    assert list(reader.feed(b'\n{"t":"pong","n":1}\n')) == [None, b'{"t":"pong","n":1}']


@given(st.binary(max_size=200))
def test_whatever_a_driver_sends_is_a_message_or_a_protocol_error(line: bytes) -> None:
    try:
        protocol.decode(line)
    except ProtocolError:
        return
    assert json.loads(line)["t"] in {"hello", "out", "part", "call", "cancel", "done", "vars"} | {
        "beat", "died", "pong", "ack"
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"t":"out","cell":1,"stream":"stdin","data":"x"}',
        b'{"t":"out","cell":"1","stream":"stdout","data":"x"}',
        b'{"t":"done","cell":1,"status":"fine"}',
        b'{"t":"part","key":"' + b"k" * 33 + b'","data":""}',
        b'{"t":"out","cell":1,"stream":"stdout","data":"","gap":%d}' % 2**63,
        b'{"t":"run","cell":1}',
        b'{"t":"out","cell":1,"stream":"stdout","data":"\xff"}',
        b'{"final":"the answer"}',
    ],
    ids=["deep", "stream", "type", "status", "long key", "huge number", "direction", "not utf-8", "untagged"],
)
def test_a_message_that_is_almost_right_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode(line)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=10))
def test_what_the_driver_writes_the_host_reads(value: object) -> None:
    line = dumps({"t": "done", "cell": 1, "status": "submit", "final": {"value": value}})
    message = protocol.decode(line.rstrip(b"\n"))
    assert isinstance(message, protocol.Done)
    assert protocol.decode_final(bytes(message.final)) == {"value": value}


def test_a_lone_surrogate_crosses_as_a_replacement_character() -> None:
    message = protocol.decode(dumps({"t": "out", "cell": 1, "stream": "stdout", "data": "a\ud800b"}).rstrip(b"\n"))
    assert message == protocol.Out(cell=1, stream="stdout", data="a\ufffdb")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=5))))
def test_parts_join_by_key(parts: list[tuple[str, str]]) -> None:
    store = Parts()
    for key, data in parts:
        store.add(protocol.Part(key=key, data=data))
    for key in {key for key, _ in parts}:
        assert store.take(key).decode() == "".join(data for other, data in parts if other == key)


def test_a_value_over_the_limit_is_dropped_as_it_comes() -> None:
    store = Parts(most=10)
    for _ in range(1000):
        store.add(protocol.Part(key="c1", data="xxx"))
    assert sum(len(text) for texts in store._texts.values() for text in texts) <= 10
    with pytest.raises(ProtocolError, match="larger than 10 characters"):
        store.take("c1")


def test_too_many_unfinished_values_break_the_protocol() -> None:
    store = Parts()
    for number in range(1024):
        store.add(protocol.Part(key=f"c{number}", data=""))
    with pytest.raises(ProtocolError, match="too many"):
        store.add(protocol.Part(key="one more", data=""))


@pytest.mark.parametrize(
    "value", [b"bytes", {"x": b"y"}, object(), {1, object()}], ids=["bytes", "inside", "object", "in a set"]
)
def test_a_value_that_is_not_json_is_refused_by_name(value: object) -> None:
    with pytest.raises(TypeError, match="the input picture can't cross"):
        protocol.to_json(value, "the input picture")
