"""The terminal that the app runs in: notice when it goes away, and survive that long enough to end in order.

A terminal goes away when its window is closed or its connection drops. The kernel then signals the leader of the
session only; where that is `make` or a shell, the app hears nothing. So the terminal itself is watched, too.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from fleet_rlm.tui.seams import SteadyDriver

LOOK_MILLISECONDS = 1000
"""How often the terminal is looked at where the system doesn't report its end by itself."""
LAST_SECONDS = 12.0
"""How long an orderly end may take once the terminal is gone; then the process ends at once."""
PROGRAM_SECONDS = 1.0
"""How long a pager or editor may take to end by itself once the terminal is gone."""
_GONE = (errno.EIO, errno.ENXIO, errno.ENOTTY, errno.EBADF)
_STREAMS = (0, 1, 2)


def has_gone(descriptor: int = 0) -> bool:
    """True when this was a terminal and is none any more."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return error.args[0] in _GONE
    return False


class TerminalWatch:
    """Calls `ended(signal_number)` on the app's thread, once, when the terminal has gone or the process is told to end.

    `run` runs another program in the terminal; it is ended, too.
    """

    def __init__(self) -> None:
        self._ended: Callable[[int], None] = lambda _: None
        self._once = threading.Lock()
        self._told = False
        self._program: subprocess.Popen[bytes] | None = None

    def start(self, ended: Callable[[int], None]) -> None:
        """Begin to watch. `ended` may be called from any thread. Call this from the main thread."""
        self._ended = ended
        for number in (signal.SIGHUP, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as after `nohup`
                signal.signal(number, self._signalled)
        threading.Thread(target=self._watch, name="terminal-watch", daemon=True).start()

    def run(self, command: Sequence[str]) -> int:
        """Run a program in this terminal and wait for it; its exit code."""
        try:
            with subprocess.Popen(command) as self._program:
                return self._program.wait()
        finally:
            self._program = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """While this lasts, the interrupting keys belong to the program that the terminal is lent to."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGQUIT)}
        for number in before:
            signal.signal(number, lambda *_: None)  # not SIG_IGN, which the program would inherit
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hang_up(self, number: int = signal.SIGHUP) -> None:
        """End everything: the terminal has gone, or the process was told to end. Later calls do nothing."""
        with self._once:
            told, self._told = self._told, True
        if told:
            return
        threading.Thread(target=self._end, args=(number,), name="terminal-end", daemon=True).start()

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        self.hang_up(number)

    def _watch(self) -> None:
        poller, pause = select.poll(), threading.Event()
        poller.register(0, 0)  # an end is reported whatever is asked for; what is typed is not ours to wait for
        while not has_gone():
            if poller.poll(LOOK_MILLISECONDS) and not has_gone():
                pause.wait(LOOK_MILLISECONDS / 1000)
        self.hang_up()

    def _end(self, number: int) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in _STREAMS:
            if has_gone(descriptor):
                os.dup2(null, descriptor)  # what is still printed fails no more
        with suppress(RuntimeError):  # the app has ended already
            self._ended(number)
        program = self._program
        if program is not None:
            with suppress(OSError):
                program.send_signal(signal.SIGHUP)
                try:
                    program.wait(PROGRAM_SECONDS)
                except subprocess.TimeoutExpired:
                    program.kill()
        threading.Event().wait(LAST_SECONDS)
        os._exit(128 + number)


class TerminalDriver(SteadyDriver):
    """The driver, of which neither thread fails when the terminal goes away."""

    watch: TerminalWatch | None = None

    def output_stream(self, usual: TextIO) -> _Unfailing:
        return _Unfailing(usual)

    def run_input_thread(self) -> None:
        """Read what is typed, until the app ends or the terminal can't be read any more."""
        try:
            super().run_input_thread()
        except OSError:
            if self.watch is not None:
                self.watch.hang_up()


class _Unfailing:
    """A stream whose errors are dropped: a writer that failed would leave its queue to fill up and the app to hang."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()
