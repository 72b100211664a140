"""System calls that Python does not offer, and their numbers. Nothing here runs on import but loading libc."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINE = os.uname().machine
COLUMN = {"x86_64": 0, "aarch64": 1, "arm64": 1}.get(MACHINE, 0)
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}.get(MACHINE)
"""The architecture's name in a seccomp filter; None where our call numbers are unknown, and then there is no filter."""
KNOWN = sys.platform == "linux" and AUDIT_ARCHITECTURE is not None

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_GET_SECCOMP, PR_SET_SECCOMP = 1, 4, 21, 22
PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 36, 38, 39, 47

PR_SET_KEEPCAPS = 8
CAP_DAC_READ_SEARCH = 2

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_PARENT = 0x8000
CLONE_ANY_NEW = 0x7E020000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_SILENT, MS_SLAVE = 16384, 32768, 1 << 19
MNT_DETACH = 2

# (x86-64, aarch64)
NR_CLONE, NR_PIVOT_ROOT, NR_MOUNT_SETATTR = (56, 220), (155, 41), (442, 442)
NR_LANDLOCK_CREATE, NR_LANDLOCK_ADD, NR_LANDLOCK_RESTRICT = (444, 444), (445, 445), (446, 446)


def failed(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def syscall(numbers: tuple[int, int], *args: int | bytes) -> int:
    """Make a system call by its numbers. Raises `OSError`."""
    converted = [ctypes.c_long(arg) if isinstance(arg, int) else ctypes.c_char_p(arg) for arg in args]
    result: int = LIBC.syscall(ctypes.c_long(numbers[COLUMN]), *converted)
    if result < 0:
        raise failed(f"system call {numbers[COLUMN]}")
    return result


def prctl(option: int, first: int = 0, second: int = 0) -> int:
    """Call `prctl` with up to two arguments. Raises `OSError`."""
    zero = ctypes.c_ulong(0)
    result: int = LIBC.prctl(ctypes.c_int(option), ctypes.c_ulong(first), ctypes.c_ulong(second), zero, zero)
    if result < 0:
        raise failed(f"prctl {option}")
    return result


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    def text(value: str | None) -> ctypes.c_char_p | None:
        return ctypes.c_char_p(os.fsencode(value)) if value is not None else None

    if LIBC.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(options)) != 0:
        raise failed(f"mount on {target}")


def unmount(target: str) -> None:
    if LIBC.umount2(ctypes.c_char_p(os.fsencode(target)), ctypes.c_int(MNT_DETACH)) != 0:
        raise failed(f"unmount {target}")


def mount_read_only(path: str) -> None:
    """Make a bind mount and all mounts below it read-only, without devices or set-user-id programs."""
    attributes = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)
    at_fdcwd, recursive = -100, 0x8000
    try:
        syscall(NR_MOUNT_SETATTR, at_fdcwd, os.fsencode(path), recursive, attributes, len(attributes))
        return
    except OSError as error:
        if error.errno != 38:  # ENOSYS: a kernel before 5.12
            raise
    with open("/proc/self/mountinfo") as table:
        points = [line.split()[4].encode().decode("unicode_escape") for line in table]
    for point in points:
        if point == path or point.startswith(path + "/"):
            locked = os.statvfs(point).f_flag & 0x40E  # flags that an outer namespace forbids us to clear
            mount(None, point, None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | MS_RDONLY | locked)


def clone(flags: int) -> int:
    """Fork with these flags: 0 in the child, the child's pid in the parent. Single-threaded callers only."""
    api, libc = ctypes.pythonapi, ctypes.PyDLL(None, use_errno=True)
    api.PyOS_BeforeFork()
    zero = ctypes.c_long(0)
    number = ctypes.c_long(NR_CLONE[COLUMN])
    pid: int = libc.syscall(number, ctypes.c_ulong(flags | signal.SIGCHLD), zero, zero, zero, zero)
    if pid == 0:
        api.PyOS_AfterFork_Child()
        return 0
    error = failed("clone")
    api.PyOS_AfterFork_Parent()
    if pid < 0:
        raise error
    return pid


def drop_capability_bounds(keep: int | None = None) -> None:
    """Let no program that is executed later gain a capability (but `keep`)."""
    zero = ctypes.c_ulong(0)
    for capability in range(64):
        if capability == keep:
            continue
        if LIBC.prctl(ctypes.c_int(PR_CAPBSET_DROP), ctypes.c_ulong(capability), zero, zero, zero) != 0:
            break
    LIBC.prctl(ctypes.c_int(PR_CAP_AMBIENT), ctypes.c_ulong(4), zero, zero, zero)  # PR_CAP_AMBIENT_CLEAR_ALL


def zero_capabilities(keep: int | None = None) -> None:
    """Give up every capability of this process and of what it executes (but `keep`). Raises `OSError`."""
    version_3_header, kept = struct.pack("Ii", 0x20080522, 0), 0 if keep is None else 1 << keep
    sets = struct.pack("6I", kept, kept, kept, 0, 0, 0)
    if LIBC.capset(ctypes.c_char_p(version_3_header), ctypes.c_char_p(sets)) != 0:
        raise failed("capset")
    if keep is not None:
        ambient_raise, zero = ctypes.c_ulong(2), ctypes.c_ulong(0)
        if LIBC.prctl(ctypes.c_int(PR_CAP_AMBIENT), ambient_raise, ctypes.c_ulong(keep), zero, zero) != 0:
            raise failed("prctl ambient")


def become(uid: int) -> None:
    """Change every id of this process for good; the caller may do so."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def write_file(path: str, text: str) -> None:
    """Write to an existing file of the kernel's, at once."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def exit_code(status: int) -> int:
    """Return a wait status as a shell gives it: 128 + signal if killed."""
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
