"""Sandboxes for hostile code, and the things outside that it is set upon."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest

from fleet_rlm.sandbox.host.artefact import program
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits
from fleet_rlm.sandbox.local import DEFAULT_ORDER, IsolatedProcess, IsolationError, launch
from fleet_rlm.sandbox.local.clean_launcher import CleanLauncher

HERE = Path(__file__).parent
HOSTILE = program((HERE / "hostile_driver.py").read_text(encoding="utf-8"))
SMALL = Limits(memory_mb=512, processes=24, cpu_seconds=60, file_mb=32, scratch_mb=64, open_files=128)
OWN_ROOT = ("namespaces", "bubblewrap")


def enter_private_mounts() -> str | None:
    """Why hostile code can't be run safely here: as root, only in a private mount namespace."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    private, recursive = 1 << 18, 16384
    if libc.unshare(0x20000) != 0 or libc.mount(None, b"/", None, ctypes.c_ulong(private | recursive), None) != 0:
        return f"as root, and no private mount namespace: {os.strerror(ctypes.get_errno())}"
    return None


@dataclass
class Sandbox:
    """A hostile driver, and questions to it."""

    process: IsolatedProcess
    mode: str
    _heard: bytes = field(default=b"")

    def ask(self, request: dict[str, object], seconds: float = 30.0) -> dict[str, object]:
        """Its answer, or `{"died": why}`."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin_fd, json.dumps(request).encode() + b"\n")
        while b"\n" not in self._heard:
            if not select.select([self.process.stdout_fd], [], [], seconds)[0]:
                return {"died": f"no answer within {seconds:g} s"}
            more = os.read(self.process.stdout_fd, 1 << 16)
            if not more:
                return {"died": self.why()}
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        answer: dict[str, object] = json.loads(line)
        return answer

    def run(self, source: str, seconds: float = 30.0) -> object:
        """The value that `source` leaves in `result`; what it raised is an assertion here."""
        answer = self.ask({"run": source}, seconds)
        assert "got" in answer, answer
        return answer["got"]

    def why(self) -> str:
        """Why it ended, once it has."""
        self.process.wait(10)
        return self.process.end() or "it still runs"


def start(mode: str, parent: Path, limits: Limits = SMALL, clean: CleanLauncher | None = None) -> Sandbox:
    return Sandbox(launch(HOSTILE, limits=limits, modes=(mode,), scratch_parent=parent, clean=clean), mode)


def _in_a_child(attempt: Callable[[], object]) -> bool:
    """Whether something that changes a process for good succeeds, without product code."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _call(function: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*args) < 0:
        raise OSError(ctypes.get_errno(), function)


def _namespaces() -> None:
    everything = 0x10000000 | 0x20000000 | 0x20000 | 0x40000000 | 0x8000000 | 0x4000000
    _call("unshare", everything)
    _call("mount", None, b"/", None, ctypes.c_ulong(1 << 18 | 16384), None)
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(0), None)


def _bubblewrap() -> None:
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    Path(sys.executable).stat()
    done = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, "bwrap")


def _landlock() -> None:
    _call("syscall", ctypes.c_long(444), None, ctypes.c_long(0), ctypes.c_long(1))
    _filters()


