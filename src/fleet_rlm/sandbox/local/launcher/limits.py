"""Resource limits of one process and its children, which the kernel enforces."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from .plan import LINUX, MIB, Plan


def apply(plan: Plan, already_owned: int) -> dict[str, bool]:
    """Set the limits; return which hold. `already_owned`: threads of this user id that the kernel counts along."""
    held: dict[str, bool] = {"core dumps": _limit(resource.RLIMIT_CORE, 0)}
    if plan.file_mb:
        held["file size"] = _limit(resource.RLIMIT_FSIZE, plan.file_mb * MIB)
    if plan.open_files:
        held["open files"] = _limit(resource.RLIMIT_NOFILE, plan.open_files)
    if plan.memory_mb:
        # address space beyond memory: numerical libraries reserve much more than they use
        in_all = _limit(resource.RLIMIT_AS, (plan.memory_mb + 4096) * MIB)
        held["memory"] = _limit(resource.RLIMIT_DATA, plan.memory_mb * MIB) or in_all
    if plan.processes:
        held["processes"] = _limit(resource.RLIMIT_NPROC, already_owned + plan.processes) and os.getuid() != 0
    if plan.cpu_seconds:
        held["cpu"] = _limit(resource.RLIMIT_CPU, plan.cpu_seconds, spare=2)
    held["tree"] = LINUX
    _limit(resource.RLIMIT_MEMLOCK, 65536)
    if LINUX:
        _limit(resource.RLIMIT_MSGQUEUE, 0)
        _limit(resource.RLIMIT_SIGPENDING, 1024)
    return held


def _limit(which: int, amount: int, spare: int = 0) -> bool:
    """Set a limit, never above what is already in force; return True if a limit this low now holds.

    `spare` lies between the soft limit, which a process can notice, and the hard one.
    """
    hard = resource.getrlimit(which)[1]
    top = amount + spare if hard == resource.RLIM_INFINITY else min(amount + spare, hard)
    with suppress(ValueError, OSError):  # told by what is in force afterwards
        resource.setrlimit(which, (min(amount, top), top))
    now = resource.getrlimit(which)[1]
    return now != resource.RLIM_INFINITY and now <= amount + spare


def already_owned(plan: Plan, own_namespace: bool) -> int:
    """Return how many threads of the sandbox's user the kernel will count along with the sandbox's own."""
    kernel_counts_apart = own_namespace and _counts_by_namespace()
    return 0 if kernel_counts_apart else threads_of(plan.private_uid)


def threads_of(uid: int) -> int:
    """Return how many threads a user runs on this machine: outside a namespace all count against its limit."""
    count = 0
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue  # it ended meanwhile
    return count


def _counts_by_namespace() -> bool:
    """Return True if the kernel counts a user's processes separately in each user namespace (since 5.14)."""
    try:
        major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= (5, 14)
