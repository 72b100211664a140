"""Makes containers for sandboxes, and starts processes in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modal_server.processes import Process, resident_bytes

_HERE = Path(__file__).resolve().parent
_FS_TOOLS = "/__modal/.bin/modal-sandbox-fs-tools"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/ld.so.cache", "/etc/ld.so.conf.d")
_PATH = "/opt/python:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NoContainers(RuntimeError):
    """This machine lets nobody make namespaces; the message says what refused."""


@dataclass
class Python:
    """What `python` is in a container."""

    executable: str
    prefix: str

    @classmethod
    def asked(cls, executable: str) -> Python:
        code = "import os, sys; print(os.path.realpath(sys._base_executable)); print(os.path.realpath(sys.base_prefix))"
        said = subprocess.run([executable, "-I", "-c", code], capture_output=True, text=True, check=True)
        return cls(*said.stdout.split("\n")[:2])


class Containers:
    """How containers are made on this machine."""

    def __init__(self, python: Python) -> None:
        self._python = python
        self._user_namespace = True

    async def try_one(self, folder: Path) -> None:
        """Raises `NoContainers`."""
        if sys.platform != "linux" or not all(map(shutil.which, ("nsenter", "setpriv", "env"))):
            raise NoContainers("containers need Linux, and nsenter, setpriv and env")
        try:
            container = await self.make(folder / "with-users", {}, network=False)
        except NoContainers:
            if os.getuid() != 0:
                raise
            self._user_namespace = False
            container = await self.make(folder / "without-users", {}, network=False)
        await container.end()

    async def make(self, folder: Path, mounts: Mapping[str, Path], *, network: bool) -> Container:
        """`mounts`: folders of this machine by their path in the container. Raises `NoContainers`."""
        for name in ("root", "tmp"):
            (folder / name).mkdir(parents=True)
        (folder / "tmp").chmod(0o1777)
        links, binds = {"/opt/python/python": self._python.executable}, []
        links["/opt/python/python3"] = self._python.executable
        for path in (*_SYSTEM, self._python.prefix):
            if not Path(path).exists() or any(Path(path).is_relative_to(bound) for _, bound, _ in binds):
                continue
            if Path(path).is_symlink():
                links[path] = str(Path(path).readlink())
            else:
                binds.append((path, path, False))
        binds.append((str(_HERE / "fs_tools.py"), _FS_TOOLS, False))
        binds.append((str(folder / "tmp"), "/tmp", True))
        binds += [(str(source), path, True) for path, source in mounts.items()]
        plan = {
            "root": str(folder / "root"),
            "links": links,
            "binds": binds,
            "network": "host" if network else "none",
            "user_namespace": self._user_namespace,
        }
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_HERE / "container.py"), json.dumps(plan)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert holder.stdout is not None
        said = json.loads(await holder.stdout.readline() or b"{}")
        if "pid" not in said:
            await holder.wait()
            raise NoContainers(said.get("error", "the container ended while it was made"))
        return Container(holder, said["pid"], self._user_namespace)


class Container:
    """A running one."""

    def __init__(self, holder: asyncio.subprocess.Process, first: int, user_namespace: bool) -> None:
        self._holder, self._first, self._user_namespace = holder, first, user_namespace
        self.processes: list[Process] = []

    @property
    def first_pid(self) -> int:
        """Of the process with whose end the kernel ends all others."""
        return self._first

    async def start(self, command: Sequence[str], workdir: str, environment: Mapping[str, str]) -> Process:
        command = list(command)
        if command[0] == _FS_TOOLS:
            command[:1] = ["/opt/python/python", "-I", "-S", _FS_TOOLS]
        enter = ["nsenter", "-t", str(self._first), "-m", "-p", "-n", "-i", "-u"]
        if self._user_namespace:
            enter += ["-U", "--preserve-credentials"]
        powerless = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        inside = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8", **environment}
        process = await Process.start([*enter, "--", *powerless, "env", "-C", workdir, *command], inside)
        self.processes.append(process)
        return process

    def resident_bytes(self) -> int:
        running = [process.pid for process in self.processes if process.returncode is None]
        return sum(map(resident_bytes, [self._holder.pid, *running]))

    async def end(self) -> None:
        """Ends every process in it."""
        for process in self.processes:
            process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._holder.pid, signal.SIGKILL)
        await self._holder.wait()
        await asyncio.gather(*(process.wait() for process in self.processes))
