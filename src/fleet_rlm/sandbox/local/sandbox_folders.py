"""The sandbox's folder on the host: its owner and modes, and the removal of folders that dead owners left."""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fleet_rlm.sandbox.local.launcher import group
from fleet_rlm.sandbox.local.launcher.folder import remove

_LOCK = "lock"
_SECONDS_TO_BE_BORN = 600.0


class SandboxFolder:
    """A folder with `inputs` (read-only inside), `scratch` and `outside` (out of reach), held by a lock."""

    def __init__(self, parent: Path) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=group.PREFIX, dir=parent))
        self.private_uid = private_uid()
        """The user id that generated code gets on this host."""
        try:
            self.lock_fd = self._lock()
            for name, mode in (("inputs", 0o750), ("scratch", 0o700), ("outside", 0o777)):
                folder = self.path / name
                folder.mkdir()
                folder.chmod(mode)
            if self.private_uid != os.geteuid():
                os.chown(self.path, 0, self.private_uid)
                os.chown(self.path / "inputs", 0, self.private_uid)
                os.chown(self.path / "scratch", self.private_uid, self.private_uid)
                self.path.chmod(0o710)
        except OSError:
            remove(str(self.path))
            raise

    def _lock(self) -> int:
        """Take the lock before it gets its name: a sweep never sees a lock that is about to be taken."""
        unborn = self.path / "lock.new"
        fd = os.open(unborn, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        unborn.rename(self.path / _LOCK)
        return fd

    def put(self, name: str, chunks: Iterator[bytes]) -> None:
        """Store an input; it is visible under its name once it is complete."""
        final, unborn = self.path / "inputs" / name, self.path / "inputs" / f".{secrets.token_hex(8)}"
        fd = os.open(unborn, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                for chunk in chunks:
                    file.write(chunk)
                if self.private_uid != os.geteuid():
                    os.fchown(file.fileno(), 0, self.private_uid)
                os.fchmod(file.fileno(), 0o440)
            unborn.rename(final)
        except BaseException:
            unborn.unlink(missing_ok=True)
            raise

    def remove(self) -> bool:
        """Remove everything, once no process of the sandbox lives; return True if it is gone."""
        group.remove(self.path.name)
        return remove(str(self.path))


def private_uid() -> int:
    """Return a user id that owns nothing here if the engine is root and can become another user; otherwise its own."""
    if os.geteuid() != 0:
        return os.geteuid()
    nobody = 65534
    for uid in (1_000_000_000 + secrets.randbelow(1_000_000_000), nobody):
        if _exists(uid):
            return uid
    return 0


def _exists(uid: int) -> bool:
    """Return True if this user namespace (a container's, perhaps) has such a user id."""
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True  # not Linux
    ranges = [line.split() for line in lines]
    return any(int(first) <= uid < int(first) + int(count) for first, _outer, count in ranges)


def sweep(parent: Path) -> int:
    """Remove folders whose owners are dead (killed with their launchers); return how many were removed."""
    group.sweep()
    removed = 0
    with os.scandir(parent) as entries:
        found = [entry for entry in entries if entry.name.startswith(group.PREFIX)]
    for entry in found:
        try:
            state = entry.stat(follow_symlinks=False)
            mine = entry.is_dir(follow_symlinks=False) and state.st_uid == os.geteuid()
        except OSError:
            continue
        if mine and _abandoned(Path(entry.path), state.st_mtime):
            removed += remove(entry.path)
    return removed


def _abandoned(folder: Path, changed: float) -> bool:
    try:
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - changed > _SECONDS_TO_BE_BORN
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(fd)
