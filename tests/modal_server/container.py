"""A container of Linux namespaces: a root of its own that shows Python and nothing of this machine's files.

Run as `python -I -S container.py JSON`, it makes one, says its first process' id on standard output, and holds it until
standard input ends; the kernel then kills whatever runs in it. Standard library only: it runs before any package.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from typing import Any

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_RDONLY, _REMOUNT, _BIND, _REC, _PRIVATE, _DETACH = 1, 32, 4096, 16384, 1 << 18, 2
_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_KEPT_FLAGS = {os.ST_NOSUID: _NOSUID, os.ST_NODEV: _NODEV, os.ST_NOEXEC: _NOEXEC}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    plan = json.loads(sys.argv[1])
    uid, gid = os.getuid(), os.getgid()
    spaces = _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | (_NEWNET if plan["network"] == "none" else 0)
    if plan["user_namespace"]:
        _call("unshare", _libc.unshare(_NEWUSER))
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
    _call("unshare", _libc.unshare(spaces))
    ready, tell = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ready)
        _libc.prctl(_PDEATHSIG, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans are reaped by the kernel
        try:
            _build(plan)
        except OSError as error:
            os.write(tell, str(error).encode())
            os._exit(1)
        os.write(tell, b"ready")
        os.close(tell)
        os.closerange(1, 3)
        while os.read(0, 4096):
            pass
        os._exit(0)
    os.close(tell)
    said = os.read(ready, 4096).decode()
    print(json.dumps({"pid": first} if said == "ready" else {"error": said or "its first process ended"}), flush=True)
    os.close(0)
    os.waitpid(first, 0)


def _build(plan: dict[str, Any]) -> None:
    root = plan["root"]
    if plan["network"] == "none":
        _loopback_up()
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID, "mode=755")
    for name in ("proc", "dev", "etc", "root", "run", "var", "old"):
        os.mkdir(f"{root}/{name}")
    for path, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    for source, path, writable in plan["binds"]:
        _bind(source, root + path, writable)
    for device in ("null", "zero", "full", "random", "urandom"):
        _bind(f"/dev/{device}", f"{root}/dev/{device}", True)
    os.mkdir(f"{root}/dev/shm", 0o1777)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{root}/dev/{name}")
    _write(f"{root}/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    _write(f"{root}/etc/group", "root:x:0:\n")
    _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    os.chdir(root)
    _call("pivot_root", _libc.syscall(_PIVOT_ROOT, b".", b"old"))
    os.chdir("/")
    _call("umount", _libc.umount2(b"/old", _DETACH))
    os.rmdir("/old")
    socket.sethostname("modal")


_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, 155)


def _bind(source: str, target: str, writable: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "wb").close()
    _mount(source, target, None, _BIND | _REC)
    if not writable:
        flags = os.statvfs(target).f_flag
        kept = sum(flag for seen, flag in _KEPT_FLAGS.items() if flags & seen)
        _mount(None, target, None, _REMOUNT | _BIND | _RDONLY | kept)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _call(f"mount {target}", _libc.mount(*words, ctypes.c_ulong(flags), options.encode()))


def _call(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _loopback_up() -> None:
    with socket.socket() as one:
        fcntl.ioctl(one, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(1)
