"""Start a driver isolated, and hold it: the engine's side of the launcher."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from fleet_rlm import syntax
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits, TransportError
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher, Launcher, start_python
from fleet_rlm.sandbox.local.isolation_report import report
from fleet_rlm.sandbox.local.launcher.plan import Plan
from fleet_rlm.sandbox.local.sandbox_folders import SandboxFolder, sweep

DEFAULT_ORDER: tuple[str, ...] = ("namespaces", "bubblewrap", "landlock", "limits+seccomp", "limits")
"""Strongest first; each is tried, and the first that proves to hold is taken."""
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_SECONDS_TO_START = 60.0
_SECONDS_TO_END = 5.0
_LONGEST_MESSAGE = 1 << 20


class IsolationError(TransportError):
    """No isolation could be started in the modes that were asked for; the message says why each failed."""


class _Started(TypedDict):
    mode: str
    held: dict[str, bool]
    limits: dict[str, bool]
    notes: list[str]
    inputs: str


def parse_modes(text: str) -> tuple[str, ...]:
    """Return the modes of a person's setting: names with commas between, empty for the default order.

    Raises `IsolationError` naming the valid ones.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in DEFAULT_ORDER]
    if unknown:
        raise IsolationError(f"no isolation mode is called {unknown[0]!r}; there are: {', '.join(DEFAULT_ORDER)}")
    return names or DEFAULT_ORDER


def launch(
    driver: bytes,
    *,
    limits: Limits,
    modes: Sequence[str] = DEFAULT_ORDER,
    scratch_parent: Path | None = None,
    progress: Callable[[str], None] = lambda _words: None,
    clean: CleanLauncher | None = None,
) -> IsolatedProcess:
    """Start `driver` (an artefact) in the first of `modes` that proves to hold. From any thread; blocks some 30 ms.

    `clean`: fork its launcher from this one; without it, or where that fails, a launcher is started anew.
    `scratch_parent`: an existing folder for the sandbox's own (default: the temporary folder). What sandboxes of dead
    engines left there is swept first. Raises `IsolationError` (a `TransportError`), with nothing left behind.
    """
    parent = scratch_parent or Path(tempfile.gettempdir())
    for mode in modes:
        parse_modes(mode)
    try:
        sweep(parent)
        folder = SandboxFolder(parent)
    except OSError as error:
        raise IsolationError(f"no folder for the sandbox in {parent}: {error.strerror}; set another one") from error
    pipes = _Pipes()
    try:
        launcher = _start(driver, folder, pipes, limits, modes, clean)
    except OSError as error:
        pipes.close()
        os.close(folder.lock_fd)
        folder.remove()
        raise IsolationError(f"the launcher did not start: {error}") from error
    process = IsolatedProcess(launcher, pipes, folder, limits)
    try:
        process._await_start(progress)
    except BaseException:
        process.close()
        raise
    return process


