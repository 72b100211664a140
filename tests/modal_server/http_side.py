"""The HTTP server beside gRPC: the blocks of volumes' files, and the tests' own channel."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

from aiohttp import web

from modal_server.admin import Admin
from modal_server.cloud import Cloud
from modal_server.faults import Faults
from modal_server.ledger import Ledger
from modal_server.network import Network

_LARGEST_BYTES = 64 << 20
_STALL_SECONDS = 3.0
"""For more data of a request: a client may leave them out when it sends it again, and a store of objects says so."""


class HttpSide:
    """Blocks are calls like others: recorded, late, and subject to faults as `PUT block` and `GET block`."""

    def __init__(self, cloud: Cloud, faults: Faults, ledger: Ledger, network: Network) -> None:
        self._cloud, self._faults, self._ledger, self._network = cloud, faults, ledger, network
        self._admin: Admin | None = None
        self._app = web.Application(client_max_size=_LARGEST_BYTES)
        self._app.add_routes(
            [
                web.put("/block/{digest}", self._put_block),
                web.get("/file/{name}", self._get_block),
                web.post("/admin/{name}", self._do),
            ]
        )
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> str:
        """Listen on a free port; returns the URL."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def obey(self, admin: Admin) -> None:
        self._admin = admin

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _put_block(self, request: web.Request) -> web.StreamResponse:
        entry = self._ledger.begin("PUT block")
        fault = await self._befall(request, "PUT block")
        if fault is not None:
            entry.end("UNAVAILABLE")
            return fault
        try:
            data = bytearray()
            while chunk := await asyncio.wait_for(request.content.readany(), _STALL_SECONDS):
                data += chunk
            entry.sent = len(data)
            await asyncio.to_thread(self._cloud.blocks.keep, bytes.fromhex(request.match_info["digest"]), bytes(data))
        except TimeoutError:
            entry.end("DEADLINE_EXCEEDED")
            return web.Response(status=400, text="RequestTimeout: the request's data did not come")
        except ConnectionError:  # the client gave it up
            entry.end("CANCELLED")
            raise web.HTTPBadRequest from None
        except ValueError as error:
            entry.end("INVALID_ARGUMENT")
            return web.Response(status=400, text=str(error))
        entry.end("OK")
        return web.Response(text="kept")

    async def _get_block(self, request: web.Request) -> web.StreamResponse:
        entry = self._ledger.begin("GET block")
        fault = await self._befall(request, "GET block")
        if fault is not None:
            entry.end("UNAVAILABLE")
            return fault
        path = Path(base64.urlsafe_b64decode(request.match_info["name"]).decode())
        with path.open("rb") as file:
            file.seek(int(request.query["start"]))
            data = file.read(int(request.query["len"]))
        entry.received = len(data)
        entry.end("OK")
        return web.Response(body=data)

    async def _befall(self, request: web.Request, rpc: str) -> web.Response | None:
        await asyncio.sleep(self._network.latency)
        fault = self._faults.befalling(rpc)
        if fault is None:
            return None
        if fault.action == "delay":
            await asyncio.sleep(fault.seconds)
            return None
        if fault.action == "hang":
            await self._faults.hang()
        if fault.action == "drop" and request.transport is not None:
            request.transport.abort()
        return web.Response(status=503, text=fault.message)

    async def _do(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        method = None if name.startswith("_") else getattr(self._admin, name, None)
        if method is None:
            return web.json_response({"error": f"there is no {name}"}, status=404)
        try:
            answer: Any = await method(**await request.json())
        except Exception as error:  # noqa: BLE001 - the test that asked raises it
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"answer": answer})
