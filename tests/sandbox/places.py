"""Transports that tests run over, and what a test needs to look at one interpreter."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fleet_rlm.sandbox.host.artefact import BOOT, driver, framed
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import Execution, ExecutionOutcome, SandboxObserver, StateLost, Variables
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits, SandboxInfo, Stored, Transport, TransportError
from fleet_rlm.sandbox.local.local_interpreter import LocalTransport
from fleet_rlm.sandbox.modal.modal_transport import ModalTransport

DRIVER_PYTHON = os.environ.get("FLEET_RLM_TEST_DRIVER_PYTHON", sys.executable)
"""Another place may have another Python than the host: name it here to run the driver's tests with it."""
SMALL = Limits(memory_mb=256, processes=32, cpu_seconds=60, file_mb=64, scratch_mb=64, open_files=128)


class BootTransport(Transport):
    """The driver read from stdin by `python -c BOOT`, as in a place that shares no files. It isolates nothing: only
    for code that does no harm.
    """

    backend = "boot"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._reading = threading.Lock()
        self._scratch = TemporaryDirectory(prefix="boot-")
        self.folder = Path(self._scratch.name)

    @property
    def id(self) -> str:
        return str(self._process.pid) if self._process else ""

    def start(self, limits: Limits, progress: Callable[[str], None]) -> IsolationReport:
        progress("starting python")
        self._process = subprocess.Popen(
            [DRIVER_PYTHON, "-I", "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            start_new_session=True,
            bufsize=0,
        )
        self.write(framed(driver()))
        return IsolationReport("none", "NOT isolated")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise TransportError("not started")
        return self._process

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        if self.process.stdin.closed:
            raise BrokenPipeError
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) or 0 :]

    def read(self) -> bytes:
        assert self.process.stdout is not None
        with self._reading:
            return b"" if self.process.stdout.closed else self.process.stdout.read(1 << 16) or b""

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        path = self.folder / name
        with path.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
        return Stored(str(path))

    def diagnostics(self) -> str:
        return ""

    def end(self) -> str | None:
        code = self.process.poll()
        return None if code is None else f"exit code {code}"

    def kill(self) -> None:
        if self._process:
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            if self._reading.acquire(timeout=5):  # the reader comes back at the end of the stream
                self.process.stdout.close()
                self._reading.release()
        self._scratch.cleanup()


TRANSPORTS: dict[str, Callable[[], Transport]] = {
    "local": LocalTransport,
    "boot": BootTransport,
    "modal": ModalTransport,
}
"""By the name of the place. Modal's needs the fixture `modal_server`."""


class Witness(SandboxObserver):
    """Remembers all that it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.changed = threading.Event()

    def _hear(self, *what: object) -> None:
        self.heard.append(what)
        self.changed.set()

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [what[1:] for what in self.heard if what[0] == kind]

    def on_starting(self, backend: str, what: str) -> None:
        self._hear("starting", backend, what)

    def on_ready(self, info: SandboxInfo) -> None:
        self._hear("ready", info)

    def on_input_sent(self, name: str, size: int, seconds: float, how: str) -> None:
        self._hear("input", name, size, how)

    def on_execution(self, execution: Execution) -> None:
        self._hear("execution", execution)

    def on_output(self, execution: int, stream: str, text: str, late: bool) -> None:
        self._hear("output", execution, stream, text, late)

    def on_heartbeat(self, execution: int, rss_bytes: int, open_calls: int) -> None:
        self._hear("beat", execution, rss_bytes, open_calls)

    def on_variables(self, variables: Variables) -> None:
        self._hear("variables", variables)

    def on_finished(self, outcome: ExecutionOutcome) -> None:
        self._hear("finished", outcome)

    def on_state_lost(self, lost: StateLost) -> None:
        self._hear("state lost", lost)

    def on_lost(self, reason: str) -> None:
        self._hear("lost", reason)

    def on_unkept(self, words: str) -> None:
        self._hear("unkept", words)

    def on_stopped(self) -> None:
        self._hear("stopped")

    def text(self, cell: int | None = None, late: bool = False) -> str:
        """The output heard so far, of all executions or of the planner's cell of this number, from 1."""
        ids = [one.id for (one,) in self.of("execution") if isinstance(one, Execution) and one.purpose == "cell"]
        wanted = None if cell is None else ids[cell - 1]
        return "".join(
            str(text)
            for number, _, text, was_late in self.of("output")
            if was_late is late and wanted in (None, number)
        )


class Background:
    """Work in a thread; `result` waits for it and raises what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._value: object = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], object]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in `result`
            self._error = error

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def result(self, seconds: float = 20.0) -> object:
        self._thread.join(seconds)
        assert self.over, f"still running after {seconds:g} s"
        if self._error is not None:
            raise self._error
        return self._value


def processes_of(interpreter: Interpreter) -> list[int]:
    """All living descendants of the process that the interpreter started (Linux)."""
    root = int(interpreter.info.id.rpartition("-")[2]) if interpreter.info else 0
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                parents[int(entry.name)] = int(fields[1])
    found, grown = {root} & parents.keys(), True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return sorted(found)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
