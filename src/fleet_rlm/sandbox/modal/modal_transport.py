"""The driver in a Modal sandbox: its protocol on the standard streams of one `exec`, resumed after a cut."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import queue
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from types import ModuleType
from typing import Any

from fleet_rlm.sandbox.host import artefact
from fleet_rlm.sandbox.host.running_clock import awake
from fleet_rlm.sandbox.host.transport import IsolationReport, Limits, Stalled, Stored, Transport, TransportError
from fleet_rlm.sandbox.modal import inside_probe, volumes
from fleet_rlm.sandbox.modal.document_upload import Files
from fleet_rlm.sandbox.modal.images import Images, image_for
from fleet_rlm.sandbox.modal.modal_client import Caller, Deadlines, connect, load, within
from fleet_rlm.sandbox.modal.modal_ending import Ended, how_it_ended
from fleet_rlm.sandbox.modal.modal_failures import CloudError, cloud_error, is_passing
from fleet_rlm.sandbox.modal.modal_secrets import open_secret
from fleet_rlm.spec import ModalOptions

TAG = "fleet-rlm"
"""Each sandbox carries this tag with a value of its own, by which it is found when its creation was left behind."""
WRITE_BYTES = 8 << 20
"""The most bytes in one call: Modal's client takes up to 16 MiB."""
_SAID_BYTES = 32 << 10
_CHUNKS_AHEAD = 256
_FULL_SECONDS = 0.01
_LONGEST_PAUSE = 1.0
_ASK_SECONDS = 5.0
_CUT_HINT = "Check the network, then start the run again; what was recorded is kept."


