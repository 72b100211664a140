"""Modes without namespaces: Landlock, or a filter of system calls, or limits alone, on the machine's own files."""

from __future__ import annotations

import os
import signal
import sys

from . import kernel, limits, watcher
from .inside import close_doors, hand_over
from .plan import LINUX, Finding, Plan
from .proofs import Targets
from .start import Driver, Pipes


def start(plan: Plan, targets: Targets, pipes: Pipes, mode: str) -> int:
    """Start a watcher and its driver; the watcher's pid. Raises `OSError`, or `Driver` in the driver.

    Launcher and watcher both adopt orphans: whichever of them is killed, the other one ends the tree.
    """
    if mode != "limits" and not kernel.KNOWN:
        raise OSError(38, "needs Linux on x86-64 or aarch64")
    if LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    owned = limits.already_owned(plan, own_namespace=False)
    pid = os.fork()
    if pid:
        return pid
    pipes.keep_inside()
    with pipes.telling_failures():
        if LINUX:
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        child = os.fork()
        if child == 0:
            os.close(pipes.life_read)
            os.setsid()
            finding = Finding()
            _give_up_privileges(plan, finding)
            close_doors(
                plan,
                targets,
                own_root=False,
                with_landlock=mode == "landlock",
                with_seccomp=mode != "limits",
                already_owned=owned,
                finding=finding,
            )
            hand_over(pipes.say_write, pipes.go_read, finding)
            raise Driver
    pipes.keep_watching()
    os._exit(watcher.run(plan, child, pipes.life_read, own_pids=False))


def _give_up_privileges(plan: Plan, finding: Finding) -> None:
    if LINUX and os.geteuid() == 0:
        kernel.drop_capability_bounds()
    if plan.another_user:
        if _python_readable_as(plan.private_uid):
            kernel.become(plan.private_uid)
        else:
            finding.notes.append("generated code runs as root: only root can read this Python")
            os.chown(plan.scratch, 0, 0)
    if LINUX:
        kernel.zero_capabilities()
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _python_readable_as(uid: int) -> bool:
    """Whether another user could import from this Python. Tried in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            kernel.become(uid)
            os.listdir(os.path.dirname(os.__file__))
            reachable = os.access(sys.executable, os.X_OK)
        except OSError:
            reachable = False
        os._exit(0 if reachable else 1)
    return os.waitpid(pid, 0)[1] == 0
