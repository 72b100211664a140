"""`python -m modal_server`: says where it listens, as one line of JSON, and serves until it is told to end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from modal_proto import api_grpc, task_command_router_grpc

from modal_server.account_calls import AccountCalls, AppCalls, ImageCalls, SecretCalls
from modal_server.admin import Admin
from modal_server.cloud import Cloud
from modal_server.containers import Containers, NoContainers, Python
from modal_server.faults import Faults
from modal_server.http_side import HttpSide
from modal_server.ledger import Ledger
from modal_server.listener import Listener
from modal_server.router_calls import RouterCalls
from modal_server.sandbox_calls import SandboxCalls
from modal_server.service import Service
from modal_server.volume_calls import VolumeCalls

NO_CONTAINERS = 3
"""Exit code where this machine lets nobody make containers; the line says why."""
_END_SECONDS = 10.0


async def serve(port: int, folder: Path, python: str, until_eof: bool) -> int:
    containers = Containers(Python.asked(python))
    try:
        await containers.try_one(folder / "try")
    except NoContainers as error:
        say({"error": str(error)})
        return NO_CONTAINERS
    faults, ledger, listener = Faults(), Ledger(), Listener(port)
    cloud = Cloud(folder / "state", containers)
    http = HttpSide(cloud, faults, ledger, listener.network)
    http_url, url = await http.start(), f"http://127.0.0.1:{port}"
    http.obey(Admin(cloud, faults, ledger, listener))
    calls = (
        AccountCalls(),
        AppCalls(cloud),
        ImageCalls(cloud),
        SecretCalls(cloud),
        VolumeCalls(cloud, http_url),
        SandboxCalls(cloud, url),
    )
    control = Service(api_grpc.ModalClientBase, calls, faults, ledger, cloud.check_token)
    router_base = task_command_router_grpc.TaskCommandRouterBase
    router = Service(router_base, (RouterCalls(cloud),), faults, ledger, cloud.check_router_token)
    await listener.serve([control, router])
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if until_eof:
        loop.add_reader(sys.stdin.fileno(), lambda: loop.remove_reader(sys.stdin.fileno()) and told.set())
    say({"url": url, "admin": f"{http_url}/admin"})
    await told.wait()
    listener.stop_listening()
    listener.network.drop()
    faults.clear()
    with contextlib.suppress(TimeoutError):  # the end of this process ends every sandbox all the same
        async with asyncio.timeout(_END_SECONDS):
            await cloud.end_all()
            await http.stop()
    return 0


def say(line: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(prog="modal_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--folder", type=Path, help="where its files stand; without it, a temporary one")
    parser.add_argument("--python", default=sys.executable, help="what `python` is in a sandbox")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="modal-server-"))
    try:
        with contextlib.suppress(KeyboardInterrupt):
            return asyncio.run(serve(options.port or free_port(), folder, options.python, options.until_eof))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
