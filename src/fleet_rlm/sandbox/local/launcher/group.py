"""A group of the kernel's (cgroup) that limits the memory of one whole sandbox, where this machine lets us make one.

All that the kernel keeps for the group's processes is counted: files in memory, buffers of sockets and pipes, page
tables. A process put into a group takes nothing along that it used before, and all it starts later is in the group.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from .plan import MIB

PREFIX = "fleet-rlm-sandbox-"
"""Begins the name of a sandbox's folder and of its group: both have the same."""
SPARE_MB = 64
"""MiB beyond the limit that was asked for, for the interpreters that guard the sandbox."""


class Group:
    """One sandbox's group, locked as long as this process lives. Raises `OSError` where none can be made."""

    def __init__(self, version: int, path: str, memory_mb: int) -> None:
        self.path = path
        self._lock = _make(path)
        limit = str((memory_mb + SPARE_MB) * MIB)
        try:
            if version == 2:
                self._set("memory.max", limit)
                self._set("memory.swap.max", "0", must=False)
            else:
                self._set("memory.limit_in_bytes", limit)
                self._set("memory.memsw.limit_in_bytes", limit, must=False)
                self._set("memory.kmem.tcp.limit_in_bytes", str(SPARE_MB * MIB), must=False)
            self.kills = os.open(path + ("/memory.events" if version == 2 else "/memory.oom_control"), os.O_RDONLY)
            self.door = os.open(path + "/tasks", os.O_WRONLY) if version == 1 else -1
            """A file by which a process with one thread enters at once; -1 if the launcher must put it there."""
        except OSError:
            os.rmdir(path)
            raise

    def _set(self, name: str, value: str, must: bool = True) -> None:
        try:
            with open(f"{self.path}/{name}", "w") as file:
                file.write(value)
        except OSError:
            if must:
                raise

    def begin(self, pid: int) -> None:
        """Put the first process into the group, unless it enters by itself.

        The kernel waits some 15 ms until no processor is in the midst of a fork: call it while others have work to do.
        """
        if self.door < 0:
            self._take([pid])

    def holds(self, pids: list[int]) -> bool:
        """Return True if all these processes are in the group, after putting those there that were born meanwhile."""
        try:
            self._take([pid for pid in pids if pid not in self._members()])
            return set(pids) <= self._members()
        except OSError:
            return False

    def _take(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(OSError), open(self.path + "/cgroup.procs", "w") as file:
                file.write(str(pid))

    def _members(self) -> set[int]:
        with open(self.path + "/cgroup.procs") as file:
            return set(map(int, file.read().split()))


def make(name: str, memory_mb: int) -> Group | None:
    """Return a group with a limit, in the first place where the kernel lets us make one; None if there is none."""
    for version, place in places() if memory_mb else ():
        with suppress(OSError):
            return Group(version, f"{place}/{name}", memory_mb)
    return None


def places(proc: str = "/proc/self") -> list[tuple[int, str]]:
    """Return where a group that limits memory could be made: the version of the kernel's interface, and a folder.

    In version 2 a group with processes has no limited children: then it is made beside our own.
    """
    found: list[tuple[int, str]] = []
    try:
        with open(proc + "/cgroup") as own, open(proc + "/mountinfo") as mounts:
            ours = dict(line.rstrip("\n").split(":", 2)[1:] for line in own)
            table = [line.split() for line in mounts]
    except OSError:
        return found  # not Linux
    for fields in table:
        kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
        if kind == "cgroup2":
            mine = _below(fields[3], fields[4], ours.get("", ""))
            found += [(2, place) for place in (mine, os.path.dirname(mine)) if place and _limits_children(place)]
        elif kind == "cgroup" and "memory" in options:
            of_memory = [path for controllers, path in ours.items() if "memory" in controllers.split(",")]
            found += [(1, place) for path in of_memory if (place := _below(fields[3], fields[4], path))]
    return found


def _below(root: str, point: str, path: str) -> str:
    """Return a group's path in a mount that shows the groups below `root`; empty if it is not among them."""
    root = root.rstrip("/")
    return point + path[len(root) :].rstrip("/") if path and (path + "/").startswith(root + "/") else ""


def _limits_children(place: str) -> bool:
    try:
        with open(place + "/cgroup.subtree_control") as file:
            return "memory" in file.read().split()
    except OSError:
        return False


def _make(path: str) -> int:
    """Make the folder of a group and lock it, with no moment in which a sweep could take it for abandoned."""
    for _ in range(5):
        with suppress(FileExistsError):
            os.mkdir(path)
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
            os.close(lock)
    raise FileNotFoundError(path)


def remove(name: str) -> None:
    """Remove the group of a sandbox whose processes have all ended; nothing happens where there is none."""
    for _version, place in places():
        with suppress(OSError):
            os.rmdir(f"{place}/{name}")


def sweep() -> int:
    """Remove groups whose launchers are dead and in which nothing runs; return how many were removed."""
    removed = 0
    for _version, place in places():
        with suppress(OSError):
            for name in os.listdir(place):
                removed += name.startswith(PREFIX) and _swept(f"{place}/{name}")
    return removed


def _swept(path: str) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rmdir(path)  # the kernel refuses while a process is in it
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def killed(fd: int) -> int:
    """Return how many processes the kernel has ended in a group because it was full; `fd` is its `kills`."""
    if fd < 0:
        return 0
    with suppress(OSError):
        for line in os.pread(fd, 4096, 0).splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
