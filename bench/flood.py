"""How the Run screen bears what a run can throw at it, in a real pseudo-terminal, beside an empty Textual app.

    python bench/flood.py [--rate 10000] [--seconds 8] [--document-mb 1000] [scenario …]

Scenarios: empty (the peer), flood (output events at a rate), calls (5,000 finished calls), output (100,000 lines at
once), document (a large one). After two seconds a key is posted ten times a second: `key` is the time until its action
ran, `late` how much later than due a 20 ms timer fires, `cpu` the share of one core; `text` and `indexed` are seconds
from when the modules are loaded until a document's first rows are there, and all of them.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace
from textual import events
from textual.app import App
from textual.timer import Timer
from textual.widgets import Footer, Static

from fleet_rlm import events as ev
from fleet_rlm.spec import Command
from fleet_rlm.tui.app import FleetApp
from fleet_rlm.tui.person_settings import Settings
from fleet_rlm.tui.remembered import Memory
from fleet_rlm.tui.sources.event_source import Mode, RunSource, SourceEnd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
SCENARIOS = ("empty", "flood", "calls", "output", "document")
WARM_SECONDS, COLUMNS, LINES = 2.0, 120, 40
BEGAN = time.perf_counter()


class Probe:
    """Keys and a timer of an app, measured."""

    def __init__(self, app: App[object], seconds: float, result: str) -> None:
        self.app, self.seconds, self.result = app, seconds, Path(result)
        self.posted: deque[float] = deque()
        self.keys: list[float] = []
        self.late: list[float] = []
        self.marks: dict[str, float] = {"start s": time.perf_counter() - BEGAN}
        self.more: dict[str, object] = {}
        app.set_timer(WARM_SECONDS, self.begin)

    def begin(self) -> None:
        self.due = self.start = time.perf_counter()
        self.cpu = time.process_time()
        self.app.set_interval(0.02, self.beat)
        self.app.set_interval(0.1, self.post_key)
        self.app.set_timer(self.seconds, self.write)

    def beat(self) -> None:
        now = time.perf_counter()
        self.late.append(max(0.0, now - self.due - 0.02))
        self.due = now

    def post_key(self) -> None:
        self.posted.append(time.perf_counter())
        self.app.post_message(events.Key("f12", None))

    def pressed(self) -> None:
        self.keys.append(time.perf_counter() - self.posted.popleft())

    def write(self) -> None:
        cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.start
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        figures = {
            **{name: round(value, 2) for name, value in self.marks.items()},
            "key p50 ms": at(self.keys, 0.5), "key max ms": at(self.keys, 1),
            "late p99 ms": at(self.late, 0.99), "late max ms": at(self.late, 1),
            "cpu %": round(100 * cpu / wall), "rss MB": round(resident), **self.more,
        }  # fmt: skip
        self.result.write_text(json.dumps(figures))
        self.app.exit()


class Empty(App[object]):
    """The peer."""

    BINDINGS = [("f12", "probe", "probe")]  # noqa: RUF012

    def __init__(self, seconds: float, result: str) -> None:
        super().__init__()
        self.arguments = seconds, result

    def compose(self) -> Iterator[Static | Footer]:
        yield Static("empty")
        yield Footer()

    def on_mount(self) -> None:
        self.probe = Probe(self, *self.arguments)

    def action_probe(self) -> None:
        self.probe.pressed()


class Watched(FleetApp):
    """The app on a run."""

    CSS_PATH = str(ROOT / "src/fleet_rlm/tui/look/styles/app.tcss")
    BINDINGS = [("f12", "probe", "probe")]  # noqa: RUF012

    def __init__(self, source: RunSource, seconds: float, result: str) -> None:
        super().__init__(source, None, settings=Settings(), memory=Memory())
        self.arguments = seconds, result
        self.watching: Timer | None = None

    def on_mount(self) -> None:
        self.probe = Probe(self, *self.arguments)
        self.watching = self.set_interval(0.01, self.watch)

    def action_probe(self) -> None:
        self.probe.pressed()

    def watch(self) -> None:
        from fleet_rlm.tui.screens.run.run_screen import RunScreen

        if not isinstance(self.screen, RunScreen):
            return
        index, marks = self.screen.document.index, self.probe.marks
        self.probe.more = {"events": self.screen.state.events}
        if index is not None and index.rows:
            marks.setdefault("text s", time.perf_counter() - BEGAN)
            if index.complete:
                marks.setdefault("indexed s", time.perf_counter() - BEGAN)


class Pushed:
    """A source that a thread feeds with output events at a rate."""

    mode: Mode = "live"
    path: str | None = None
    end: SourceEnd | None = None

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.queue: deque[ev.AnyEvent | ev.Unknown] = deque()
        self.told = False

    def open(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        threading.Thread(target=self.feed, daemon=True).start()

    def feed(self) -> None:
        from tests.tui.synthetic import flood

        start = time.perf_counter()
        for sent, event in enumerate(flood(10_000_000), 1):
            self.queue.append(event)
            self.tell()
            ahead = sent / self.rate - (time.perf_counter() - start)
            if ahead > 0.002:
                time.sleep(ahead)

    def tell(self) -> None:
        if not self.told:
            self.told = True
            self.wake()

    def drain(self, limit: int = 2000) -> list[ev.AnyEvent | ev.Unknown]:
        self.told = False
        found = [self.queue.popleft() for _ in range(min(limit, len(self.queue)))]
        if self.queue:
            self.tell()
        return found

    def send(self, command: Command) -> None: ...

    def close(self) -> None: ...


def run_child(arguments: argparse.Namespace) -> None:
    """The app of one scenario; writes its figures to a file."""
    from tests.tui.synthetic import ScriptedSource, flood, many_calls

    scenario, rest = arguments.child, (arguments.seconds, arguments.result)
    if scenario == "empty":
        Empty(*rest).run()
    elif scenario == "flood":
        Watched(Pushed(arguments.rate), *rest).run()
    elif scenario == "calls":
        Watched(ScriptedSource(many_calls(5000).events), *rest).run()
    elif scenario == "output":
        Watched(ScriptedSource(list(flood(100_000, 50))), *rest).run()
    else:
        Watched(ScriptedSource(run_about(Path(arguments.document))), *rest).run()


def write_large(path: Path, megabytes: int) -> None:
    """A document of many ordinary lines."""
    block = b"".join(b"%07d a line of a large document, of ordinary length\n" % i for i in range(20_000))
    with path.open("wb") as file:
        for _ in range(megabytes * 1_000_000 // len(block)):
            file.write(block)


def run_about(path: Path) -> list[ev.AnyEvent | ev.Unknown]:
    """The first event of a run about a document."""
    from tests.tui.synthetic import Script

    size = path.stat().st_size
    script = Script()
    script.start()
    started = script.events[0]
    assert isinstance(started, ev.RunStarted)
    ref = ev.DocumentRef(path=str(path), name=path.name, bytes=size, sha256="0" * 64, chars=size)
    return [replace(started, inputs=(ev.Input(name="context", type="str", chars=size, documents=(ref,)),))]


def at(values: list[float], share: float) -> float | None:
    """A quantile, in milliseconds."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else None


