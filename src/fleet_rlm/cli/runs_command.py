"""`fleet-rlm runs`: the library of recorded runs, and single run files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import msgspec
import typer

from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.cli import printing, run_steps
from fleet_rlm.cli.plain_help import App
from fleet_rlm.cli.printing import AsJson
from fleet_rlm.figures import count, dollars, plural, seconds
from fleet_rlm.terminal_text import clean_line

if TYPE_CHECKING:
    from fleet_rlm.runs.library import Library
    from fleet_rlm.runs.summary import RunRow
    from fleet_rlm.state import RunState

app = App(name="runs", help="Look at recorded runs.", no_args_is_help=True)

_SORTS = (
    "when, task, question, documents, iterations, calls, tokens, cost, seconds, status, answer, model, sandbox, size"
)
_MARKS = {
    "submitted": "✓",
    "extracted": "◆",
    "stopped": "■",
    "aborted": "■",
    "failed": "✗",
    "running": "◐",
    "waiting": "◐",
    "interrupted": "◐",
}
Ref = Annotated[str, typer.Argument(metavar="RUN", help="A run file, the beginning of a run's id, or latest.")]


@app.command("list")
def list_runs(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Only runs with all these words in them.")
    ] = None,
    sort: Annotated[str, typer.Option("--sort", help=f"A column: {_SORTS}.")] = "when",
    ascending: Annotated[bool, typer.Option("--ascending", help="Smallest or oldest first.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    as_json: AsJson = False,
) -> None:
    """List recorded runs, newest first: a table on a terminal, lines with tabs elsewhere."""
    from fleet_rlm.runs.library import Column

    column = next((name for name in get_args(Column) if name == sort), None)
    if column is None:
        printing.fail(f"Runs can't be sorted by {sort!r}.", f"Columns: {_SORTS}.", code=printing.USAGE, as_json=as_json)
    with _library() as library:
        library.refresh()
        rows = library.list(" ".join(words or ()), column, descending=not ascending, limit=limit)
        notices = library.notices
    for notice in notices:
        printing.tell(notice)
    if as_json:
        printing.say_json([_row_json(row) for row in rows])
    elif sys.stdout.isatty():
        _print_table(rows)
    else:
        for row in rows:
            printing.say("\t".join(clean_line(text, 2000) for text in _row_texts(row)))


@app.command()
def show(ref: Ref = "latest", as_json: AsJson = False) -> None:
    """Show what a run was asked, what it did step by step, and what it answered."""
    from fleet_rlm.runs.run_reader import RunFile
    from fleet_rlm.state import fold_all

    row = _find(ref, as_json)
    with RunFile(row.path) as run:
        state = fold_all(run.events())
        damage, end = run.damage, run.end
        lines = {"damaged_lines": run.damaged_lines, "repaired_lines": run.repaired_lines}
    if as_json:
        printing.say_json({**_row_json(row), **_state_json(state), **lines, "complete": state.is_over})
        return
    _print_run(row, state)
    if damage:
        printing.say(f"\nOf the file, {damage}.")
    if end is not None and not end.complete:
        printing.say(f"\n{end.words[:1].upper()}{end.words[1:]}.")
    printing.tell(f"Replay it: fleet-rlm-tui {row.path}")


@app.command()
def verify(
    ref: Annotated[str, typer.Argument(metavar="FILE", help="A run file, the beginning of a run's id, or latest.")],
    as_json: AsJson = False,
) -> None:
    """Check a run file against its schema and the rules of its sequence; say the first thing wrong."""
    from fleet_rlm.runs.verify import verify as check

    path = Path(ref) if Path(ref).exists() else _find(ref, as_json).path
    fault = check(path)
    if as_json:
        printing.say_json(
            {
                "file": str(path),
                "ok": fault is None,
                "line": fault.line if fault else None,
                "message": fault.message if fault else None,
            }
        )
    elif fault is None:
        printing.say(f"{path}: ok")
    else:
        printing.say(f"{path}: {fault}")
    raise typer.Exit(printing.OK if fault is None else printing.FAILED)


@app.command()
def path(
    ref: Annotated[
        str | None, typer.Argument(metavar="RUN", help="The beginning of a run's id, or latest; none: the folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print where a run's file is, or the folder that holds all of them."""
    where = config.runs_dir() if ref is None else _find(ref, as_json).path
    if as_json:
        printing.say_json({"path": str(where)})
    else:
        printing.say(str(where))


