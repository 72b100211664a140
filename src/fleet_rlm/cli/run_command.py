"""`fleet-rlm run`: one run from start to end, its progress on stderr and its answer on stdout."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from fleet_rlm.cli import printing, run_steps
from fleet_rlm.cli.command_options import RunOptions, with_run_options
from fleet_rlm.cli.execute_run import Done, carry_out, plain
from fleet_rlm.run_options import RunRequest
from fleet_rlm.standard_streams import readable


@with_run_options()
def run(
    options: RunOptions,
    request: RunRequest,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUESTION", help="What you want to know; tasks that need no question do without."),
    ] = None,
) -> None:
    """Answer a question about documents, or do another task with them.

    Exit status: 0 with an answer, 1 when the run failed, 2 when it could not begin, 130 when it was aborted.
    """
    asked = [] if request.question is None else [request.question]
    question, documents = _question_and_documents([*asked, *(words or [])], request.docs or [], options.as_json)
    spec = replace(request, question=question, docs=documents).spec()
    carry_out(options.complete(spec), options, lambda done: _tell_answer(done, options))


def _question_and_documents(words: list[str], docs: list[str], as_json: bool) -> tuple[str | None, list[str]]:
    """The question, and the documents with those that a shell made of an unquoted `--docs *.txt`."""
    several = bool(docs) and len(words) > 1  # one word is the question: the file system is not asked about it
    files = [word for word in words if several and os.path.exists(word)]  # noqa: PTH110 - Path.exists raises on a name of over 255 bytes, such as a question
    rest = [readable(word) for word in words if word not in files]
    if len(rest) > 1:
        listed = ", ".join(map(repr, rest))
        printing.refuse(f"There is more than one question: {listed}.", "Put the question in quotes.", as_json=as_json)
    return (rest[0] if rest else None), [*docs, *files]


def _tell_answer(done: Done, options: RunOptions) -> None:
    trajectory: dict[str, object] = {"trajectory": run_steps.as_json(done.state)} if options.full_output else {}
    if options.as_json:
        facts = done.facts
        status = facts.pop("status")
        printing.say_json({"status": status, "outputs": plain(done.finished.outputs), **facts, **trajectory})
        return
    from fleet_rlm.runs.summary import answer_text

    printing.say(answer_text(done.finished.outputs))
    if options.full_output:
        run_steps.say(done.state, None)
