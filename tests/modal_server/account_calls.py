"""Calls about the account, its environment, apps, images and secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from modal_server.cloud import Cloud, Image, Secret
from modal_server.names import new_id, new_token

_BUILDER = "2025.06"
_WHO = "tester"


class AccountCalls:
    async def client_hello(self, _: Any) -> Any:
        return api_pb2.ClientHelloResponse()

    async def auth_token_get(self, _: Any) -> Any:
        return api_pb2.AuthTokenGetResponse(token=new_token(1200)[0])

    async def token_info_get(self, _: Any) -> Any:
        return api_pb2.TokenInfoGetResponse(token_id="ak-loopback", workspace_name=_WHO)

    async def workspace_name_lookup(self, _: Any) -> Any:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name=_WHO, username=_WHO)

    async def environment_get_or_create(self, request: Any) -> Any:
        settings = api_pb2.EnvironmentSettings(image_builder_version=_BUILDER)
        metadata = api_pb2.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return api_pb2.EnvironmentGetOrCreateResponse(environment_id=new_id("en"), metadata=metadata)


class AppCalls:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def app_get_or_create(self, request: Any) -> Any:
        key = (request.environment_name, request.app_name)
        if key not in self._cloud.apps:
            if request.object_creation_type != api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found in environment 'main'")
            self._cloud.apps[key] = new_id("ap")
        return api_pb2.AppGetOrCreateResponse(app_id=self._cloud.apps[key])


class ImageCalls:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def image_get_or_create(self, request: Any) -> Any:
        definition = request.image.SerializeToString(deterministic=True)
        image = self._cloud.images_by_definition.get(definition)
        if image is None:
            image = self._begin(list(request.image.dockerfile_commands))
            self._cloud.images_by_definition[definition] = image
        return api_pb2.ImageGetOrCreateResponse(
            image_id=image.id, metadata=_metadata(), result=_result(image) if image.ready else None
        )

    def _begin(self, commands: list[str]) -> Image:
        rules = self._cloud.rules
        image = Image(commands, ready=not rules.build_seconds)
        bad = next((word for word in rules.unbuildable if any(word in command for command in commands)), None)
        if bad is not None:
            image.failure = f"ERROR: No matching distribution found for {bad}"
            image.ready = False
        self._cloud.images[image.id] = image
        return image

    async def image_join_streaming(self, request: Any) -> AsyncIterator[Any]:
        image = self._image(request.image_id)
        lines = [f"=> {command}\n" for command in image.commands] + ([image.failure + "\n"] if image.failure else [])
        for number, line in enumerate(lines):
            log = api_pb2.TaskLogs(data=line, file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT)
            yield api_pb2.ImageJoinStreamingResponse(entry_id=f"{number}-0", task_logs=[log])
        await asyncio.sleep(self._cloud.rules.build_seconds)
        image.ready = not image.failure
        yield api_pb2.ImageJoinStreamingResponse(
            entry_id=f"{len(lines)}-0", eof=True, result=_result(image), metadata=_metadata()
        )

    async def image_from_id(self, request: Any) -> Any:
        return api_pb2.ImageFromIdResponse(image_id=self._image(request.image_id).id, metadata=_metadata())

    def _image(self, id_: str) -> Image:
        image = self._cloud.images.get(id_)
        if image is None:
            raise GRPCError(Status.NOT_FOUND, f"Image {id_} not found")
        return image


class SecretCalls:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def secret_get_or_create(self, request: Any) -> Any:
        kind, name = request.object_creation_type, request.deployment_name
        secret = self._cloud.secret_named(name)
        if kind == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
            if secret is None:
                raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'")
            missing = [key for key in request.required_keys if key not in secret.values]
            if missing:
                words = f"Secret is missing key(s): {', '.join(missing)}"
                raise GRPCError(Status.NOT_FOUND, words)
        elif secret is not None and kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            raise GRPCError(Status.ALREADY_EXISTS, f"Secret '{name}' already exists")
        elif secret is None or kind == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            secret = self._cloud.add_secret(name, dict(request.env_dict))
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=_secret_metadata(secret))

    async def secret_get_info(self, request: Any) -> Any:
        secret = self._cloud.secrets.get(request.secret_id)
        if secret is None:
            raise GRPCError(Status.NOT_FOUND, f"Secret {request.secret_id} not found")
        return api_pb2.SecretGetInfoResponse(metadata=_secret_metadata(secret))

    async def secret_list(self, request: Any) -> Any:
        before = request.pagination.created_before or float("inf")
        named = [secret for secret in self._cloud.secrets.values() if secret.name and secret.made < before]
        named.sort(key=lambda secret: -secret.made)
        return api_pb2.SecretListResponse(
            items=[
                api_pb2.SecretListItem(
                    label=secret.name, secret_id=secret.id, created_at=secret.made, metadata=_secret_metadata(secret)
                )
                for secret in named[: request.pagination.max_objects or 100]
            ]
        )

    async def secret_delete(self, request: Any) -> Any:
        self._cloud.secrets.pop(request.secret_id, None)
        return Empty()


def _metadata() -> Any:
    return api_pb2.ImageMetadata(image_builder_version=_BUILDER, python_version_info="Python 3.12")


def _result(image: Image) -> Any:
    result = api_pb2.GenericResult
    if image.failure:
        return result(status=result.GENERIC_STATUS_FAILURE, exception=image.failure)
    return result(status=result.GENERIC_STATUS_SUCCESS)


def _secret_metadata(secret: Secret) -> Any:
    made = api_pb2.CreationInfo(created_at=secret.made, created_by=_WHO)
    return api_pb2.SecretMetadata(
        name=secret.name, keys=sorted(secret.values), environment_name="main", creation_info=made
    )