def measure(scenario: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Run one scenario in a terminal of its own."""
    with tempfile.TemporaryDirectory() as folder:
        result, document = Path(folder) / "result.json", Path(folder) / "large.txt"
        if scenario == "document":
            write_large(document, arguments.document_mb)
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        environment = {**os.environ, "FLEET_RLM_HOME": folder, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        command = [
            sys.executable, __file__, "--child", scenario, "--result", str(result), "--rate", str(arguments.rate),
            "--seconds", str(arguments.seconds), "--document", str(document),
        ]  # fmt: skip
        ends = {"stdin": follower, "stdout": follower, "stderr": follower}
        process = subprocess.Popen(command, env=environment, start_new_session=True, **ends)
        os.close(follower)
        said = b""
        while process.poll() is None:
            if select.select([leader], [], [], 0.1)[0]:
                try:
                    said = (said + os.read(leader, 1 << 16))[-4000:]
                except OSError:  # the terminal's other end is closed: the app has ended
                    process.wait(10)
        os.close(leader)
        if not result.exists():
            raise SystemExit(f"{scenario}: no result\n{said.decode(errors='replace')}")
        found: dict[str, object] = json.loads(result.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--document-mb", type=int, default=1000)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    parser.add_argument("--result", default="", help=argparse.SUPPRESS)
    parser.add_argument("--document", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        run_child(arguments)
        return
    for scenario in arguments.scenarios:
        figures = measure(scenario, arguments)
        print(f"{scenario:>9}  " + "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
