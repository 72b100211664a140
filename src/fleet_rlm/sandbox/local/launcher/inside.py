"""The last steps in the process that becomes the driver: give up what it could do, try to break out, report."""

from __future__ import annotations

import os

from . import kernel, landlock, limits, runtime, seccomp
from .plan import INSIDE_INPUTS, INSIDE_SCRATCH, LINUX, Finding, Plan
from .proofs import Attempt, Targets


def close_doors(plan: Plan, targets: Targets, *, own_root: bool, with_landlock: bool, with_seccomp: bool,
                already_owned: int = 0, finding: Finding | None = None) -> Finding:  # fmt: skip
    """Give up what this process could do, and find out what holds.

    `own_root`: namespaces of its own already hide files, network and processes; Landlock and seccomp are a second wall.
    """
    finding = finding or Finding()
    finding.driver = os.getpid()
    scratch = INSIDE_SCRATCH if own_root else plan.scratch
    os.chdir(scratch)
    os.umask(0o077)
    allowed = runtime.set_environment(scratch)
    if LINUX:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # or its own files in /proc would be closed to it
        try:
            kernel.write_file("/proc/self/oom_score_adj", "1000")
        except OSError:
            finding.notes.append("when the machine's memory runs out, the kernel may end another program first")
    if with_landlock:
        try:
            _landlock(plan, own_root)
        except OSError as error:
            if not own_root:
                raise
            finding.notes.append(f"no second wall: {error.strerror or error}")
    finding.limits = limits.apply(plan, already_owned)
    if LINUX:  # the driver stays so, out of the generated code's reach; the filter would refuse it later
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if with_seccomp:
        seccomp.install(not own_root, () if own_root else (targets.process, os.getppid()))
    Attempt(targets).run(finding, allowed)
    return finding


def _landlock(plan: Plan, own_root: bool) -> None:
    if own_root:
        landlock.restrict(["/"], [INSIDE_SCRATCH, "/dev/shm", "/proc/self"], [], own_network=True)
        return
    readable = [os.path.realpath(path) for path in runtime.readable_paths(plan)] + [plan.inputs]
    machine = ["/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/filesystems"]
    landlock.restrict(readable, [plan.scratch], ["/proc/self", "/sys/devices/system/cpu", *machine], own_network=False)


def inputs_path(plan: Plan, mode: str) -> str:
    """Return the folder where generated code finds its inputs."""
    return INSIDE_INPUTS if mode in ("namespaces", "bubblewrap") else plan.inputs


def hand_over(report: int, go: int, finding: Finding) -> None:
    """Tell the launcher what was found, wait for its word, and keep no descriptor but the driver's three."""
    with os.fdopen(report, "wb") as pipe:
        pipe.write(b"R" + finding.dump())
    if os.read(go, 1) != b"g":
        os._exit(125)
    os.closerange(3, 65536)
