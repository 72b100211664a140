"""The driver in a Modal sandbox: its protocol on the standard streams of one `exec`, resumed after a cut.

The client's calls run in threads of this transport's own, each with a deadline: one thread writes, one reads each
stream. Whoever waits here can therefore always be let go, whatever the network does.
"""

from __future__ import annotations

import contextlib
import functools
import math
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from types import ModuleType
from typing import Any

from fleet_rlm.sandbox.modal import probe, volumes
from fleet_rlm.sandbox.modal.client import Deadlines, connect, within
from fleet_rlm.sandbox.modal.failures import CloudError, cloud_error, is_passing
from fleet_rlm.sandbox.modal.files import Files
from fleet_rlm.sandbox.modal.images import Images, image_for
from fleet_rlm.sandbox.modal.secrets import open_secret
from fleet_rlm.sandbox.protocol import DRIVER
from fleet_rlm.sandbox.transport import IsolationReport, Limits, Stored, Transport, TransportError
from fleet_rlm.spec import ModalOptions

TAG = "fleet-rlm"
"""Each sandbox carries this tag with a value of its own, by which it is found when its creation was left behind."""
WRITE_BYTES = 8 << 20
"""In one call: Modal's client takes up to 16 MiB."""
_SAID_BYTES = 32 << 10
_CHUNKS_AHEAD = 256
_LONGEST_PAUSE = 2.0