@app.command()
def samples(as_json: AsJson = False) -> None:
    """List the recorded runs that come with fleet-rlm, to replay at once: fleet-rlm-tui --sample NAME."""
    from fleet_rlm.documents.bundled import NotBundled, recorded_runs
    from fleet_rlm.runs.summary import summarise

    try:
        found = {path.stem: summarise(path) for path in recorded_runs()}
    except NotBundled as error:
        printing.fail(error.message, error.hint, as_json=as_json)
    if as_json:
        printing.say_json([{"name": name, **_row_json(row)} for name, row in found.items()])
        return
    for name, row in found.items():
        documents = row.documents[0] if len(row.documents) == 1 else plural(len(row.documents), "document")
        printing.say(f"{name:<18} {row.question or row.task} · {documents} · {plural(row.iterations, 'iteration')}")
    printing.tell("Replay one: fleet-rlm-tui --sample NAME")


@app.command()
def schema() -> None:
    """Print the JSON Schema of one line of a run file."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(ev.json_schema()), indent=2).decode() + "\n")


@contextmanager
def _library() -> Iterator[Library]:
    from fleet_rlm.runs.library import Library

    with Library() as library:
        yield library


def _find(ref: str, as_json: bool) -> RunRow:
    from fleet_rlm.runs.library import NoSuchRun
    from fleet_rlm.runs.run_reader import NotARun

    try:
        with _library() as library:
            return library.get(ref)
    except NoSuchRun as error:
        printing.fail(str(error), code=printing.USAGE, as_json=as_json)
    except NotARun as error:
        printing.fail(str(error), error.hint, code=printing.USAGE, as_json=as_json)


def _row_json(row: RunRow) -> dict[str, ev.Json]:
    return {
        "run_id": row.run_id,
        "path": str(row.path),
        "when": row.when,
        "status": row.status,
        "task": row.task,
        "question": row.question,
        "documents": list(row.documents),
        "iterations": row.iterations,
        "calls": row.calls,
        "tokens": row.tokens,
        "cost_usd": row.cost,
        "seconds": row.seconds,
        "model": row.model,
        "offline": row.offline,
        "sandbox": row.sandbox,
        "answer": row.answer,
        "size": row.size,
    }


def _state_json(state: RunState) -> dict[str, ev.Json]:
    return {
        "outputs": state.outputs,
        "error": msgspec.to_builtins(state.finished.error) if state.finished and state.finished.error else None,
        "reason": state.finished.reason if state.finished else None,
        "steps": run_steps.as_json(state),
    }


def _row_texts(row: RunRow) -> Sequence[str]:
    cost = dollars(row.cost) if row.cost is not None else ""
    documents = ", ".join(row.documents)
    figures = (str(row.iterations), str(row.calls), str(row.tokens), cost, f"{row.seconds:.1f}")
    return (row.run_id, row.when, row.status, row.task, documents, *figures, row.question, str(row.path))


def _print_table(rows: Sequence[RunRow]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        printing.tell("No runs. Make one: fleet-rlm run QUESTION --docs PATH")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for name, right, ratio in (
        *(("", False, 0), ("id", False, 0), ("when", False, 0), ("task", False, 0), ("documents", False, 2)),
        *(("it", True, 0), ("calls", True, 0), ("tokens", True, 0), ("cost", True, 0), ("time", True, 0)),
        ("question", False, 3),
    ):
        table.add_column(
            name, justify="right" if right else "left", ratio=ratio or None, no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        texts = (
            *(_MARKS.get(row.status, "?"), row.run_id[:10], _local(row.when), row.task, ", ".join(row.documents)),
            *(str(row.iterations), str(row.calls), count(row.tokens)),
            *(dollars(row.cost) if row.cost is not None else "", seconds(row.seconds), row.question),
        )
        table.add_row(*(Text(clean_line(text, 200)) for text in texts))
    Console(highlight=False).print(table)


def _local(when: str) -> str:
    """`03-04 05:06`, in the person's own time zone."""
    from datetime import datetime

    try:
        return f"{datetime.fromisoformat(when).astimezone():%m-%d %H:%M}"
    except ValueError:
        return when[:16]


def _print_run(row: RunRow, state: RunState) -> None:
    cost = f" · {dollars(row.cost)}" if row.cost is not None else ""
    model = "OFFLINE model" if row.offline else row.model
    printing.say(f"{_MARKS.get(row.status, '?')} {row.status} · {row.task} · {model} · {row.when} · {row.run_id}")
    if row.question:
        printing.say(f"question   {row.question}")
    if row.documents:
        printing.say(f"documents  {', '.join(row.documents)}")
    if state.sandbox.isolation:
        printing.say(f"sandbox    {state.sandbox.backend}: {state.sandbox.isolation}")
    printing.say(
        f"spent      {plural(row.iterations, 'iteration')} · {plural(row.calls, 'sub-LLM call')} · "
        f"{count(row.tokens)} tokens{cost} · {seconds(row.seconds)}"
    )
    run_steps.say(state, 0)
    error = state.finished.error if state.finished else None
    if error is not None:
        printing.say(f"\nfailed: {error.message}")
    if row.answer and error is None:
        printing.say(f"\nanswer\n{run_steps.indented(row.answer, '  ')}")
