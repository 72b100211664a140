"""A live run: an engine process of its own, its events read and its commands written by threads of their own.

The engine's lines on stdout are events, as in a run file; beside them it says two things that belong to no run file:
`engine.recording` (`path` of the run file) and `engine.failed` (`error`, before a run could begin).
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from fleet_rlm.events import AnyEvent, Failure, NotAnEvent, RunFinished, Unknown, decode
from fleet_rlm.spec import Abort, Command, Detach, RunSpec, Start, encode_command
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.sources.event_source import Mode, SourceEnd
from fleet_rlm.tui.sources.inbox import Inbox

ENGINE: tuple[str, ...] = (sys.executable, "-P", "-m", "fleet_rlm.engine")
ABORT_SECONDS = 3.0
"""How long an engine may take to abort its run before it is terminated; half of that later it is killed."""
PIPE_SECONDS = 1.0
STDERR_LINES, STDERR_LINE = 40, 400
WORDS_LIMIT = 500


class EngineClient:
    """A `RunSource` whose run happens in an engine process. Nothing here blocks the calling thread."""

    mode: Mode = "live"

    def __init__(self, spec: RunSpec, command: Sequence[str] = ENGINE) -> None:
        self.spec = spec
        self.path: str | None = spec.record and str(Path(spec.cwd, spec.record).absolute())
        self._command = tuple(command)
        self._inbox = Inbox()
        self._outbox: queue.SimpleQueue[Command | None] = queue.SimpleQueue()
        self._outbox.put(Start(spec=spec))
        self._said: deque[str] = deque(maxlen=STDERR_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._opened = self._detached = self._closed = False
        self._finished: RunFinished | None = None
        self._failure: Failure | None = None
        self._lines = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def end(self) -> SourceEnd | None:
        return self._inbox.end

    @property
    def pid(self) -> int | None:
        """The engine's process id, once it runs."""
        return self._process.pid if self._process else None

    def open(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if self._closed:
                return
            self._opened = True
        self._inbox.wake = wake
        threading.Thread(target=self._work, name="engine-reader", daemon=True).start()

    def drain(self, limit: int = 2000) -> list[AnyEvent | Unknown]:
        return self._inbox.drain(limit)

    def send(self, command: Command) -> None:
        with self._lock:
            if isinstance(command, Detach):
                self._detached = True
            if not self._closed:
                self._outbox.put(command)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._detached:
                self._outbox.put(Abort(reason="the screen was closed"))
            self._outbox.put(None)
        self._inbox.close()
        if not self._opened:
            self._over.set()
        elif not self._detached:
            threading.Thread(target=self._escalate, name="engine-closer", daemon=True).start()

    def wait_closed(self, seconds: float) -> bool:
        """After `close`: wait until the engine is gone or let go. False when it took longer."""
        return self._over.wait(seconds)

    def _work(self) -> None:
        """Start the engine, and see it to its end."""
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._inbox.finish(SourceEnd(False, f"the engine did not start: {error.strerror or error}"))
            self._over.set()
            return
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        reader = self._thread(self._read, process.stdout)
        listener = self._thread(self._listen, process.stderr)
        self._thread(self._write, process.stdin)
        code = process.wait()
        while reader.is_alive():
            # What the engine said before it ended is still in the pipe. A child of it that lives on may hold the pipe
            # open for ever: when nothing moves although the screen keeps up, that is all there is.
            read = self._lines
            reader.join(PIPE_SECONDS)
            if self._lines == read and not self._inbox.full:
                break
        listener.join(PIPE_SECONDS)
        self._outbox.put(None)
        self._inbox.finish(self._ended(code))
        self._over.set()

    def _thread(self, work: Callable[[IO[bytes]], None], pipe: IO[bytes]) -> threading.Thread:
        thread = threading.Thread(target=work, args=(pipe,), name=f"engine{work.__name__}", daemon=True)
        thread.start()
        return thread

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            self._lines += 1
            try:
                event = decode(line)
            except NotAnEvent:
                self._note(line)
                continue
            if isinstance(event, Unknown) and self._about_the_engine(event):
                continue
            if isinstance(event, RunFinished) and event.parent is None:
                self._finished = event
            # A closed inbox drops it, but the pipe is emptied until the engine has gone: a full one would hold it up.
            self._inbox.put(event, len(line))

    def _about_the_engine(self, event: Unknown) -> bool:
        if event.kind == "engine.recording":
            path = event.fields.get("path")
            self.path = path if isinstance(path, str) else self.path
        elif event.kind == "engine.failed":
            with suppress(msgspec.ValidationError):
                self._failure = msgspec.convert(event.fields.get("error"), Failure)
        return event.kind.startswith("engine.")

    def _write(self, stdin: IO[bytes]) -> None:
        # An engine that has gone closes the pipe; `_ended` says so, here is nothing left to tell it.
        with suppress(BrokenPipeError, ValueError), stdin:
            while (command := self._outbox.get()) is not None:
                stdin.write(encode_command(command))
                stdin.flush()
        if self._detached:
            self._over.set()

    def _listen(self, stderr: IO[bytes]) -> None:
        for line in stderr:
            self._note(line)

    def _note(self, line: bytes) -> None:
        text = line[: 4 * STDERR_LINE].decode(errors="replace").strip()
        if text:
            self._said.append(clean_line(text, STDERR_LINE))

    def _ended(self, code: int) -> SourceEnd:
        if self._finished is not None:
            return SourceEnd(complete=True)
        if self._failure is not None:
            return SourceEnd(
                False, clean_line(self._failure.message, WORDS_LIMIT), clean_line(self._failure.hint or "", WORDS_LIMIT)
            )
        how = f"killed by {_signal_name(-code)}" if code < 0 else f"exit code {code}"
        last = f"; it last said: {self._said[-1].rstrip('.')}" if self._said else ""
        hint = "What was recorded until then is kept. Run it again from Home with r."
        return SourceEnd(False, f"the engine ended before the run did ({how}){last}", hint)

    def _escalate(self) -> None:
        """End an engine that does not end by itself: first asked, then told, then the whole process group."""
        if self._over.wait(ABORT_SECONDS):
            return
        for number, seconds in ((signal.SIGTERM, ABORT_SECONDS / 2), (signal.SIGKILL, ABORT_SECONDS)):
            if self._process is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
            if self._over.wait(seconds):
                return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
