"""What a test may do to the server while it runs, each method called by its name over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from modal_server.cloud import Cloud
from modal_server.faults import Fault, Faults
from modal_server.ledger import Ledger
from modal_server.listener import Listener


class Admin:
    def __init__(self, cloud: Cloud, faults: Faults, ledger: Ledger, listener: Listener) -> None:
        self._cloud, self._faults, self._ledger, self._listener = cloud, faults, ledger, listener
        self._later: set[asyncio.Task[None]] = set()

    async def reset(self) -> None:
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        self._faults.clear()
        self._listener.network.latency = 0.0
        self._listener.network.restore()
        await self._listener.listen()
        await self._cloud.reset()
        self._ledger.entries.clear()

    async def fault(self, **fields: Any) -> None:
        self._faults.add(Fault(**fields))

    async def clear_faults(self) -> None:
        self._faults.clear()

    async def calls(self) -> list[dict[str, Any]]:
        return self._ledger.as_dicts()

    async def forget_calls(self) -> None:
        self._ledger.entries.clear()

    async def rules(self, **changed: Any) -> None:
        """Fields of `Rules`."""
        for name, value in changed.items():
            if not hasattr(self._cloud.rules, name):
                raise AttributeError(name)
            setattr(self._cloud.rules, name, tuple(value) if isinstance(value, list) else value)

    async def latency(self, seconds: float) -> None:
        """Of each round trip."""
        self._listener.network.latency = seconds

    async def drop_connections(self) -> int:
        return self._listener.network.drop()

    async def blackout(self, seconds: float, kind: str) -> None:
        """Returns at once. `refused`: connections break and none can be made; `silent`: nothing passes."""
        task = asyncio.create_task(self._blackout(seconds, kind))
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _blackout(self, seconds: float, kind: str) -> None:
        if kind == "silent":
            self._listener.network.silence()
            await asyncio.sleep(seconds)
            self._listener.network.restore()
            return
        self._listener.stop_listening()
        self._listener.network.drop()
        await asyncio.sleep(seconds)
        await self._listener.listen()

    async def add_secret(self, name: str, values: dict[str, str]) -> str:
        return self._cloud.add_secret(name, values).id

    async def add_volume(self, name: str, version: int) -> str:
        return self._cloud.add_volume(name, version).id

    async def sandboxes(self) -> list[dict[str, Any]]:
        return [
            {
                "id": one.id,
                "status": "" if one.result is None else _status_name(one.result),
                "tags": one.tags,
                "environment": dict(one.environment),
                "processes": [process.pid for process in one.execs.values() if process.returncode is None],
                "first_pid": one.container.first_pid,
                "resident_bytes": one.container.resident_bytes(),
            }
            for one in self._cloud.sandboxes.values()
        ]

    async def end_sandbox(self, id: str, status: str) -> None:  # noqa: A002 - as the caller says it
        await self._cloud.sandbox(id).end(status)

    async def kill_processes(self, id: str, number: int) -> int:  # noqa: A002
        """Send a signal to what runs in a sandbox by `exec`; returns to how many."""
        running = [one for one in self._cloud.sandbox(id).execs.values() if one.returncode is None]
        for process in running:
            process.kill(number)
        return len(running)

    async def forget_router_tokens(self) -> None:
        for sandbox in self._cloud.sandboxes.values():
            sandbox.router_tokens.clear()

    async def forget_images(self) -> None:
        self._cloud.images.clear()
        self._cloud.images_by_definition.clear()

    async def stop(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def _status_name(result: Any) -> str:
    field = result.DESCRIPTOR.fields_by_name["status"]
    return str(field.enum_type.values_by_number[result.status].name).removeprefix("GENERIC_STATUS_")
