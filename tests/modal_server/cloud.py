"""What exists at this Modal: apps, images, secrets, volumes, sandboxes, and what a test made of its rules."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from grpclib import GRPCError, Status

from modal_server.containers import Containers
from modal_server.names import new_id
from modal_server.sandboxes import Sandbox
from modal_server.volumes import Blocks, Volume


@dataclass
class Secret:
    name: str
    values: dict[str, str]
    id: str = field(default_factory=lambda: new_id("st"))
    made: float = field(default_factory=time.time)


@dataclass
class Image:
    commands: list[str]
    id: str = field(default_factory=lambda: new_id("im"))
    failure: str = ""
    """Why it could not be built."""
    ready: bool = True
    """False: it is built by whoever joins it first."""


@dataclass
class Rules:
    """What a test may change about this Modal; each default is the ordinary state."""

    token: tuple[str, str] | None = None
    """The one token id and secret that are taken; None: any."""
    most_sandboxes: int | None = None
    """That run at once; one more is RESOURCE_EXHAUSTED."""
    build_seconds: float = 0.0
    unbuildable: tuple[str, ...] = ()
    """Words in an image's commands that make its build fail."""
    create_seconds: float = 0.0
    router_token_seconds: float = 1200.0
    ended_streams: str = "error"
    """A stream of a sandbox that ended gives `error` (NOT_FOUND) or just its end (`eof`): Modal does both."""


class Cloud:
    def __init__(self, folder: Path, containers: Containers) -> None:
        self._folder = folder
        self.containers = containers
        self._generation = 0
        self._begin()

    def _begin(self) -> None:
        self._generation += 1
        self.here = self._folder / str(self._generation)
        self.here.mkdir(parents=True)
        self.rules = Rules()
        self.apps: dict[tuple[str, str], str] = {}
        self.images: dict[str, Image] = {}
        self.images_by_definition: dict[bytes, Image] = {}
        self.secrets: dict[str, Secret] = {}
        self.volumes: dict[str, Volume] = {}
        self.blocks = Blocks(self.here / "blocks")
        self.sandboxes: dict[str, Sandbox] = {}

    async def reset(self) -> None:
        """As it was at the start: nothing exists, and nothing runs."""
        await self.end_all()
        gone = self.here
        self._begin()
        shutil.rmtree(gone, ignore_errors=True)

    async def end_all(self) -> None:
        await asyncio.gather(*(sandbox.end("TERMINATED") for sandbox in self.sandboxes.values()))

    def secret_named(self, name: str) -> Secret | None:
        return next((one for one in self.secrets.values() if name and one.name == name), None)

    def add_secret(self, name: str, values: dict[str, str]) -> Secret:
        secret = Secret(name, values)
        self.secrets[secret.id] = secret
        return secret

    def volume_named(self, name: str) -> Volume | None:
        return next((one for one in self.volumes.values() if name and one.name == name), None)

    def add_volume(self, name: str, version: int) -> Volume:
        volume = Volume(name, version, self.here / "volumes" / new_id("folder"))
        volume.folder.mkdir(parents=True)
        self.volumes[volume.id] = volume
        return volume

    def volume(self, id_: str) -> Volume:
        return _found(self.volumes.get(id_), f"Volume {id_}")

    def sandbox(self, id_: str) -> Sandbox:
        return _found(self.sandboxes.get(id_), f"Sandbox {id_}")

    def sandbox_of_task(self, task_id: str) -> Sandbox:
        found = next((one for one in self.sandboxes.values() if one.task_id == task_id), None)
        return _found(found, f"Task {task_id}")

    def environment_of(self, sources: Any) -> dict[str, str]:
        """The variables that a request's secrets give. `sources`: of `SecretSource`."""
        values: dict[str, str] = {}
        for source in sources:
            if source.WhichOneof("source") == "env":
                values |= dict(source.env.contents)
            else:
                values |= _found(self.secrets.get(source.secret_id), f"Secret {source.secret_id}").values
        return values

    def check_token(self, metadata: Any, _: Message | None) -> None:
        """Raises `GRPCError` for a call without the right token. `metadata`: of a call to the control plane."""
        given = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
        if self.rules.token is not None and given != self.rules.token:
            raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed: the token ID or secret is not valid")

    def check_router_token(self, metadata: Any, message: Any) -> None:
        """Raises `GRPCError` for a call to a sandbox' router without a token that is good for it."""
        if message is None:
            return
        first = message.start if "start" in {one.name for one in message.DESCRIPTOR.fields} else message
        sandbox = self.sandbox_of_task(first.task_id)
        token = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        if sandbox.router_tokens.get(token, 0.0) < time.time():
            raise GRPCError(Status.UNAUTHENTICATED, "the router's token is not valid, or has expired")


def _found(thing: Any, what: str) -> Any:
    if thing is None:
        raise GRPCError(Status.NOT_FOUND, f"{what} not found")
    return thing
