"""The worker as a process: forked, confined, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from .wire import Message
from .worker import Worker

_NAMES = ("INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "TSTP", "TTIN", "TTOU", "IO")
_IGNORED = [getattr(signal, f"SIG{name}") for name in _NAMES if hasattr(signal, f"SIG{name}")]
_WORKER_ID = 60_321
"""The worker's user, where the supervisor is root."""
_FILE_CAPABILITIES = 0b11111
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID: root's, as far as files go."""


class WorkerProcess:
    """The living worker, if any: `pid` is 0 while there is none."""

    def __init__(self) -> None:
        """Prepare this process to be a supervisor."""
        self.pid = self.count = 0
        self.ctl: socket.socket
        self.prctl: Callable[..., int] | None = None
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        if sys.platform == "linux":
            with contextlib.suppress(ImportError, OSError, AttributeError):
                import ctypes

                self.prctl = ctypes.CDLL(None).prctl
                self.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans of the code's come to this process
                self.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: nobody but root reads or writes this process

    def fork(self, config: Message, close: Iterable[int]) -> None:
        """Start a worker, which closes these descriptors of its supervisor's."""
        ours, theirs = socket.socketpair()
        self.count += 1
        for tries in range(302):
            try:
                self.pid = os.fork()
                break
            except OSError:  # no room for a process: what the code left behind is still dying
                if tries > 300:
                    sys.stderr.write("no new process could be started for the generated code\n")
                    os._exit(71)
                self.sweep()
                time.sleep(0.01)
        if self.pid == 0:
            try:
                self._become_worker((ours.detach(), *close))
                # an answer to a call of an earlier worker's must not find one of this worker's
                Worker(theirs, {**config, "first_call": self.count << 32}).main()
            finally:
                os._exit(70)  # whatever happened: this process must not go on as a second supervisor
        theirs.close()
        ours.setblocking(False)
        self.ctl = ours

    def _become_worker(self, close: Iterable[int]) -> None:
        signal.set_wakeup_fd(-1)
        parent = os.getppid()
        with contextlib.suppress(OSError):
            os.setsid()
        if self.prctl:
            _confine()
            self.prctl(4, 1, 0, 0, 0)  # or its own files in /proc would be closed to it
            self.prctl(1, int(signal.SIGKILL), 0, 0, 0)  # PR_SET_PDEATHSIG: no worker outlives its supervisor
            if os.getppid() != parent:
                os._exit(0)
        for number in {*_IGNORED, signal.SIGCHLD} - {signal.SIGINT}:  # which `Worker.main` takes once it can
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for fd in close:
            os.close(fd)
        os.dup2(0, 1)
        os.dup2(0, 2)
        with contextlib.suppress(OSError):  # when memory runs out, this process goes first
            fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
            os.write(fd, b"1000")
            os.close(fd)

    def end(self) -> tuple[int | None, int | None]:
        """Kill the worker and all its descendants; return the worker's exit code and the signal that ended it."""
        if not self.pid:
            return None, None
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        status = 0
        with contextlib.suppress(ChildProcessError):
            status = os.waitpid(self.pid, 0)[1]
        self.pid = 0
        self.sweep()
        return (None, os.WTERMSIG(status)) if os.WIFSIGNALED(status) else (os.WEXITSTATUS(status), None)

    def sweep(self) -> None:
        """End what the worker left: as a subreaper the supervisor inherits every orphan."""
        for _ in range(200 if self.prctl and not self.pid else 0):
            orphans = list(_children())
            if not orphans:
                return
            for kill in (signal.SIGSTOP, signal.SIGKILL):
                for pid in orphans:
                    with contextlib.suppress(OSError):
                        os.kill(pid, kill)
            for pid in orphans:
                with contextlib.suppress(OSError):
                    os.waitpid(pid, 0)

    def reap(self) -> bool:
        """Take in the orphans that have ended; return True if the worker itself has ended."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid == self.pid:
                    return True
                os.waitpid(found.si_pid, os.WNOHANG)
        return False

    def ends_soon(self) -> bool:
        """Wait a moment for the end of a worker whose socket has ended, and return True if it comes."""
        for _ in range(20):
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return True
                time.sleep(0.005)
        return False

    def interrupt(self, group: bool) -> None:
        """Send SIGINT to the worker, then to all that it started if `group` is true."""
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGINT)
            os.kill(self.pid, signal.SIGCONT)
            if group:  # the worker gets a second one by it, in the midst of a handler for the first
                os.killpg(self.pid, signal.SIGINT)

    def memory(self) -> int:
        """Return the worker's memory in bytes, 0 where the system does not say."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(_start_of(f"/proc/{self.pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0


def _children() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    if int(_start_of(f"/proc/{entry.name}/stat").rpartition(b")")[2].split()[1]) == os.getpid():
                        yield int(entry.name)


def _start_of(path: str) -> bytes:
    """Return the first 4 KiB of a file."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def _confine() -> None:
    """Forbid this process, as far as the system can, to send signals to its supervisor and to trace it. Elsewhere the
    host's own clock ends what a supervisor that was stopped or killed no longer does.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(OSError, IndexError, ValueError):
        status = _start_of("/proc/self/status")
        capable = int(status.partition(b"CapEff:")[2].split()[0], 16)
        if capable & 0b11100000 == 0b11100000:  # KILL, SETGID, SETUID: root who can end another user's process
            libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
            os.setresgid(_WORKER_ID, _WORKER_ID, _WORKER_ID)
            os.setresuid(_WORKER_ID, _WORKER_ID, _WORKER_ID)
            keep = capable & _FILE_CAPABILITIES
            head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(keep, keep, keep)
            libc.capset(head, sets)
            for number in range(5):
                libc.prctl(47, 2, number, 0, 0)  # PR_CAP_AMBIENT_RAISE: programs that it starts have them too
    # Landlock from version 6 on holds signals in (and, always, ptrace): nothing above the worker hears them.
    create, restrict = ctypes.c_long(444), ctypes.c_long(446)
    if libc.syscall(create, None, ctypes.c_size_t(0), ctypes.c_uint32(1)) >= 6:
        signals_only = (ctypes.c_uint64 * 3)(0, 0, 2)
        fd = libc.syscall(create, signals_only, ctypes.c_size_t(24), ctypes.c_uint32(0))
        if fd >= 0:
            libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, without which an ordinary user may not
            libc.syscall(restrict, ctypes.c_int(fd), ctypes.c_uint32(0))
            os.close(fd)
