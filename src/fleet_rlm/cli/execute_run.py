"""Carry a run out from a shell: its progress on stderr, its end told, its exit status."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import msgspec
import typer

from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.cli import printing
from fleet_rlm.cli.command_options import RunOptions
from fleet_rlm.cli.progress import Progress
from fleet_rlm.documents import piped
from fleet_rlm.documents.document_work import DocumentError
from fleet_rlm.figures import plural, seconds
from fleet_rlm.spec import RunSpec
from fleet_rlm.state import RunState

if TYPE_CHECKING:
    from fleet_rlm.engine.prepare.run_inputs import Documents
    from fleet_rlm.engine.run.session import RunSession

_ANSWERED = ("submitted", "extracted", "stopped")


@dataclass(frozen=True, slots=True)
class Done:
    """A run that is over."""

    run_id: str
    path: str
    finished: ev.RunFinished
    """As it was recorded: a server's error may repeat the key that it was sent."""
    state: RunState
    documents: Documents

    @property
    def answered(self) -> bool:
        return self.finished.status in _ANSWERED and bool(self.finished.outputs)

    @property
    def facts(self) -> dict[str, ev.Json]:
        """Facts about the run itself, for JSON."""
        end = self.finished
        return {
            "status": end.status,
            "run_id": self.run_id,
            "run_file": self.path,
            "totals": msgspec.to_builtins(end.totals),
            **({"reason": end.reason} if end.reason else {}),
            **({"error": msgspec.to_builtins(end.error)} if end.error else {}),
        }


Answer = Callable[[Done], None]
"""Tells what came of a run, on stdout."""


def carry_out(spec: RunSpec, options: RunOptions, tell_answer: Answer) -> NoReturn:
    """Run it, tell its end, and leave with its exit status."""
    as_json = options.as_json
    with _pipes_kept(spec, as_json) as spec, Progress(quiet=options.quiet, verbose=options.verbose) as progress:
        try:
            from fleet_rlm.engine.prepare.run_inputs import read_documents
            from fleet_rlm.engine.run.session import RunSession
            from fleet_rlm.engine.run_errors import SetupError
        except ImportError as error:
            _no_engine(error, as_json)
        try:
            documents = read_documents(spec)
            session = RunSession(spec, [progress.hear], documents=documents)
            progress.watch = lambda: f"Watch it: fleet-rlm-tui --follow {shlex.quote(str(session.path))}"
            with _aborted_by_signals(session):
                finished = session.run()
        except SetupError as error:
            printing.leave(error.message, error.hint, printing.USAGE, as_json=as_json)
        except ImportError as error:  # dspy itself is loaded when the run needs it
            _no_engine(error, as_json)
    done = Done(session.run_id, str(session.path), progress.state.finished or finished, progress.state, documents)
    if as_json or done.finished.outputs:
        tell_answer(done)
    _tell_the_end(done, quiet=options.quiet)


@contextmanager
def _pipes_kept(spec: RunSpec, as_json: bool) -> Iterator[RunSpec]:
    """The spec with files in place of standard input and pipes, which are removed where no run began."""
    runs, kept = config.runs_dir(), list[str]()

    def file_of(name: str) -> str:
        if name != "-" and not piped.is_pipe(name):
            return name
        if name == "-" and sys.stdin.isatty():
            message = "--docs - reads standard input, which is a terminal."
            printing.leave(message, "Pipe a text into it.", printing.USAGE, as_json=as_json)
        try:
            path = piped.keep_stream(sys.stdin.buffer, "stdin", runs) if name == "-" else piped.keep(name, runs)
        except DocumentError as error:
            printing.leave(error.message, error.hint, printing.USAGE, as_json=as_json)
        kept.append(path.name)
        printing.tell(f"{'Standard input' if name == '-' else 'The pipe'} is kept in {path}, for replays of this run.")
        return str(path)

    try:
        yield msgspec.structs.replace(spec, documents=tuple(file_of(name) for name in spec.documents))
    except typer.Exit as leaving:
        if leaving.exit_code == printing.USAGE:
            piped.forget(runs, kept)
        raise


def _no_engine(error: ImportError, as_json: bool) -> NoReturn:
    message = f"The engine can't be loaded: {error}."
    hint = "Install fleet-rlm again, in its folder: make clean sync"
    printing.leave(message, hint, printing.FAILED, as_json=as_json)


@contextmanager
def _aborted_by_signals(session: RunSession) -> Iterator[None]:
    """Abort the run on ctrl+c, a hang-up or SIGTERM; a second one ends this process at once."""
    asked = False

    def abort(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(printing.ABORTED)
        asked = True
        reason = "ctrl+c" if number == signal.SIGINT else signal.Signals(number).name
        # From a thread of its own: the one that was interrupted may hold what aborting needs.
        threading.Thread(target=session.abort, args=(reason,), name="fleet-abort", daemon=True).start()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, abort) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_the_end(done: Done, *, quiet: bool) -> NoReturn:
    finished, answered = done.finished, done.answered
    sys.stdout.flush()
    if finished.status == "failed" or not answered:
        error = finished.error
        printing.tell(f"{finished.status}: {error.message if error else finished.reason or 'no answer'}")
        if error and error.hint:
            printing.tell(error.hint)
        if error and finished.reason:
            printing.tell(finished.reason)
    elif finished.reason and not quiet:
        printing.tell(f"{finished.status}: {finished.reason}")
    if not _is_recorded(done.path):
        printing.tell(f"The record is incomplete: its end could not be written to {done.path}.")
    if not quiet or not answered:
        if not quiet:
            for line in _totals(done):
                printing.tell(line)
        printing.tell(f"Replay it: fleet-rlm-tui {shlex.quote(done.path)}")
    if finished.status == "aborted":
        raise typer.Exit(printing.ABORTED)
    raise typer.Exit(printing.OK if answered else printing.FAILED)


def _is_recorded(path: str) -> bool:
    """Return True if the run's file holds the run to its end."""
    from fleet_rlm.runs.run_reader import NotARun
    from fleet_rlm.runs.summary import summarise

    try:
        return summarise(path).status not in ("running", "waiting", "interrupted")
    except NotARun:
        return False


def _totals(done: Done) -> list[str]:
    """Tell iterations, calls, seconds and cost, and why sub-LLM calls failed if some did."""
    finished, state = done.finished, done.state
    totals = finished.totals
    failed = f", {totals.failed_calls:,} failed" if totals.failed_calls else ""
    parts = [
        f"{finished.status} in {seconds(totals.seconds)}",
        plural(totals.iterations, "iteration"),
        plural(totals.calls, "sub-LLM call") + failed,
        state.spent.token_words(),
    ]
    if money := state.spent.money_words(state.cost_limit, apart=True):
        parts.append(money)
    if not failed:
        return [" · ".join(parts)]
    why = Counter(call.finished.error.message for call in state.calls if call.finished and call.finished.error)
    common, times = why.most_common(1)[0] if why else ("", 0)
    return [f"{plural(times, 'call')} failed: {common}"] * bool(common) + [" · ".join(parts)]


def plain(value: ev.Json) -> ev.Json:
    """The value as it stands in the run file: what JSON can't say has become text there."""
    decoded = ev.decode(ev.encode(ev.Submitted(outputs=value)))
    return decoded.outputs if isinstance(decoded, ev.Submitted) else {}
