"""The supervisor: stands between host and worker, and speaks the protocol on descriptors that only it holds.

The worker's output goes through pipes made anew for each cell, so what a child or a thread of an earlier cell writes
later is still that cell's. Between the two stands a socket with the worker's own, smaller vocabulary (`wire.py`).
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from .host_functions import OVER
from .output import OutputPipe
from .wire import LINE_BYTES, PART_CHARS, READ_BYTES, Lines, Message, dumps, sound
from .worker import CLOSED
from .worker_process import WorkerProcess

_HIGH_BYTES = 4 << 20
"""While more than this waits for the host, nothing is read from the worker."""
_ACK_BYTES = 1 << 20
_TICK_SECONDS = 0.033
"""Output is forwarded at most once a tick and stream."""
_REPEAT_SECONDS = 0.1
"""Seconds between the signals of one interrupt."""
_BEGIN_SECONDS = 20.0
"""Seconds after which a worker that has not begun a cell never will."""
_MOST_LATE_PIPES = 16
_LATE_READ_BYTES = 4 << 20
_SETTINGS = {"cap": 2 << 20, "tail": 64 << 10, "value": 64 << 20, "beat": 1.0, "orphan": 0.0} | {
    "helpers": False,
    "volume": None,
}
"""The settings that the host may change with `init`."""


class Supervisor:
    """One loop over descriptors and deadlines, which never blocks."""

    def __init__(self) -> None:
        self.hin, self.hout = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        self.wake = os.pipe()
        for fd in (self.hout, *self.wake):
            os.set_blocking(fd, False)
        self.config: Message = dict(_SETTINGS)
        self.host_lines, self.worker_lines = Lines(2 * LINE_BYTES), Lines()
        self.to_host: collections.deque[bytes] = collections.deque()
        self.to_host_bytes = 0
        self.to_worker: collections.deque[tuple[bytes, int]] = collections.deque()  # bytes, how many to acknowledge
        self.passed = self.acknowledged = 0
        self.worker = WorkerProcess()
        self.pipes: list[OutputPipe] = []
        self.fds: list[int] = []
        self.calls: set[int] = set()
        self.last_cell, self.stopped_early = 0, {}  # type: int, dict[int, Message]
        self.running: int | None = None
        self.why, self.signals = "", 0
        self.kill_at: float | None = None
        self.signal_at: float | None = None
        self.begin_by: float | None = None
        self.heard, self.beat_at = time.monotonic(), 0.0

    def main(self) -> None:
        """Serve the host for ever."""
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        while True:
            self.turn()

    # -- the loop

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        wait = self.due(time.monotonic())
        if self.to_host:
            self.flush()
        poll = select.poll()
        poll.register(self.hin, select.POLLIN)
        poll.register(self.wake[0], select.POLLIN)
        if self.to_host:
            poll.register(self.hout, select.POLLOUT)
        listening = self.to_host_bytes < _HIGH_BYTES
        if self.worker.pid:
            events = (select.POLLIN if listening else 0) | (select.POLLOUT if self.to_worker else 0)
            poll.register(self.worker.ctl, events)
        pipes = {pipe.fd: pipe for pipe in self.pipes if pipe.fd >= 0 and listening}
        for fd in pipes:
            poll.register(fd, select.POLLIN)
        ready = dict(poll.poll(int(wait * 1000) + 1))
        if self.hin in ready:
            self.hear_host()
        for fd, pipe in pipes.items():
            if fd in ready and pipe.fd == fd:
                pipe.read(1 << 20)
        events = ready.get(self.worker.ctl.fileno(), 0) if self.worker.pid else 0
        if events & select.POLLOUT:
            self.push()
        if events & ~select.POLLOUT:
            self.hear_worker()
        if self.wake[0] in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake[0], 4096)
            if self.worker.reap():
                self.lost()

    def due(self, now: float) -> float:
        """Do what time asks for; return the seconds until it asks again."""
        running, orphan = self.running is not None, self.config["orphan"]
        if (self.kill_at or now + 1) <= now or (running and (self.begin_by or now + 1) <= now):
            self.lost()
        elif self.signal_at is not None and now >= self.signal_at:
            self.signal_worker(now)
        if self.running is not None and now >= self.beat_at:
            self.beat_at = now + self.config["beat"]
            self.emit({"t": "beat", "cell": self.running, "rss": self.worker.memory(), "calls": len(self.calls)})
        if orphan and now - self.heard > orphan:
            self.leave(75)  # the host is gone: let the sandbox end, so that it costs nothing
        self.forward(now)
        times = [self.kill_at, self.signal_at, self.heard + orphan + 0.01 if orphan else None]
        times += [self.begin_by, self.beat_at] if self.running is not None else []
        times += [pipe.next_at for pipe in self.pipes if pipe.ready]
        return max(0.0, min((at for at in times if at is not None), default=now + 60) - now)

    def leave(self, code: int) -> NoReturn:
        """End the driver, with all that it started."""
        self.worker.end()
        os._exit(code)

    # -- the host

    def emit(self, message: Message) -> None:
        """Queue a message to the host: what one turn of the loop says goes out in one write."""
        data = dumps(message)
        self.to_host.append(data)
        self.to_host_bytes += len(data)

    def flush(self) -> None:
        """Write what the host takes now; the loop waits for it to take more."""
        while self.to_host:
            data = self.to_host.popleft()
            while self.to_host and len(data) < READ_BYTES:
                data += self.to_host.popleft()
            try:
                sent = os.write(self.hout, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.leave(0)
            self.to_host_bytes -= sent
            if sent < len(data):
                self.to_host.appendleft(data[sent:])
                return

    def hear_host(self) -> None:
        """Take in what the host sent; its end of stream ends the driver."""
        data = os.read(self.hin, READ_BYTES)
        if not data:
            self.leave(0)
        self.heard = time.monotonic()
        for line in self.host_lines.feed(data):
            if line is not None:
                self.from_host(json.loads(line), line)

    def from_host(self, message: Message, line: bytes) -> None:
        """Carry out one message of the host's."""
        kind = message["t"]
        if kind == "run":
            self.begin(message, line)
        elif kind in ("ret", "part"):
            if kind == "ret":
                self.calls.discard(message["id"])
            self.pass_on(line + b"\n", count=True)
        elif kind == "interrupt":
            if message["cell"] > self.last_cell:
                self.stopped_early[message["cell"]] = message
            elif message["cell"] == self.running:
                self.stop(message["why"], message["grace"])
        elif kind == "ping":
            self.emit({"t": "pong", "n": message["n"]})
        elif kind == "init":
            self.config.update({key: value for key, value in message.items() if key in _SETTINGS})
            self.fork()

    def begin(self, message: Message, line: bytes) -> None:
        """Give the worker a cell, unless the host has interrupted it already."""
        cell = self.running = self.last_cell = message["cell"]
        early, now = self.stopped_early.pop(cell, None), time.monotonic()
        if early:
            self.why = early["why"]
            self.settle({"t": "done", "cell": cell, "status": "interrupted"})
            self.passed += len(line) + 1
            return
        self.beat_at, self.begin_by = now + self.config["beat"], now + _BEGIN_SECONDS
        self.pass_on(line + b"\n", count=True)

    def stop(self, why: str, grace: float) -> None:
        """Interrupt the running cell; its worker is killed when that does not end it within the grace."""
        now = time.monotonic()
        self.why = self.why or why
        self.kill_at = min(self.kill_at or now + grace, now + grace)
        self.signal_at, self.signals = now, 0
        self.pass_on(b'{"t":"stop"}\n')

    # -- output

    def forward(self, now: float) -> None:
        """Send what the pipes hold, each stream at most once a tick."""
        for pipe in self.pipes:
            if pipe.ready and now >= pipe.next_at:
                pipe.next_at = now + _TICK_SECONDS
                self.out(pipe, pipe.take(), late=pipe.late)
        self.pipes = [pipe for pipe in self.pipes if pipe.fd >= 0 or pipe.ready or not pipe.late]

    def out(self, pipe: OutputPipe, text: str, *, gap: int = 0, late: bool = False) -> None:
        """Send a stream's text, before which `gap` bytes were dropped."""
        for start in range(0, len(text), PART_CHARS):
            piece = text[start : start + PART_CHARS]
            message: Message = {"t": "out", "cell": pipe.cell, "stream": pipe.stream, "data": piece}
            if late:
                message["late"] = True
            if gap and not start:
                message["gap"] = gap
            self.emit(message)

    def drain(self) -> None:
        """Read what a worker wrote before it spoke or died: it stands in its pipes by now."""
        for pipe in self.pipes:
            if not pipe.late:
                pipe.read(_LATE_READ_BYTES)

    def settle(self, done: Message) -> None:
        """Send the running cell's last messages: its output, its variables, its outcome."""
        dropped = {}
        for pipe in self.pipes:
            if not pipe.late:
                text, tail, lost = pipe.end()
                self.out(pipe, text)
                self.out(pipe, tail, gap=lost)
                if lost:
                    dropped[pipe.stream] = lost
        while len(self.pipes) > _MOST_LATE_PIPES:
            self.pipes.pop(0).close()
        report = done.pop("vars", None)
        if report:
            self.emit({"t": "vars", "cell": done["cell"], **report})
        self.emit({**done, "dropped": dropped, "why": self.why})
        self.running = self.kill_at = self.signal_at = None
        self.why = ""
        self.calls.clear()

    # -- the worker

    def fork(self) -> None:
        """Start a worker."""
        ours = (self.hin, self.hout, *self.wake, *self.fds, *(pipe.fd for pipe in self.pipes if pipe.fd >= 0))
        self.worker.fork(self.config, ours)
        self.worker_lines = Lines()

    def lost(self, closed: bool = False, garbled: bool = False) -> None:
        """Say that the worker is gone, or must go, and begin again with an empty one."""
        self.drain()
        alive = closed and not self.worker.ends_soon()
        code, number = self.worker.end()
        self.drain()
        end: Message = {"lost": True, "code": code, "signal": number, "closed": alive or code == CLOSED}
        if self.running is not None:
            end["garbled"] = garbled
            self.settle({"t": "done", "cell": self.running, "status": "killed" if self.why else "crashed", **end})
        else:
            self.emit({"t": "died", **end})
        self.worker.ctl.close()
        for pipe in self.pipes:
            pipe.close()
        for fd in self.fds:
            os.close(fd)
        self.pipes, self.fds, self.calls = [], [], set()
        self.passed += sum(count for _, count in self.to_worker)
        self.to_worker.clear()
        self.acknowledge()
        self.fork()

    def signal_worker(self, now: float) -> None:
        """Interrupt again and again: first the worker alone, then what it started as well."""
        self.worker.interrupt(group=bool(self.signals))
        self.signals += 1
        self.signal_at = now + _REPEAT_SECONDS

    def pass_on(self, data: bytes, count: bool = False) -> None:
        """Send to the worker; `count` what is to be acknowledged to the host."""
        self.to_worker.append((data, len(data) if count else 0))
        self.push()

    def push(self) -> None:
        """Write to the worker what it takes."""
        try:
            while self.to_worker:
                data, count = self.to_worker[0]
                sent = self.worker.ctl.send(data)
                if sent < len(data):
                    self.to_worker[0] = data[sent:], count
                else:
                    self.to_worker.popleft()
                    self.passed += count
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            pass  # stalled; or dead: then its socket ends, and the loop sees that
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell the host, which keeps a window of bytes that have not left this process, what has."""
        if self.passed - self.acknowledged >= _ACK_BYTES:
            self.acknowledged = self.passed
            self.emit({"t": "ack", "bytes": self.passed})

    def hear_worker(self) -> None:
        """Take in what the worker sent."""
        try:
            data, fds, _, _ = socket.recv_fds(self.worker.ctl, READ_BYTES, 2)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        self.fds += fds
        if not data:
            self.lost(closed=True)
            return
        worker = self.worker.pid
        for line in self.worker_lines.feed(data):
            if self.worker.pid != worker:
                return
            try:
                message = json.loads(line or b"null")
            except (ValueError, RecursionError):
                message = None
            if sound(message):
                self.from_worker(message)
            elif self.running is not None:
                self.lost(garbled=True)  # the code wrote it: without this cell's end the host would wait
                return
        if self.worker.pid == worker and self.worker_lines.too_long:
            self.lost(garbled=True)  # what was lost by it may have been an answer that the cell waits for
        while len(self.fds) > 2:
            os.close(self.fds.pop())

    def from_worker(self, message: Message) -> None:
        """Carry out one message of the worker's."""
        kind = message["t"]
        if kind == "began":
            self.begin_by = None
            if message["cell"] == self.running and len(self.fds) >= 2:
                for stream in ("stdout", "stderr"):
                    pipe = self.fds.pop(0), message["cell"], stream, self.config["cap"], self.config["tail"]
                    self.pipes.append(OutputPipe(*pipe))
        elif kind == "done":
            if message["cell"] == self.running:
                self.drain()
                self.settle(message)
        elif kind == "call":
            if message["cell"] == self.running and not self.why:
                self.calls.add(message["id"])
                self.emit(message)
            else:
                refusal = {"t": "ret", "id": message["id"], "ok": False, "error": f"{OVER}; nothing was asked"}
                self.pass_on(dumps(refusal))
        elif kind == "cancel":
            self.calls.discard(message["id"])
            self.emit(message)
        elif kind == "part":
            self.emit(message)
