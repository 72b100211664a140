"""Calls to a sandbox' own command router: its processes and their streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import task_command_router_pb2 as router

from modal_server.cloud import Cloud, Image
from modal_server.processes import Process
from modal_server.sandboxes import Sandbox

_MESSAGE_BYTES = (16 << 20) + (64 << 10)


class RouterCalls:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _find(self, request: Any) -> tuple[Sandbox, Process]:
        sandbox = self._cloud.sandbox_of_task(request.task_id)
        return sandbox, sandbox.process(request.exec_id)

    async def task_exec_start(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox_of_task(request.task_id)
        environment = {**self._cloud.environment_of(request.secret_sources), **request.env}
        await sandbox.start(request.exec_id, list(request.command_args), request.workdir, environment)
        if request.timeout_secs:
            process = sandbox.process(request.exec_id)
            asyncio.get_running_loop().call_later(request.timeout_secs, process.kill)
        return router.TaskExecStartResponse()

    async def task_exec_stdio_read(self, request: Any) -> AsyncIterator[Any]:
        sandbox, process = self._find(request)
        is_out = request.file_descriptor == router.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDOUT
        async for chunk in (process.out if is_out else process.err).read_from(request.offset):
            sandbox.hear()
            yield router.TaskExecStdioReadResponse(data=chunk)
        self._tell_of_the_end(sandbox)

    async def task_exec_stdin_write(self, request: Any) -> Any:
        if len(request.data) > _MESSAGE_BYTES:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "the message is too large")
        sandbox, process = self._find(request)
        sandbox.check_running()
        sandbox.hear()
        await process.write(request.offset, request.data)
        if request.eof:
            process.close_stdin()
        return router.TaskExecStdinWriteResponse()

    async def task_exec_stdin_status(self, request: Any) -> Any:
        _, process = self._find(request)
        process.stream_number += 1
        return router.TaskExecStdinStatusResponse(num_bytes_written=process.stdin_offset, closed=process.stdin_closed)

    async def task_exec_stdin_write_stream(self, messages: AsyncIterator[Any]) -> Any:
        first = await anext(messages)
        if first.WhichOneof("payload") != "start":
            raise GRPCError(Status.INVALID_ARGUMENT, "the first message does not say which process")
        sandbox, process = self._find(first.start)
        sandbox.check_running()
        offset, number = first.start.offset, process.stream_number
        async for message in messages:
            if process.stream_number != number:
                raise GRPCError(Status.ABORTED, "another stream writes now")
            if message.WhichOneof("payload") == "end":
                process.close_stdin()
                break
            sandbox.hear()
            await process.write(offset, message.data)
            offset += len(message.data)
        return router.TaskExecStdinWriteStreamResponse()

    async def task_exec_poll(self, request: Any) -> Any:
        _, process = self._find(request)
        return _status(router.TaskExecPollResponse, process.returncode)

    async def task_exec_wait(self, request: Any) -> Any:
        sandbox, process = self._find(request)
        returncode = await process.wait()
        self._tell_of_the_end(sandbox)
        return _status(router.TaskExecWaitResponse, returncode)

    def _tell_of_the_end(self, sandbox: Sandbox) -> None:
        if self._cloud.rules.ended_streams == "error":
            sandbox.check_running()

    async def task_reload_volumes(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox_of_task(request.task_id)
        sandbox.check_running()
        await asyncio.to_thread(sandbox.reload)
        return router.TaskReloadVolumesResponse()

    async def task_snapshot_filesystem(self, request: Any) -> Any:
        sandbox = self._cloud.sandbox_of_task(request.task_id)
        sandbox.check_running()
        image = Image([f"snapshot of {sandbox.id}"])
        self._cloud.images[image.id] = image
        return router.TaskSnapshotFilesystemResponse(image_id=image.id)


def _status(kind: Any, returncode: int | None) -> Any:
    if returncode is None:
        return kind()
    return kind(code=returncode) if returncode >= 0 else kind(signal=-returncode)
