"""The public `run` function: ask a question of documents, in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet_rlm import events as ev
from fleet_rlm import spec as sp
from fleet_rlm import tasks
from fleet_rlm.engine.prepare.preparation import Own
from fleet_rlm.engine.run.session import RunSession
from fleet_rlm.runs.recorder import Listener

if TYPE_CHECKING:
    import dspy

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run."""

    status: ev.Status
    outputs: dict[str, ev.Json]
    """The answer, by the names of the signature's outputs; empty when there is none."""
    run_id: str
    run_file: Path
    """The record of the run: open it with `fleet-rlm-tui RUN_FILE`."""
    totals: ev.Totals
    reason: str = ""
    error: ev.Failure | None = None


def run(
    question: str | None = None,
    docs: AnyPath | Iterable[AnyPath] = (),
    *,
    task: str = "ask",
    signature: str | type[dspy.Signature] | None = None,
    instructions: str | None = None,
    inputs: Mapping[str, ev.Json] | None = None,
    model: str | None = None,
    sub_model: str | None = None,
    tools: Iterable[str | Callable[..., Any]] = (),
    sandbox: sp.SandboxChoice = "local",
    modal: sp.ModalOptions | None = None,
    on_sandbox_lost: sp.OnSandboxLost = "restart",
    budgets: sp.Budgets | None = None,
    concurrency: int = sp.DEFAULT_CONCURRENCY,
    record: AnyPath | None = None,
    listeners: Iterable[Listener] = (),
) -> RunResult:
    """Ask a question of documents and wait for the answer.

    `docs` are files, folders and globs. `signature` (a class, `module:Class` or DSPy's notation) overrides the task's,
    `inputs` gives values to its further inputs. `tools` are functions (or `module:function`) that generated code may
    call by name; they run here, and their docstrings are what the planner knows of them. Models and keys come from the
    environment, as for the command line; without any the offline model answers. `sandbox` is where generated code runs,
    `modal` how its sandboxes are made in the cloud; one that is lost in mid-run is replaced by another with the same
    state, unless `on_sandbox_lost` says to fail. `budgets` default to the task's. `listeners` get each event and its
    line in the run file.

    Raises `fleet_rlm.engine.run_errors.SetupError` when the run can't begin. A run that fails later is a result, whose
    `status` is `failed` and whose `error` says why. Ctrl-C aborts the run.
    """
    if budgets is None:
        known = tasks.TASKS.get(task) if signature is None else None
        budgets = known.budgets if known else sp.Budgets()
    paths = [docs] if isinstance(docs, str | os.PathLike) else docs
    session = RunSession(
        sp.RunSpec(
            question=question,
            documents=tuple(os.fspath(path) for path in paths),
            cwd=str(Path.cwd()),
            task=task,
            signature=signature if isinstance(signature, str) else None,
            instructions=instructions,
            inputs=dict(inputs or {}),
            model=model,
            sub_model=sub_model,
            sandbox=sandbox,
            modal=modal or sp.ModalOptions(),
            on_sandbox_lost=on_sandbox_lost,
            budgets=budgets,
            concurrency=concurrency,
            watched=False,
            record=os.fspath(record) if record is not None else None,
        ),
        listeners,
        own=Own(None if isinstance(signature, str) else signature, tuple(tools)),
    )
    finished = session.run()
    assert session.path is not None  # a run that ended had a file
    return RunResult(
        status=finished.status,
        outputs=finished.outputs,
        run_id=session.run_id,
        run_file=session.path,
        totals=finished.totals,
        reason=finished.reason,
        error=finished.error,
    )
