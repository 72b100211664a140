"""A gRPC service whose calls are methods of plain objects; each call is recorded, and may meet a fault."""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.exceptions import StreamTerminatedError
from grpclib.server import Stream
from h2.exceptions import ProtocolError

from modal_server.faults import Fault, Faults
from modal_server.ledger import Entry, Ledger

Authorize = Callable[[Mapping[str, Any], Message | None], None]
"""Raises `GRPCError` for a call that may not be made; hears of it before its first message, and with it."""


class Service:
    """Answers a generated service's calls: `AppGetOrCreate` by the method `app_get_or_create` of one of `parts`.

    A method takes the request and returns the answer; where answers stream it is an async generator, where requests
    stream it takes an async iterator. What no part has is UNIMPLEMENTED.
    """

    def __init__(
        self, base: type, parts: Sequence[object], faults: Faults, ledger: Ledger, authorize: Authorize
    ) -> None:
        self._base, self._parts = base, parts
        self._faults, self._ledger, self._authorize = faults, ledger, authorize

    def __mapping__(self) -> dict[str, Handler]:
        generated: dict[str, Handler] = self._base.__mapping__(_Anything())  # type: ignore[attr-defined]
        return {path: one._replace(func=self._serving(path, one.cardinality)) for path, one in generated.items()}

    def _serving(self, path: str, cardinality: Cardinality) -> Callable[[Any], Any]:
        rpc = path.rpartition("/")[2]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
        method = next((getattr(part, name) for part in self._parts if hasattr(part, name)), None)
        return partial(self._serve, rpc, cardinality, method)

    async def _serve(self, rpc: str, cardinality: Cardinality, method: Any, stream: Stream[Any, Any]) -> None:
        entry = self._ledger.begin(rpc)
        try:
            call = _Call(stream, entry, self._faults.befalling(rpc), self._authorize)
            await call.begin(self._faults)
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"this server has no {rpc}")
            await _answer(call, cardinality, method)
        except GRPCError as error:
            entry.end(error.status.name)
            raise
        except (asyncio.CancelledError, ConnectionError, ProtocolError, StreamTerminatedError):
            entry.end("CANCELLED")
            raise
        except Exception as error:
            traceback.print_exc()
            entry.end("INTERNAL")
            raise GRPCError(Status.INTERNAL, f"the test's server failed: {type(error).__name__}: {error}") from error
        else:
            entry.end("OK")


async def _answer(call: _Call, cardinality: Cardinality, method: Any) -> None:
    if inspect.isasyncgenfunction(method):
        async for answer in method(await call.receive()):
            await call.send(answer)
        call.lose()
        return
    answer = await method(call.messages() if cardinality.client_streaming else await call.receive())
    call.lose()
    await call.send(answer)


class _Call:
    """One call on its way through."""

    def __init__(self, stream: Stream[Any, Any], entry: Entry, fault: Fault | None, authorize: Authorize) -> None:
        self._stream, self._entry, self._fault, self._authorize = stream, entry, fault, authorize

    async def begin(self, faults: Faults) -> None:
        self._authorize(self._stream.metadata or {}, None)
        fault = self._fault
        if fault is None:
            return
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
        elif fault.action == "hang":
            await faults.hang()
            raise GRPCError(Status.UNAVAILABLE, "what hung was let go")
        elif fault.action in ("fail", "drop") and not fault.after_bytes:
            self._strike(fault)

    async def receive(self) -> Message:
        message = await self._stream.recv_message()
        if message is None:
            raise GRPCError(Status.INVALID_ARGUMENT, "a call without a message")
        self._authorize(self._stream.metadata or {}, message)
        self._entry.hear(message)
        return message

    async def messages(self) -> AsyncIterator[Message]:
        first = True
        while (message := await self._stream.recv_message()) is not None:
            if first:
                self._authorize(self._stream.metadata or {}, message)
            first = False
            self._entry.hear(message)
            yield message
            self._strike_at(self._entry.sent)

    async def send(self, message: Message) -> None:
        await self._stream.send_message(message)
        self._entry.say(message)
        self._strike_at(self._entry.received)

    def lose(self) -> None:
        if self._fault is not None and self._fault.action == "lose":
            self._strike(self._fault)

    def _strike_at(self, count: int) -> None:
        fault = self._fault
        if fault is not None and fault.after_bytes and fault.action in ("fail", "drop") and count >= fault.after_bytes:
            self._fault = None
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        if fault.action == "drop":
            self._stream._stream.connection._transport.abort()
            raise GRPCError(Status.UNAVAILABLE, "the connection was dropped")
        raise GRPCError(Status[fault.status], fault.message)


class _Anything:
    """Has every method that a generated service's mapping names."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None
