"""First paint of `fleet-rlm-tui` against an empty Textual app, started in turn in the same kind of terminal.

    python bench/first_paint.py [ROUNDS]

Time runs from the start of the process to its first frame; that of fleet-rlm-tui has Home's frame and titles in it.
Prints the median and the best of each, and the ratio; the goal is 1.5 or less.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

EMPTY = "from textual.app import App\nApp().run()"
FLEET = "import sys\nfrom fleet_rlm.tui.launch import main\nsys.exit(main())"
COLUMNS, LINES = 120, 40
FRAME = b"\x1b[1;1H"
"""Every frame begins by going to the first cell."""
GIVE_UP_SECONDS = 30.0


def first_paint(code: str, home: str) -> float:
    """Seconds until the program has drawn its first frame."""
    begun = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        os.execve(sys.executable, [sys.executable, "-c", code], {**environment, "FLEET_RLM_HOME": home})
    seen = b""
    try:
        while FRAME not in seen:
            ready, _, _ = select.select([terminal], [], [], 1.0)
            if ready:
                seen += os.read(terminal, 1 << 16)
            if time.perf_counter() - begun > GIVE_UP_SECONDS:
                raise SystemExit(f"no frame in {GIVE_UP_SECONDS:g} s; the program wrote {seen[-500:]!r}")
        return time.perf_counter() - begun
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds: dict[str, list[float]] = {"empty": [], "fleet": []}
    with tempfile.TemporaryDirectory() as folder:
        home = str(Path(folder, "home"))
        for program in (EMPTY, FLEET):  # byte code and disk caches
            first_paint(program, home)
        for _ in range(rounds):
            seconds["empty"].append(first_paint(EMPTY, home))
            seconds["fleet"].append(first_paint(FLEET, home))
    print(f"{'first paint':<28}{'median':>9}{'best':>9}   ({rounds} rounds, in turn)")
    for name, words in (("empty", "empty Textual app"), ("fleet", "fleet-rlm-tui (Home)")):
        print(f"{words:<28}{statistics.median(seconds[name]):>8.3f}s{min(seconds[name]):>8.3f}s")
    median = statistics.median(seconds["fleet"]) / statistics.median(seconds["empty"])
    print(f"{'ratio':<28}{median:>8.2f} {min(seconds['fleet']) / min(seconds['empty']):>8.2f}")


if __name__ == "__main__":
    main()
