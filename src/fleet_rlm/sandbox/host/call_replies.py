"""Replies to the calls of generated code: takes a call, runs the host's function, sends its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.bounds import Held, memory_of
from fleet_rlm.sandbox.host.channel import Channel
from fleet_rlm.sandbox.host.execution import Cell
from fleet_rlm.sandbox.host.host_calls import CallPool, HostCall, current_call
from fleet_rlm.sandbox.inside.wire import PART_CHARS

MOST_CALLS = 4096
"""Calls that generated code may have open at once."""


class Answers:
    """Answers calls in threads of a pool, each in a copy of the context of the cell that asks.

    A function that raises an `Exception` gives the code a RuntimeError with its words; anything else (a run's abort)
    goes to whoever waits for the cell.
    """

    def __init__(
        self,
        channel: Channel,
        parts: protocol.Parts,
        invoke: Callable[[str, list[Any], dict[str, Any]], Any],
        concurrency: int,
    ) -> None:
        """`invoke(name, args, kwargs)` runs a function. `Any`: arguments and answers are JSON of any shape."""
        self._channel, self._parts, self._invoke = channel, parts, invoke
        self._pool, self._held = CallPool(concurrency), Held()

    def close(self) -> None:
        """Begin no call that still waits."""
        self._pool.close()

    def called(self, cell: Cell | None, message: protocol.Call) -> None:
        """Take in a call, in the reading thread; `cell` is None if the cell that asks is over. Raises `TooMuch`."""
        body, error = bytes(message.body), ""
        try:
            if message.parts:
                body = self._parts.take(f"c{message.id}")
        except protocol.ProtocolError as problem:
            error = f"the arguments can't be read: {problem}"
        if cell is None:
            error = "the cell that asked is over; nothing was asked"
        elif len(cell.calls) >= MOST_CALLS:
            error = f"more than {MOST_CALLS:,} calls at once; wait for some of them"
        if cell is None or not body or error:
            refusal = protocol.Return(id=message.id, ok=False, error=error or "the call has no arguments")
            self._pool.submit(lambda: self._channel.send_windowed([refusal]))
            return
        size = memory_of(body)
        self._held.take(size)
        call = cell.open_call(message.id, message.name)
        context = cell.context.copy()

        def answer() -> None:
            try:
                context.run(self._answer, cell, call, body)
            finally:
                self._held.release(size)

        self._pool.submit(answer)

    def _answer(self, cell: Cell, call: HostCall, body: bytes) -> None:
        if call.cancelled.is_set():
            return
        current_call.set(call)
        text = error = ""
        try:
            what = protocol.decode_body(body)
            text = protocol.to_json(self._invoke(call.name, what.args, what.kwargs), f"the answer of {call.name}()")
            if len(text) > protocol.VALUE_CHARS:
                error = f"the answer of {call.name}() is {len(text):,} characters; {protocol.VALUE_CHARS:,} can cross"
        except Exception as problem:  # noqa: BLE001 - a tool is its author's code: what it raises is the model's to see
            error = f"{type(problem).__name__}: {problem}"[:20_000].encode(errors="replace").decode()
        except BaseException as problem:  # noqa: BLE001 - an abort: it leaves through `execute`
            cell.settle(problem)
            return
        cell.close_call(call)
        if not call.cancelled.is_set():
            self._send(call, text, error)

    def _send(self, call: HostCall, text: str, error: str) -> None:
        if error:
            self._channel.send_windowed([protocol.Return(id=call.id, ok=False, error=error)])
        elif len(text) <= PART_CHARS:
            self._channel.send_windowed([protocol.Return(id=call.id, ok=True, value=msgspec.Raw(text.encode()))])
        else:
            self._channel.send_windowed(_in_parts(call.id, text))


def _in_parts(number: int, text: str) -> Iterator[protocol.ToDriver]:
    key, starts = f"r{number}", range(0, len(text), PART_CHARS)
    for start in starts:
        yield protocol.Part(key=key, data=text[start : start + PART_CHARS])
    yield protocol.Return(id=number, ok=True, key=key, parts=len(starts))