def _filters() -> None:
    _call("prctl", 38, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    try:
        _call("prctl", 22, ctypes.c_ulong(2), None, ctypes.c_ulong(0), ctypes.c_ulong(0))
    except OSError as error:
        if error.errno != errno.EFAULT:  # the filter is missing, so filters are not
            raise


PROBES: dict[str, Callable[[], None]] = {
    "namespaces": _namespaces,
    "bubblewrap": _bubblewrap,
    "landlock": _landlock,
    "limits+seccomp": _filters,
    "limits": lambda: None,
}
"""What a mode needs of the machine, asked of the kernel itself."""
_offered: dict[str, str | None] = {}


def not_offered(mode: str, parent: Path) -> str | None:
    """Why this machine does not offer a mode; None when it does. An offered mode that does not start is a failure."""
    if mode not in _offered:
        try:
            start(mode, parent).process.close()
            _offered[mode] = None
        except IsolationError as error:
            if sys.platform == "linux" and _in_a_child(PROBES[mode]):
                pytest.fail(f"the machine offers {mode}, but: {error}")
            _offered[mode] = f"this machine does not offer {mode}: {error}"
    return _offered[mode]


class Outside:
    """What a person has: a home with a key, a project, listeners, a running program; open to anyone by their modes."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", folder / "project"
        self.tag = uuid.uuid4().hex
        for path, text in {
            self.home / ".ssh/id_rsa": "SECRET key",
            self.project / ".env": "API=SECRET",
            self.project / "movable": "x",
            self.project / "emptied": "x",
            self.project / "removable": "x",
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o666)
        for path in (folder, self.home, self.home / ".ssh", self.project):
            path.chmod(0o777)
        self.key = self.home / ".ssh/id_rsa"
        self._before = self._state()
        self.set_user_id = folder / "id"
        shutil.copy("/usr/bin/id", self.set_user_id)
        self.set_user_id.chmod(0o4755)
        self.abstract = f"test-{self.tag}"
        self.tcp = self._listener(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = self._listener(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.bound = [
            self._listener(socket.AF_UNIX, kind, address)
            for kind, name in ((socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, "-datagrams"))
            for address in ("\0" + self.abstract + name, str(folder / f"socket{name}"))
        ]
        for name in ("socket", "socket-datagrams"):
            (folder / name).chmod(0o777)
        self.folder = folder
        self.bystander = subprocess.Popen(["sleep", "600"], env={"A_SECRET": "SECRET"})

    @staticmethod
    def _listener(family: int, kind: int, address: str | tuple[str, int]) -> socket.socket:
        listener = socket.socket(family, kind)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(64)
        listener.setblocking(False)
        return listener

    def _state(self) -> tuple[int, int, float, list[str]]:
        state = self.key.stat()
        return state.st_mode, state.st_uid, state.st_mtime, os.listxattr(self.key)

    def target(self, sandbox: Sandbox) -> dict[str, object]:
        """What the attackers are told."""
        own_root = sandbox.mode in OWN_ROOT
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free_port = probe.getsockname()[1]
        return {
            "home": str(self.home),
            "project": str(self.project),
            "tag": self.tag,
            "scratch": sandbox.run("import os; result = os.getcwd()"),
            "input": sandbox.process.put("an-input", iter([b"input"])),
            "packages": [sysconfig.get_path("purelib")],
            "own_network": own_root,
            "free_port": free_port,
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "abstract": self.abstract,
            "socket": str(self.folder / "socket"),
            "datagrams": str(self.folder / "socket-datagrams"),
            "bystander": self.bystander.pid,
            "launcher": sandbox.process.pid,
            "engine": os.getpid(),
            "set_user_id": str(self.set_user_id),
        }

    def datagrams(self) -> list[bytes]:
        """What arrived at the datagram listeners."""
        got = []
        for listener in (self.udp, *self.bound):
            if listener.type == socket.SOCK_DGRAM:
                with contextlib.suppress(BlockingIOError):
                    got.append(listener.recv(100))
        return got

    def key_changed(self) -> bool:
        return self._state() != self._before

    def close(self) -> None:
        for listener in (self.tcp, self.udp, *self.bound):
            listener.close()
        self.bystander.kill()
        self.bystander.wait()


@dataclass
class Battle:
    """Every attack of some modules in one mode, and what came of each."""

    report: IsolationReport
    proven: frozenset[str]
    results: dict[str, dict[str, object]]
    datagrams: list[bytes]
    key_changed: bool
    bystander_lives: bool


def fight(mode: str, modules: list[ModuleType], folder: Path, clean: CleanLauncher | None) -> Battle:
    """Run the attacks on what the mode claims to protect, and the harmless ones anyway.

    An attack on what is *not* protected could really hurt the person's processes, so it does not run.
    """
    outside = Outside(folder)
    sandbox = start(mode, folder, clean=clean)
    results: dict[str, dict[str, object]] = {}
    try:
        proven = frozenset((*sandbox.process.report.proven, "in every mode"))
        target = outside.target(sandbox)
        for module in modules:
            assert module.__file__
            assert sandbox.ask({"load": Path(module.__file__).read_text()}) == {"got": None}
            for claim, attacks in module.ATTACKS.items():
                for attack in attacks:
                    if claim in proven or attack in module.HARMLESS:
                        results[attack.__name__] = sandbox.ask({"attack": attack.__name__, "target": target})
        lives = outside.bystander.poll() is None
        return Battle(sandbox.process.report, proven, results, outside.datagrams(), outside.key_changed(), lives)
    finally:
        sandbox.process.close()
        outside.close()


__all__ = ["DEFAULT_ORDER", "OWN_ROOT", "SMALL", "Battle", "Outside", "Sandbox", "fight", "not_offered", "start"]
