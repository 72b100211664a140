"""Prove a protection by trying to break it: things planted outside, and the attempts from inside."""

from __future__ import annotations

import _socket
import os
import resource
import select

from . import kernel
from .plan import LINUX, Finding, Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TAG = b"fleet-rlm"


class Targets:
    """The names of the planted things, which a process that is started anew can be given."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.process = os.getpid()
        self.canary = folder + "/canary"
        self.abstract = f"\0fleet-rlm-proof-{self.process}"
        self.abstract_datagrams = self.abstract + "-datagrams"
        self.tcp_port = 0
        self.udp_port = 0
        self.kinds: list[str] = []
        """The planted listeners: `tcp`, `udp`, `path`, `path datagrams`, `abstract`, `abstract datagrams`."""

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Targets:
        targets = cls("")
        vars(targets).update(fields)
        return targets


class Outside:
    """Things that the inside must not reach: a file, TCP and UDP listeners, named sockets, this process."""

    def __init__(self, plan: Plan) -> None:
        self.targets = targets = Targets(plan.outside)
        self.folder, self.canary = targets.folder, targets.canary
        with open(self.canary, "wb") as file:
            file.write(TAG)
        os.chmod(self.canary, 0o666)
        self._listeners: dict[str, _socket.socket] = {}
        stream, datagram = _socket.SOCK_STREAM, _socket.SOCK_DGRAM
        targets.tcp_port = self._listen("tcp", _socket.AF_INET, stream, ("127.0.0.1", 0))
        targets.udp_port = self._listen("udp", _socket.AF_INET, datagram, ("127.0.0.1", 0))
        where = os.open(".", os.O_RDONLY)
        try:
            os.chdir(self.folder)  # a socket's name holds only 107 bytes of a path
            self._listen("path", _socket.AF_UNIX, stream, "socket")
            self._listen("path datagrams", _socket.AF_UNIX, datagram, "datagrams")
            for name in ("socket", "datagrams"):
                if os.path.lexists(name):
                    os.chmod(name, 0o777)
        finally:
            os.fchdir(where)
            os.close(where)
        if LINUX:
            self._listen("abstract", _socket.AF_UNIX, stream, targets.abstract)
            self._listen("abstract datagrams", _socket.AF_UNIX, datagram, targets.abstract_datagrams)
        targets.kinds = list(self._listeners)

    def _listen(self, name: str, family: int, kind: int, address: str | tuple[str, int]) -> int:
        """Open a listener; return its port, 0 if it has none or this machine offers no such socket."""
        try:
            listener = _socket.socket(family, kind)
            listener.bind(address)
            if kind == _socket.SOCK_STREAM:
                listener.listen(8)
        except OSError:
            return 0
        self._listeners[name] = listener
        return int(listener.getsockname()[1]) if family == _socket.AF_INET else 0

    def reached(self) -> set[str]:
        """Return the listeners that heard anything: no reply tells the inside of it."""
        ready = select.select(list(self._listeners.values()), [], [], 0)[0]
        return {name for name, listener in self._listeners.items() if listener in ready}

    def touched(self) -> bool:
        """Return True if the canary's text, mode or dates changed, or something new lies beside it."""
        state = os.stat(self.canary)
        with open(self.canary, "rb") as file:
            changed = file.read() != TAG
        names = set(os.listdir(self.folder)) - {"canary", "socket", "datagrams"}
        return changed or bool(names) or state.st_mode & 0o777 != 0o666 or state.st_mtime < 10

    def close(self) -> None:
        """Close the listeners and remove the files."""
        for listener in self._listeners.values():
            listener.close()
        for name in os.listdir(self.folder):
            os.unlink(f"{self.folder}/{name}")


