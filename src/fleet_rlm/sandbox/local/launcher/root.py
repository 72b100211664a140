"""A root of its own: what is readable bound read-only, a private scratch, a five-device `/dev`, a small `/etc`."""

from __future__ import annotations

import os

from . import kernel, runtime
from .kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SILENT, MS_SLAVE
from .plan import INSIDE_INPUTS, INSIDE_SCRATCH, USER_ID, Plan

ETC = {
    "passwd": f"user:x:{USER_ID}:{USER_ID}:user:{INSIDE_SCRATCH}:/bin/sh\n",
    "group": f"user:x:{USER_ID}:\n",
    "hosts": "127.0.0.1 localhost sandbox\n",
    "hostname": "sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "resolv.conf": "",
}
"""The files of `/etc` that programs expect, with nothing of the machine in them."""
DEVICES = ("null", "zero", "full", "random", "urandom")
SHOWN = {"zero": "full"}
"""Devices that stand for others: a shared mapping of `/dev/zero` would be memory that nobody counts."""
_QUIET = MS_NOSUID | MS_NODEV


class Root:
    """Builds the new root at `/new` while the machine's own stands at `/old`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._bound: list[str] = []

    def build(self) -> None:
        """Enter the new root for good, in a mount namespace of its own with its capabilities. Raises `OSError`."""
        plan = self.plan
        kernel.mount(None, "/", None, MS_SILENT | MS_SLAVE | MS_REC)
        kernel.mount("tmpfs", "/tmp", "tmpfs", _QUIET, "mode=0755,size=4m")
        os.mkdir("/tmp/new")
        os.mkdir("/tmp/old")
        kernel.syscall(kernel.NR_PIVOT_ROOT, b"/tmp", b"/tmp/old")
        os.chdir("/")
        kernel.mount("tmpfs", "/new", "tmpfs", _QUIET, "mode=0755,size=4m,nr_inodes=4096")
        for name in ("dev", "etc", "proc", "tmp", "root", "home", "var", "run", "inputs"):
            os.mkdir("/new/" + name, 0o755)
        size = f"size={plan.scratch_mb}m," if plan.scratch_mb else ""
        kernel.mount("tmpfs", "/new" + INSIDE_SCRATCH, "tmpfs", _QUIET, f"mode=1777,{size}nr_inodes=65536")
        for path in sorted(runtime.readable_paths(plan), key=len):
            self._bind(path)
        self._bind_at(plan.inputs, INSIDE_INPUTS)
        self._devices()
        for name, text in ETC.items():
            with open("/new/etc/" + name, "w") as file:
                file.write(text)
        kernel.mount("proc", "/new/proc", "proc", _QUIET | MS_NOEXEC)
        kernel.unmount("/old")
        os.chdir("/new")
        kernel.syscall(kernel.NR_PIVOT_ROOT, b".", b".")
        kernel.unmount(".")
        os.chdir("/")
        kernel.mount(None, "/dev", None, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_RDONLY)
        kernel.mount(None, "/", None, MS_REMOUNT | MS_BIND | _QUIET | MS_RDONLY)

    def _devices(self) -> None:
        kernel.mount("tmpfs", "/new/dev", "tmpfs", MS_NOSUID, "mode=0755,size=64k")
        for name in DEVICES:
            os.close(os.open("/new/dev/" + name, os.O_CREAT | os.O_WRONLY, 0o666))
            kernel.mount("/old/dev/" + SHOWN.get(name, name), "/new/dev/" + name, None, MS_BIND | MS_SILENT)
        os.mkdir("/new/dev/shm")
        options = f"mode=1777,size={self.plan.shm_mb}m,nr_inodes=4096"
        kernel.mount("tmpfs", "/new/dev/shm", "tmpfs", _QUIET, options)
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            os.symlink("/proc/self/fd" + target, "/new/dev/" + name)

    def _bind(self, path: str) -> None:
        """Show a path of the machine, links resolved, read-only, under both its names."""
        real = self._resolve(path)
        if not os.path.exists("/old" + real):
            return
        for target in dict.fromkeys((real, path)):
            inside_another = any(target == other or target.startswith(other + "/") for other in self._bound)
            if not inside_another and not os.path.islink("/new" + target):
                self._bind_at(real, target)
                self._bound.append(target)

    def _bind_at(self, source: str, target: str) -> None:
        source, place = "/old" + source, "/new" + target
        folder = os.path.isdir(source)
        os.makedirs(place if folder else os.path.dirname(place), 0o755, exist_ok=True)
        if not folder and not os.path.lexists(place):
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
        kernel.mount(source, place, None, MS_BIND | MS_REC | MS_SILENT)
        kernel.mount_read_only(place)

    def _resolve(self, path: str) -> str:
        """Return the real path in the machine's own root; short links on the way (/lib) are made again."""
        current, rest, links = "", path.strip("/").split("/"), 0
        while rest:
            part = rest.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                current = os.path.dirname(current)
                continue
            step = f"{current}/{part}"
            try:
                link = os.readlink("/old" + step)
            except OSError:
                current = step
                continue
            links += 1
            if links > 40:
                break
            covered = any(step.startswith(other + "/") for other in self._bound)
            if step.count("/") <= 2 and not covered and not os.path.lexists("/new" + step):
                os.makedirs(os.path.dirname("/new" + step), 0o755, exist_ok=True)
                os.symlink(link, "/new" + step)
            if link.startswith("/"):
                current = ""
            rest = link.strip("/").split("/") + rest
        return current or "/"
