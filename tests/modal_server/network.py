"""What lies between a client and the server: latency, and the ways of being cut off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any


class Network:
    """All connections of one server."""

    def __init__(self) -> None:
        self.latency = 0.0
        """Seconds that a round trip takes on top of the loopback's."""
        self.silent = False
        self._wires: set[Wire] = set()

    def wire(self, inner: asyncio.Protocol) -> Wire:
        return Wire(self, inner)

    def opened(self, wire: Wire) -> None:
        self._wires.add(wire)

    def closed(self, wire: Wire) -> None:
        self._wires.discard(wire)

    def drop(self) -> int:
        """Close all connections at once; returns how many there were."""
        wires = list(self._wires)
        for wire in wires:
            wire.abort()
        return len(wires)

    def silence(self) -> None:
        """From now on nothing passes, and nobody is told: as when a cable is pulled."""
        self.silent = True

    def restore(self) -> None:
        """What was held back arrives."""
        self.silent = False
        for wire in list(self._wires):
            wire.release()


class Wire(asyncio.Protocol):
    """One connection: stands between the socket and the protocol that answers on it."""

    def __init__(self, network: Network, inner: asyncio.Protocol) -> None:
        self._network, self._inner = network, inner
        self._to_server, self._to_client = _Lane(network), _Lane(network)
        self._socket: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._socket = transport
        self._network.opened(self)
        self._inner.connection_made(_Sending(transport, self._to_client))

    def data_received(self, data: bytes) -> None:
        self._to_server.push(partial(self._inner.data_received, data))

    def eof_received(self) -> None:
        self._to_server.push(self._inner.eof_received)

    def connection_lost(self, exc: Exception | None) -> None:
        self._network.closed(self)
        self._to_server.empty()
        self._to_client.empty()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def release(self) -> None:
        self._to_server.run()
        self._to_client.run()

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()


class _Sending(asyncio.Transport):
    """The transport as the answering protocol sees it: what it writes takes half a round trip."""

    def __init__(self, socket: asyncio.Transport, lane: _Lane) -> None:
        super().__init__()
        self._socket, self._lane = socket, lane

    def write(self, data: Any) -> None:
        self._lane.push(partial(self._socket.write, data))

    def close(self) -> None:
        self._lane.push(self._socket.close)

    def abort(self) -> None:
        self._socket.abort()

    def is_closing(self) -> bool:
        return self._socket.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket.get_extra_info(name, default)


class _Lane:
    """One direction: what is pushed happens in order, half a round trip later, and not while the network is silent."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._waiting: deque[tuple[float, Callable[[], Any]]] = deque()

    def push(self, happen: Callable[[], Any]) -> None:
        if not self._waiting and not self._network.latency and not self._network.silent:
            happen()
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + self._network.latency / 2
        self._waiting.append((due, happen))
        loop.call_at(due, self.run)

    def run(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._waiting and not self._network.silent and self._waiting[0][0] <= now + 1e-4:
            self._waiting.popleft()[1]()

    def empty(self) -> None:
        self._waiting.clear()
