"""Run and open runs from a program. Imported through `fleet_rlm`, which loads it (and dspy) only when it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm import events as ev
from fleet_rlm import tasks
from fleet_rlm.engine.errors import SetupError
from fleet_rlm.engine.session import RunSession
from fleet_rlm.spec import Budgets, RunSpec


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended."""

    run_id: str
    path: Path
    """Its file: `open_run(path)` reads it, `fleet-rlm-tui PATH` shows it."""
    status: ev.Status
    outputs: Mapping[str, ev.Json]
    totals: ev.Totals
    error: ev.Failure | None = None
    reason: str = ""


def run(
    question: str | None = None,
    documents: Iterable[str | os.PathLike[str]] = (),
    *,
    task: str = "ask",
    signature: str | None = None,
    instructions: str | None = None,
    inputs: Mapping[str, ev.Json] | None = None,
    model: str | None = None,
    sub_model: str | None = None,
    budgets: Budgets | None = None,
    record: str | os.PathLike[str] | None = None,
    listeners: Iterable[Callable[[ev.Event, bytes], None]] = (),
) -> Run:
    """Run a task on documents in this process, and record it; blocks until the run has ended, however it ended.

    `documents` are files, folders and globs; `signature` (DSPy's notation) stands for a task of your own, with
    `inputs` for what is neither document nor question; `model` is what the environment configures unless it is named;
    `budgets` are the task's own unless given; `record` is the run file, a new one in the library unless named.
    `listeners` hear every event with its line after it was written.

    Raises `SetupError` when the run can't begin: a missing document, a wrong signature, a model without its key.
    """
    if budgets is None:
        try:
            budgets = tasks.get(task).budgets if signature is None else Budgets()
        except tasks.UnknownTask as error:
            raise SetupError(str(error)) from error
    spec = RunSpec(
        question=question,
        documents=tuple(os.fspath(document) for document in documents),
        task=task,
        signature=signature,
        instructions=instructions,
        inputs=dict(inputs or {}),
        model=model,
        sub_model=sub_model,
        watched=False,
        budgets=budgets,
        record=os.fspath(record) if record is not None else None,
    )
    session = RunSession(spec, listeners)
    finished = session.run()
    if session.path is None:
        raise RuntimeError("a session that has run has a file")
    return Run(
        run_id=session.run_id,
        path=session.path,
        status=finished.status,
        outputs=finished.outputs,
        totals=finished.totals,
        error=finished.error,
        reason=finished.reason,
    )
