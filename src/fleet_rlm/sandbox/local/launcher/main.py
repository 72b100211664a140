"""The launcher: tries the modes in order, reports the first that holds, waits, and leaves nothing behind.

Started by the engine as `python -I -S -c …`, or forked by the clean launcher (`forking.py`), in a session of its own
and with a clean environment. It has no other threads, so that it may fork and clone; the engine's death reaches it
through a pipe, not through a signal that would follow the engine's *thread*.
"""

from __future__ import annotations

import os
import select
import signal
import sys

from . import group, kernel, runtime, watcher
from .folder import remove
from .inside import inputs_path
from .plan import LINUX, Finding, Plan, say
from .proofs import Outside, judge
from .start import Driver, Pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

SECONDS_TO_START = 20.0
"""Seconds for one mode, from its first process to its report."""
_WALLS = frozenset({"files unread", "files unwritten", "metadata safe", "no tcp", "no udp", "environment clean"})
_REFUSALS = frozenset({"no new privileges", "calls filtered", "no path sockets", "no abstract sockets", "no vsock"})
REQUIRED: dict[str, frozenset[str]] = {
    "namespaces": _WALLS | _REFUSALS | {"names hidden", "processes hidden", "no signals"},
    "bubblewrap": _WALLS | _REFUSALS | {"names hidden", "processes hidden", "no signals"},
    "landlock": _WALLS | _REFUSALS,
    "limits+seccomp": _REFUSALS | {"no tcp", "no udp", "environment clean"},
    "limits": frozenset(),
}
"""The protections that must be proven for a mode to be taken. One that can't be tried here is only reported."""


class Rejected(Exception):
    """A mode that can't be used here; the message says why."""


def main() -> tuple[CodeType, dict[str, object]]:
    """Launch a sandbox; return, in the driver's process only, its code and the globals to run it in."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whatever the engine's thread had blocked
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[2] == "fork":
        from .forking import fork_for_each_sandbox

        descriptors = fork_for_each_sandbox(int(sys.argv[3]), sys.argv[4])
    else:
        descriptors = [int(number) for number in sys.argv[2:]]
    with os.fdopen(descriptors[0], "rb") as pipe:
        plan = Plan.load(pipe.read())
    plan.report_fd, plan.lifeline_fd, plan.lock_fd = descriptors[1:]
    parts = runtime.load_driver(plan.driver)
    try:
        _launch(plan)
    except Driver:
        return runtime.stage(plan, parts)
    raise AssertionError("the launcher ends in _launch")


def _launch(plan: Plan) -> None:
    for fd in (plan.report_fd, plan.lifeline_fd, plan.lock_fd):
        os.set_inheritable(fd, False)
    if LINUX:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # whoever is orphaned inside comes back here
    notes: list[str] = []
    memory = group.make(os.path.basename(plan.folder), plan.memory_mb)
    for mode in plan.modes:
        say(plan.report_fd, {"trying": mode})
        outside, pipes = Outside(plan), Pipes(plan, memory)
        try:
            pid, finding = _try(plan, mode, outside, pipes, memory)
        except (Rejected, OSError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            notes.append(f"{mode}: {words}")
            pipes.give_up()
            watcher.Tree(None, own_pids=False).kill()
            outside.close()
            continue
        outside.close()
        if LINUX:  # not earlier: a child's id maps could not be written by its own user
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        os.write(pipes.go_write, b"g")
        pipes.close(pipes.go_write, pipes.say_read, pipes.complaints)
        started = {"mode": mode, "held": finding.held, "limits": finding.limits, "notes": notes + finding.notes}
        say(plan.report_fd, {"started": {**started, "inputs": inputs_path(plan, mode)}})
        _finish(plan, _wait(plan, pid, finding.driver, pipes))
    say(plan.report_fd, {"failed": notes})
    _finish(plan, 126)


def _try(plan: Plan, mode: str, outside: Outside, pipes: Pipes, memory: group.Group | None) -> tuple[int, Finding]:
    """Start one mode up to its report. Raises `Rejected` or `OSError`, and `Driver` in the driver's process."""
    if mode != "limits" and not kernel.KNOWN:
        raise Rejected("needs Linux on x86-64 or aarch64")
    if mode == "namespaces":
        from . import namespaces

        pid = namespaces.start(plan, outside.targets, pipes)
    elif mode == "bubblewrap":
        from . import bubblewrap

        pid = bubblewrap.start(plan, outside.targets, pipes)
    else:
        from . import shared

        pid = shared.start(plan, outside.targets, pipes, mode)
    pipes.keep_outside()
    if memory:
        memory.begin(pid)
    answer = _listen(pipes.say_read)
    if answer[:1] != b"R":
        words = answer[1:].decode(errors="replace") or pipes.last_words()
        raise Rejected(words or "ended before it could report")
    finding = Finding.load(answer[1:])
    judge(finding, outside)
    grouped = memory is not None and memory.holds([pid, *watcher.below(pid)])
    finding.limits["group"] = grouped and finding.held["files unwritten"]  # else it could leave the group again
    broken = [name for name in sorted(REQUIRED[mode]) if not finding.held.get(name, True)]
    if broken:
        raise Rejected("started, but did not hold: " + ", ".join(broken))
    return pid, finding


def _listen(fd: int) -> bytes:
    """Return all that the inside says, until it closes its end. Raises `Rejected` if that is too late."""
    answer = b""
    while select.select([fd], [], [], SECONDS_TO_START)[0]:
        more = os.read(fd, 65536)
        if not more:
            return answer
        answer += more
    raise Rejected(f"did not start within {SECONDS_TO_START:g} seconds")


def _wait(plan: Plan, pid: int, driver: int, pipes: Pipes) -> int:
    """Wait until the watcher or the engine ends, end the whole tree, and return the exit code."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    code = 128 + signal.SIGKILL
    while True:
        done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if done and os.WIFSTOPPED(status):  # by whom it watches: nobody would be held to any limit
            say(plan.report_fd, {"ended": "the watcher was stopped"})
            break
        if done:
            code = kernel.exit_code(status)
            break
        ready = select.select([plan.lifeline_fd, wake_read], [], [])[0]
        if plan.lifeline_fd in ready and os.read(plan.lifeline_fd, 1) == b"":
            break
        if wake_read in ready:
            os.read(wake_read, 512)
    pipes.close(pipes.life_write)
    watcher.Tree(None if LINUX else driver, own_pids=False).kill()
    return code


def _finish(plan: Plan, code: int) -> None:
    group.remove(os.path.basename(plan.folder))
    remove(plan.folder)
    os._exit(code)
