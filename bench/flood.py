"""How the Run screen bears what a run can throw at it, in a real pseudo-terminal, beside an empty Textual app.

    python bench/flood.py [--rate 10000] [--seconds 8] [--document-mb 1000] [scenario …]

Scenarios: empty (the peer), flood (output events at a rate), calls (5,000 finished calls), output (100,000 lines at
once), document (a large one). A key is posted ten times a second; `key` is the time until its action ran, `late` how
much later than due a 20 ms timer fires, `cpu` the share of one core.
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
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
SCENARIOS = ("empty", "flood", "calls", "output", "document")


def child(scenario: str, rate: float, seconds: float, megabytes: int, result: str) -> None:
    """The app of one scenario; writes its figures to a file."""
    began = time.perf_counter()
    from textual import events
    from textual.app import App
    from textual.widgets import Footer, Static

    class Probe(App[None]):
        """Keys and a timer, measured."""

        def start_probe(self) -> None:
            self.posted: deque[float] = deque()
            self.keys: list[float] = []
            self.late: list[float] = []
            self.marks: dict[str, float] = {"start": time.perf_counter() - began}
            self.due = time.perf_counter()
            self.cpu = time.process_time()
            self.t0 = time.perf_counter()
            self.set_timer(2.0, self.warm)

        def warm(self) -> None:
            self.due = self.t0 = time.perf_counter()
            self.cpu = time.process_time()
            self.set_interval(0.02, self.beat)
            self.set_interval(0.1, self.post_key)
            self.set_timer(seconds, self.write)

        def beat(self) -> None:
            now = time.perf_counter()
            self.late.append(max(0.0, now - self.due - 0.02))
            self.due = now

        def post_key(self) -> None:
            self.posted.append(time.perf_counter())
            self.post_message(events.Key("f12", None))

        def action_probe(self) -> None:
            self.keys.append(time.perf_counter() - self.posted.popleft())

        def write(self) -> None:
            cpu, wall = time.process_time() - self.cpu, time.perf_counter() - self.t0
            rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            figures = {
                **{f"{name} s": round(value, 2) for name, value in self.marks.items()},
                "key p50 ms": at(self.keys, 0.5), "key max ms": at(self.keys, 1),
                "late p99 ms": at(self.late, 0.99), "late max ms": at(self.late, 1),
                "cpu %": round(100 * cpu / wall), "rss MB": round(rss), **self.more(),
            }  # fmt: skip
            Path(result).write_text(json.dumps(figures))
            self.exit()

        def more(self) -> dict[str, float]:
            return {}

    if scenario == "empty":

        class Empty(Probe):
            BINDINGS = [("f12", "probe", "probe")]  # noqa: RUF012

            def compose(self) -> Iterator[Static | Footer]:
                yield Static("empty")
                yield Footer()

            def on_mount(self) -> None:
                self.start_probe()

        Empty().run()
        return

    from tui import synthetic

    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.memory import Memory
    from fleet_rlm.tui.settings import Settings
    from fleet_rlm.tui.source import SourceEnd

    class Live(FleetApp, Probe):  # type: ignore[misc]  # two apps' results, of which none is used
        CSS_PATH = str(ROOT / "src/fleet_rlm/tui/styles/app.tcss")
        BINDINGS = [("f12", "probe", "probe")]  # noqa: RUF012

        def on_mount(self) -> None:
            self.start_probe()
            self.watch_timer = self.set_interval(0.01, self.watch)

        def watch(self) -> None:
            screen = self.screen
            if not hasattr(screen, "playhead"):
                return
            index = screen.document.index
            if index is not None and index.rows and "text" not in self.marks:
                self.marks["text"] = time.perf_counter() - began
            if index is not None and index.complete and "indexed" not in self.marks:
                self.marks["indexed"] = time.perf_counter() - began

        def more(self) -> dict[str, float]:
            return {"events": self.screen.playhead.edge.events, "rows": self.screen.output.rows.end}

    class Pushed:
        """A source that a thread feeds at a rate."""

        mode, path, end = "live", None, None

        def __init__(self) -> None:
            self.queue: deque[object] = deque()
            self.waiting = False

        def open(self, wake: object) -> None:
            self.wake = wake
            threading.Thread(target=self.feed, daemon=True).start()

        def feed(self) -> None:
            start, sent = time.perf_counter(), 0
            for event in synthetic.flood(10_000_000):
                self.queue.append(event)
                sent += 1
                if not self.waiting:
                    self.waiting = True
                    self.wake()  # type: ignore[operator]
                ahead = sent / rate - (time.perf_counter() - start)
                if ahead > 0.002:
                    time.sleep(ahead)

        def drain(self, limit: int = 2000) -> list[object]:
            self.waiting = False
            found = [self.queue.popleft() for _ in range(min(limit, len(self.queue)))]
            if self.queue and not self.waiting:
                self.waiting = True
                self.wake()  # type: ignore[operator]
            return found

        def send(self, command: object) -> None: ...

        def close(self) -> None: ...

    source: object
    if scenario == "flood":
        source = Pushed()
    elif scenario == "calls":
        source = synthetic.ScriptedSource(synthetic.many_calls(5000).events, "live")
    elif scenario == "output":
        source = synthetic.ScriptedSource([*synthetic.flood(100_000, 50)], "live")
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.txt"
            block = b"".join(b"%07d a line of a large document, of ordinary length\n" % i for i in range(20_000))
            with path.open("wb") as file:
                for _ in range(megabytes * 1_000_000 // len(block)):
                    file.write(block)
            script = synthetic.Script()
            from fleet_rlm import events as ev

            size = path.stat().st_size
            script.start(documents=())
            started = script.events[0]
            ref = ev.DocumentRef(path=str(path), name="large.txt", bytes=size, sha256="0" * 64, chars=size)
            from msgspec.structs import replace

            one = ev.Input(name="context", type="str", chars=size, documents=(ref,))
            events_ = [replace(started, inputs=(one,))]
            began = time.perf_counter()
            app = Live(synthetic.ScriptedSource(events_, "live"), None, settings=Settings(), memory=Memory(None))
            app.run()
        return
    app = Live(source, None, settings=Settings(), memory=Memory(None))  # type: ignore[arg-type]
    _ = SourceEnd
    app.run()


def at(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1) if ordered else None


def measure(scenario: str, arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        os.environ["FLEET_RLM_HOME"] = folder
        leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor", COLUMNS="120", LINES="40")
        command = [
            sys.executable, str(Path(__file__)), "--child", scenario, "--result", str(result), "--rate", str(arguments.rate),
            "--seconds", str(arguments.seconds), "--document-mb", str(arguments.document_mb),
        ]  # fmt: skip
        process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
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
        found: dict[str, float] = json.loads(result.read_text())
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=SCENARIOS)
    parser.add_argument("--rate", type=float, default=10_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--document-mb", type=int, default=1000)
    parser.add_argument("--child", default="")
    parser.add_argument("--result", default="")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.rate, arguments.seconds, arguments.document_mb, arguments.result)
        return
    for scenario in arguments.scenarios:
        figures = measure(scenario, arguments)
        print(f"{scenario:>9}  " + "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)


if __name__ == "__main__":
    main()
