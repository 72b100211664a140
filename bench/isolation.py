"""What isolation costs at the start: from the request to the driver's first words, against plain interpreters.

unshare -m python bench/isolation.py [REPEATS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from fleet_rlm.sandbox.host import artefact
from fleet_rlm.sandbox.host.transport import Limits
from fleet_rlm.sandbox.local import DEFAULT_ORDER, IsolationError, launch
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher

HELLO = "import os, sys\nos.write(1, b'hello')\nfor line in sys.stdin.buffer:\n    os.write(1, line)\n"
ECHO = artefact.program(HELLO)


def plain(*flags: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, *flags, "-c", HELLO]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        os.read(process.stdout.fileno(), 5)
        seconds = time.perf_counter() - start
        process.kill()
    return seconds


def isolated(driver: bytes, mode: str, clean: CleanLauncher | None) -> tuple[float, float, float]:
    """Seconds to hello, for one round trip through the pipes, and to end."""
    start = time.perf_counter()
    with launch(driver, limits=Limits(), modes=(mode,), clean=clean) as process:
        os.read(process.stdout_fd, 4096)
        hello = time.perf_counter()
        for _ in range(1000 if driver == ECHO else 0):
            os.write(process.stdin_fd, b"x\n")
            os.read(process.stdout_fd, 2)
        back = time.perf_counter()
        process.kill()
        end = time.perf_counter()
    return hello - start, (back - hello) / 1000, end - back


def show(name: str, measure: Callable[[], float], repeats: int) -> None:
    measure()
    times = [measure() * 1000 for _ in range(repeats)]
    print(f"{name:16} {statistics.median(times):6.1f} ms to hello (least {min(times):.1f})")


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    show("python -I -S", lambda: plain("-I", "-S"), repeats)
    show("python -I", lambda: plain("-I"), repeats)
    for driver in (ECHO, artefact.driver()):
        print("a driver that only echoes" if driver == ECHO else "the driver of every sandbox")
        clean = CleanLauncher(artefact.modules())
        for mode in DEFAULT_ORDER:
            measure_mode(driver, mode, clean, repeats)
        clean.close()


def measure_mode(driver: bytes, mode: str, clean: CleanLauncher, repeats: int) -> None:
    """Measure sandboxes of one mode, started anew and forked in turn."""
    took: dict[str, list[tuple[float, float, float]]] = {"started": [], "forked": []}
    try:
        for _ in range(repeats + 1):
            took["started"].append(isolated(driver, mode, None))
            took["forked"].append(isolated(driver, mode, clean))
    except IsolationError as error:
        print(f"{mode:16} {error}")
        return
    hello = {}
    for how, runs in took.items():
        hello[how], trip, end = (statistics.median(values) for values in zip(*runs[1:], strict=True))
        least = min(run[0] for run in runs) * 1000
        print(f"{mode:16} {how:8} {hello[how] * 1000:6.1f} ms to hello (least {least:.1f}), "
              f"round trip {trip * 1e6:.1f} µs, {end * 1000:.1f} ms to end")  # fmt: skip
    print(f"{mode:16} forked / started = {hello['forked'] / hello['started']:.2f}")


if __name__ == "__main__":
    main()
