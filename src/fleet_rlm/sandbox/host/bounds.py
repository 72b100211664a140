"""Bounds on the frames, bytes and decoded values that the host takes of one execution, whatever is sent."""

from __future__ import annotations

import threading

from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.running_clock import awake
from fleet_rlm.sandbox.inside.wire import PART_CHARS

CALLS, CALLS_A_SECOND = 10_000, 20
CALL_BYTES, CALL_BYTES_A_SECOND = 512 << 20, 4 << 20
SHOWN, SHOWN_A_SECOND = 1000, 100
"""Frames that are shown or recorded: the driver sends two streams, thirty times a second each."""
OTHERS, OTHERS_A_SECOND = 5000, 500
HELD_BYTES = 384 << 20
"""Memory of the values that calls under way hold in this program."""
VARS_BYTES = 4 << 20
_ITEM_BYTES = 64


class TooMuch(Exception):
    """An execution sent more than the host takes; the message says of what, and what to do."""


def memory_of(json: bytes) -> int:
    """Return about as many bytes as a decoded value takes: a list of empty lists takes eighty times its text."""
    return len(json) + _ITEM_BYTES * (json.count(b"[") + json.count(b"{")) + 16 * json.count(b",")


class Bounds:
    """Counts what one execution sends, against what may be sent at once and what each second allows on top."""

    def __init__(self) -> None:
        self._began = awake()
        self._calls = self._call_bytes = self._shown = self._others = 0

    def count(self, message: protocol.FromDriver, size: int) -> None:
        """Take in a frame of so many bytes. Raises `TooMuch`."""
        seconds = awake() - self._began
        match message:
            case protocol.Call() | protocol.Part():
                called = isinstance(message, protocol.Call)
                self._calls += called
                self._call_bytes += size
                if self._calls > CALLS + CALLS_A_SECOND * seconds:
                    raise TooMuch(
                        f"it made {self._calls:,} calls of host functions; ask for many things in one call, "
                        "such as llm_query_batched, or in several steps"
                    )
                if self._call_bytes > CALL_BYTES + CALL_BYTES_A_SECOND * seconds:
                    raise TooMuch(f"its calls sent {self._call_bytes >> 20:,} MiB; send less, or in several steps")
                self._others += not called and size < PART_CHARS // 4
            case protocol.Out() | protocol.Vars() | protocol.Beat():
                self._shown += 1
                if self._shown > SHOWN + SHOWN_A_SECOND * seconds:
                    raise TooMuch("it sent output in too many small pieces")
            case _:
                self._others += 1
        if self._others > OTHERS + OTHERS_A_SECOND * seconds + 2 * self._calls:
            raise TooMuch("it sent too many messages")


class Held:
    """Counts the memory that the arguments of a sandbox's open calls take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = 0

    def take(self, size: int) -> None:
        """Raises `TooMuch` when so many bytes more are not to be held."""
        with self._lock:
            if self._bytes + size > HELD_BYTES:
                raise TooMuch(
                    f"the arguments of its open calls would take {(self._bytes + size) >> 20:,} MiB of memory, and "
                    f"{HELD_BYTES >> 20} are allowed; make fewer calls at once, or pass text instead of long lists"
                )
            self._bytes += size

    def release(self, size: int) -> None:
        with self._lock:
            self._bytes -= size
