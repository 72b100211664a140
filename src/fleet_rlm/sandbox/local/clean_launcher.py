"""The engine's side of the clean launcher: from a process's second sandbox on, launchers are forked, not started."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fleet_rlm.sandbox.local.launcher import kernel

_BOOT = "import sys;sys.path.insert(0,sys.argv[1]);from launcher.main import main;exec(*main())"
_SECONDS_TO_FORK = 20.0


def start_python(arguments: Iterable[str], pass_fds: Sequence[int], streams: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start the launcher's program with a clean environment, in a session of its own. Raises `OSError`."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, str(Path(__file__).parent), *arguments],
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        pass_fds=pass_fds,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        start_new_session=True,
    )


class ForkedLauncher:
    """A launcher that the clean launcher forked: a child of this process, with the methods of `Popen` that we use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lock = threading.Lock()
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative if a signal ended it; None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for the end and return the exit code."""
        return self._reap(0)

    def kill(self) -> None:
        """Kill the launcher now."""
        with self._lock:
            if self._code is None:
                os.kill(self.pid, 9)

    def _reap(self, how: int) -> int | None:
        with self._lock:
            if self._code is None:
                try:
                    pid, status = os.waitpid(self.pid, how)
                except ChildProcessError:  # somebody else has reaped it
                    pid, status = self.pid, 0
                if pid:
                    self._code = os.waitstatus_to_exitcode(status)
            return self._code


Launcher = subprocess.Popen[bytes] | ForkedLauncher


class CleanLauncher:
    """A process that never ran generated code, to fork launchers from. From any thread. Raises `OSError`."""

    def __init__(self, modules: Sequence[str]) -> None:
        """`modules` of the standard library are imported there: those of the driver, which is not run."""
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_SECONDS_TO_FORK)
        arguments = ["fork", str(theirs.fileno()), ",".join(modules)]
        with theirs:
            self.process = start_python(arguments, [theirs.fileno()], [subprocess.DEVNULL] * 3)

    def fork(self, descriptors: Sequence[int]) -> ForkedLauncher | None:
        """Return a launcher with these descriptors; None if it can't be forked: then start one anew."""
        with self._lock:
            answer = b""
            with contextlib.suppress(OSError):
                socket.send_fds(self._control, [b"f"], descriptors)
                answer = self._control.recv(32)
            if answer:
                return ForkedLauncher(int(answer))
        self.close()
        return None

    def disown(self) -> None:
        """Forget the clean launcher in a forked copy of this process: it is the original's, and ends with it."""
        self._lock = threading.Lock()
        self._control.close()
        self.process.poll()  # no child of the copy: it counts as ended there, and is not killed

    def close(self) -> None:
        """End the clean launcher; sandboxes that were forked from it live on. A second call does nothing."""
        self._control.close()
        self.process.kill()
        self.process.wait()


class _OfThisProcess:
    """Starts the clean launcher of this process when its second sandbox is asked for: the first may be the only one."""

    def __init__(self) -> None:
        self._lock, self._first = threading.Lock(), True
        self._clean: CleanLauncher | None = None
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._disown)

    def get(self, modules: Callable[[], Sequence[str]]) -> CleanLauncher | None:
        """Return the clean launcher; None for the first sandbox, and where none can be started."""
        with self._lock:
            if self._first or not kernel.KNOWN:
                self._first = False
            elif self._clean is None:
                with contextlib.suppress(OSError):
                    self._clean = CleanLauncher(modules())
            return self._clean

    def close(self) -> None:
        """End the clean launcher with this process."""
        if self._clean:
            self._clean.close()

    def _disown(self) -> None:
        self._lock = threading.Lock()
        if self._clean:
            self._clean.disown()


of_this_process = _OfThisProcess()
