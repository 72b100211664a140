"""The port that both gRPC services answer on, and the network in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from grpclib.config import Configuration
from grpclib.server import Server

from modal_server.network import Network, Wire

_WINDOW_BYTES = 64 << 20


class _Wired(Server):
    """Each connection goes through the network."""

    def __init__(self, services: Collection[Any], network: Network) -> None:
        windows = Configuration(http2_connection_window_size=_WINDOW_BYTES, http2_stream_window_size=_WINDOW_BYTES)
        super().__init__(services, config=windows)
        self._network = network

    def _protocol_factory(self) -> Wire:  # type: ignore[override]
        return self._network.wire(super()._protocol_factory())

    def factory(self) -> Wire:
        return self._protocol_factory()


class Listener:
    def __init__(self, port: int) -> None:
        self.network = Network()
        self._port = port
        self._server: _Wired | None = None
        self._socket: asyncio.Server | None = None

    async def serve(self, services: Collection[Any]) -> None:
        self._server = _Wired(services, self.network)
        await self.listen()

    async def listen(self) -> None:
        """On the same port as before, when it does not yet."""
        assert self._server is not None
        if self._socket is None:
            loop = asyncio.get_running_loop()
            self._socket = await loop.create_server(self._server.factory, "127.0.0.1", self._port, reuse_address=True)

    def stop_listening(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
