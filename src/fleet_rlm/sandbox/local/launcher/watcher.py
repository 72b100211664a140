"""The watcher: waits for the driver, keeps the whole tree within its limits, ends it when the launcher is gone.

The kernel limits each process; memory, CPU seconds and the number of processes of the *tree* are added up here, ten
times a second. In namespaces and bubblewrap the watcher is process 1 inside, so its end is the end of everything.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import stat
import time
from contextlib import suppress

from . import group, kernel
from .plan import LINUX, MIB, Plan, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .start import Pipes

PATIENCE = 0.1
"""Seconds between two checks of the tree."""
WORKING_PATIENCE = 0.02
"""The same while code works and no file system of the sandbox's own bounds its files: a disk takes 100 MiB in 0.1 s."""
HASTE = 0.01
"""The same while much memory is used, or where the kernel does not limit the number of processes."""
_SECONDS_TO_DIE = 5.0
_SECONDS_HIDDEN = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Tree:
    """The processes of one sandbox, as seen from the process that guards them."""

    def __init__(self, driver: int | None, own_pids: bool) -> None:
        self.driver = driver
        self.own_pids = own_pids
        """The watcher is process 1 of a process namespace: whatever else lives there is the tree."""

    def pids(self) -> list[int]:
        if self.own_pids:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        if LINUX:
            return below(os.getpid())
        return [self.driver] if self.driver else []

    def runs_as_root(self) -> bool:
        """Return True if the driver is the machine's root, whom no limit of processes binds."""
        try:
            return os.stat(f"/proc/{self.driver}").st_uid == 0
        except OSError:
            return False

    def kill(self) -> None:
        """End every process, and reap what can be reaped."""
        if self.own_pids:
            _kill(-1)
            return
        self._kill_groups([self.driver] if self.driver else [])
        for _ in range(500):
            pids = descendants(os.getpid()) if LINUX else self.pids()
            self._kill_groups(pids)
            for pid in pids:
                _kill(pid)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return
            select.select([], [], [], 0.002)

    @staticmethod
    def _kill_groups(pids: list[int]) -> None:
        """End the groups of living processes: a whole group at once leaves no moment to fork in."""
        for leader in {_group(pid) for pid in pids} - {0, os.getpgrp()}:
            _kill(-leader)


def _group(pid: int) -> int:
    """Return the process group of a living process; 0 if it is gone."""
    try:
        return os.getpgid(pid)
    except OSError:
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise


def _listed_below(root: int) -> list[int]:
    """Return the processes below `root` as the kernel lists them: quick, but may miss some while others end."""
    found, todo = [], [root]
    while todo:
        tasks = f"/proc/{todo.pop()}/task"
        try:
            for task in os.listdir(tasks):
                with open(f"{tasks}/{task}/children", "rb") as file:
                    below = [int(pid) for pid in file.read().split()]
                found += below
                todo += below
        except OSError:
            continue  # it ended, or this kernel has no such list
    return found


def below(root: int) -> list[int]:
    """Return the processes below `root`, in the quickest way that this kernel offers."""
    return _listed_below(root) or descendants(root)


def descendants(root: int) -> list[int]:
    """Return every process below `root`, whatever session or group it put itself into."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _stat(int(name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _stat(pid: int) -> list[bytes]:
    """Return the fields of `/proc/PID/stat` from the state on (field 3); empty if the process is gone."""
    return _fields(f"/proc/{pid}/stat")


def _fields(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def living(pid: int) -> str:
    """Return the folder in /proc of a process, or of a thread that lives on after its process's first thread."""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            path = f"/proc/{pid}/task/{thread}"
            if _fields(path + "/stat")[:1] not in ([b"Z"], []):
                return path
    return f"/proc/{pid}"


class Usage:
    """The tree's use: bytes of memory with page tables, the process that uses most, CPU seconds, processes."""

    def __init__(self, pids: list[int]) -> None:
        self.memory, self.largest, self.largest_pid, self.cpu, self.count = 0, 0, 0, 0.0, 0
        for pid in pids:
            fields = _stat(pid)
            if fields and fields[0] == b"Z":
                fields = _fields(living(pid) + "/stat")
            if not fields or fields[0] == b"Z":
                continue
            self.count += 1
            self.cpu += sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICK
            resident = int(fields[21]) * _PAGE + page_tables(pid)
            self.memory += resident
            if resident > self.largest:
                self.largest, self.largest_pid = resident, pid


def page_tables(pid: int) -> int:
    """Return the bytes of a process's page tables, which may be more than its pages where these are sparse."""
    with suppress(OSError), open(living(pid) + "/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmPTE:"):
                return int(line.split()[1]) * 1024
    return 0


