"""Landlock: which files, ports, sockets and processes this process and its children may still reach."""

from __future__ import annotations

import errno
import os
import struct

from . import kernel

EXECUTE, WRITE_FILE, READ_FILE, READ_FOLDER = 1, 2, 4, 8
MAKE_CHARACTER_DEVICE, MAKE_BLOCK_DEVICE = 1 << 6, 1 << 11
REFER, TRUNCATE, DEVICE_IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL
_ABI_1, _ABI_2, _ABI_3, _ABI_5 = (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 16) - 1
_RICHEST_FIRST = (  # files, network (bind and connect TCP), scope (abstract sockets and signals)
    (_ABI_5, 3, 3),
    (_ABI_5, 3, 0),
    (_ABI_3, 3, 0),
    (_ABI_3, 0, 0),
    (_ABI_2, 0, 0),
    (_ABI_1, 0, 0),
)


def restrict(readable: list[str], writable: list[str], files_only: list[str], own_network: bool) -> None:
    """Close everything but these paths, with the richest rules that the kernel knows. Raises `OSError`.

    `files_only` may be read as files but not listed. `own_network`: a network namespace holds already, and servers on
    its own loopback may live.
    """
    rules, files = _create(own_network)
    try:
        read = (EXECUTE | READ_FILE | READ_FOLDER) & files
        write = files & ~(MAKE_CHARACTER_DEVICE | MAKE_BLOCK_DEVICE | DEVICE_IOCTL)
        for path in readable:
            _allow(rules, path, read, files)
        for path in files_only:
            _allow(rules, path, READ_FILE & files, files)
        for path in writable:
            _allow(rules, path, write, files)
        for name in ("null", "full", "random", "urandom"):  # not zero: a shared mapping of it is counted by nobody
            _allow(rules, "/dev/" + name, (WRITE_FILE | READ_FILE | TRUNCATE) & files, files)
        kernel.syscall(kernel.NR_LANDLOCK_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _create(own_network: bool) -> tuple[int, int]:
    for files, network, scope in _RICHEST_FIRST:
        if own_network:
            network = 0
        attributes = struct.pack("QQQ", files, network, scope)
        size = 24 if scope else 16 if network else 8
        try:
            return kernel.syscall(kernel.NR_LANDLOCK_CREATE, attributes, size, 0), files
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                raise OSError(error.errno, "this kernel has no Landlock") from error
    raise OSError(errno.ENOSYS, "this kernel's Landlock is unknown to us")


def _allow(rules: int, path: str, rights: int, files: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what does not exist needs no permission
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS & files
        kernel.syscall(kernel.NR_LANDLOCK_ADD, rules, 1, struct.pack("=Qi", rights, fd), 0)
    finally:
        os.close(fd)
