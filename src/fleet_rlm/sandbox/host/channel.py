"""The host's end of the protocol: messages to and from a driver over any transport."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from fleet_rlm.log_text import logger
from fleet_rlm.sandbox.host import protocol
from fleet_rlm.sandbox.host.protocol import FromDriver, ProtocolError, ToDriver
from fleet_rlm.sandbox.host.running_clock import awake
from fleet_rlm.sandbox.host.transport import Stalled, Transport, TransportError
from fleet_rlm.sandbox.inside.wire import LINE_BYTES, Lines

_log = logger("fleet_rlm.sandbox")
_SECONDS_TO_SAY_WHY = 0.5
_SECONDS_FOR_ROOM = 30.0
"""A driver that takes nothing in for so long gets the rest all the same: what it does with it is its own affair."""


class Channel:
    """Sends from any thread; one thread of its own reads and hands every message on.

    Whoever sends while nobody writes becomes the writer, and writes what others add meanwhile: no thread is woken for
    a small message, and where a write costs a round trip all that waits goes in one.
    """

    def __init__(
        self, transport: Transport, receive: Callable[[FromDriver, int], None], ended: Callable[[str], None]
    ) -> None:
        """`receive` (a message and its bytes) and `ended` (once, with the reason) run in the reading thread."""
        self._transport, self._receive, self._ended = transport, receive, ended
        self._queue: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._writing = False
        self._room = threading.Condition(threading.Lock())
        self._sent = self._acknowledged = 0
        self._violations = 0
        self._stalled = ""
        """The reason why nothing more can be sent although the driver lives."""
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._read, name="sandbox-reader", daemon=True)
        self._taken = awake()
        self._heard: float | None = self._taken
        """The time since which the driver has said nothing; None while one of its messages is dealt with."""

    def start(self) -> None:
        """Begin to read; the transport has started."""
        self._heard = awake()
        self._reader.start()

    @property
    def busy(self) -> bool:
        """True if one message has been dealt with for over a second: an observer may be held up, by ctrl+z perhaps."""
        return self._heard is None and awake() - self._taken > 1.0

    def quiet(self) -> float:
        """Return the seconds in which nothing came although this program ran and did nothing but listen."""
        now, heard = awake(), self._heard
        return 0.0 if heard is None else now - heard

    @property
    def over(self) -> bool:
        """True if nothing more will come."""
        return self._over.is_set()

    def wait(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        self._over.wait(seconds)

    def join(self, seconds: float) -> None:
        """Wait for the reading thread, unless this is it."""
        if self._reader.is_alive() and threading.current_thread() is not self._reader:
            self._reader.join(seconds)

    def send(self, message: ToDriver) -> None:
        """Send past the window: for what must arrive at once. Never raises: a dead sandbox is the reader's news."""
        self._write(protocol.encode(message))

    def send_windowed(self, messages: Iterable[ToDriver]) -> None:
        """Send as the driver takes in what went before, in as few writes as that allows. Waits; returns at the end."""
        batch: list[bytes] = []
        for message in messages:
            data = protocol.encode(message)
            if not self._reserve(len(data), wait=not batch):
                self._write(b"".join(batch))
                batch.clear()
                self._reserve(len(data), wait=True)
            batch.append(data)
        self._write(b"".join(batch))

    def _reserve(self, size: int, *, wait: bool) -> bool:
        """Reserve room in the window; return False if there is none and `wait` is false."""
        with self._room:
            end = awake() + _SECONDS_FOR_ROOM
            while not self.over and self._sent > self._acknowledged and awake() < end:
                if self._sent + size - self._acknowledged <= protocol.WINDOW_BYTES:
                    break
                if not wait:
                    return False
                self._room.wait(1.0)  # in turns, or a signal that comes just before would not be handled
            self._sent += size
            return True

    def _write(self, data: bytes) -> None:
        with self._lock:
            self._queue.append(data)
            if self._writing:
                return
            self._writing = True
        while True:
            with self._lock:
                if not self._queue or self.over:
                    self._queue.clear()
                    self._writing = False
                    return
                batch = self._queue[0] if len(self._queue) == 1 else b"".join(self._queue)
                self._queue.clear()
            try:
                self._transport.write(batch)
            except (OSError, TransportError) as error:
                _log.debug("writing to the sandbox failed: %s", error)
                with self._lock:
                    self._writing = False
                if isinstance(error, Stalled):
                    self._stalled = str(error)
                    self._transport.kill()
                return
            except BaseException:  # such as KeyboardInterrupt, in the midst of a line: it can't be finished
                with self._lock:
                    self._writing = False
                self._transport.kill()
                raise

    def _read(self) -> None:
        reader, why = Lines(), None
        try:
            while data := self._transport.read():
                self._heard = None
                for line in reader.feed(data):
                    self._taken = awake()
                    self._take(line)
                self._heard = awake()
        except (OSError, TransportError) as error:
            why = str(error)
        except ProtocolError as error:
            why = f"it no longer speaks the protocol ({error})"
            self._transport.kill()
        self._over.set()
        with self._room:
            self._room.notify_all()
        self._call(lambda: self._ended(self._stalled or why or self._why()))

    def _take(self, line: bytes | None) -> None:
        try:
            if line is None:
                raise ProtocolError(f"a line longer than {LINE_BYTES:,} bytes")
            message = protocol.decode(line)
            if isinstance(message, protocol.Ack):
                with self._room:
                    if message.bytes <= self._acknowledged:
                        raise ProtocolError("it acknowledged nothing new")
                    self._acknowledged = min(message.bytes, self._sent)
                    self._room.notify_all()
            else:
                self._call(lambda: self._receive(message, len(line)))
        except ProtocolError as error:
            self._violations += 1
            _log.warning("a sandbox sent what is not of the protocol: %s", ascii(str(error)[:200]))
            if self._violations > protocol.VIOLATIONS:
                raise

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except ProtocolError:
            raise
        except Exception:  # noqa: BLE001 - an observer is the caller's code, and reading must go on
            _log.exception("an observer of a sandbox failed")

    def _why(self) -> str:
        """Return the transport's reason for the end, which may come a little after the end of the stream."""
        end = time.monotonic() + _SECONDS_TO_SAY_WHY
        while (why := self._transport.end()) is None and time.monotonic() < end:
            time.sleep(0.01)
        last = ""
        with contextlib.suppress(OSError, TransportError):
            lines = self._transport.diagnostics().strip().splitlines()
            last = f"; it last said: {lines[-1][:300]}" if lines else ""
        return (why or "its connection closed") + last
