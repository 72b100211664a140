"""`fleet-rlm corpus`: texts whose answers are known, and runs held to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fleet_rlm.cli import printing
from fleet_rlm.cli.plain_help import App
from fleet_rlm.cli.printing import AsJson
from fleet_rlm.documents.document_work import DocumentError, Progress, size_in_words
from fleet_rlm.figures import plural

app = App(name="corpus", help="Make texts whose answers are known, and score runs on them.", no_args_is_help=True)

_BAR_CELLS = 24
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command()
def kinds(as_json: AsJson = False) -> None:
    """List what `make` can make."""
    from fleet_rlm.corpora.kinds import KINDS

    if as_json:
        printing.say_json({kind.name: kind.summary for kind in KINDS.values()})
        return
    for kind in KINDS.values():
        printing.say(f"{kind.name:<9} {kind.summary}")


@app.command()
def make(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="needles, nothing, chains, counts, pairs or logs.")],
    size: Annotated[str, typer.Option("--size", help="About how large, such as 200kB, 40MB or 1.5GB.")] = "1MB",
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A folder, or the file itself.")] = Path(),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a text of any size with questions and answers, written to NAME.answers.json beside it."""
    from fleet_rlm.corpora import write_corpus
    from fleet_rlm.corpora.known_answers import answers_path

    with _refusals(as_json):
        wanted = write_corpus.size_of(size)
        path = write_corpus.place_for(out, f"{kind}-{size_in_words(wanted).replace(' ', '')}-{seed}.txt")
        with _progress(f"making {path.name}") as progress:
            answers = write_corpus.write_corpus(kind, wanted, seed, path, force=force, progress=progress)
    made = answers.documents[0]
    if as_json:
        printing.say_json(
            {
                "text": str(path),
                "answers": str(answers_path(path)),
                **{name: getattr(answers, name) for name in ("kind", "seed", "size")},
                **{name: getattr(made, name) for name in ("bytes", "lines", "sha256")},
                "questions": [
                    {"id": one.id, "question": one.question, "answer": one.answer} for one in answers.questions
                ],
            }
        )
        return
    printing.say(str(path))
    printing.tell(
        f"{size_in_words(made.bytes)}, {made.lines:,} lines, {plural(len(answers.questions), 'question')} with answers "
        f"in {answers_path(path).name}. The first:"
    )
    printing.tell(f"  {answers.questions[0].question}")


@app.command()
def build(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="dspy: the docstrings of the installed package.")
    ] = "dspy",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A folder, or the file itself.")] = Path(),
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a text of some 300 kB out of the installed dspy package, with its license."""
    from fleet_rlm.corpora import docstrings, known_answers, write_corpus

    if what != docstrings.PACKAGE:
        message, hint = f"There is no text to build named {what!r}.", f"There is: {docstrings.PACKAGE}."
        printing.fail(message, hint, code=printing.USAGE, as_json=as_json)
    with _refusals(as_json):
        text, version = docstrings.build()
        path = write_corpus.place_for(out, f"{docstrings.PACKAGE}-{version}.md")
        data = text.encode()
        write_corpus.may_be_written(path, force=force)
        write_corpus.room_for(len(data), path)
        with write_corpus.new_file(path, force=force) as file:
            file.write(data)
        made = known_answers.hash_of(path)
    if as_json:
        printing.say_json({"text": str(path), "version": version, "bytes": made.bytes, "sha256": made.sha256})
        return
    printing.say(str(path))
    printing.tell(f"{size_in_words(made.bytes)} from {docstrings.PACKAGE} {version}, under its MIT license.")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A text that has answers beside it, or the answers.")],
    as_json: AsJson = False,
) -> None:
    """Check that a text is the one that its answers are about. Exit status 1 when it isn't."""
    from fleet_rlm.corpora import known_answers

    with _refusals(as_json), _progress("checking") as progress:
        checked = known_answers.check(path, progress)
    right = all(one.ok for one in checked)
    if as_json:
        printing.say_json(
            {"ok": right, "documents": [{"name": c.name, "ok": c.ok, "problem": c.problem} for c in checked]}
        )
    else:
        for one in checked:
            printing.say(f"{one.name}: {'ok' if one.ok else one.problem}")
    raise typer.Exit(printing.OK if right else printing.FAILED)


@app.command()
def score(
    path: Annotated[Path, typer.Argument(metavar="ANSWERS", help="The answers file, or the text beside it.")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Run files, beginnings of their ids, or latest.")],
    question: Annotated[
        str | None,
        typer.Option("--question", metavar="ID", help="Which question they were asked, if not by its words."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the answers of runs with the known ones: points from 0 to 1 for each, and their mean.

    Exit status: 0 when all could be compared, whatever their points; 1 when one could not.
    """
    from fleet_rlm.cli.scoring import scored
    from fleet_rlm.corpora import known_answers

    with _refusals(as_json):
        known = known_answers.read(path)
        if question is not None and question not in {one.id for one in known.questions}:
            ids = ", ".join(one.id for one in known.questions)
            printing.fail(
                f"There is no question {question!r} in {path}.",
                f"There are: {ids}.",
                code=printing.USAGE,
                as_json=as_json,
            )
    results = [scored(known, ref, question) for ref in runs]
    compared = [one.points for one in results if one.points is not None]
    mean = sum(compared) / len(compared) if compared else None
    if as_json:
        told = [msgspec.to_builtins(one) for one in results]
        printing.say_json({"runs": told, "mean": mean, "compared": len(compared)})
    else:
        for one in results:
            points = f"{one.points:.2f}" if one.points is not None else "  – "
            printing.say(f"{points}  {one.question or '?':<14} {one.run}{f'  {one.why}' if one.why else ''}")
        if mean is not None and len(results) > 1:
            printing.say(f"{mean:.2f}  mean of {len(compared)}")
        for one in results:
            if one.problem:
                printing.tell(f"{one.run}: {one.problem}")
    raise typer.Exit(printing.OK if len(compared) == len(results) else printing.FAILED)


@contextmanager
def _refusals(as_json: bool) -> Iterator[None]:
    """Say what cannot be done, as wrong usage."""
    try:
        yield
    except DocumentError as error:  # as in `run`: a file that was named and can't be used
        printing.fail(error.message, error.hint, code=printing.USAGE, as_json=as_json)
    except KeyboardInterrupt:
        printing.tell("Stopped; nothing is left behind.")
        raise typer.Exit(printing.ABORTED) from None


@contextmanager
def _progress(what: str) -> Iterator[Progress | None]:
    """A bar on stderr where a person looks at it."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(done: int, of: int) -> None:
        full = _BAR_CELLS * done // max(of, 1)
        sys.stderr.write(f"\r{what} {'█' * full}{'░' * (_BAR_CELLS - full)} {size_in_words(done)} ")
        sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")
