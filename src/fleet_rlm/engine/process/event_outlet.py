"""Write the lines of the run file to the engine's stdout, for a reader that may be slow, stalled or gone.

The run never waits for the reader. Lines that it has not taken yet are kept in memory up to a limit; beyond that they
are dropped there and read again from the run file, which holds the same bytes, once the reader goes on.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from fleet_rlm import events as ev
from fleet_rlm import spec

KEPT_BYTES = 4 << 20
"""Most bytes kept in memory for a reader that is behind."""
BLOCK_BYTES = 1 << 18


class Outlet:
    """Writes a run's lines to a descriptor, from its own thread."""

    def __init__(self, fd: int, path: Callable[[], Path | None]) -> None:
        """`path` returns the run file, once there is one."""
        self._fd = fd
        self._find_path = path
        self._path: Path | None = None
        self._change = threading.Condition()
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._recorded = 0
        """Bytes of the run file so far."""
        self._sent = 0
        """Bytes of the run file that were written to the reader."""
        self._from_file = False
        self._gone = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="fleet-outlet", daemon=True)
        self._thread.start()

    def hear(self, _event: ev.Event, line: bytes) -> None:
        """Take a recorded line; returns at once, whatever the reader does."""
        with self._change:
            if self._gone:
                return
            if self._path is None:
                self._path = self._find_path()
            self._recorded += len(line)
            if not self._from_file:
                self._kept.append(line)
                self._kept_bytes += len(line)
                if self._kept_bytes > KEPT_BYTES:
                    self._kept.clear()
                    self._kept_bytes, self._from_file = 0, True
            self._change.notify()

    def fail(self, failure: ev.Failure) -> None:
        """Write the one line of an engine whose run could not begin."""
        self._write(spec.encode_line(spec.EngineFailed(error=failure)))

    def close(self) -> None:
        """Wait until the reader has everything or is gone. A reader stopped by ctrl+z is waited for."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._kept or self._behind() or self._closing)
                if self._gone or (self._closing and not self._kept and not self._behind()):
                    return
                first = self._sent == 0
                block = b"".join(self._kept)
                self._kept.clear()
                self._kept_bytes = 0
            if first and self._path is not None:
                self._write(spec.encode_line(spec.EngineRecording(path=str(self._path))))
            if block:
                self._send(block)
            else:
                self._catch_up()

    def _behind(self) -> bool:
        return self._from_file and self._sent < self._recorded

    def _catch_up(self) -> None:
        """Send from the run file the lines that memory no longer holds."""
        if self._path is None:
            return
        with self._path.open("rb") as file:
            while not self._gone:
                file.seek(self._sent)
                block = file.read(BLOCK_BYTES)
                if block:
                    self._send(block)
                with self._change:
                    if self._sent >= self._recorded:
                        self._from_file = False
                        return
                    if not block:  # the disk is full, and lines wait to be written
                        self._change.wait(0.2)
                        if self._closing:
                            self._gone = True

    def _send(self, block: bytes) -> None:
        if self._write(block):
            self._sent += len(block)

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:  # nobody reads any more: the run file has it all
            with self._change:
                self._gone = True
                self._kept.clear()
            return False
        return True
