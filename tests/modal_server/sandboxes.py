"""Sandboxes: a container each, with its limits, its processes and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2

from modal_server.containers import Container
from modal_server.names import new_task_id, new_token
from modal_server.processes import Process
from modal_server.volumes import View

_LOOK_SECONDS = 0.05
_EXIT_CODES = {"KERNEL_OOM_KILL": 137, "IDLE_TIMEOUT": 137, "FAILURE": 1}


@dataclass
class Sandbox:
    id: str
    app_id: str
    definition: Any
    """The message `api_pb2.Sandbox` that it was made of."""
    environment: Mapping[str, str]
    tags: dict[str, str]
    container: Container
    views: dict[str, View]
    """Of its volumes, by the path they are mounted at."""
    task_id: str = field(default_factory=new_task_id)
    made: float = field(default_factory=time.time)
    execs: dict[str, Process] = field(default_factory=dict)
    router_tokens: dict[str, float] = field(default_factory=dict)
    """With the time at which each expires."""
    result: Any = None
    """The message `api_pb2.GenericResult`, once it has ended."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: float = field(default_factory=time.monotonic)
    _watching: asyncio.Task[None] | None = None
    _ending: asyncio.Task[None] | None = None

    def watch(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    def new_router_token(self, seconds: float) -> str:
        token, expires = new_token(seconds)
        self.router_tokens[token] = expires
        return token

    def hear(self) -> None:
        """It was used: the idle clock starts again."""
        self._heard = time.monotonic()

    def process(self, exec_id: str) -> Process:
        process = self.execs.get(exec_id)
        if process is None:
            raise GRPCError(Status.NOT_FOUND, f"exec {exec_id} not found")
        return process

    def check_running(self) -> None:
        if self.result is not None:
            raise GRPCError(Status.NOT_FOUND, f"Task {self.task_id} is not running")

    async def start(self, exec_id: str, command: list[str], workdir: str, environment: Mapping[str, str]) -> None:
        """Starts a process, once for each `exec_id`."""
        self.check_running()
        self.hear()
        if exec_id in self.execs:
            return
        variables = {
            "MODAL_SANDBOX_ID": self.id,
            "MODAL_TASK_ID": self.task_id,
            "MODAL_IS_REMOTE": "1",
            **self.environment,
            **environment,
        }
        self.execs[exec_id] = await self.container.start(
            command, workdir or self.definition.workdir or "/root", variables
        )
        if command[0] == "sync":
            await asyncio.to_thread(self.commit)

    def commit(self) -> None:
        for view in self.views.values():
            view.commit()

    def reload(self) -> None:
        for view in self.views.values():
            view.reload()

    async def end(self, status: str) -> None:
        """With the name of a `GenericStatus`, such as `TERMINATED`."""
        if self.result is None:
            number = api_pb2.GenericResult.GenericStatus.Value(f"GENERIC_STATUS_{status}")
            self.result = api_pb2.GenericResult(status=number, exitcode=_EXIT_CODES.get(status, 0))
            self._ending = asyncio.create_task(self._end())  # goes on when the call that asked for it is given up
        await self.ended.wait()

    async def _end(self) -> None:
        await self.container.end()
        self.ended.set()

    async def _watch(self) -> None:
        began = time.monotonic()
        longest, idle = self.definition.timeout_secs, self.definition.idle_timeout_secs
        memory = self.definition.resources.memory_mb_max << 20
        while self.result is None:
            await asyncio.sleep(_LOOK_SECONDS)
            now = time.monotonic()
            if any(process.returncode is None for process in self.execs.values()):
                self.hear()  # whatever runs counts as use
            if longest and now - began > longest:
                await self.end("TIMEOUT")
            elif idle and now - self._heard > idle:
                await self.end("IDLE_TIMEOUT")
            elif memory and self.container.resident_bytes() > memory:
                await self.end("KERNEL_OOM_KILL")
