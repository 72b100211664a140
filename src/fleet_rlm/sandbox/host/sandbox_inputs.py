"""Inputs on their way into a sandbox: small ones with each execution, large ones once, as files."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from fleet_rlm.sandbox.host.protocol import INLINE_BYTES, INLINE_TOTAL_BYTES, Bound, to_json
from fleet_rlm.sandbox.host.transport import Transport

_CHUNK = 1 << 20
_Kind = Literal["text", "bytes", "json"]
_Chunks: TypeAlias = Callable[[], Iterator[bytes]]


@dataclass(slots=True)
class _Stored:
    value: object
    """Kept alive so that its `id()` is not reused."""
    ref: str
    kind: _Kind
    path: str


class Inputs:
    """The inputs of one sandbox. A large value is recognised by identity: one that is changed in place goes unseen."""

    def __init__(self, transport: Transport, sent: Callable[[str, int, float, str], None]) -> None:
        """`sent(name, bytes, seconds, how)` hears of each input that crosses anew."""
        self._transport, self._sent = transport, sent
        self._stored: dict[int, _Stored] = {}
        self._paths: dict[str, str] = {}
        self._last: dict[str, bytes | str] = {}

    def bind(self, variables: Mapping[str, Any]) -> dict[str, Bound]:
        """Return how each variable crosses, and store the large ones that are new.

        `Any`: inputs are whatever the caller of the RLM gives. Raises `TypeError` for one that is not JSON, and
        `TransportError` when a file can't be stored.
        """
        bound, inline = {}, 0
        for name, value in variables.items():
            bound[name] = one = self._bind(name, value, min(INLINE_BYTES, INLINE_TOTAL_BYTES - inline))
            inline += len(bytes(one.value)) if one.path is None else 0
        return bound

    def forget(self, names: list[str], variables: Mapping[str, Any]) -> None:
        """Store these inputs again next time: their files are gone from the sandbox."""
        for name in names:
            stored = self._stored.pop(id(variables.get(name)), None)
            if stored:
                self._paths.pop(stored.ref, None)

    def _bind(self, name: str, value: Any, room: int) -> Bound:
        stored = self._stored.get(id(value))
        if stored is None or stored.value is not value:
            began = time.monotonic()
            if isinstance(value, str) and len(value) > INLINE_BYTES:
                stored = self._store(name, value, "text", _chunks_of_text(value), began)
            elif isinstance(value, (bytes, bytearray)):
                stored = self._store(name, value, "bytes", _chunks_of_bytes(bytes(value)), began)
            else:
                text = to_json(value, f"the input {name}", ascii_only=False)
                data = to_json(value, f"the input {name}").encode() if len(text) <= room else b""
                if 0 < len(data) <= room:
                    if self._last.get(name) != data:
                        self._last[name] = data
                        self._sent(name, len(data), time.monotonic() - began, "inline")
                    return Bound(value=msgspec.Raw(data))
                chunks = _chunks_of_bytes(text.encode("utf-8", "surrogatepass"))
                stored = self._store(name, value, "json", chunks, began)
        self._last[name] = stored.ref
        return Bound(path=stored.path, ref=stored.ref, type=stored.kind)

    def _store(self, name: str, value: object, kind: _Kind, chunks: _Chunks, began: float) -> _Stored:
        digest, size = hashlib.sha256(), 0
        for chunk in chunks():
            digest.update(chunk)
            size += len(chunk)
        ref = digest.hexdigest()
        if ref not in self._paths:
            self._paths[ref], how = self._transport.put(ref, chunks())
            self._sent(name, 0 if how == "kept" else size, time.monotonic() - began, how)
        stored = self._stored[id(value)] = _Stored(value, ref, kind, self._paths[ref])
        return stored


def _chunks_of_text(text: str) -> _Chunks:
    """Encode a text in chunks, so that one of any size is never encoded whole."""
    starts = range(0, len(text), _CHUNK)
    return lambda: (text[start : start + _CHUNK].encode("utf-8", "surrogatepass") for start in starts)


def _chunks_of_bytes(data: bytes) -> _Chunks:
    view = memoryview(data)
    return lambda: (bytes(view[start : start + _CHUNK]) for start in range(0, len(view), _CHUNK))
