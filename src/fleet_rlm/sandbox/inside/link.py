"""The worker's end of its socket to the supervisor, and interrupts, which wait while a frame is written."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Sequence

from .source import Interrupted
from .threads import Threads
from .wire import PART_CHARS, Message, dumps, utf8


class Link:
    """Sends whole frames, from any thread."""

    def __init__(self, ctl: socket.socket, threads: Threads) -> None:
        self.ctl, self.threads, self.lock = ctl, threads, threading.Lock()
        self.main_thread = threading.get_ident()
        self.shield, self.deferred = 1, False
        """An interrupt is deferred while the shield is above zero."""

    def send(self, message: Message | bytes, fds: Sequence[int] = ()) -> None:
        """Send a frame, and descriptors with it."""
        data = message if isinstance(message, bytes) else dumps(message)
        main = threading.get_ident() == self.main_thread
        if main:
            self.shield += 1
        try:
            with self.lock:
                if fds:
                    data = data[socket.send_fds(self.ctl, [data], fds) :]
                self.ctl.sendall(data)
        finally:
            if main:
                self.shield -= 1
                self.check_interrupt()

    def send_value(self, message: Message, key: str, field: str, text: str) -> None:
        """Send a message with a field whose value is JSON text; a long one goes ahead of it in parts."""
        if len(text) <= PART_CHARS:
            self.send(dumps(message)[:-2] + b',"' + field.encode() + b'":' + utf8(text) + b"}\n")
            return
        starts = range(0, len(text), PART_CHARS)
        for start in starts:
            self.send({"t": "part", "key": key, "data": text[start : start + PART_CHARS]})
        self.send({**message, "parts": len(starts)})

    def check_interrupt(self) -> None:
        """Raise `Interrupted` if an interrupt was deferred and nothing holds it up any more."""
        if self.deferred and not self.shield and self.threads.running:
            self.deferred = False
            raise Interrupted("interrupted")

    def on_sigint(self, *_: object) -> None:
        """Handle SIGINT."""
        if self.threads.running:
            sys.setswitchinterval(0.0005)  # against threads that spin: this one has something to do now
            self.deferred = True
            self.check_interrupt()
