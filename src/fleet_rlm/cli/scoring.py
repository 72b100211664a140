"""A recorded run, held to known answers."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fleet_rlm.corpora.known_answers import Answers
from fleet_rlm.corpora.score import question_of, score
from fleet_rlm.events import RunFinished, RunStarted


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one run."""

    run: str
    """The run as the person named it."""
    question: str | None = None
    """The id of the question that it was asked."""
    points: float | None = None
    """0.0 … 1.0; None where nothing can be compared."""
    why: str = ""
    """The parts that the answer lacks."""
    problem: str = ""
    """The reason why nothing can be compared, or why the comparison may be unfair."""


def scored(known: Answers, ref: str, question: str | None = None) -> Scored:
    """Compare a run, named by its file or by the library's ways, with what is known."""
    from fleet_rlm.runs.library import Library, NoSuchRun
    from fleet_rlm.runs.run_reader import NotARun, RunFile

    try:
        if Path(ref).is_file():
            path = Path(ref)
        else:
            with Library() as library:
                path = library.get(ref).path
        with RunFile(path) as run:
            started, finished = None, None
            for event in run.events():
                if isinstance(event, RunStarted):
                    started = event
                elif isinstance(event, RunFinished):
                    finished = event
    except (NoSuchRun, NotARun) as error:
        return Scored(run=ref, problem=str(error))
    if started is None:
        return Scored(run=ref, problem="the run was only being started")
    asked = next((one for one in known.questions if one.id == question), None) or question_of(
        known, started.task.question
    )
    if asked is None:
        return Scored(run=ref, problem="it was asked none of the questions whose answers are known (see --question)")
    if finished is None or not finished.outputs:
        status = finished.status if finished is not None else "not finished"
        return Scored(run=ref, question=asked.id, points=0.0, why="there is no answer", problem=f"the run is {status}")
    result = score(asked, finished.outputs)
    return Scored(run=ref, question=asked.id, points=result.points, why=result.why, problem=_other_text(known, started))


def _other_text(known: Answers, started: RunStarted) -> str:
    """Words for a run that worked on another text than the answers are about."""
    hashes = {document.sha256 for given in started.inputs for document in given.documents}
    lacking = [one.name for one in known.documents if one.sha256 not in hashes]
    return f"it did not work on this {', '.join(lacking[:3])}, by their hashes" if lacking else ""