class ModalTransport(Transport):
    """One Modal sandbox. `options` and what they default to: `fleet_rlm.spec.ModalOptions`.

    Modal's client is called in a thread of this transport's own (`Caller`). Whoever waits here can therefore always
    be let go, whatever the network does.
    """

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
        self._state, self._ending = threading.Lock(), threading.Lock()
        self._over = threading.Event()
        self._ended: Ended | None = None
        self._modal: ModuleType | None = None
        self._caller: Caller | None = None
        self._app: Any = None  # Modal's objects, from here on
        self._sandbox: Any = None
        self._creating = self._asked_to_end = False
        self._process: Any = None
        self._files: Files | None = None
        self._out: queue.Queue[bytes | TransportError] = queue.Queue(_CHUNKS_AHEAD)
        self._to_write: asyncio.Queue[tuple[bytes, Future[None]]] = asyncio.Queue()
        self._cut_since: float | None = None
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
        with self._step("client"):
            load()
        with self._step("connect"):
            modal, _ = connect(deadlines.look_up, self._over.is_set)
            self._modal, self._caller = modal, Caller(modal)
        aside = self._look_up_aside(modal)
        with self._step("app"):
            doing = f"looking up the app {options.app}"
            look_up = functools.partial(modal.App.lookup.aio, options.app, create_if_missing=True)
            self._app = self._call(deadlines.look_up, doing, look_up)
        with self._step("image"):
            image, how = image_for(
                modal,
                self._app,
                options,
                deadlines,
                progress=progress,
                stopped=self._over.is_set,
                images=self._images,
            )
        if how == "built":
            self.steps["image build"] = self.steps.pop("image")
        held: dict[str, Any] = {}  # Modal's volume and secrets
        if options.volume or options.secrets:
            with self._step("volume and secrets"):
                held = aside.all()
        progress("creating the sandbox")
        with self._step("create"):
            self._create(modal, image, held)
        progress("waiting for its container")
        with self._step("container"):
            boot = functools.partial(self._sandbox.exec.aio, "python", "-u", "-c", inside_probe.PROGRAM, text=False)
            self._process = self._call(deadlines.boot, "starting Python in the sandbox", boot)
        self._files = Files(modal, self._sandbox, held.get("volume"), options.volume_path, deadlines, self._call)
        for work in (self._write_all(), self._read_all(), self._listen()):
            self._caller.begin(work)
        self.write(artefact.framed(artefact.driver()))
        with self._step("probe"):
            self._heard_probe.wait(inside_probe.SECONDS)
        if self._over.is_set():
            raise TransportError("the sandbox was ended while it started")
        return inside_probe.report(options, inside_probe.found_in(bytes(self._said)))

    def _look_up_aside(self, modal: ModuleType) -> _Aside:
        """Look up the volume and the secrets while the app and the image are looked up."""
        seconds, stopped, aside = self._deadlines.look_up, self._over.is_set, _Aside()
        if self._options.volume:
            look_up = functools.partial(volumes.open_volume, modal, self._options.volume, create=True)
            aside.begin("volume", functools.partial(look_up, seconds=seconds, stopped=stopped))
        for name in self._options.secrets:
            aside.begin(name, functools.partial(open_secret, modal, name, seconds=seconds, stopped=stopped))
        return aside

    def _create(self, modal: ModuleType, image: Any, held: dict[str, Any]) -> None:
        options = self._options
        cpu = (1.0, 4.0) if options.cpu is None else (options.cpu, options.cpu)
        memory = (1024, 8192) if options.memory_mb is None else (options.memory_mb, options.memory_mb)
        create = functools.partial(
            modal.Sandbox.create.aio,
            app=self._app,
            image=image,
            timeout=math.ceil(options.timeout),
            idle_timeout=math.ceil(options.idle_timeout),
            cpu=cpu,
            memory=memory,
            block_network=not options.network,
            secrets=[held[name] for name in options.secrets],
            volumes={options.volume_path: held["volume"]} if options.volume else {},
            tags=self._tags,
            workdir="/tmp",
        )
        self._creating = True
        self._sandbox = self._call(self._deadlines.create, "creating the sandbox", create)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps[name] = time.monotonic() - began

    def _call(self, seconds: float, doing: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """Call Modal's client (`Any`: its types). Raises `CloudError`, and `TransportError` once this is over."""
        if self._caller is None:
            raise TransportError("the sandbox has not started")
        return self._caller.call(seconds, doing, make, self._over.is_set)

    # -- the streams

    def write(self, data: bytes) -> None:
        """Raises `TransportError` when the sandbox is gone, or nothing could be sent for longer than a cut may last."""
        if self._over.is_set() or self._caller is None:
            raise TransportError("the sandbox has ended")
        sent: Future[None] = Future()
        self._caller.soon(self._to_write.put_nowait, (data, sent))
        limit = self._deadlines.reconnect + self._deadlines.close + len(data) / 1e6
        end = awake() + limit
        while True:
            try:
                sent.result(0.5)
            except FutureTimeout:
                if self._over.is_set():
                    raise TransportError("the sandbox has ended") from None
                if awake() > end:
                    self.hint = _CUT_HINT
                    raise Stalled(
                        f"the network to Modal was cut: nothing could be sent for {limit:.0f} s", _CUT_HINT
                    ) from None
            else:
                return

    async def _write_all(self) -> None:
        """Write what is queued, in order: Modal's writer is for one caller at a time."""
        while True:
            data, sent = await self._to_write.get()
            try:
                view = memoryview(data)
                while view:
                    self._process.stdin.write(view[:WRITE_BYTES])
                    await self._insist("sending to the sandbox", self._process.stdin.drain.aio)
                    view = view[WRITE_BYTES:]
                sent.set_result(None)
            except Exception as error:  # noqa: BLE001 - it is raised again in the threads that wait
                lost = await self._lost(error, "sending to the sandbox")
                sent.set_exception(lost)
                await self._hand_on(lost)  # half a line was sent, or none: nothing can follow it
                return

    async def _read_all(self) -> None:
        end: bytes | TransportError = b""
        try:
            # Iterating again goes on at the byte where the last iteration was cut off.
            await self._insist("reading from the sandbox", self._read_on)
        except Exception as error:  # noqa: BLE001 - it is raised again in the thread that reads
            end = await self._lost(error, "reading from the sandbox")
        await self._hand_on(end)

    async def _read_on(self) -> None:
        async for chunk in _chunks_of(self._process.stdout):
            self._cut_since = None
            await self._hand_on(chunk)

    async def _hand_on(self, chunk: bytes | TransportError) -> None:
        while True:
            try:
                self._out.put_nowait(chunk)
            except queue.Full:
                await asyncio.sleep(_FULL_SECONDS)
            else:
                return

    async def _insist(self, doing: str, make: Callable[[], Awaitable[object]]) -> None:
        """Call again while the network is cut, as long as a cut may last. What was sent or read is not lost by it."""
        assert self._modal is not None
        pause = 0.1
        while True:
            try:
                await make()
            except Exception as error:
                if not is_passing(self._modal, error):
                    raise
                now = awake()
                self._cut_since = self._cut_since or now
                if now - self._cut_since > self._deadlines.reconnect:
                    seconds = now - self._cut_since
                    message = f"the network to Modal was cut for {seconds:.0f} s ({doing}: {error})"
                    raise CloudError(message, _CUT_HINT) from error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._cut_since = None
                return

    def read(self) -> bytes:
        """Raises `TransportError` when the stream broke for longer than a cut may last."""
        while True:
            try:
                chunk = self._out.get(timeout=0.5)
            except queue.Empty:
                if self._over.is_set():
                    return b""
                continue
            if isinstance(chunk, TransportError):
                self.hint = chunk.hint or self.hint
                raise chunk
            return chunk

    async def _listen(self) -> None:
        with contextlib.suppress(Exception):  # of the driver's stderr only the last words are wanted
            async for chunk in _chunks_of(self._process.stderr):
                with self._state:
                    self._said += chunk
                    del self._said[:-_SAID_BYTES]
                    if inside_probe.found_in(bytes(self._said)) is not None:
                        self._heard_probe.set()
        self._heard_probe.set()

    async def _lost(self, error: Exception, doing: str) -> TransportError:
        """Return the reason why a stream broke: the sandbox's own end says more than the call that met it."""
        if isinstance(error, TransportError):
            return error
        assert self._modal is not None
        with contextlib.suppress(Exception):
            async with asyncio.timeout(3 * _ASK_SECONDS):
                ended = await how_it_ended(self._modal, self._sandbox, self._process, self._options)
                if ended is not None:
                    self._ended = ended
                    return TransportError(ended.why, ended.hint)
        return cloud_error(self._modal, error, doing)

    # -- files

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        if self._files is None:
            raise TransportError("the sandbox has not started")
        return self._files.put(name, chunks)

    # -- the end

    def diagnostics(self) -> str:
        with self._state:
            return inside_probe.without(bytes(self._said)).decode(errors="replace")

    def end(self) -> str | None:
        if self._ended is None and not self._over.is_set() and self._process is not None:
            assert self._modal is not None
            ask = functools.partial(how_it_ended, self._modal, self._sandbox, self._process, self._options)
            try:
                self._ended = self._call(3 * _ASK_SECONDS, "asking how the sandbox ended", ask)
            except TransportError as error:
                self._ended = Ended(f"its connection closed, and how it is can't be asked: {error}", _CUT_HINT)
        if self._ended is None:
            return "it was ended" if self._over.is_set() else None
        self.hint = self._ended.hint or self.hint
        return self._ended.why

    def settle(self) -> str:
        """A volume keeps what was written to it: its changes are committed before the sandbox ends."""
        if self._options.volume is None or self._process is None or self._over.is_set():
            return ""
        try:
            code = self._call(self._deadlines.file, "committing the volume", self._commit)
        except TransportError as error:
            code = error
        if code == 0:
            return ""
        reason = f"sync ended with exit code {code}" if isinstance(code, int) else str(code)
        return f"what was written to the volume {self._options.volume} at last may not be kept: {reason}"

    async def _commit(self) -> int:
        process = await self._sandbox.exec.aio("sync", self._options.volume_path)
        return int(await process.wait.aio())

    def kill(self) -> None:
        """Modal is asked to end the sandbox, once; waits for its word, but not long. A cut network leaves that to the
        driver, which ends when it hears nothing, and to the idle limit.
        """
        self._over.set()
        self._heard_probe.set()
        with self._ending:  # whoever comes second waits for the first: this process may end when it returns
            given_up = self._sandbox is None and self._creating  # it may stand there all the same
            if self._modal is not None and not self._asked_to_end and (given_up or self._sandbox is not None):
                self._asked_to_end = self._sandbox is not None
                with contextlib.suppress(TransportError):
                    within(self._modal, self._deadlines.close, "ending the sandbox", self._terminate)
            if self._caller is not None:
                self._caller.close(self._deadlines.close)

    async def _terminate(self) -> None:
        """End the sandbox, and at the same time whatever else has its tag: a creation whose answer was lost is asked
        for again by the client, and made twice.
        """
        await asyncio.gather(self._terminate_known(), self._terminate_by_tag(), return_exceptions=True)

    async def _terminate_known(self) -> None:
        if self._sandbox is not None:
            await self._sandbox.terminate.aio()
            await self._sandbox.detach.aio()

    async def _terminate_by_tag(self) -> None:
        assert self._modal is not None
        async for sandbox in self._modal.Sandbox.list.aio(app_id=self._app.app_id, tags={TAG: self._own_tag}):
            if self._sandbox is None or sandbox.object_id != self._sandbox.object_id:
                await sandbox.terminate.aio()


async def _chunks_of(stream: Any) -> AsyncIterator[bytes]:
    """Yield what a stream of Modal's brings, as bytes. `Any`: its reader."""
    async for chunk in stream:
        yield bytes(chunk)


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
        """Wait for all look-ups; return the results by name. Raises the first error."""
        return {name: box.result() for name, box in self._found.items()}
