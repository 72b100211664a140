"""Generated code in a process of this machine, isolated as well as the machine allows."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dspy.utils.callback import BaseCallback

from fleet_rlm.sandbox.host import artefact
from fleet_rlm.sandbox.host.execution import instructions
from fleet_rlm.sandbox.host.executor import (
    CELL_SECONDS,
    CONCURRENCY,
    GRACE_SECONDS,
    OUTPUT_BYTES,
    SILENCE_SECONDS,
    START_SECONDS,
)
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import SandboxObserver
from fleet_rlm.sandbox.host.running_clock import awake
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits, Stalled, Stored, Transport, TransportError
from fleet_rlm.sandbox.local import DEFAULT_ORDER, IsolatedProcess, launch
from fleet_rlm.sandbox.local.clean_launcher import of_this_process

_READ_BYTES = 64 << 10
_SAID_BYTES = 16 << 10
_STALLED_SECONDS = 20.0
"""Seconds in which a living driver reads something: it never waits for the generated code."""


class LocalTransport(Transport):
    """The driver as an isolated process, its protocol on pipes."""

    backend = "local"

    def __init__(self, modes: Sequence[str] = DEFAULT_ORDER, scratch_parent: Path | None = None) -> None:
        """`modes` of isolation in the order to try them; `scratch_parent` holds the sandbox's folder."""
        self._modes, self._scratch_parent = tuple(modes), scratch_parent
        self._process: IsolatedProcess | None = None
        self._killed = False
        self._state = threading.Lock()
        self._writing = threading.Lock()
        self._streams_open = 0
        self._said: deque[bytes] = deque()

    @property
    def id(self) -> str:
        return f"local-{self._process.pid}" if self._process else ""

    def start(self, limits: Limits, progress: Callable[[str], None]) -> IsolationReport:
        process = launch(
            artefact.driver(),
            limits=limits,
            modes=self._modes,
            scratch_parent=self._scratch_parent,
            progress=progress,
            clean=of_this_process.get(artefact.modules),
        )
        with self._state:
            self._process, self._streams_open, killed = process, 2, self._killed
        if killed:
            process.close()
            raise TransportError("the sandbox was ended while it started")
        os.set_blocking(process.stdin_fd, False)
        threading.Thread(target=self._listen, name="sandbox-stderr", daemon=True).start()
        return process.report

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._writing:
            end = awake() + _STALLED_SECONDS
            while view:
                if self._process is None or self._killed or self._process.stdin_fd < 0:
                    raise TransportError("the sandbox has ended")
                try:
                    view = view[os.write(self._process.stdin_fd, view) :]
                    end = awake() + _STALLED_SECONDS
                except BlockingIOError:
                    if awake() > end:
                        raise Stalled(f"it took nothing in for {_STALLED_SECONDS:.0f} s") from None
                    room = select.poll()
                    room.register(self._process.stdin_fd, select.POLLOUT)
                    room.poll(500)  # in turns: it may be killed meanwhile, and the clock wants to be looked at

    def read(self) -> bytes:
        process = self._running()
        data = os.read(process.stdout_fd, _READ_BYTES) if process.stdout_fd >= 0 else b""
        if not data:
            self._stream_ended()
        return data

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        return Stored(self._running().put(name, chunks))

    def diagnostics(self) -> str:
        with self._state:
            return b"".join(self._said).decode(errors="replace")

    def end(self) -> str | None:
        return self._process.end() if self._process else "it was never started"

    def kill(self) -> None:
        with self._state:
            self._killed, process = True, self._process
        if process:
            process.kill()
            self._close()

    def _running(self) -> IsolatedProcess:
        if self._process is None:
            raise TransportError("the sandbox has not started")
        return self._process

    def _listen(self) -> None:
        process = self._running()
        with contextlib.suppress(OSError):
            while data := os.read(process.stderr_fd, _READ_BYTES):
                with self._state:
                    self._said.append(data[-_SAID_BYTES:])
                    while sum(map(len, self._said)) > 2 * _SAID_BYTES:
                        self._said.popleft()
        self._stream_ended()

    def _stream_ended(self) -> None:
        with self._state:
            self._streams_open -= 1
        self._close()

    def _close(self) -> None:
        """Close the descriptors once nobody reads them any more: a number that is reused would be read by mistake."""
        with self._state:
            process = self._process
            if process is None or not self._killed or self._streams_open > 0:
                return
        with self._writing:
            process.close()


class LocalInterpreter(Interpreter):
    """Runs code in an isolated process of this machine: `dspy.RLM(…, interpreter_factory=LocalInterpreter)`."""

    execution_instructions: ClassVar[str] = instructions(CELL_SECONDS)

    def __init__(
        self,
        tools: Mapping[str, Callable[..., Any]] | None = None,
        output_fields: list[dict[str, Any]] | None = None,
        *,
        modes: Sequence[str] = DEFAULT_ORDER,
        scratch_parent: Path | None = None,
        limits: Limits | None = None,
        execution_timeout: float | None = CELL_SECONDS,
        grace: float = GRACE_SECONDS,
        concurrency: int = CONCURRENCY,
        output_bytes: int = OUTPUT_BYTES,
        start_timeout: float = START_SECONDS,
        silence: float = SILENCE_SECONDS,
        with_toolbox: bool = True,
        observer: SandboxObserver | None = None,
        callbacks: list[BaseCallback] | None = None,
    ) -> None:
        """Nothing is started yet. Its own parameters; the others are those of `Executor`:

        - modes: kinds of isolation to try, in order; the first that works here is used.
        - scratch_parent: the folder in which each sandbox gets its own; None: the system's for temporary files.
        """
        super().__init__(
            lambda: LocalTransport(modes, scratch_parent),
            tools,
            output_fields,
            limits=limits,
            execution_timeout=execution_timeout,
            grace=grace,
            concurrency=concurrency,
            output_bytes=output_bytes,
            start_timeout=start_timeout,
            silence=silence,
            with_toolbox=with_toolbox,
            observer=observer,
            callbacks=callbacks,
        )
