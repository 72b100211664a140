"""What recording, reading and listing runs cost, against the plainest way to do the same in the same process.

python bench/runs.py [EVENTS]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fleet_rlm import events as ev
from fleet_rlm.runs.library import Library
from fleet_rlm.runs.recorder import Recorder
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.verify import verify
from fleet_rlm.state import fold_all

REPEATS = 3
SECRETS = [f"sk-test-{n:04d}-{'abcdef' * 4}" for n in range(20)]
WORDS = "the planner looks for the places that hold the words of the question, rare words first; risk-free as-is "


def started(run_id: str) -> ev.RunStarted:
    document = ev.DocumentRef(path="/d/depot.txt", name="depot.txt", bytes=1, sha256="0", chars=1)
    return ev.RunStarted(
        format=ev.FORMAT,
        version=ev.VERSION,
        run_id=run_id,
        started_at=f"2026-03-04T05:{int(run_id, 16) // 60 % 60:02}:{int(run_id, 16) % 60:02}Z",
        span="run",
        task=ev.Task(name="ask", signature="context, question -> answer", question=f"What is the code of {run_id}?"),
        inputs=(ev.Input(name="context", type="str", chars=1, documents=(document,)),),
        models=ev.Models(planner="offline", sub="offline", offline=True),
        sandbox=ev.Sandbox(backend="local", isolation="no network"),
        budgets=ev.BudgetLimits(max_iterations=5),
    )


def finished() -> ev.RunFinished:
    return ev.RunFinished(
        status="submitted",
        outputs={"answer": WORDS * 3},
        totals=ev.Totals(iterations=5, calls=9, seconds=12.0),
        span="run",
    )


def some(count: int) -> list[ev.Event]:
    """What a run mostly consists of: streamed words, printed lines, calls."""
    kinds: list[Callable[[int], ev.Event]] = [
        lambda n: ev.PlannerDelta(text=WORDS[n % 60 : n % 60 + 24], span="p1", parent="i1", iteration=1),
        lambda n: ev.Output(stream="stdout", text=f"{n} {WORDS}\n", span="x1", parent="i1", iteration=1),
        lambda n: ev.CallStarted(
            type="sub_llm", function="llm_query", prompt=WORDS * 4, span=f"c{n}", parent="x1", iteration=1
        ),
        lambda n: ev.CallFinished(answer=WORDS, usage=ev.Usage(input=90, output=20), seconds=0.4, span=f"c{n - 1}"),
    ]
    begin: list[ev.Event] = [
        ev.IterationStarted(of=5, span="i1", parent="run", iteration=1),
        ev.PlannerStarted(span="p1", parent="i1", iteration=1),
        ev.ExecutionStarted(code="", span="x1", parent="i1", iteration=1),
    ]
    return [*begin, *(kinds[n % len(kinds)](n) for n in range(count))]


def best(measure: Callable[[], float]) -> float:
    """The median of a few repeats, in seconds."""
    return statistics.median(measure() for _ in range(REPEATS))


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return measure


def record(path: Path, events: list[ev.Event], secrets: list[str]) -> None:
    path.unlink(missing_ok=True)
    with Recorder(path, secrets) as recorder:
        recorder.emit(started("1"))
        for event in events:
            recorder.emit(event)
        recorder.emit(finished())


def plain_writes(path: Path, events: list[ev.Event]) -> None:
    """`json.dumps` and a flush for each event: what any logger does at the least."""
    dicts = [json.loads(ev.encode(event)) for event in events]
    start = time.perf_counter()
    with path.open("w") as file:
        for event in dicts:
            file.write(json.dumps(event) + "\n")
            file.flush()
    plain_writes.seconds = time.perf_counter() - start  # type: ignore[attr-defined]  # the dicts are not part of it


def loads(path: Path) -> int:
    with path.open() as file:
        return sum(1 for line in file if json.loads(line))


def read(path: Path) -> int:
    with RunFile(path) as run:
        return sum(1 for _ in run.events())


def fold(path: Path) -> None:
    with RunFile(path) as run:
        fold_all(run.events())


def checked(path: Path) -> None:
    fault = verify(path)
    assert fault is None, fault


def row(name: str, value: str, ratio: float | None = None) -> None:
    print(f"  {name:<44}{value:>18}{'' if ratio is None else f'{ratio:>9.2f}x'}")


def recording(folder: Path, count: int) -> Path:
    events, path = some(count), folder / "run.jsonl"

    def plain() -> float:
        plain_writes(folder / "plain.jsonl", events)
        return float(plain_writes.seconds)  # type: ignore[attr-defined]  # see above

    base = best(plain)
    print(f"\nRecording {count:,} events (ratio: time against json.dumps and a flush an event)")
    row("json.dumps, write, flush", f"{count / base:,.0f}/s", 1.0)
    for name, secrets in (("Recorder", []), ("Recorder, 20 secrets", SECRETS)):
        seconds = best(timed(lambda secrets=secrets: record(path, events, secrets)))
        row(name, f"{count / seconds:,.0f}/s", seconds / base)
    return path


def reading(path: Path) -> None:
    megabytes = path.stat().st_size / 1e6
    base = best(timed(lambda: loads(path)))
    print(f"\nReading {megabytes:,.0f} MB (ratio: time against a loop of json.loads)")
    row("json.loads a line", f"{megabytes / base:,.0f} MB/s", 1.0)
    for name, work in (("RunFile.events", read), ("RunFile.events, folded", fold), ("verify", checked)):
        seconds = best(timed(lambda work=work: work(path)))
        row(name, f"{megabytes / seconds:,.0f} MB/s", seconds / base)


def library(folder: Path, count: int = 1000) -> None:
    runs = folder / "runs"
    for n in range(count):
        with Recorder(runs / f"2026-03-{n % 28 + 1:02}" / f"050607-ask-{n:x}.jsonl") as recorder:
            recorder.emit(started(f"{n:010x}"))
            for event in some(20):
                recorder.emit(event)
            recorder.emit(finished())
    files = sorted(runs.rglob("*.jsonl"))
    base = best(timed(lambda: [loads(path) for path in files]))
    print(f"\nThe library, {count:,} runs (ratio: time against json.loads over all the files)")
    row("json.loads of every file", f"{base * 1000:,.0f} ms", 1.0)

    def anew() -> None:
        (runs / "index.sqlite").unlink(missing_ok=True)
        with Library(runs) as fresh:
            fresh.refresh()

    seconds = best(timed(anew))
    row("index made anew", f"{seconds * 1000:,.0f} ms", seconds / base)
    with Library(runs) as shelf:
        shelf.refresh()
        for name, work in (
            ("refresh, nothing new", shelf.refresh),
            ("list, newest first", shelf.list),
            ("list, filtered by two words", lambda: shelf.list("access depot 000000001")),
            ("list, sorted by question", lambda: shelf.list(sort="question")),
        ):
            seconds = best(timed(work))
            row(name, f"{seconds * 1000:,.1f} ms", seconds / base)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        reading(recording(folder, count))
        library(folder)


if __name__ == "__main__":
    main()
