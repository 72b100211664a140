"""`fleet-rlm run-…`: one command a task, with what the task needs as options and its answer in a fixed shape.

Each is `fleet-rlm run` with a task: recorded, watchable, replayable, with the same models, sandboxes and limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import typer

from fleet_rlm import events as ev
from fleet_rlm import tasks
from fleet_rlm.cli import answer_view, printing, run_steps
from fleet_rlm.cli.command_options import RunOptions, with_run_options
from fleet_rlm.cli.execute_run import Done, carry_out, plain
from fleet_rlm.spec import Budgets, RunSpec

STEP_CHARS = 4000
"""Most characters of a step's output in a trajectory without --full-output."""
Result = dict[str, ev.Json]
Shape = Callable[[Done], Result]

_DOCS = typer.Option("--docs-path", "--docs", "-d", metavar="PATH", help="A document, a folder or a glob; repeatable.")
Docs = Annotated[list[str], _DOCS]
OptionalDocs = Annotated[list[str] | None, _DOCS]
Query = Annotated[str, typer.Option("--query", metavar="TEXT", help="What to dwell on.")]


@with_run_options(tasks.get("basic").budgets)
def run_basic(
    options: RunOptions,
    question: Annotated[str, typer.Option("--question", metavar="TEXT", help="What you want to know.")],
    docs: OptionalDocs = None,
) -> None:
    """Answer a question, by computing or from documents: {answer, trajectory_steps}."""

    def shape(done: Done) -> Result:
        return {"answer": done.finished.outputs.get("answer", ""), "trajectory_steps": len(done.state.iterations)}

    limits = msgspec.structs.replace(
        tasks.get("ask").budgets if docs else Budgets(),
        max_iterations=tasks.get("basic").budgets.max_iterations,
        max_llm_calls=tasks.get("basic").budgets.max_llm_calls,
    )
    spec = RunSpec(task="ask" if docs else "basic", question=question, documents=tuple(docs or ()))
    _run(spec, options, shape, limits)


@with_run_options(tasks.get("architecture").budgets)
def run_architecture(options: RunOptions, docs: Docs, query: Query) -> None:
    """Map a library's architecture: {modules, optimizers, design_principles, doc_chars, doc_lines}."""

    def shape(done: Done) -> Result:
        return {**_outputs(done, "modules", "optimizers", "design_principles"), **_size(done, lines=True)}

    _run(RunSpec(task="architecture", question=query, documents=tuple(docs)), options, shape)


@with_run_options(tasks.get("api-endpoints").budgets)
def run_api_endpoints(options: RunOptions, docs: Docs) -> None:
    """List the API endpoints that documents describe: {api_endpoints, count}."""

    def shape(done: Done) -> Result:
        found = _outputs(done, "api_endpoints")
        return {**found, "count": _length(found["api_endpoints"])}

    _run(RunSpec(task="api-endpoints", documents=tuple(docs)), options, shape)


@with_run_options(tasks.get("error-patterns").budgets)
def run_error_patterns(options: RunOptions, docs: Docs) -> None:
    """Find the errors that documents speak of, by category: {error_categories, total_errors_found}."""
    _run(
        RunSpec(task="error-patterns", documents=tuple(docs)),
        options,
        lambda done: _outputs(done, "error_categories", "total_errors_found"),
    )


@with_run_options(tasks.get("brief").budgets)
def run_trajectory(
    options: RunOptions,
    docs: Docs,
    chars: Annotated[int, typer.Option("--chars", min=0, help="So many first characters; 0: all.")] = 3000,
) -> None:
    """Sum documents up and show every step that led there: {summary, trajectory_steps, trajectory}."""

    def shape(done: Done) -> Result:
        trajectory = run_steps.as_json(done.state)
        return {**_outputs(done, "summary"), "trajectory_steps": len(trajectory), "trajectory": list(trajectory)}

    _run(RunSpec(task="brief", documents=tuple(docs), first_chars=chars or None), options, shape)


@with_run_options(tasks.get("custom-tool").budgets)
def run_custom_tool(
    options: RunOptions,
    docs: Docs,
    chars: Annotated[int, typer.Option("--chars", min=0, help="So many first characters; 0: all.")] = 10_000,
) -> None:
    """Extract headers and code blocks with the tool regex_extract:
    {headers, code_blocks, structure_summary, headers_count, code_blocks_count}.
    """

    def shape(done: Done) -> Result:
        found = _outputs(done, "headers", "code_blocks", "structure_summary")
        counts = {f"{name}_count": _length(found[name]) for name in ("headers", "code_blocks")}
        return {**found, **counts}

    _run(RunSpec(task="custom-tool", documents=tuple(docs), first_chars=chars or None), options, shape)


@with_run_options(tasks.get("long-context").budgets)
def run_long_context(
    options: RunOptions,
    docs: Docs,
    query: Annotated[
        str | None, typer.Option("--query", metavar="TEXT", help="What to look for; of a summary, what to dwell on.")
    ] = None,
    mode: Annotated[Literal["analyze", "summarize"], typer.Option("--mode", help="What to do.")] = "analyze",
) -> None:
    """Analyse or summarise a long text: {findings, answer, sections_examined, doc_chars} or
    {summary, key_points, coverage_pct, doc_chars}.
    """
    if mode == "analyze" and not (query or "").strip():
        printing.refuse("--mode analyze needs --query.", "Say what to look for.", as_json=options.as_json)
    analyze = mode == "analyze"
    names = ("findings", "answer", "sections_examined") if analyze else ("summary", "key_points", "coverage_pct")
    _run(
        RunSpec(task="long-context" if analyze else "summarize", question=query, documents=tuple(docs)),
        options,
        lambda done: {**_outputs(done, *names), **_size(done)},
    )


def _run(spec: RunSpec, options: RunOptions, shape: Shape, limits: Budgets | None = None) -> None:
    def tell(done: Done) -> None:
        result = shape(done) if done.finished.outputs else {}
        if options.full_output and result:
            result.setdefault("trajectory", list(run_steps.as_json(done.state)))
        if options.as_json:
            printing.say_json({**result, "run": done.facts})
            return
        has_steps = result.pop("trajectory", None) is not None
        answer_view.say_answer(result, full=options.full_output)
        if has_steps:
            run_steps.say(done.state, None if options.full_output else STEP_CHARS)

    carry_out(options.complete(spec, limits), options, tell)


def _outputs(done: Done, *names: str) -> Result:
    values = plain(done.finished.outputs)
    assert isinstance(values, dict)
    return {name: values.get(name) for name in names}


def _length(value: ev.Json) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _size(done: Done, *, lines: bool = False) -> Result:
    """Count the documents' characters, and their lines if asked."""
    texts = [document.text for document in done.documents.all]
    size: Result = {"doc_chars": sum(map(len, texts))}
    return {**size, "doc_lines": sum(len(text.splitlines()) for text in texts)} if lines else size
