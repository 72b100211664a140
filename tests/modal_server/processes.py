"""Processes in a container: started by the server, their output kept by offset."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from grpclib import GRPCError, Status

_READ_BYTES = 256 << 10
_SEND_BYTES = 64 << 10


class Output:
    """All that a process wrote to one stream; read from any offset, by anyone, again."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self._grown = asyncio.Event()

    def add(self, chunk: bytes) -> None:
        self.data += chunk
        self._tell()

    def end(self) -> None:
        self.ended = True
        self._tell()

    async def read_from(self, offset: int) -> AsyncIterator[bytes]:
        while True:
            while offset >= len(self.data) and not self.ended:
                await self._grown.wait()
            chunk = bytes(self.data[offset : offset + _SEND_BYTES])
            if not chunk:
                return
            offset += len(chunk)
            yield chunk

    def _tell(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()


class Process:
    """One `exec` of a sandbox."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.out, self.err = Output(), Output()
        self.stdin_offset = 0
        """Bytes that standard input has taken."""
        self.stdin_closed = False
        self.stream_number = 0
        """Of the write stream that may write; a later one evicts it."""
        self._writing = asyncio.Lock()
        self._ending = asyncio.create_task(self._follow())

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str]) -> Process:
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd="/",
                env=dict(environment),
                start_new_session=True,
                limit=_READ_BYTES,
            )
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Negative: the signal that ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """Its return code, once its output is all there."""
        await asyncio.shield(self._ending)
        return await self._process.wait()

    async def write(self, offset: int, data: bytes) -> None:
        """Standard input takes each byte once, however often it is sent. Raises `GRPCError` when it takes none."""
        async with self._writing:
            if offset > self.stdin_offset:
                raise GRPCError(Status.FAILED_PRECONDITION, f"offset {offset}, and {self.stdin_offset} is the next")
            fresh = data[self.stdin_offset - offset :]
            if not fresh:
                return
            stdin = self._process.stdin
            if self.stdin_closed or self.returncode is not None or stdin is None:
                raise GRPCError(Status.FAILED_PRECONDITION, "standard input is closed")
            try:
                stdin.write(fresh)
                self.stdin_offset += len(fresh)
                await stdin.drain()
            except (BrokenPipeError, ConnectionResetError):
                self.stdin_closed = True
                raise GRPCError(Status.FAILED_PRECONDITION, "standard input is closed") from None

    def close_stdin(self) -> None:
        if not self.stdin_closed and self._process.stdin is not None:
            self.stdin_closed = True
            self._process.stdin.close()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    async def _follow(self) -> None:
        async def copy(stream: asyncio.StreamReader | None, output: Output) -> None:
            while stream is not None and (chunk := await stream.read(_READ_BYTES)):
                output.add(chunk)
            output.end()

        await asyncio.gather(copy(self._process.stdout, self.out), copy(self._process.stderr, self.err))
        await self._process.wait()


def resident_bytes(root: int) -> int:
    """Memory of a process and all its descendants."""
    total, todo = 0, [root]
    page = os.sysconf("SC_PAGE_SIZE")
    while todo:
        folder = Path("/proc", str(todo.pop()))
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((folder / "statm").read_text().split()[1]) * page
            for task in (folder / "task").iterdir():
                todo += [int(child) for child in (task / "children").read_text().split()]
    return total
