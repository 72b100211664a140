"""Sends documents into a Modal sandbox: directly, or by a volume that keeps them for the next one."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, BinaryIO

from fleet_rlm.sandbox.host.transport import Stored
from fleet_rlm.sandbox.modal import volumes
from fleet_rlm.sandbox.modal.modal_client import Deadlines
from fleet_rlm.sandbox.modal.modal_failures import CloudError

IN_MEMORY_BYTES = 96 << 20
"""Up to this size a document is sent from memory; a larger one is copied from a file."""
FOLDER = "/tmp/.fleet-inputs"
"""The folder of documents in a sandbox without a volume."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A document that is ready to be sent, from memory or from a file."""

    size: int
    data: bytes | None
    path: str

    def open(self) -> BinaryIO | str:
        return io.BytesIO(self.data) if self.data is not None else self.path


class Files:
    """The documents of one sandbox.

    Measured on loopback at 40 MB: from memory some 125 MB/s at any latency, from a file 130 to 170, by a volume 60 to
    70 the first time, and nothing crosses the second.
    """

    def __init__(
        self,
        modal: ModuleType,
        sandbox: Any,  # Modal's sandbox and volume
        volume: Any | None,
        mount: str,
        deadlines: Deadlines,
        call: Callable[[float, str, Callable[[], Awaitable[Any]]], Any],
    ) -> None:
        """`call(seconds, doing, make)` calls Modal's client."""
        self._modal, self._sandbox, self._volume, self._mount = modal, sandbox, volume, mount
        self._deadlines, self._client_call = deadlines, call
        self._seen: set[str] = set()

    def put(self, name: str, chunks: Iterator[bytes]) -> Stored:
        """Store a document under its hash. Raises `CloudError`.

        One that is stored again (its file was changed or removed in the sandbox) never goes by the volume.
        """
        with _gathered(chunks) as source:
            again = name in self._seen
            self._seen.add(name)
            stored = self._by_volume(name, source) if self._volume is not None and not again else None
            return stored or self._directly(name, source)

    def _by_volume(self, name: str, source: _Source) -> Stored | None:
        """Store a document on the volume; None if an open file of the volume keeps it from being shown."""
        path = volumes.inside(self._mount, name)
        if self._call(
            "looking for a document on the volume",
            0,
            lambda: volumes.holds(self._modal, self._volume, name, source.size),
        ):
            return Stored(path, "kept")
        doing = f"keeping a document of {source.size:,} bytes on the volume"
        self._call(doing, source.size, lambda: volumes.store(self._volume, name, source.open()))
        try:
            self._call("showing the volume's news to the sandbox", 0, self._sandbox.reload_volumes.aio)
        except CloudError:
            return None
        return Stored(path, "volume")

    def _directly(self, name: str, source: _Source) -> Stored:
        path, doing = f"{FOLDER}/{name}", f"sending a document of {source.size:,} bytes"
        files = self._sandbox.filesystem
        if source.data is not None:
            self._call(doing, source.size, lambda: files.write_bytes.aio(source.data, path))
            return Stored(path, "file")
        self._call(doing, source.size, lambda: files.copy_from_local.aio(source.path, path))
        return Stored(path, "copied")

    def _call(self, doing: str, size: int, make: Callable[[], Awaitable[Any]]) -> Any:
        return self._client_call(self._deadlines.file + size / 1e6, doing, make)


@contextlib.contextmanager
def _gathered(chunks: Iterator[bytes]) -> Iterator[_Source]:
    """Collect a document: in memory, or in a temporary file if it is too large for that."""
    pieces: list[bytes] = []
    size = 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > IN_MEMORY_BYTES:
            break
    else:
        yield _Source(size, b"".join(pieces), "")
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="fleet-rlm-"))
            while pieces:
                file.write(pieces.pop(0))
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
            file.flush()
        except OSError as error:
            message = f"a document over {IN_MEMORY_BYTES >> 20} MiB needs a temporary file: {error}"
            raise CloudError(message, "Make room in the folder for temporary files (TMPDIR).") from error
        yield _Source(size, None, file.name)
