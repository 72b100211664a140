"""A run in one row: what the library lists. A finished run is read at its two ends, whatever its size."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fleet_rlm import events as ev
from fleet_rlm.runs.repair import LARGEST, decode_or_repair
from fleet_rlm.runs.run_reader import NotARun, RunFile
from fleet_rlm.spent import Spent

RowStatus = Literal["submitted", "extracted", "stopped", "failed", "aborted", "running", "waiting", "interrupted"]
ANSWER_CHARS = 20_000
_TAIL_BYTES = 64 << 10
_LONGEST_LAST_LINE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as lists show it. Texts are as they were recorded: clean them before they meet a terminal."""

    run_id: str
    path: Path
    when: str
    """When it started: RFC 3339, UTC."""
    task: str
    question: str
    documents: tuple[str, ...]
    """Names."""
    iterations: int
    calls: int
    """Sub-LLM calls."""
    tokens: int
    """Input and output together."""
    cost: float | None
    """US dollars; None when no price is known."""
    seconds: float
    status: RowStatus
    """How the run ended, else `running` or `waiting` (for the person) while its process lives, or `interrupted`."""
    answer: str
    """The outputs as text, at most `ANSWER_CHARS` characters; the error when it failed."""
    model: str
    sandbox: str
    offline: bool = False
    size: int = 0
    """Bytes of the file."""


def summarise(path: str | os.PathLike[str]) -> RunRow:
    """The row of one run file. Raises `NotARun` for anything else, or one whose first line is not written yet."""
    with RunFile(path) as run:
        header = run.header
        if header is None:
            raise NotARun(f"{run.path.name} is just being started.")
        last = _last_event(run)
        if isinstance(last, ev.RunFinished):
            return finished_row(run.path, header, last, run.size)
        growing = Growing(run)
        growing.read_on()
        return growing.row()


class Growing:
    """The row of a run that has no end yet, counted from its events; reads on from where it stopped."""

    def __init__(self, run: RunFile) -> None:
        self.run = run
        self._iterations = self._calls = 0
        self._spent = Spent()
        self._t = 0.0
        self._outputs: dict[str, ev.Json] = {}
        self._waiting = False
        self._finished: ev.RunFinished | None = None

    def read_on(self) -> None:
        """Count what has come since."""
        while batch := self.run.poll():
            for event in batch:
                self._count(event)

    def row(self) -> RunRow:
        """The row as of now. Raises `ValueError` before the first event is there."""
        header, run = self.run.header, self.run
        if header is None:
            raise ValueError(f"{run.path} has no events yet")
        if self._finished is not None:
            return finished_row(run.path, header, self._finished, run.size)
        status: RowStatus = "interrupted"
        if run.is_being_written():
            status = "waiting" if self._waiting else "running"
        return _row(
            run.path,
            header,
            run.size,
            status=status,
            totals=ev.Totals(
                iterations=self._iterations, calls=self._calls, seconds=self._t, **self._spent.as_totals()
            ),
            answer=answer_text(self._outputs),
        )

    def _count(self, event: ev.AnyEvent | ev.Unknown) -> None:
        self._t = max(self._t, event.t)
        if isinstance(event, ev.IterationStarted):
            self._iterations = max(self._iterations, event.iteration or 0)
        elif isinstance(event, ev.CallStarted):
            self._calls += event.type == "sub_llm"
        elif isinstance(event, ev.PlannerFinished | ev.CallFinished | ev.ExtractionFinished):
            self._spent.add(event.usage, event.cost_usd, sub=isinstance(event, ev.CallFinished))
        elif isinstance(event, ev.GateWaiting | ev.GateResumed):
            self._waiting = isinstance(event, ev.GateWaiting)
        elif isinstance(event, ev.Submitted):
            self._outputs = event.outputs or self._outputs
        elif isinstance(event, ev.RunFinished):
            self._finished = event


def finished_row(path: Path, header: ev.RunStarted, last: ev.RunFinished, size: int) -> RunRow:
    """The row of a run that has ended."""
    answer = answer_text(last.outputs)
    if not answer and last.error is not None:
        answer = last.error.message
    return _row(path, header, size, status=last.status, totals=last.totals, answer=answer or last.reason)


def answer_text(outputs: dict[str, ev.Json]) -> str:
    """Outputs as a person reads them: the text itself when there is one output, else each under its name."""
    if len(outputs) == 1:
        return ev.as_text(next(iter(outputs.values())))
    return "\n".join(f"{name}: {ev.as_text(value)}" for name, value in outputs.items())


def _row(path: Path, header: ev.RunStarted, size: int, *, status: RowStatus, totals: ev.Totals, answer: str) -> RunRow:
    documents = tuple(document.name for given in header.inputs for document in given.documents)
    return RunRow(
        run_id=header.run_id,
        path=path,
        when=header.started_at,
        task=header.task.name,
        question=header.task.question or "",
        documents=documents,
        iterations=totals.iterations,
        calls=totals.calls,
        tokens=min(totals.input_tokens + totals.output_tokens, LARGEST),
        cost=totals.cost_usd,
        seconds=totals.seconds,
        status=status,
        answer=answer[:ANSWER_CHARS],
        model=header.models.planner,
        sandbox=header.sandbox.backend,
        offline=header.models.offline,
        size=size,
    )


def _last_event(run: RunFile) -> ev.AnyEvent | ev.Unknown | None:
    """The event in the last line, read backwards; None when that line is torn or very long."""
    size, length = run.size, _TAIL_BYTES
    with run.path.open("rb") as file:
        while length <= _LONGEST_LAST_LINE:
            file.seek(max(0, size - length))
            tail = file.read(min(length, size))
            if not tail.endswith(b"\n"):
                return None
            start = tail.rfind(b"\n", 0, -1)
            if start >= 0 or length >= size:
                return decode_or_repair(tail[start + 1 : -1])
            length *= 4
    return None