class ModalTransport(Transport):
    """One Modal sandbox. `options` and what they default to: `fleet_rlm.spec.ModalOptions`."""

    backend = "modal"

    def __init__(
        self,
        options: ModalOptions | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        deadlines: Deadlines | None = None,
        images: Images | None = None,
    ) -> None:
        self.steps: dict[str, float] = {}
        self.hint = ""
        self._options = options or ModalOptions()
        self._own_tag = uuid.uuid4().hex[:16]
        self._tags = {**self._options.tags, **(tags or {}), TAG: self._own_tag}
        self._deadlines = deadlines or Deadlines()
        self._images = images
        self._state = threading.Lock()
        self._ended = threading.Event()
        self._why: str | None = None
        self._modal: ModuleType | None = None
        self._app: Any = None  # Modal's objects, from here on
        self._sandbox: Any = None
        self._creating = False
        self._process: Any = None
        self._files: Files | None = None
        self._out: queue.Queue[bytes | TransportError] = queue.Queue(_CHUNKS_AHEAD)
        self._to_write: queue.SimpleQueue[tuple[bytes, Future[None]] | None] = queue.SimpleQueue()
        self._said = bytearray()
        self._heard_probe = threading.Event()

    @property
    def id(self) -> str:
        return str(self._sandbox.object_id) if self._sandbox is not None else ""

    # -- the start

    def start(self, limits: Limits, progress: Callable[[str], None]) -> IsolationReport:  # noqa: ARG002 - the options have Modal's
        """Raises `CloudError`."""
        try:
            return self._start(progress)
        except TransportError:
            self.kill()
            raise

    def _start(self, progress: Callable[[str], None]) -> IsolationReport:
        options, deadlines = self._options, self._deadlines
        progress("connecting to Modal")
        with self._step("connect"):
            modal, _ = connect(deadlines.look_up, self._ended.is_set)
            self._modal = modal
        aside = _Aside()
        if options.volume:
            name = options.volume
            aside.begin(
                "volume",
                lambda: volumes.open_volume(
                    modal, name, create=True, seconds=deadlines.look_up, stopped=self._ended.is_set
                ),
            )
        for secret in options.secrets:
            aside.begin(
                f"secret {secret}",
                functools.partial(open_secret, modal, secret, seconds=deadlines.look_up, stopped=self._ended.is_set),
            )
        with self._step("app"):
            doing = f"looking up the app {options.app}"
            self._app = self._call(
                deadlines.look_up, doing, lambda: modal.App.lookup(options.app, create_if_missing=True)
            )
        with self._step("image"):
            image, how = image_for(
                modal,
                self._app,
                options,
                deadlines,
                progress=progress,
                stopped=self._ended.is_set,
                images=self._images,
            )
        if how == "built":
            self.steps["image build"] = self.steps.pop("image")
        with self._step("volume and secrets"):
            held = aside.all()
        if not options.volume and not options.secrets:
            del self.steps["volume and secrets"]
        progress("creating the sandbox")
        with self._step("create"):
            self._create(modal, image, held)
        progress("waiting for its container")
        with self._step("container"):
            self._process = self._call(
                deadlines.boot,
                "starting Python in the sandbox",
                lambda: self._sandbox.exec("python", "-u", "-c", probe.PROGRAM, text=False),
            )
        self._files = Files(
            modal, self._sandbox, held.get("volume"), options.volume_path, deadlines, self._ended.is_set
        )
        for name, work in (("write", self._write_all), ("stdout", self._read_all), ("stderr", self._listen)):
            threading.Thread(target=work, name=f"modal-{name}", daemon=True).start()
        source = DRIVER.read_bytes()
        self.write(b"%d\n" % len(source) + source)
        with self._step("probe"):
            self._heard_probe.wait(probe.SECONDS)
        if self._ended.is_set():
            raise TransportError("the sandbox was ended while it started")
        return probe.report(options, probe.found_in(bytes(self._said)))

    def _create(self, modal: ModuleType, image: Any, held: dict[str, Any]) -> None:
        options = self._options
        volume = held.get("volume")
        cpu = options.cpu if options.cpu is None else (options.cpu, max(options.cpu, 1.0))
        memory = options.memory_mb if options.memory_mb is None else (options.memory_mb, options.memory_mb)
        self._creating = True
        self._sandbox = self._call(
            self._deadlines.create,
            "creating the sandbox",
            lambda: modal.Sandbox.create(
                app=self._app,
                image=image,
                timeout=math.ceil(options.timeout),
                idle_timeout=math.ceil(options.idle_timeout),
                cpu=cpu or (1.0, 4.0),
                memory=memory or (1024, 8192),
                block_network=not options.network,
                secrets=[value for name, value in held.items() if name.startswith("secret ")],
                volumes={options.volume_path: volume} if volume is not None else {},
                tags=self._tags,
                workdir="/tmp",
            ),
        )
        if self._ended.is_set():
            raise TransportError("the sandbox was ended while it started")

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps[name] = time.monotonic() - began

    def _call(self, seconds: float, doing: str, function: Callable[[], Any]) -> Any:
        assert self._modal is not None
        return within(self._modal, seconds, doing, function, self._ended.is_set)

    # -- the streams

    def write(self, data: bytes) -> None:
        """Raises `TransportError` when the sandbox is gone, or nothing could be sent for longer than a cut may last."""
        if self._ended.is_set():
            raise TransportError("the sandbox has ended")
        sent: Future[None] = Future()
        self._to_write.put((data, sent))
        limit = self._deadlines.reconnect + self._deadlines.file + len(data) / 1e6
        try:
            sent.result(limit)
        except FutureTimeout:
            self.hint = _CUT_HINT
            raise TransportError(f"nothing could be sent to the sandbox for {limit:.0f} s") from None

    def _write_all(self) -> None:
        """Modal's writer is not made for threads: this one alone uses it."""
        while (work := self._to_write.get()) is not None:
            data, sent = work
            try:
                view = memoryview(data)
                while view:
                    self._process.stdin.write(view[:WRITE_BYTES])
                    self._insist("sending to the sandbox", self._process.stdin.drain)
                    view = view[WRITE_BYTES:]
                sent.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is raised again in the thread that waits for the write
                sent.set_exception(self._lost(error, "sending to the sandbox"))

    def _read_all(self) -> None:
        end: bytes | TransportError = b""
        try:
            # Iterating again goes on at the byte where the last iteration was cut off.
            self._insist("reading from the sandbox", self._read_on)
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that reads
            end = self._lost(error, "reading from the sandbox")
        self._hand_on(end)

    def _read_on(self) -> None:
        for chunk in self._process.stdout:
            self._hand_on(bytes(chunk))
            self._passing_since = None
            if self._ended.is_set():
                return

    _passing_since: float | None = None
    """Since when the network is cut, for the thread that reads."""

    def _hand_on(self, chunk: bytes | TransportError) -> None:
        while not self._ended.is_set():
            try:
                self._out.put(chunk, timeout=0.5)
            except queue.Full:
                continue
            return

    def _insist(self, doing: str, function: Callable[[], object]) -> None:
        """Call again while the network is cut, as long as a cut may last. What was sent or read is not lost by it."""
        assert self._modal is not None
        since, pause = None, 0.1
        reading = function == self._read_on
        while True:
            try:
                function()
            except Exception as error:
                now = time.monotonic()
                since = (self._passing_since if reading else since) or now
                if reading:
                    self._passing_since = since
                if self._ended.is_set() or not is_passing(self._modal, error):
                    raise
                if now - since > self._deadlines.reconnect:
                    self.hint = _CUT_HINT
                    message = f"the network to Modal was cut for {now - since:.0f} s ({doing}: {error})"
                    raise CloudError(message, _CUT_HINT) from error
                self._ended.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    def read(self) -> bytes:
        """Raises `TransportError` when the stream broke for longer than a cut may last."""
        while True:
            try:
                chunk = self._out.get(timeout=1.0)
            except queue.Empty:
                if self._ended.is_set():
                    return b""
                continue
            if isinstance(chunk, TransportError):
                raise chunk
            return chunk

    def _listen(self) -> None:
        with contextlib.suppress(Exception):  # of the driver's stderr only the last words are wanted
            for chunk in self._process.stderr:
                with self._state:
                    self._said += chunk
                    del self._said[:-_SAID_BYTES]
                    if probe.found_in(bytes(self._said)) is not None:
                        self._heard_probe.set()
        self._heard_probe.set()

    def _lost(self, error: Exception, doing: str) -> TransportError:
        """Why a stream broke: the sandbox's own end says more than the call that met it."""
        if isinstance(error, TransportError):
            return error
        why = self._find_out()
        if why is not None:
            return TransportError(why, self.hint)
        assert self._modal is not None
        return cloud_error(self._modal, error, doing)

    # -- files

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        if self._files is None:
            raise TransportError("the sandbox has not started")
        return self._files.put(name, chunks)

    # -- the end

    def diagnostics(self) -> str:
        with self._state:
            return probe.without(bytes(self._said)).decode(errors="replace")

    def end(self) -> str | None:
        return self._find_out() if not self._ended.is_set() else "it was ended"

    def _find_out(self) -> str | None:
        """Ask Modal once why the sandbox, or the driver in it, ended; None while it runs, or when nobody answers."""
        with self._state:
            if self._why is not None or self._sandbox is None or self._ended.is_set():
                return self._why
        code = driver = None
        with contextlib.suppress(TransportError):
            code = self._call(5.0, "asking how the sandbox is", self._sandbox.poll)
        if code is None:
            with contextlib.suppress(TransportError):
                driver = self._call(5.0, "asking how the driver is", self._process.poll)
        why, hint = self._words(code, driver)
        with self._state:
            self._why, self.hint = why, hint or self.hint
        return why

    def _words(self, code: int | None, driver: int | None) -> tuple[str | None, str]:
        options, modal = self._options, self._modal
        assert modal is not None
        if code == 124:
            return (
                f"its life of {options.timeout:g} s was over",
                "Give it longer: --sandbox-timeout SECONDS, or ModalInterpreter(timeout=…).",
            )
        if code is not None:
            terminated = False
            try:
                self._call(5.0, "asking how the sandbox ended", lambda: self._sandbox.wait(raise_on_termination=True))
            except TransportError as error:
                terminated = isinstance(error.__cause__, modal.exception.SandboxTerminatedError)
            if terminated:
                return (
                    "somebody or something else terminated it at Modal",
                    "Look at the app's page at Modal for who did.",
                )
            if code == 137:
                memory = f"{options.memory_mb:,} MiB" if options.memory_mb else "8,192 MiB"
                return (
                    f"it was killed: out of memory (it may use {memory}), or idle for {options.idle_timeout:g} s",
                    "Give it more memory: --memory MIB.",
                )
            return f"its container ended with exit code {code}", "Look at the app's page at Modal."
        if driver == 75:
            return (
                f"it had not heard from this program for {options.orphan:g} s, and ended itself",
                "The network was cut, or this machine slept.",
            )
        if driver in (137, 128 + 9, -9):
            return "its driver was killed: out of memory?", "Give it more memory: --memory MIB."
        if driver is not None:
            return f"its driver ended with exit code {driver}", ""
        return None, ""

    def settle(self) -> None:
        """A volume keeps what was written to it: its changes are committed before the sandbox ends."""
        if self._options.volume is None or self._sandbox is None or self._ended.is_set():
            return
        with contextlib.suppress(TransportError):
            path = self._options.volume_path
            self._call(
                self._deadlines.look_up, "committing the volume", lambda: self._sandbox.exec("sync", path).wait()
            )

    def kill(self) -> None:
        """Modal is asked to end the sandbox; waits for its word, but not long. A cut network leaves that to the
        driver, which ends when it hears nothing, and to the idle limit.
        """
        with self._state:
            first = not self._ended.is_set()
            self._ended.set()
        self._to_write.put(None)
        self._heard_probe.set()
        if not first or self._modal is None:
            return
        ending = threading.Thread(target=self._terminate, name="modal-terminate")
        ending.start()
        ending.join(self._deadlines.close)

    def _terminate(self) -> None:
        assert self._modal is not None
        modal = self._modal
        with contextlib.suppress(TransportError):
            if self._sandbox is None:
                if self._creating:  # its creation was given up; it may stand there all the same
                    within(modal, self._deadlines.close, "ending the sandbox", self._terminate_by_tag)
                return
            within(modal, self._deadlines.close, "ending the sandbox", self._terminate_known)

    def _terminate_known(self) -> None:
        self._sandbox.terminate()
        self._sandbox.detach()

    def _terminate_by_tag(self) -> None:
        assert self._modal is not None
        for sandbox in self._modal.Sandbox.list(app_id=self._app.app_id, tags={TAG: self._own_tag}):
            sandbox.terminate()


_CUT_HINT = "Check the network, then start the run again; what was recorded is kept."


class _Aside:
    """Look-ups that go on while others are made."""

    def __init__(self) -> None:
        self._found: dict[str, Future[Any]] = {}

    def begin(self, name: str, function: Callable[[], Any]) -> None:
        box: Future[Any] = Future()
        self._found[name] = box

        def look() -> None:
            try:
                box.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again by `all`
                box.set_exception(error)

        threading.Thread(target=look, name=f"modal-{name}", daemon=True).start()

    def all(self) -> dict[str, Any]:
        """What was found, by name. Raises the first error."""
        return {name: box.result() for name, box in self._found.items()}
