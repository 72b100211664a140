"""The interface of an event source: a live engine, a finished file, or a file that is still being written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from fleet_rlm.events import AnyEvent, Unknown
from fleet_rlm.spec import Command

Mode = Literal["live", "replay", "follow"]


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """Nothing more will come from this source."""

    complete: bool
    """True when the last event was `run.finished`."""
    words: str = ""
    """The reason when it is not complete: `the engine ended (killed by signal 9)`, `the last line is torn`."""
    hint: str = ""
    """The next step for the person."""


class RunSource(Protocol):
    """A stream of a run's events. One thread of its own reads; everything here may be called from the UI thread."""

    mode: Mode
    path: str | None
    """The run file, once it is known."""

    @property
    def end(self) -> SourceEnd | None:
        """Why nothing more will come, once everything that came has been drained.

        A followed file whose writer has gone says so, and takes it back when more is written to it.
        """

    def open(self, wake: Callable[[], None]) -> None:
        """Begin to read. `wake` is called from the reading thread, edge-triggered, when `drain` has something new."""

    def drain(self, limit: int = 2000) -> list[AnyEvent | Unknown]:
        """At most `limit` events that came since the last call, in order; never blocks."""

    def send(self, command: Command) -> None:
        """Tell the running engine something; never blocks. Raises `RuntimeError` unless `mode` is `live`."""

    def close(self) -> None:
        """Stop reading. A live engine that was not told to `detach` aborts its run."""
