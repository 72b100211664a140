"""The mode `bubblewrap`: a program that builds the same namespaces, where it may do so and we may not."""

from __future__ import annotations

import errno
import marshal
import os
import signal
import sys
import tempfile

from . import kernel, limits, runtime, watcher
from .inside import close_doors, hand_over
from .plan import INSIDE_INPUTS, INSIDE_SCRATCH, USER_ID, Plan
from .proofs import Targets
from .root import ETC
from .start import Driver, Pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

PROGRAMS = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap", "/run/current-system/sw/bin/bwrap")
_OURS = "/run/fleet-rlm"
_BOOT = f"import sys;sys.path.insert(0,{_OURS!r});from launcher.bubblewrap import inside;exec(*inside())"


def start(plan: Plan, targets: Targets, pipes: Pipes) -> int:
    """Start bubblewrap with our watcher as process 1; return bubblewrap's pid. Raises `OSError`."""
    program = next((path for path in PROGRAMS if os.access(path, os.X_OK)), None)
    if program is None:
        raise OSError(errno.ENOENT, "bwrap is not installed")
    owned = limits.already_owned(plan, own_namespace=True)
    pipes.watch_complaints(_data(b""))
    pid = os.fork()
    if pid:
        return pid
    with pipes.telling_failures():
        pipes.keep_inside()
        handed = (pipes.say_write, pipes.go_read, pipes.life_read, pipes.kills, os.dup(2))
        for fd in (*handed, plan.report_fd):
            if fd >= 0:
                os.set_inheritable(fd, True)
        os.dup2(pipes.complaints, 2)  # what bwrap says is not the driver's
        letter = _data(marshal.dumps((vars(plan), vars(targets), owned, handed)))
        arguments = _arguments(plan, letter)
        if plan.another_user:
            kernel.become(plan.private_uid)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execve(program, [program, *arguments], {})
    os._exit(125)


def _data(content: bytes) -> int:
    """Return an inherited descriptor to read `content` from."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  its descriptor is for the program that follows
    file.write(content)
    file.seek(0)
    fd = os.dup(file.fileno())
    os.set_inheritable(fd, True)
    return fd


def _arguments(plan: Plan, letter: int) -> list[str]:
    user = str(USER_ID)
    made = ["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    made += ["--hostname", "sandbox", "--cap-drop", "ALL", "--uid", user, "--gid", user, "--proc", "/proc"]
    made += ["--dev", "/dev", "--dev-bind", "/dev/full", "/dev/zero"]  # see `root.SHOWN`
    made += ["--size", str(plan.shm_mb << 20), "--tmpfs", "/dev/shm"]
    if plan.scratch_mb:
        made += ["--size", str(plan.scratch_mb << 20)]
    made += ["--tmpfs", INSIDE_SCRATCH]
    for path in sorted(runtime.readable_paths(plan), key=len):
        real = os.path.realpath(path)
        if os.path.islink(path) and path.count("/") == 1:
            made += ["--symlink", os.readlink(path), path]
        elif os.path.exists(real):
            for target in dict.fromkeys((real, path)):
                made += ["--ro-bind", real, target]
    for name, text in ETC.items():
        made += ["--ro-bind-data", str(_data(text.encode())), "/etc/" + name]
    made += ["--ro-bind", plan.inputs, INSIDE_INPUTS]
    made += ["--ro-bind", os.path.dirname(os.path.abspath(__file__)), _OURS + "/launcher"]
    made += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in runtime.environment(INSIDE_SCRATCH).items():
        made += ["--setenv", name, value]
    python = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT]
    return [*made, "--chdir", INSIDE_SCRATCH, "--", *python, str(letter)]


def inside() -> tuple[CodeType, dict[str, object]]:
    """Run process 1 in bubblewrap's namespaces; return in the driver's process only."""
    with os.fdopen(int(sys.argv[1]), "rb") as letter:
        fields, target_fields, owned, (say_write, go_read, life_read, kills, stderr) = marshal.load(letter)
    os.dup2(stderr, 2)
    plan, targets = Plan.of(fields), Targets.of(target_fields)
    pipes = Pipes.inherited(plan, say_write, go_read, life_read, kills)
    try:
        with pipes.telling_failures():
            kernel.drop_capability_bounds()
            kernel.zero_capabilities()
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
            child = os.fork()
            if child == 0:
                os.close(life_read)
                os.setsid()
                finding = close_doors(
                    plan, targets, own_root=True, with_landlock=True, with_seccomp=True, already_owned=owned
                )
                hand_over(say_write, go_read, finding)
                raise Driver
    except Driver:
        return runtime.stage(plan, runtime.load_driver(plan.driver))
    os._exit(watcher.run(plan, child, pipes, own_pids=True))
