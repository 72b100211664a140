"""Refuse the system calls that generated code has no honest use for."""

from __future__ import annotations

import ctypes
import errno
import struct

from . import kernel

# name: (x86-64, aarch64); None where the architecture has no such call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes' memory and descriptors
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "setpriority": (141, 140), "ioprio_set": (251, 30),
    # mounts and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    # doors into the kernel that have been broken before
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "personality": (135, 92), "mknod": (133, None), "mknodat": (259, 33),
    # the machine itself
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, None), "ioperm": (173, None),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "uselib": (134, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "vhangup": (153, 58),
    # System V and POSIX IPC outlives its process; memory that no limit counts
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190), "msgget": (68, 186),
    "mq_open": (240, 180),
    # pages that a pipe holds after their process let go of them; a ring that the machine has few of
    "vmsplice": (278, 75), "io_setup": (206, 0),
}  # fmt: skip
ABSENT: dict[str, tuple[int | None, int | None]] = {
    # answered as by a kernel that has no such call, so that libraries fall back
    "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "clone3": (435, 435),  # hides its flags from the filter; libc falls back to clone
}  # fmt: skip
SELF_ONLY: dict[str, tuple[int, int]] = {
    # limits and scheduling: of oneself (pid 0), never of another process of the same user
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
PRETENDED: dict[str, tuple[int | None, int | None]] = {
    # on the shared host: Landlock does not guard modes, owners, dates and extended attributes of files outside, and a
    # tree that stays in one process group can be killed at once. "Done", and nothing is done.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setsid": (112, 157), "setpgid": (109, 154),
}  # fmt: skip
MMAP: tuple[int, int] = (9, 222)
_SHARED_WITHOUT_A_FILE, _HUGE = 0x21, 0x40000
CLONE_THREAD, CLONE_FILES = 0x10000, 0x400
SIGNALS: dict[str, tuple[int, int]] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}  # fmt: skip
PIDFD_SEND_SIGNAL, FCNTL = (424, 424), (72, 25)
_OWNER_OF_SIGNALS = (8, 10, 15)
"""`F_SETOWN`, `F_SETSIG`, `F_SETOWN_EX`: any signal to any process."""
WATCHING: tuple[int, int] = (254, 27)  # inotify_add_watch
SOCKET: tuple[int, int] = (41, 198)
SOCKETPAIR: tuple[int, int] = (53, 199)
PRCTL: tuple[int, int] = (157, 167)
IOCTL: tuple[int, int] = (16, 29)
NEWER = 463
"""The first call that this list does not know: it and newer ones fail as on an older kernel."""

_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x50000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, (16, 24, 32, 40)


