"""Calls of the control plane about sandboxes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from modal_server.cloud import Cloud
from modal_server.containers import NoContainers
from modal_server.names import new_id
from modal_server.sandboxes import Sandbox
from modal_server.volumes import View

_PAGE = 100


class SandboxCalls:
    def __init__(self, cloud: Cloud, url: str) -> None:
        self._cloud, self._url = cloud, url

    async def sandbox_create_v2(self, request: Any) -> Any:
        cloud, definition = self._cloud, request.definition
        running = [one for one in cloud.sandboxes.values() if one.result is None]
        if cloud.rules.most_sandboxes is not None and len(running) >= cloud.rules.most_sandboxes:
            words = f"the workspace may run {cloud.rules.most_sandboxes} sandboxes at a time"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, words)
        if definition.name and any(one.definition.name == definition.name for one in running):
            raise GRPCError(Status.ALREADY_EXISTS, f"Sandbox with name '{definition.name}' already exists")
        if definition.image_id not in cloud.images:
            raise GRPCError(Status.NOT_FOUND, f"Image {definition.image_id} not found")
        environment = cloud.environment_of(request.secret_sources)
        await asyncio.sleep(cloud.rules.create_seconds)
        sandbox = await self._make(new_id("sb"), request, environment)
        cloud.sandboxes[sandbox.id] = sandbox
        sandbox.watch()
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=api_pb2.SandboxHandleMetadata(app_id=sandbox.app_id),
            command_router_access=self._access(sandbox),
        )

    async def _make(self, id_: str, request: Any, environment: dict[str, str]) -> Sandbox:
        definition, folder = request.definition, self._cloud.here / "sandboxes" / id_
        views = {}
        for mount in definition.volume_mounts:
            volume = self._cloud.volume(mount.volume_id)
            view = folder / "volumes" / volume.id
            views[mount.mount_path] = await asyncio.to_thread(View, volume, view, mount.sub_path)
        blocked = definition.network_access.network_access_type == api_pb2.NetworkAccess.BLOCKED
        mounts = {path: view.folder for path, view in views.items()}
        try:
            container = await self._cloud.containers.make(folder, mounts, network=not blocked)
        except NoContainers as error:
            raise GRPCError(Status.INTERNAL, f"no container could be made: {error}") from error
        tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Sandbox(id_, request.app_id, definition, environment, tags, container, views)

    def _access(self, sandbox: Sandbox) -> Any:
        token = sandbox.new_router_token(self._cloud.rules.router_token_seconds)
        return api_pb2.CommandRouterAccess(url=self._url, jwt=token)

    async def sandbox_get_command_router_access(self, request: Any) -> Any:
        by_task = self._cloud.sandbox_of_task
        sandbox = self._cloud.sandbox(request.sandbox_id) if request.sandbox_id else by_task(request.task_id)
        if sandbox.result is not None:
            raise GRPCError(Status.FAILED_PRECONDITION, "Sandbox has already finished")
        access = self._access(sandbox)
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    async def sandbox_get_task_id_v2(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox(request.sandbox_id)
        if sandbox.result is not None:
            return api_pb2.SandboxGetTaskIdResponse(task_result=sandbox.result)
        return api_pb2.SandboxGetTaskIdResponse(task_id=sandbox.task_id)

    async def sandbox_wait_v2(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox(request.sandbox_id)
        if request.timeout:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(sandbox.ended.wait(), request.timeout)
        metadata = api_pb2.SandboxHandleMetadata(app_id=sandbox.app_id)
        return api_pb2.SandboxWaitResponse(result=sandbox.result, metadata=metadata)

    async def sandbox_terminate_v2(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox(request.sandbox_id)
        before = sandbox.result
        await sandbox.end("TERMINATED")
        return api_pb2.SandboxTerminateResponse(existing_result=before)

    async def sandbox_list_v2(self, request: Any) -> Any:
        before = request.before_timestamp or float("inf")
        found = [
            one
            for one in self._cloud.sandboxes.values()
            if (one.result is None or request.include_finished)
            and request.app_id in ("", one.app_id)
            and one.made < before
            and all(one.tags.get(tag.tag_name) == tag.tag_value for tag in request.tags)
        ]
        found.sort(key=lambda one: -one.made)
        return api_pb2.SandboxListResponse(sandboxes=[_info(one) for one in found[:_PAGE]])

    async def sandbox_get_from_name_v2(self, request: Any) -> Any:
        for one in self._cloud.sandboxes.values():
            if one.definition.name == request.sandbox_name and one.result is None:
                metadata = api_pb2.SandboxHandleMetadata(app_id=one.app_id)
                return api_pb2.SandboxGetFromNameResponse(sandbox_id=one.id, metadata=metadata)
        raise GRPCError(Status.NOT_FOUND, f"Sandbox with name '{request.sandbox_name}' not found")

    async def sandbox_tags_get_v2(self, request: Any) -> Any:
        return api_pb2.SandboxTagsGetResponse(tags=_tags(self._cloud.sandbox(request.sandbox_id)))

    async def sandbox_tags_set_v2(self, request: Any) -> Any:
        self._cloud.sandbox(request.sandbox_id).tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()


def _info(sandbox: Sandbox) -> Any:
    return api_pb2.SandboxInfo(
        id=sandbox.id,
        created_at=sandbox.made,
        app_id=sandbox.app_id,
        name=sandbox.definition.name,
        task_info=api_pb2.TaskInfo(id=sandbox.task_id, result=sandbox.result),
        tags=_tags(sandbox),
    )


def _tags(sandbox: Sandbox) -> list[Any]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in sandbox.tags.items()]
