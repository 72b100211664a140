"""The mode `namespaces`: users, processes, mounts, network, IPC, host name and cgroups, by one `clone`."""

from __future__ import annotations

import _socket
import os
import signal
import struct

from . import kernel, limits, watcher
from .inside import close_doors, hand_over
from .kernel import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS
from .plan import USER_ID, Plan
from .proofs import Targets
from .root import Root
from .start import Driver, Pipes

ALL = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP


def start(plan: Plan, targets: Targets, pipes: Pipes) -> int:
    """Start the watcher as process 1 of new namespaces; return its pid. Raises `OSError`, in the driver `Driver`."""
    owned = limits.already_owned(plan, own_namespace=True)
    another_user = plan.another_user  # asked here: inside, before the ids are mapped, everyone is nobody
    mapped_read, mapped_write = os.pipe()
    pid = kernel.clone(ALL)
    if pid == 0:
        os.close(mapped_write)
        pipes.keep_inside()
        with pipes.telling_failures():
            if os.read(mapped_read, 1) != b"m":
                os._exit(125)
            os.close(mapped_read)
            _become_process_one(plan, another_user)
            child = os.fork()
            if child == 0:
                os.close(pipes.life_read)
                os.setsid()
                finding = close_doors(
                    plan, targets, own_root=True, with_landlock=True, with_seccomp=True, already_owned=owned
                )
                hand_over(pipes.say_write, pipes.go_read, finding)
                raise Driver
        os._exit(watcher.run(plan, child, pipes, own_pids=True))
    os.close(mapped_read)
    try:
        _map_ids(pid, plan)
        os.write(mapped_write, b"m")
    finally:
        os.close(mapped_write)  # without an "m" the child ends
    return pid


def _map_ids(pid: int, plan: Plan) -> None:
    uid = plan.private_uid
    if plan.another_user:  # 0 builds the mounts; generated code runs as a user that owns nothing on this machine
        for kind in ("uid", "gid"):
            kernel.write_file(f"/proc/{pid}/{kind}_map", f"0 0 1\n{USER_ID} {uid} 1\n")
        return
    kernel.write_file(f"/proc/{pid}/uid_map", f"{USER_ID} {uid} 1\n")
    kernel.write_file(f"/proc/{pid}/setgroups", "deny")
    kernel.write_file(f"/proc/{pid}/gid_map", f"{USER_ID} {os.getegid()} 1\n")


def _become_process_one(plan: Plan, another_user: bool) -> None:
    Root(plan).build()
    _loopback_up()
    kernel.LIBC.sethostname(b"sandbox", 7)
    kernel.drop_capability_bounds()
    if another_user:
        kernel.become(USER_ID)
    kernel.zero_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of ids clears it, so only now
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _loopback_up() -> None:
    import fcntl

    set_flags, up_and_running = 0x8914, 0x41
    socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        fcntl.ioctl(socket.fileno(), set_flags, struct.pack("16sH14x", b"lo", up_and_running))
    except OSError:
        return  # local servers will not work; nothing is less safe
    finally:
        socket.close()