def program(shared_host: bool, guards: tuple[int, ...] = ()) -> bytes:
    """Return the filter. `shared_host`: no namespaces, so sockets and changes of metadata must be refused here.

    `guards`: processes on the shared host that no signal may reach; their groups neither.
    """
    steps: list[tuple[int, int, int, int]] = []

    def add(code: int, value: int, yes: int = 0, no: int = 0) -> None:
        steps.append((code, yes, no, value & 0xFFFFFFFF))

    def answer(numbers: tuple[int | None, int | None], result: int) -> None:
        number = numbers[kernel.COLUMN]
        if number is not None:
            add(_EQUAL, number, 0, 1)
            add(_RETURN, result)

    refused, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    add(_LOAD, _ARCHITECTURE)
    add(_EQUAL, kernel.AUDIT_ARCHITECTURE or 0, 1, 0)
    add(_RETURN, _KILL)  # another architecture's calls (int 0x80)
    add(_LOAD, _NUMBER)
    add(_AT_LEAST, NEWER, 0, 1)  # x32 calls lie above too
    add(_RETURN, absent)
    for numbers in REFUSED.values():
        answer(numbers, refused)
    for numbers in ABSENT.values():
        answer(numbers, absent)
    for own in SELF_ONLY.values():
        add(_EQUAL, own[kernel.COLUMN], 0, 4)
        add(_LOAD, _ARGUMENT[0])
        add(_EQUAL, 0, 0, 1)
        add(_RETURN, _ALLOW)
        add(_RETURN, refused)
    add(_EQUAL, kernel.NR_CLONE[kernel.COLUMN], 0, 6)
    add(_LOAD, _ARGUMENT[0])
    add(_ANY_BIT, kernel.CLONE_ANY_NEW, 2, 0)
    add(_AND, CLONE_THREAD | CLONE_FILES)  # a thread with open files of its own, where nobody looks
    add(_EQUAL, CLONE_THREAD, 0, 1)
    add(_RETURN, refused)
    add(_RETURN, _ALLOW)
    add(_EQUAL, MMAP[kernel.COLUMN], 0, 8)  # memory that stays when no process maps its pages any more: not counted
    add(_LOAD, _ARGUMENT[3])
    add(_AND, _SHARED_WITHOUT_A_FILE)
    add(_EQUAL, _SHARED_WITHOUT_A_FILE, 0, 1)
    add(_RETURN, refused)
    add(_LOAD, _ARGUMENT[3])
    add(_ANY_BIT, _HUGE, 0, 1)
    add(_RETURN, _ERRNO | errno.ENOMEM)
    add(_RETURN, _ALLOW)
    add(_EQUAL, IOCTL[kernel.COLUMN], 0, 5)  # TIOCSTI, TIOCLINUX: no typing into a terminal
    add(_LOAD, _ARGUMENT[1])
    add(_EQUAL, 0x5412, 1, 0)
    add(_EQUAL, 0x541C, 0, 1)
    add(_RETURN, refused)
    add(_RETURN, _ALLOW)
    if shared_host:
        answer(SOCKET, _ERRNO | errno.EACCES)
        answer(PIDFD_SEND_SIGNAL, refused)
        kept = [1, *guards] if guards else []
        for call in SIGNALS.values() if guards else ():  # -1: everybody's processes
            add(_EQUAL, call[kernel.COLUMN], 0, 2 * len(kept) + 3)
            add(_LOAD, _ARGUMENT[0])
            targets = [sign * pid for pid in kept for sign in (1, -1)]
            for index, pid in enumerate(targets):
                add(_EQUAL, pid, len(targets) - index, 0)
            add(_RETURN, _ALLOW)
            add(_RETURN, refused)
        add(_EQUAL, FCNTL[kernel.COLUMN], 0, len(_OWNER_OF_SIGNALS) + 3)
        add(_LOAD, _ARGUMENT[1])
        for index, command in enumerate(_OWNER_OF_SIGNALS):
            add(_EQUAL, command, len(_OWNER_OF_SIGNALS) - index, 0)
        add(_RETURN, _ALLOW)
        add(_RETURN, refused)
        add(_EQUAL, SOCKETPAIR[kernel.COLUMN], 0, 6)  # a datagram pair can still send to any socket's name
        add(_LOAD, _ARGUMENT[1])
        add(_AND, 0xF)
        add(_EQUAL, 1, 1, 0)  # SOCK_STREAM
        add(_EQUAL, 5, 0, 1)  # SOCK_SEQPACKET
        add(_RETURN, _ALLOW)
        add(_RETURN, _ERRNO | errno.EACCES)
        answer(WATCHING, _ERRNO | errno.EACCES)
        add(_EQUAL, PRCTL[kernel.COLUMN], 0, 6)  # a process that hides from the watcher could hide open files
        add(_LOAD, _ARGUMENT[0])
        add(_EQUAL, kernel.PR_SET_DUMPABLE, 0, 3)
        add(_LOAD, _ARGUMENT[1])
        add(_EQUAL, 1, 1, 0)  # the driver's worker does the opposite
        add(_RETURN, refused)
        add(_RETURN, _ALLOW)
        for numbers in PRETENDED.values():
            answer(numbers, _ERRNO)
    else:
        families = (1, 2, 10, 16)  # UNIX, INET, INET6, NETLINK: vsock and others leak out of a network namespace
        add(_EQUAL, SOCKET[kernel.COLUMN], 0, len(families) + 3)
        add(_LOAD, _ARGUMENT[0])
        for index, family in enumerate(families):
            add(_EQUAL, family, len(families) - index, 0)
        add(_RETURN, _ERRNO | errno.EAFNOSUPPORT)
        add(_RETURN, _ALLOW)
    add(_RETURN, _ALLOW)
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def install(shared_host: bool, guards: tuple[int, ...] = ()) -> None:
    """Put the filter in force for this process and all it starts; needs no-new-privileges. Raises `OSError`.

    Only where `kernel.KNOWN`.
    """
    raw = program(shared_host, guards)
    code = ctypes.create_string_buffer(raw, len(raw))
    head = struct.pack("HxxxxxxP", len(raw) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(head, len(head))
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.addressof(pointer))  # SECCOMP_MODE_FILTER
