"""Run files with a known content, for the screens' tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from fleet_rlm import events as ev

QUESTION = "What are the main optimizers, and what does each do?"


def run_started(
    run_id: str = "0123456789",
    question: str = QUESTION,
    started_at: str = "2026-03-02T10:42:00Z",
    task: str = "ask",
    document: str = "dspy-guide.txt",
    planner: str = "openai/gpt-5-mini",
    offline: bool = False,
) -> ev.RunStarted:
    return ev.RunStarted(
        format=ev.FORMAT,
        version=ev.VERSION,
        run_id=run_id,
        started_at=started_at,
        task=ev.Task(name=task, signature="context, question -> answer: str", question=question),
        inputs=(
            ev.Input(
                name="context",
                type="str",
                chars=278_000,
                documents=(
                    ev.DocumentRef(
                        path=f"/docs/{document}", name=document, bytes=278_400, sha256="0" * 64, chars=278_000
                    ),
                ),
            ),
            ev.Input(name="question", type="str", chars=len(question), value=question),
        ),
        models=ev.Models(planner=planner, sub=planner, offline=offline),
        sandbox=ev.Sandbox(backend="local", isolation="no network"),
        budgets=ev.BudgetLimits(max_iterations=20, max_llm_calls=50),
    )


def finished(
    status: ev.Status = "submitted",
    answer: str = "BootstrapFewShot keeps the traces of a teacher run that the metric accepts.",
    iterations: int = 4,
    calls: int = 14,
    failed_calls: int = 0,
    cost: float | None = 0.07,
    seconds: float = 83.0,
    error: ev.Failure | None = None,
) -> ev.RunFinished:
    outputs = {"answer": answer} if status in ("submitted", "extracted") else {}
    return ev.RunFinished(
        status=status,
        outputs=outputs,
        error=error,
        totals=ev.Totals(
            iterations=iterations, calls=calls, failed_calls=failed_calls, input_tokens=40_000, output_tokens=1_000,
            cost_usd=cost, seconds=seconds,
        ),
    )  # fmt: skip


def iteration(number: int, seconds: float = 2.0, error: str = "", calls: int = 0) -> list[ev.Event]:
    """The events of one turn."""
    span, execution = f"i{number}", f"x{number}"
    failure = ev.Failure(type="KeyError", message=error, line=2) if error else None
    events: list[ev.Event] = [
        ev.IterationStarted(iteration=number, of=20, span=span),
        ev.PlannerStarted(iteration=number, span=f"p{number}", parent=span, model="m"),
        ev.PlannerFinished(
            iteration=number, span=f"p{number}", parent=span, reasoning="Look.", code="print(1)", seconds=seconds / 2
        ),
        ev.ExecutionStarted(iteration=number, span=execution, parent=span, code="print(1)"),
    ]
    for index in range(calls):
        call = f"c{number}.{index}"
        events.append(
            ev.CallStarted(
                iteration=number, span=call, parent=execution, type="sub_llm", function="llm_query", prompt="Say it."
            )
        )
        events.append(ev.CallFinished(iteration=number, span=call, answer="It.", seconds=0.1))
    events.append(
        ev.ExecutionFinished(
            iteration=number,
            span=execution,
            parent=span,
            outcome="error" if failure else "ok",
            error=failure,
            seconds=seconds / 2,
        )
    )
    return events


def stamped(events: Iterable[ev.Event], first: int = 0, step: float = 1.0) -> list[ev.Event]:
    return [msgspec.structs.replace(event, seq=first + n, t=(first + n) * step) for n, event in enumerate(events)]


def write_run(path: Path, events: Iterable[ev.Event], append: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first = len(path.read_bytes().splitlines()) if append and path.exists() else 0
    with path.open("ab" if append else "wb") as file:
        for event in stamped(events, first):
            file.write(ev.encode(event) + b"\n")
    return path
