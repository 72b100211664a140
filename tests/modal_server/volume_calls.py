"""Calls about volumes and their files; the files' blocks go over HTTP."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib import GRPCError, Status
from modal_proto import api_pb2

from modal_server.cloud import Cloud
from modal_server.volumes import BLOCK_BYTES, Volume

_ENTRIES = 500
"""In one message of a listing."""


class VolumeCalls:
    def __init__(self, cloud: Cloud, http_url: str) -> None:
        self._cloud, self._http_url = cloud, http_url

    async def volume_get_or_create(self, request: Any) -> Any:
        name = request.deployment_name
        volume = self._cloud.volume_named(name)
        if volume is None:
            if name and request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise GRPCError(Status.NOT_FOUND, f"Volume '{name}' not found in environment 'main'")
            volume = self._cloud.add_volume(name, request.version or 1)
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.id, version=volume.version, metadata=_metadata(volume)
        )

    async def volume_get_by_id(self, request: Any) -> Any:
        volume = self._cloud.volume(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.id, metadata=_metadata(volume))

    async def volume_list(self, _: Any) -> Any:
        items = [
            api_pb2.VolumeListItem(label=one.name, volume_id=one.id, created_at=one.made, metadata=_metadata(one))
            for one in self._cloud.volumes.values()
            if one.name
        ]
        return api_pb2.VolumeListResponse(items=items)

    async def volume_delete(self, request: Any) -> Any:
        shutil.rmtree(self._cloud.volume(request.volume_id).folder)
        del self._cloud.volumes[request.volume_id]
        return Empty()

    async def volume_heartbeat(self, _: Any) -> Any:
        return Empty()

    async def volume_commit(self, _: Any) -> Any:
        raise GRPCError(Status.FAILED_PRECONDITION, "commit() can only be called inside a container")

    async def volume_reload(self, _: Any) -> Any:
        raise GRPCError(Status.FAILED_PRECONDITION, "reload() can only be called inside a container")

    async def volume_put_files2(self, request: Any) -> Any:
        volume = self._cloud.volume(request.volume_id)
        missing = []
        for file_index, file in enumerate(request.files):
            if request.disallow_overwrite_existing_files and _at(volume, file.path).exists():
                raise GRPCError(Status.ALREADY_EXISTS, f"{file.path}: already exists")
            for block_index, block in enumerate(file.blocks):
                if not self._cloud.blocks.holds(block.contents_sha256):
                    url = f"{self._http_url}/block/{block.contents_sha256.hex()}"
                    missing.append(
                        api_pb2.VolumePutFiles2Response.MissingBlock(
                            file_index=file_index, block_index=block_index, put_url=url
                        )
                    )
        if not missing:
            for file in request.files:
                digests = [block.contents_sha256 for block in file.blocks]
                target = _at(volume, file.path)
                await asyncio.to_thread(self._cloud.blocks.assemble, digests, file.size, target, file.mode)
        return api_pb2.VolumePutFiles2Response(missing_blocks=missing)

    async def volume_list_files2(self, request: Any) -> AsyncIterator[Any]:
        volume = self._cloud.volume(request.volume_id)
        start = _there(volume, request.path)
        found = [start] if start.is_file() else sorted(start.rglob("*") if request.recursive else start.iterdir())
        entries = [_entry(path, volume.at("")) for path in found]
        for number in range(0, len(entries), _ENTRIES):
            yield api_pb2.VolumeListFiles2Response(entries=entries[number : number + _ENTRIES])

    async def volume_get_file2(self, request: Any) -> Any:
        path = _there(self._cloud.volume(request.volume_id), request.path)
        if not path.is_file():
            raise GRPCError(Status.NOT_FOUND, f"no file at {request.path}")
        size = path.stat().st_size
        end = request.start + (request.len or size - request.start)
        name = base64.urlsafe_b64encode(str(path).encode()).decode()
        urls, at = [], request.start
        while at < end:
            stop = min(end, (at // BLOCK_BYTES + 1) * BLOCK_BYTES)
            urls.append(f"{self._http_url}/file/{name}?start={at}&len={stop - at}")
            at = stop
        return api_pb2.VolumeGetFile2Response(get_urls=urls, size=size, start=request.start, len=end - request.start)

    async def volume_remove_file2(self, request: Any) -> Any:
        path = _there(self._cloud.volume(request.volume_id), request.path)
        if path.is_dir() and not request.recursive:
            raise GRPCError(Status.INVALID_ARGUMENT, f"{request.path} is a directory; remove it recursively")
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return Empty()


def _metadata(volume: Volume) -> Any:
    made = api_pb2.CreationInfo(created_at=volume.made, created_by="tester")
    return api_pb2.VolumeMetadata(version=volume.version, name=volume.name, creation_info=made)


def _at(volume: Volume, path: str) -> Path:
    try:
        return volume.at(path)
    except ValueError as error:
        raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error


def _there(volume: Volume, path: str) -> Path:
    found = _at(volume, path)
    if not found.exists():
        raise GRPCError(Status.NOT_FOUND, f"No such file or directory: {path}")
    return found


def _entry(path: Path, root: Path) -> Any:
    state = path.stat()
    kind = api_pb2.FileEntry.DIRECTORY if path.is_dir() else api_pb2.FileEntry.FILE
    relative = str(path.relative_to(root.resolve()))
    return api_pb2.FileEntry(path=relative, size=state.st_size, mtime=int(state.st_mtime), type=kind)
