"""The engine's request to the launcher, and the launcher's answer."""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LINUX = sys.platform == "linux"
MIB = 1 << 20

INSIDE_INPUTS = "/inputs"
"""The folder of the inputs in a sandbox with a root of its own."""
INSIDE_SCRATCH = "/tmp"
"""Home, working and temporary folder in a sandbox with a root of its own."""
USER_ID = 1000
"""The user id that generated code sees in a sandbox with namespaces of its own."""


class Plan:
    """One sandbox to start. Sizes in MiB, times in seconds; zero means no limit of ours."""

    def __init__(
        self,
        *,
        driver: bytes,
        modes: list[str],
        folder: str,
        private_uid: int,
        packages: list[str],
        memory_mb: int,
        processes: int,
        cpu_seconds: int,
        file_mb: int,
        scratch_mb: int,
        open_files: int,
    ) -> None:
        self.driver = driver
        """The artefact of what runs inside."""
        self.modes = modes
        self.folder = folder
        """The sandbox's folder on the host: `inputs`, `scratch`, `outside` (the canaries) and `lock`."""
        self.private_uid = private_uid
        """The host's user id that generated code gets when the engine is root; otherwise the engine's own."""
        self.packages = packages
        self.report_fd = self.lifeline_fd = self.lock_fd = -1
        """Descriptors that only the launcher knows."""
        self.memory_mb = memory_mb
        self.processes = processes
        self.cpu_seconds = cpu_seconds
        self.file_mb = file_mb
        self.scratch_mb = scratch_mb
        self.open_files = open_files

    @property
    def another_user(self) -> bool:
        """True if generated code runs as another user of this host than the engine."""
        return self.private_uid != os.geteuid()

    @property
    def inputs(self) -> str:
        return self.folder + "/inputs"

    @property
    def scratch(self) -> str:
        return self.folder + "/scratch"

    @property
    def outside(self) -> str:
        return self.folder + "/outside"

    @property
    def shm_mb(self) -> int:
        """The size of a private `/dev/shm`: an eighth of the memory, enough for locks and small shared arrays."""
        return max(16, self.memory_mb // 8) if self.memory_mb else 256

    def dump(self) -> bytes:
        return marshal.dumps(vars(self))

    @classmethod
    def load(cls, raw: bytes) -> Plan:
        return cls.of(marshal.loads(raw))

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Plan:
        plan = cls.__new__(cls)
        vars(plan).update(fields)
        return plan


class Finding:
    """The result of trying to break out from inside, and the protections that could not be put in force."""

    def __init__(self) -> None:
        self.held: dict[str, bool] = {}
        """By protection: True if the attempt to break it failed. One that could not be tried is absent."""
        self.limits: dict[str, bool] = {}
        self.notes: list[str] = []
        self.driver = os.getpid()
        """The driver's process id as it sees itself."""

    def dump(self) -> bytes:
        return marshal.dumps(vars(self))

    @classmethod
    def load(cls, raw: bytes) -> Finding:
        """Return a finding from bytes that our own code wrote before any generated code ran."""
        finding = cls()
        vars(finding).update(marshal.loads(raw))
        return finding


def say(fd: int, message: dict[str, object]) -> None:
    """Send a message to the engine: a Python literal on a line, which needs no import to write."""
    try:
        os.write(fd, repr(message).encode("ascii", "backslashreplace") + b"\n")
    except OSError:
        return  # the engine is gone: nobody to tell, and the lifeline ends this sandbox