def shared_out(pids: list[int]) -> int:
    """Return bytes of memory with shared pages counted once, where the kernel tells; slower than adding up."""
    total = 0
    for pid in pids:
        total += page_tables(pid)
        try:
            with open(f"{living(pid)}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith((b"Pss:", b"SwapPss:")):
                        total += int(line.split()[1]) * 1024
        except OSError:
            fields = _fields(living(pid) + "/stat")
            total += int(fields[21]) * _PAGE if fields else 0
    return total


def folder_size(path: str, enough: int) -> int:
    """Return the bytes that a folder takes on disk, counted only until there is `enough`.

    A folder that can't be read (closed, or deeper than a path may be long) counts as enough: it could hold anything.
    """
    total, todo = 0, [path]
    while todo and total < enough:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    total += max(_PAGE, state.st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except FileNotFoundError:
            continue  # removed while we looked
        except OSError:
            return enough
    return total


def removed_but_kept(pids: list[int], scratch: str) -> tuple[int, int, int]:
    """Return files without a name: bytes of open ones, how many are only mapped, how many wait in a socket."""
    opened: dict[tuple[int, int], int] = {}
    mapped: set[tuple[int, int]] = set()
    on_their_way = 0
    for pid in pids:
        path = living(pid)
        with suppress(OSError):  # it ended, or we may not look
            for fd in os.listdir(path + "/fd"):
                with suppress(FileNotFoundError):
                    state = os.stat(f"{path}/fd/{fd}")
                    if stat.S_ISREG(state.st_mode) and not state.st_nlink:
                        opened[state.st_dev, state.st_ino] = state.st_blocks * 512
                    elif stat.S_ISSOCK(state.st_mode):
                        on_their_way += _carried(f"{path}/fdinfo/{fd}")
        with suppress(OSError), open(path + "/maps", "rb") as file:
            inside = scratch.encode() + b"/"
            for line in file:
                fields = line.rstrip(b"\n").split(None, 5)
                if len(fields) == 6 and fields[5].startswith(inside) and fields[5].endswith(b" (deleted)"):
                    major, _, minor = fields[3].partition(b":")
                    mapped.add((os.makedev(int(major, 16), int(minor, 16)), int(fields[4])))
    return sum(opened.values()), len(mapped - set(opened)), on_their_way


def _carried(path: str) -> int:
    """Return how many open files wait in a socket for somebody to take them."""
    with suppress(OSError), open(path, "rb") as file:
        for line in file:
            if line.startswith(b"scm_fds:"):
                return int(line.split()[1])
    return 0


def may_be_looked_into(pid: int) -> bool:
    """Return False if a process hides its open files; one that is gone does not count as hiding."""
    try:
        os.listdir(living(pid) + "/fd")
    except PermissionError:
        return False
    except OSError:
        return True
    return True


class Watcher:
    """Enforces the limits of one sandbox's tree until its driver ends."""

    def __init__(self, plan: Plan, tree: Tree, pipes: Pipes) -> None:
        self.plan, self.tree, self.lifeline, self._kills = plan, tree, pipes.life_read, pipes.kills
        """`lifeline` reads as ended when the launcher is gone."""
        self._killed, self._killed_at = 0, 0.0
        """Count of processes that the kernel ended because the sandbox's group was full; when the last one was seen."""
        self._doomed: set[int] = set()
        self._reaped_cpu = 0.0
        self._scratch_checked = self._scratch_cost = 0.0
        self._nothing_waited = time.monotonic()
        self._hiding: dict[int, float] = {}
        self.processes_limited = tree.own_pids or not tree.runs_as_root()
        self._cpu_seen = 0.0

    def run(self) -> int:
        """Watch until the driver has ended, end the rest of the tree, and return the driver's wait status."""
        try:
            status = self._watch()
            if status == signal.SIGKILL and self._just_full():
                words = f"the sandbox used its {self.plan.memory_mb} MiB of memory"
                say(self.plan.report_fd, {"ended": f"{words} (files in memory and the kernel's buffers included)"})
        finally:
            self.tree.kill()
        return status

    def _just_full(self) -> bool:
        """Return True if the kernel has lately ended a process because the group was full: a large one dies slowly."""
        killed, now = group.killed(self._kills), time.monotonic()
        if killed > self._killed:
            self._killed, self._killed_at = killed, now
        return bool(self._killed) and now - self._killed_at < _SECONDS_TO_DIE

    def _watch(self) -> int:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        due = time.monotonic()
        while True:
            status = self._reap()
            if status is not None:
                return status
            if time.monotonic() >= due:  # by the clock: no flood of events keeps it from looking
                due = self._look() + time.monotonic()
            left = max(0.0, due - time.monotonic())
            ready = select.select([self.lifeline, wake_read], [], [], left)[0]
            if self.lifeline in ready and os.read(self.lifeline, 1) == b"":
                return signal.SIGKILL
            if wake_read in ready:
                os.read(wake_read, 4096)

    def _reap(self) -> int | None:
        """Reap orphans; return the driver's wait status once it has ended."""
        for _ in range(1000):
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid == 0:
                break
            self._reaped_cpu += used.ru_utime + used.ru_stime
            if pid == self.tree.driver:
                return status
        return None

    def _look(self) -> float:
        """Enforce the tree's limits once; return the seconds until the next check."""
        plan, pids = self.plan, self.tree.pids()
        self._just_full()
        if plan.processes and len(pids) > 2 * plan.processes:
            self._end(f"the sandbox ran more than {plan.processes} processes")
            return HASTE
        self._doomed &= set(pids)  # killed already, its pages not yet given back
        pids = [pid for pid in pids if pid not in self._doomed]
        usage = Usage(pids) if LINUX else Usage([])
        limit = plan.memory_mb * MIB
        if limit and usage.memory > limit and shared_out([pid for pid in pids if pid != self.tree.driver]) > limit:
            self._too_much_memory(usage)
        if plan.cpu_seconds and usage.cpu + self._reaped_cpu > plan.cpu_seconds:
            self._end(f"the sandbox used its {plan.cpu_seconds} CPU seconds")
        if plan.processes and usage.count > plan.processes + 2:
            self._end(f"the sandbox ran more than {plan.processes} processes")
        working, self._cpu_seen = usage.cpu > self._cpu_seen, usage.cpu
        if not self.tree.own_pids:  # else files are bounded by their file system, and memory is seen anyway
            self._no_hiding(pids)
            self._shared_host(pids, working)
        if (limit and usage.memory > limit // 2) or not self.processes_limited:
            return HASTE
        return WORKING_PATIENCE if working and not self.tree.own_pids else PATIENCE

    def _no_hiding(self, pids: list[int]) -> None:
        """End what has made itself unreadable for more than a second: nobody could count what it holds."""
        now = time.monotonic()
        hiding = [pid for pid in pids if pid != self.tree.driver and LINUX and not may_be_looked_into(pid)]
        self._hiding = {pid: self._hiding.get(pid, now) for pid in hiding}
        for pid, since in self._hiding.items():
            if now - since > _SECONDS_HIDDEN:
                self._doomed.add(pid)
                _kill(pid)

    def _shared_host(self, pids: list[int], working: bool) -> None:
        """Enforce what nothing else limits where the sandbox has no root of its own."""
        plan, now = self.plan, time.monotonic()
        if LINUX and _stat(os.getppid())[:1] == [b"T"]:
            self._end("the launcher was stopped")
        pause = max(WORKING_PATIENCE if working else 0.2, 10 * self._scratch_cost)
        if plan.scratch_mb and now - self._scratch_checked >= pause:
            top = plan.scratch_mb * MIB
            opened, mapped, waiting = removed_but_kept(pids, plan.scratch)
            self._nothing_waited = self._nothing_waited if waiting else now
            if now - self._nothing_waited > _SECONDS_HIDDEN:  # our own driver's files are on their way for a moment
                mapped += waiting
            # a file that can't be read counts as the largest file that may be written
            if folder_size(plan.scratch, top) + opened + mapped * (plan.file_mb * MIB or top) >= top:
                self._end(f"the scratch folder grew past {plan.scratch_mb} MiB")
            self._scratch_checked = time.monotonic()
            self._scratch_cost = self._scratch_checked - now

    def _too_much_memory(self, usage: Usage) -> None:
        if usage.largest_pid == self.tree.driver:
            self._end(f"the sandbox used {usage.memory // MIB} MiB of memory, its limit is {self.plan.memory_mb}")
            return
        self._doomed.add(usage.largest_pid)
        _kill(usage.largest_pid)

    def _end(self, why: str) -> None:
        say(self.plan.report_fd, {"ended": why})
        self.tree.kill()


def run(plan: Plan, driver: int, pipes: Pipes, own_pids: bool) -> int:
    """Watch until the driver has ended; return the watcher's exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):  # only root may hurry; the watcher must get its turn among hundreds of greedy processes
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    first = 3
    for fd in sorted({pipes.life_read, plan.report_fd, pipes.kills} - {-1}):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, 65536)
    return kernel.exit_code(Watcher(plan, Tree(driver, own_pids), pipes).run())
