"""The pipes between launcher, watcher and driver, and the exception with which the driver's process begins."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .group import Group
    from .plan import Plan


class Driver(BaseException):
    """Raised in the process that becomes the driver, so that it runs with an empty stack below it."""


class Pipes:
    """Three pipes of one attempt.

    `say`: what was found, from inside. `go`: the launcher's word that it is good enough. `life` ends with the launcher.
    `kills`: whom the kernel ended for want of memory (`group.killed`); -1 where there is no group.
    """

    def __init__(self, plan: Plan, memory: Group | None) -> None:
        self.plan = plan
        self.kills, self._door = (memory.kills, memory.door) if memory else (-1, -1)
        self.say_read, self.say_write = os.pipe()
        self.go_read, self.go_write = os.pipe()
        self.life_read, self.life_write = os.pipe()
        self.complaints = -1
        """A file with what a program that was to build the sandbox wrote to standard error."""
        self._open = {self.say_read, self.say_write, self.go_read, self.go_write, self.life_read, self.life_write}

    @classmethod
    def inherited(cls, plan: Plan, say_write: int, go_read: int, life_read: int, kills: int) -> Pipes:
        """Return the inside's ends, in a program that was started anew."""
        pipes = cls.__new__(cls)
        pipes.plan, pipes.say_write, pipes.go_read, pipes.life_read = plan, say_write, go_read, life_read
        pipes.kills = kills
        pipes.complaints = -1
        pipes._open = {say_write, go_read, life_read}
        for fd in (say_write, go_read, life_read, plan.report_fd, kills):
            if fd >= 0:
                os.set_inheritable(fd, False)
        return pipes

    def watch_complaints(self, fd: int) -> None:
        self.complaints = fd
        self._open.add(fd)

    def close(self, *fds: int) -> None:
        """Close those of these descriptors that are open."""
        for fd in self._open.intersection(fds):
            os.close(fd)
            self._open.discard(fd)

    def last_words(self) -> str:
        """Return the last line of the complaints, or an empty text."""
        if self.complaints < 0:
            return ""
        os.lseek(self.complaints, 0, os.SEEK_SET)
        lines = os.read(self.complaints, 4096).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def keep_outside(self) -> None:
        """Close the inside's ends, in the launcher, after the start."""
        self.close(self.say_write, self.go_read, self.life_read)

    def keep_inside(self) -> None:
        """Close the launcher's ends, in the watcher, at its start: or a lifeline would never end."""
        if self._door >= 0:
            with suppress(OSError):  # the launcher looks whether it worked
                os.write(self._door, b"0")
        self.close(self.say_read, self.go_write, self.life_write)
        os.close(self.plan.lifeline_fd)
        os.close(self.plan.lock_fd)

    def give_up(self) -> None:
        """Close everything, in the launcher, after an attempt failed."""
        self.close(*self._open)

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Send what goes wrong inside to the launcher and end this process: no traceback into the engine's pipe."""
        try:
            yield
        except Driver:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, this process must not go on
            words = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
            try:
                os.write(self.say_write, b"E" + words.encode())
            finally:
                os._exit(125)