class _Pipes:
    """The pipes of the driver's streams, the launcher's reports, the plan, and the lifeline that ends the sandbox."""

    def __init__(self) -> None:
        self.theirs_in, self.stdin = os.pipe()
        self.stdout, self.theirs_out = os.pipe()
        self.stderr, self.theirs_err = os.pipe()
        self.report, self.theirs_report = os.pipe()
        self.theirs_life, self.lifeline = os.pipe()
        self.theirs_plan, self.plan = os.pipe()
        with suppress(OSError, AttributeError):  # or writing a plan would wait for the launcher to read it
            fcntl.fcntl(self.plan, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(self.report, False)
        os.set_blocking(self.theirs_report, False)  # a watcher never waits for a reader: it drops its report

    def close_theirs(self) -> None:
        self._close(
            "theirs_in", "theirs_out", "theirs_err", "theirs_report", "theirs_life", "theirs_plan", "plan"
        )  # fmt: skip

    def cut_lifeline(self) -> None:
        self._close("lifeline")

    def close(self) -> None:
        self.close_theirs()
        self._close("stdin", "stdout", "stderr", "report", "lifeline")

    def _close(self, *names: str) -> None:
        for name in names:
            fd: int = getattr(self, name)
            setattr(self, name, -1)
            if fd >= 0:
                os.close(fd)


def _start(
    driver: bytes,
    folder: SandboxFolder,
    pipes: _Pipes,
    limits: Limits,
    modes: Sequence[str],
    clean: CleanLauncher | None,
) -> Launcher:
    plan = Plan(
        driver=driver,
        modes=list(modes),
        folder=str(folder.path.resolve()),
        private_uid=folder.private_uid,
        packages=_packages(),
        memory_mb=limits.memory_mb,
        processes=limits.processes,
        cpu_seconds=limits.cpu_seconds,
        file_mb=limits.file_mb,
        scratch_mb=limits.scratch_mb,
        open_files=limits.open_files,
    )
    streams = [pipes.theirs_in, pipes.theirs_out, pipes.theirs_err]
    others = [pipes.theirs_plan, pipes.theirs_report, pipes.theirs_life, folder.lock_fd]
    launcher = (clean.fork([*streams, *others]) if clean else None) or start_python(map(str, others), others, streams)
    os.write(pipes.plan, plan.dump())
    pipes.close_theirs()
    return launcher


def _packages() -> list[str]:
    """Return the folders of installed packages, never the source folders of editable installs."""
    wanted = ("site-packages", "dist-packages")
    found = [Path(entry) for entry in sys.path if Path(entry).name in wanted]
    return list(dict.fromkeys(str(path.resolve()) for path in found if path.is_dir()))


class IsolatedProcess:
    """A driver that runs isolated. Every method may be called from any thread."""

    def __init__(self, launcher: Launcher, pipes: _Pipes, folder: SandboxFolder, limits: Limits) -> None:
        self._launcher, self._pipes, self._folder, self._limits = launcher, pipes, folder, limits
        self._lock = threading.RLock()
        self._heard = b""
        self._why_ended: str | None = None
        self._killed = False
        self._inputs = ""
        self.report = IsolationReport("none", "not started")

    @property
    def pid(self) -> int:
        """The launcher's process id, which stands for the whole sandbox on the host."""
        return self._launcher.pid

    @property
    def stdin_fd(self) -> int:
        return self._pipes.stdin

    @property
    def stdout_fd(self) -> int:
        return self._pipes.stdout

    @property
    def stderr_fd(self) -> int:
        return self._pipes.stderr

    def put(self, name: str, chunks: Iterator[bytes]) -> str:
        """Store an input under a plain file name, readable inside; return its path *inside* the sandbox.

        Inputs lie on the host's disk and count neither against memory nor scratch. Raises `IsolationError`.
        """
        if not _PLAIN_NAME.fullmatch(name):
            raise IsolationError(f"not a plain file name for an input: {name!r}")
        if self._killed or self.poll() is not None:
            raise IsolationError("the sandbox has ended: " + (self.end() or "it was killed"))
        try:
            self._folder.put(name, chunks)
        except OSError as error:
            raise IsolationError(f"the input {name} could not be stored for the sandbox: {error.strerror}") from error
        return f"{self._inputs}/{name}"

    def poll(self) -> int | None:
        """Return the driver's exit code (128 + signal if killed), or None while it runs."""
        with self._lock:
            return self._launcher.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait at most so long for the end; return the exit code, or None while it runs."""
        return self._launcher.wait() if self._reports_end(seconds) else None

    def end(self) -> str | None:
        """Return the reason why the driver ended, in words; None while it runs."""
        code = self.poll()
        if code is None:
            return None
        self._listen()
        if self._why_ended:
            return self._why_ended
        if self._killed:
            return "ended by us"
        if code < 0 or code > 128:
            number = -code if code < 0 else code - 128
            if number == signal.SIGXCPU:
                return f"the driver used its {self._limits.cpu_seconds} CPU seconds"
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = "unknown"
            return f"killed by signal {number} ({name})" + (" (out of memory?)" if number == signal.SIGKILL else "")
        return f"the driver ended by itself with exit code {code}"

    def kill(self) -> None:
        """End everything of this sandbox now; idempotent. No process, mount or file is left when it returns.

        The three descriptors stay open, so that a reader in another thread sees the end of its stream: see `close`.
        """
        with self._lock:
            if self._launcher.poll() is None:
                self._killed = True
            self._pipes.cut_lifeline()
            if not self._reports_end(_SECONDS_TO_END):
                self._launcher.kill()  # the watcher sees it and ends the rest
            self._launcher.wait()
            if self._folder.lock_fd >= 0:
                os.close(self._folder.lock_fd)
                self._folder.lock_fd = -1
            self._folder.remove()

    def close(self) -> None:
        """Kill the sandbox and close the descriptors, once no thread reads or writes them any more."""
        self.kill()
        self._listen()
        with self._lock:
            self._pipes.close()

    def __enter__(self) -> IsolatedProcess:
        return self

    def __exit__(self, *_details: object) -> None:
        self.close()

    def _reports_end(self, seconds: float) -> bool:
        """Wait until launcher and watcher have both ended: then nobody can report any more."""
        deadline = time.monotonic() + seconds
        while not self._receive():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([self._pipes.report], [], [], left)
        return True

    def _await_start(self, progress: Callable[[str], None]) -> None:
        deadline = time.monotonic() + _SECONDS_TO_START
        while True:
            left = deadline - time.monotonic()
            ready = select.select([self._pipes.report], [], [], max(0.0, left))[0]
            if not ready:
                raise IsolationError(f"the sandbox did not start within {_SECONDS_TO_START:g} seconds")
            if self._listen(progress):
                return

    def _listen(self, progress: Callable[[str], None] | None = None) -> bool:
        """Take in what launcher and watcher reported; return True if the sandbox has just started."""
        with self._lock:
            ended = self._receive()
            *lines, self._heard = self._heard.split(b"\n")
            started = False
            for line in lines:
                started |= self._take(syntax.literal(line.decode("ascii")), progress)
            if ended and progress is not None and not started:
                raise IsolationError("the launcher ended before it could start a sandbox: " + self._diagnostics())
            return started

    def _receive(self) -> bool:
        """Read the reports that are there; return True if they have ended."""
        while self._pipes.report >= 0 and len(self._heard) < _LONGEST_MESSAGE:
            try:
                more = os.read(self._pipes.report, 65536)
            except BlockingIOError:
                return False
            if not more:
                return True
            self._heard += more
        return True

    def _diagnostics(self) -> str:
        os.set_blocking(self._pipes.stderr, False)
        try:
            text = os.read(self._pipes.stderr, 65536).decode(errors="replace").strip()
        except BlockingIOError:
            text = ""
        return text.splitlines()[-1] if text else "it said nothing"

    def _take(self, message: dict[str, object], progress: Callable[[str], None] | None) -> bool:
        if "trying" in message and progress is not None:
            progress(f"trying isolation by {message['trying']}")
        if "ended" in message:
            self._why_ended = self._why_ended or str(message["ended"])
        if "failed" in message:
            tried = message["failed"]
            reasons = "; ".join(map(str, tried)) if isinstance(tried, list) else str(tried)
            raise IsolationError(f"no isolation works here: {reasons}")
        if "started" in message:
            self._begin(message["started"])  # type: ignore[arg-type]  # our own launcher wrote it
            return True
        return False

    def _begin(self, started: _Started) -> None:
        self._inputs = started["inputs"]
        self.report = report(started["mode"], started["held"], started["limits"], started["notes"], self._limits)
