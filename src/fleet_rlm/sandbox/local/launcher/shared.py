"""The modes without namespaces: Landlock, or a filter of system calls, or limits alone."""

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
    """Start a watcher and its driver; return the watcher's pid. Raises `OSError`, or `Driver` in the driver.

    Launcher and watcher both adopt orphans: whichever of them is killed, the other one ends the tree.
    """
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
    os._exit(watcher.run(plan, child, pipes, own_pids=False))


def _give_up_privileges(plan: Plan, finding: Finding) -> None:
    """Become a user that owns nothing here, without capabilities, as far as this Python can be read then."""
    keep = None
    if plan.another_user and _python_readable_as(plan.private_uid, keep=None):
        _become(plan.private_uid, keep)
    elif plan.another_user and _python_readable_as(plan.private_uid, keep := kernel.CAP_DAC_READ_SEARCH):
        _become(plan.private_uid, keep)
        finding.notes.append("only root can read this Python, so the modes of files do not hold back reading")
    else:
        if plan.another_user:
            finding.notes.append("only root can read this Python, so generated code runs as root, without capabilities")
            os.chown(plan.scratch, 0, 0)
        if LINUX:
            if os.geteuid() == 0:
                kernel.drop_capability_bounds()
            kernel.zero_capabilities()
    if LINUX:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        finding.notes.append("on this system a process that leaves its session may outlive the sandbox")


def _become(uid: int, keep: int | None) -> None:
    if LINUX:
        kernel.drop_capability_bounds(keep)
        kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    kernel.become(uid)
    if LINUX:
        kernel.zero_capabilities(keep)


def _python_readable_as(uid: int, keep: int | None) -> bool:
    """Return True if another user, with this capability, could import from this Python. Tried in a child."""
    pid = os.fork()
    if pid == 0:
        try:
            _become(uid, keep)
            os.listdir(os.path.dirname(os.__file__))
            os.close(os.open(sys.executable, os.O_RDONLY))
            readable = True
        except OSError:
            readable = False
        os._exit(0 if readable else 1)
    return os.waitpid(pid, 0)[1] == 0
