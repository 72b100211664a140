"""Opening, indexing, searching and locating in a large text, beside the tools that people have: ratios in one run.

`python bench/documents.py [MEGABYTES]` (200 by default; 1000 works in the same memory).
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corpus import NEEDLE, write_corpus
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.load import load
from fleet_rlm.documents.locate import Locator
from fleet_rlm.documents.search import Query, search
from fleet_rlm.documents.textfile import TextFile

PROMPTS = 1_000


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table."""

    what: str
    seconds: float
    stall_ms: float | None
    """Longest that another thread waited for its turn: what a screen would feel."""
    peer: str = ""
    peer_seconds: float | None = None
    note: str = ""


class Watch:
    """A thread that wants to run every 2 ms, as a screen's event loop does, and notes how late it was."""

    def __enter__(self) -> Watch:
        self.latest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        due = time.perf_counter()
        while not self._over.is_set():
            time.sleep(0.002)
            now = time.perf_counter()
            self.latest = max(self.latest, now - due - 0.002)
            due = now

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(seconds, longest stall in milliseconds)."""
    with Watch() as watch:
        begin = time.perf_counter()
        work()
        seconds = time.perf_counter() - begin
    return seconds, watch.latest * 1000


def peer(*command: str) -> float | None:
    """Seconds that a program takes, or None where it is not installed."""
    if not shutil.which(command[0]):
        return None
    begin = time.perf_counter()
    # captured: grep stops at the first hit when it writes to /dev/null
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return time.perf_counter() - begin


def last_hits(index: LineIndex, query: Query) -> int:
    total = 0
    for found in search(index, query):
        total = found.total
    return total


def measure(path: Path) -> list[Measured]:
    name = str(path)
    peer("wc", "-l", name)  # from the page cache for everyone
    results: list[Measured] = []

    begin = time.perf_counter()
    text = TextFile.open(path)
    index = LineIndex(text)
    index.build(cancelled=iter([False, True]).__next__)
    index.rows_from(0, 50)
    opened = time.perf_counter() - begin
    results.append(Measured("open, first 50 rows", opened, None, "head -50", peer("head", "-50", name)))

    seconds, stall = timed(index.build)
    note = f"{index.rows:,} rows"
    results.append(Measured("index all rows", seconds, stall, "wc -l", peer("wc", "-l", name), note))

    rng = random.Random(1)
    places = [rng.randrange(index.rows) for _ in range(2_000)]
    seconds, stall = timed(lambda: [index.row(place) for place in places])
    tail = peer("sed", "-n", f"{index.rows // 2}{{p;q}}", name)
    results.append(Measured("2,000 random rows", seconds, stall, "one by sed -n Np", tail))

    environment = os.environ.get("LC_ALL", "")
    os.environ["LC_ALL"] = "C.UTF-8"
    for what, query, command in (
        ("search: one exact place", Query(NEEDLE), ("grep", "-c", "-F", NEEDLE)),
        ("search: ignoring case", Query("marlow depot"), ("grep", "-c", "-i", "-F", "marlow depot")),
        ("search: millions of hits", Query("the "), ("grep", "-c", "-i", "-F", "the ")),
        ("search: regex", Query(r"Marlow \w+ is \d+", regex=True), ("grep", "-c", "-P", r"Marlow \w+ is \d+")),
        ("search: regex, each line", Query(r"^\[\d+\]", regex=True), ("grep", "-c", "-P", r"^\[\d+\]")),
    ):
        total = 0

        def run(query: Query = query) -> None:
            nonlocal total
            total = last_hits(index, query)

        seconds, stall = timed(run)
        results.append(Measured(what, seconds, stall, " ".join(command[:-1]), peer(*command, name), f"{total:,} hits"))
    os.environ["LC_ALL"] = environment

    locator = Locator([text])
    seconds, stall = timed(locator.build)
    note = f"slices of {locator.certain_bytes} bytes are certain"
    results.append(Measured("anchors for locating", seconds, stall, note=note))
    prompts = []
    for _ in range(PROMPTS):
        start = rng.randrange(text.size - 8_000)
        prompts.append(
            f"Answer from this section.\n<<<{text.text(start, start + rng.randrange(200, 8_000))}>>>\nBe brief."
        )
    found = 0

    def locate_all() -> None:
        nonlocal found
        found = sum(len(locator.locate(prompt)) == 1 for prompt in prompts)

    seconds, stall = timed(locate_all)
    note = f"{found:,} as one span"
    results.append(Measured(f"locate {PROMPTS:,} prompts", seconds, stall, note=note))

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    results.append(Measured("memory so far", 0.0, None, note=f"{memory / 1e6:.0f} MB at most"))
    plain = read_plainly(path)
    seconds, stall = timed(lambda: load(path))
    results.append(Measured("load as one string", seconds, stall, "read_text + sha256", plain))
    return results


def read_plainly(path: Path) -> float:
    code = (
        "import sys,time,hashlib;from pathlib import Path;t=time.perf_counter();b=Path(sys.argv[1]).read_bytes();"
        "hashlib.sha256(b).hexdigest();b.decode();print(time.perf_counter()-t)"
    )
    answer = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return float(answer.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megabytes", type=float, nargs="?", default=200)
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory(prefix="fleet-rlm-bench-") as folder:
        begin = time.perf_counter()
        corpus = write_corpus(Path(folder) / "corpus.txt", megabytes)
        wrote = time.perf_counter() - begin
        results = measure(corpus.path)
    table = Table(title=f"{corpus.bytes / 1e6:,.0f} MB of text (written in {wrote:.1f} s)")
    for heading in ("what", "seconds", "longest stall", "beside", "its seconds", "ratio", ""):
        table.add_column(heading, justify="right" if "s" in heading and heading != "beside" else "left")
    for line in results:
        table.add_row(
            line.what,
            f"{line.seconds:.3f}" if line.seconds else "",
            "" if line.stall_ms is None else f"{line.stall_ms:.0f} ms",
            line.peer,
            "" if line.peer_seconds is None else f"{line.peer_seconds:.3f}",
            f"{line.seconds / line.peer_seconds:.2f}" if line.peer_seconds else "",
            line.note,
        )
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
