"""Check a run file against its schema and the rules of its sequence, and say the first thing that is wrong."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

from fleet_rlm import events as ev
from fleet_rlm.runs.run_reader import MAX_LINE_BYTES, NotARun, RunFile

_BEGINS: dict[type[ev.Event], str] = {
    ev.PlannerStarted: "planner call",
    ev.ExecutionStarted: "execution",
    ev.CallStarted: "call",
    ev.ExtractionStarted: "extraction",
}
_ENDS: dict[type[ev.Event], str] = {
    ev.PlannerFinished: "planner call",
    ev.ExecutionFinished: "execution",
    ev.CallFinished: "call",
    ev.ExtractionFinished: "extraction",
}
_SPEAKS: dict[type[ev.Event], str] = {ev.PlannerDelta: "planner call", ev.CallDelta: "call", ev.CallRunning: "call"}


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong with a run file."""

    line: int
    """The line, from 1; 0 when it concerns the file."""
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


def verify(path: str | os.PathLike[str]) -> Fault | None:
    """None when everything is right. A run that is still being written is right as far as it goes.

    Kinds and fields that this version does not know are allowed. Reads the whole file, one line in memory at a time.
    """
    try:
        with RunFile(path) as run:
            writing = run.is_being_written()
    except NotARun as error:
        return Fault(1, str(error))
    rules = _Rules()
    number = 0
    with open(path, "rb") as file:  # noqa: PTH123 - a path may be a plain string
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if not line.endswith(b"\n"):
                if writing:
                    return None
                return Fault(number, f"it is cut short after {len(line):,} bytes")
            try:
                event = ev.decode(line[:-1])
            except ev.NotAnEvent as error:
                return Fault(number, str(error))
            if wrong := rules.broken_by(event):
                return Fault(number, f"{event.kind}: {wrong}")
    if rules.finished or writing:
        return None
    return Fault(number, "the last event is not run.finished: the recording ends before the run did")


@dataclass(slots=True)
class _Rules:
    next_seq: int = 0
    t: float = 0.0
    finished: bool = False
    open: dict[str, str] = field(default_factory=dict)
    """Span → what has begun and not ended."""
    ended: set[tuple[str, str]] = field(default_factory=set)
    spans: set[str] = field(default_factory=set)

    def broken_by(self, event: ev.AnyEvent | ev.Unknown) -> str | None:
        if self.finished:
            return "something follows run.finished"
        if event.seq != self.next_seq:
            return f"seq is {event.seq}, not {self.next_seq}"
        if isinstance(event, ev.RunStarted) != (event.seq == 0):
            return "run.started is the first event, and the first alone"
        if not math.isfinite(event.t) or event.t < self.t:
            return f"t is {event.t:g}, after {self.t:g}"
        self.next_seq += 1
        self.t = event.t
        self.finished = isinstance(event, ev.RunFinished)
        wrong = None if isinstance(event, ev.Unknown) else self._spans_broken_by(event)
        if event.span is not None:
            self.spans.add(event.span)
        return wrong

    def _spans_broken_by(self, event: ev.AnyEvent) -> str | None:
        span, kind = event.span, type(event)
        begins, ends, speaks = _BEGINS.get(kind), _ENDS.get(kind), _SPEAKS.get(kind)
        if (begins or ends or speaks) and span is None:
            return "it has no span"
        if event.parent is not None and event.parent not in self.spans:
            return f"its parent {event.parent!r} never began"
        if begins and span is not None:
            if span in self.open or (span, begins) in self.ended:
                return f"span {span!r} began before"
            self.open[span] = begins
        what = ends or speaks
        if what and span is not None:
            if (span, what) in self.ended:
                return f"the {what} {span!r} has ended already"
            if self.open.get(span) != what:
                return f"no {what} {span!r} has begun"
        if ends and span is not None:
            del self.open[span]
            self.ended.add((span, ends))
        return None
