"""The terminal that the app runs in: notice when it goes away, and survive that long enough to end in order.

A terminal goes away when its window is closed or its connection drops. The kernel then signals the leader of the
session only; where that is `make` or a shell, the app hears nothing. So the terminal itself is watched, too.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import select
import selectors
import signal
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from fleet_rlm.tui.seams import KeyParser, SteadyDriver

LOOK_MILLISECONDS = 1000
"""The interval between checks of the terminal where the system doesn't report its end by itself."""
LAST_SECONDS = 12.0
"""How long an orderly end may take once the terminal is gone; then the process ends at once."""
PROGRAM_SECONDS = 1.0
"""How long a pager or editor may take to end by itself once the terminal is gone."""
READ_SECONDS = 0.1
"""How long a lone escape may wait for the rest of a key's sequence, and the end of the app for the reader."""
PASTE_START, PASTE_END = "\x1b[200~", "\x1b[201~"
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
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
    """The driver, whose threads outlive whatever a terminal sends, and its end."""

    watch: TerminalWatch | None = None

    def output_stream(self, usual: TextIO) -> _Unfailing:
        return _Unfailing(usual)

    def run_input_thread(self) -> None:
        """Read what is typed, until the app ends or the terminal can't be read any more.

        Textual's own would end on bytes that are not UTF-8, and would press the keys that pasted text spells.
        """
        parser, decoder, pasted = KeyParser(), codecs.getincrementaldecoder("utf-8")("replace"), PasteFilter()
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(READ_SECONDS):
                    if not (data := _read(self.fileno)):
                        if self.watch is not None:
                            self.watch.hang_up()
                        return
                    if text := pasted(decoder.decode(data)):  # an empty one would end the parser
                        for event in parser.feed(text):
                            self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)


class PasteFilter:
    """Removes control characters, all but tab and line ends, from the pasted parts of what a terminal sends."""

    def __init__(self) -> None:
        self._pasting = False
        self._before = ""
        """The last characters outside of a paste: the sign that begins one may come in two pieces."""
        self._held = ""
        """The last characters of a paste that may begin the sign which ends it."""

    def __call__(self, text: str) -> str:
        """Return the next piece, filtered; the end of a paste may come with a later piece."""
        done, text, self._held = [], self._held + text, ""
        while text:
            if self._pasting:
                body, sign, rest = text.partition(PASTE_END)
                self._pasting = not sign
                if not sign:
                    most = min(len(PASTE_END) - 1, len(body))
                    held = next((n for n in range(most, 0, -1) if PASTE_END.startswith(body[-n:])), 0)
                    body, self._held = body[: len(body) - held], body[len(body) - held :]
                done += [_CONTROLS.sub("", body), sign]
                text = rest
            else:
                joined = self._before + text
                at = joined.find(PASTE_START)
                self._pasting = at >= 0
                end = at + len(PASTE_START) - len(self._before) if self._pasting else len(text)
                self._before = "" if self._pasting else joined[1 - len(PASTE_START) :]
                done.append(text[:end])
                text = text[end:]
        return "".join(done)


def _read(descriptor: int) -> bytes:
    """Return what was typed; nothing when the terminal has gone."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


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