class Attempt:
    """The attempts from inside, in the process that becomes the driver, which knows only names of things outside."""

    def __init__(self, targets: Targets) -> None:
        self.outside = targets

    def run(self, finding: Finding, allowed_environment: set[str]) -> None:
        """Try everything once; a protection that did not break is `held`."""
        out, held, kinds = self.outside, finding.held, self.outside.kinds
        held["files unread"] = _fails(lambda: os.close(os.open(out.canary, os.O_RDONLY)))
        held["names hidden"] = _fails(lambda: os.stat(out.canary))
        held["files unwritten"] = all(
            (
                _fails(lambda: os.close(os.open(out.canary, os.O_WRONLY | os.O_APPEND))),
                _fails(lambda: os.close(os.open(out.folder + "/new", os.O_WRONLY | os.O_CREAT, 0o600))),
                _fails(lambda: os.truncate(out.canary, 0)),
            )
        )
        for change in (lambda: os.chmod(out.canary, 0o640), lambda: os.utime(out.canary, (1, 1))):
            _fails(change)  # whether it took effect is seen from outside: `Outside.touched`
        if "tcp" in kinds:
            held["no tcp"] = _fails(lambda: _connect(_socket.AF_INET, ("127.0.0.1", out.tcp_port)))
        if "udp" in kinds:
            _fails(lambda: _send(_socket.AF_INET, ("127.0.0.1", out.udp_port)))
        if "abstract" in kinds:
            held["no abstract sockets"] = _fails(lambda: _connect(_socket.AF_UNIX, out.abstract))
            _fails(lambda: _send(_socket.AF_UNIX, out.abstract_datagrams))
        if "path" in kinds:
            held["no path sockets"] = _fails(self._path_sockets)
        if LINUX:
            vsock = 40
            held["no vsock"] = _fails(lambda: _socket.socket(vsock, _socket.SOCK_STREAM).close())
            self._linux(held)
        held["no signals"] = _fails(lambda: os.kill(out.process, 0))
        held["environment clean"] = set(os.environ) <= allowed_environment
        held["no core dumps"] = resource.getrlimit(resource.RLIMIT_CORE)[1] == 0

    def _linux(self, held: dict[str, bool]) -> None:
        process = self.outside.process
        memory, variables = f"/proc/{process}/mem", f"/proc/{process}/environ"
        held["memory unread"] = _fails(lambda: os.close(os.open(memory, os.O_RDONLY)))
        held["memory unwritten"] = _fails(lambda: os.close(os.open(memory, os.O_RDWR)))
        held["environments unread"] = _fails(lambda: os.close(os.open(variables, os.O_RDONLY)))
        held["processes hidden"] = _fails(lambda: os.close(os.open(f"/proc/{process}/cmdline", os.O_RDONLY)))
        held["no new privileges"] = kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS) == 1
        held["calls filtered"] = kernel.prctl(kernel.PR_GET_SECCOMP) == 2

    def _path_sockets(self) -> None:
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(self.outside.folder)
            _fails(lambda: _send(_socket.AF_UNIX, "datagrams"))
            _connect(_socket.AF_UNIX, "socket")
        finally:
            os.fchdir(here)
            os.close(here)


def judge(finding: Finding, outside: Outside) -> None:
    """Add what only the listeners and the canary can tell to what the inside found."""
    held, heard = finding.held, outside.reached()
    held["metadata safe"] = not outside.touched()
    if "udp" in outside.targets.kinds:
        held["no udp"] = "udp" not in heard
    for name, protection in (
        ("tcp", "no tcp"),
        ("abstract", "no abstract sockets"),
        ("abstract datagrams", "no abstract sockets"),
        ("path", "no path sockets"),
        ("path datagrams", "no path sockets"),
    ):
        if name in heard:
            held[protection] = False


def _fails(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ValueError):
        return True
    return False


def _connect(family: int, address: str | tuple[str, int]) -> None:
    door = _socket.socket(family, _socket.SOCK_STREAM)
    try:
        door.settimeout(1)
        door.connect(address)
    finally:
        door.close()


def _send(family: int, address: str | tuple[str, int]) -> None:
    """Send a datagram, from a socket of its own or from one end of a pair, which needs no `socket` call."""
    try:
        door = _socket.socket(family, _socket.SOCK_DGRAM)
    except OSError:
        if family != _socket.AF_UNIX:
            raise
        door, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        other.close()
    try:
        door.settimeout(1)
        door.sendto(TAG, address)
    finally:
        door.close()
