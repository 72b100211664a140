"""Events of a small run, for tests that need some."""

from __future__ import annotations

from pathlib import Path

from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import Recorder


def started(run_id: str = "a1b2c3d4e5", **other: object) -> ev.RunStarted:
    """The first event of a run; fields can be replaced by name."""
    fields: dict[str, object] = {
        "format": ev.FORMAT,
        "version": ev.VERSION,
        "run_id": run_id,
        "started_at": "2026-03-04T05:06:07Z",
        "span": "run",
        "task": ev.Task(name="ask", signature="context, question -> answer", question="What is the access code?"),
        "inputs": (
            ev.Input(
                name="context",
                type="str",
                chars=12,
                documents=(ev.DocumentRef(path="/d/depot.txt", name="depot.txt", bytes=12, sha256="0", chars=12),),
            ),
        ),
        "models": ev.Models(planner="offline", sub="offline", offline=True),
        "sandbox": ev.Sandbox(backend="local", isolation="no network"),
        "budgets": ev.BudgetLimits(max_iterations=5),
        **other,
    }
    return ev.RunStarted(**fields)


def middle() -> list[ev.Event]:
    """One iteration: planner, execution with output and a call, variables, submission."""
    it: dict[str, object] = {"iteration": 1}
    return [
        ev.SandboxStarting(backend="local", span="box", parent="run"),
        ev.SandboxReady(backend="local", id="42", seconds=0.1, isolation="no network", span="box", parent="run"),
        ev.IterationStarted(of=5, span="i1", parent="run", **it),
        ev.PlannerStarted(
            prompt=(ev.Message(role="user", content="plan"),), model="offline", span="p1", parent="i1", **it
        ),
        ev.PlannerDelta(text="I look ", span="p1", parent="i1", **it),
        ev.PlannerDelta(text="for the code.", span="p1", parent="i1", **it),
        ev.PlannerFinished(
            reasoning="I look for the code.",
            code="print(1)",
            usage=ev.Usage(input=9, output=3),
            cost_usd=0.01,
            seconds=0.5,
            span="p1",
            parent="i1",
            **it,
        ),
        ev.ExecutionStarted(code="print(1)", span="x1", parent="i1", **it),
        ev.Output(stream="stdout", text="1\n", span="x1", parent="i1", **it),
        ev.CallStarted(type="sub_llm", function="llm_query", prompt="what?", span="c1", parent="x1", **it),
        ev.CallFinished(answer="7741", usage=ev.Usage(input=4, output=1), seconds=0.2, span="c1", parent="x1", **it),
        ev.ExecutionFinished(outcome="submitted", seconds=0.4, stdout_chars=2, span="x1", parent="i1", **it),
        ev.Variables(added=(ev.Variable(name="x", type="int", preview="1"),), span="x1", **it),
        ev.Submitted(outputs={"answer": "7741"}, span="x1", parent="i1", **it),
    ]


def finished(status: ev.Status = "submitted", **other: object) -> ev.RunFinished:
    fields: dict[str, object] = {
        "status": status,
        "outputs": {"answer": "The access code is 7741."} if status == "submitted" else {},
        "totals": ev.Totals(iterations=1, calls=1, input_tokens=13, output_tokens=4, cost_usd=0.01, seconds=1.5),
        "span": "run",
        **other,
    }
    return ev.RunFinished(**fields)


def record(path: Path, *events: ev.Event) -> Path:
    """A run file with these events between the first and the last (those of `middle` when none are given)."""
    with Recorder(path) as recorder:
        for event in (started(), *(events or middle()), finished()):
            recorder.emit(event)
    return path
