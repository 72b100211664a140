"""A real terminal for tests: a program in a pty, its bytes in a screen parser."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence

import pyte

KEYS = {
    "enter": "\r",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "esc": "\x1b",
    "space": " ",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "backspace": "\x7f",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "f1": "\x1bOP",
    "f5": "\x1b[15~",
    "f7": "\x1b[18~",
    "f10": "\x1b[21~",
    **{f"ctrl+{letter}": chr(ord(letter) - 96) for letter in "abcdefghijklmnopqrstuvwxyz"},
}


class Terminal:
    """Run `command` in a pseudo-terminal of `columns` × `lines`; `text()` is what a person would see.

    Everything that reached the terminal is kept in `raw`, for proofs about what never did.
    """

    def __init__(
        self,
        command: Sequence[str],
        columns: int = 120,
        lines: int = 40,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = bytearray()
        self.status: int | None = None
        environment = {**(os.environ if env is None else env), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        for name in ("COLUMNS", "LINES"):  # they would count for more than the terminal's own size
            environment.pop(name, None)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                if cwd is not None:
                    os.chdir(cwd)
                os.execvpe(command[0], list(command), environment)
            finally:
                os._exit(127)
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def pump(self, seconds: float = 0.05) -> bool:
        """Take in what the program printed; False once it closed the terminal."""
        end = time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return True
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:
                return False
            if not data:
                return False
            self.raw += data
            self.stream.feed(self._answer_queries(data))

    def _answer_queries(self, data: bytes) -> bytes:
        # A terminal answers these; pyte does not, and its parser trips over the private ones.
        if b"\x1b[?2026$p" in data:
            self.write("\x1b[?2026;0$y")
        data = re.sub(rb"\x1b\[[<>=?][0-9;]*[a-zA-Z]?\$?[pu]", b"", data)
        return re.sub(rb"\x1b\[>[0-9;]*[a-zA-Z]|\x1b\[=[0-9;]*[a-zA-Z]|\x1bP[^\x1b]*\x1b\\", b"", data)

    def write(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def press(self, *keys: str) -> None:
        """Names (`enter`, `ctrl+q`, `f5`) or single characters, one after the other."""
        for key in keys:
            self.write(KEYS.get(key, key))
            self.pump(0.03)

    def paste(self, text: str) -> None:
        self.write(f"\x1b[200~{text}\x1b[201~")

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, wanted: str, seconds: float = 30.0, absent: bool = False) -> str:
        """The screen's text once it contains (or no longer contains) the regular expression `wanted`."""
        end, pattern = time.monotonic() + seconds, re.compile(wanted)
        while True:
            alive = self.pump()
            text = self.text()
            if bool(pattern.search(text)) != absent:
                return text
            found = "is still there" if absent else "never came"
            assert time.monotonic() < end, f"{wanted!r} {found} in {seconds:g} s; the screen:\n{text}"
            assert alive or absent, f"the program ended before {wanted!r} came; the screen:\n{text}"

    def wait_exit(self, seconds: float = 15.0) -> int:
        """The program's exit code (negative: the signal that ended it)."""
        end, pause = time.monotonic() + seconds, threading.Event()
        while self.status is None:
            if self.fd < 0 or not self.pump(0.02):
                pause.wait(0.01)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                break
            assert time.monotonic() < end, f"the program did not end within {seconds:g} s; the screen:\n{self.text()}"
        return self.status

    def hang_up(self) -> None:
        """Close the terminal, as its window does."""
        os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        if self.status is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                self.status = -signal.SIGKILL
            self.status = -signal.SIGKILL
        if self.fd >= 0:
            os.close(self.fd)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
