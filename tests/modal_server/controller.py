"""`ModalServer`: starts the server as a process of its own, and tells it what a test wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modal_server.faults import Action

_TESTS = Path(__file__).resolve().parent.parent
_ANSWER_SECONDS = 30.0


class NoModalServer(RuntimeError):
    """It can't run on this machine; the message says why."""


@dataclass(frozen=True)
class Asked:
    """One call that a client made."""

    rpc: str
    at: float
    seconds: float | None
    status: str
    sent: int
    received: int
    request: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """One sandbox. Its `status` is empty while it runs."""

    id: str
    status: str
    tags: dict[str, str]
    environment: dict[str, str]
    processes: list[int]
    """Of this machine, of what `exec` started and still runs."""
    first_pid: int
    resident_bytes: int


class ModalServer:
    """A running server; it ends with this process, and ends its sandboxes."""

    token = ("ak-loopback", "as-loopback")

    def __init__(self, folder: Path, python: str = sys.executable, port: int = 0) -> None:
        """Raises `NoModalServer`. `folder` is removed at the end."""
        command = [sys.executable, "-m", "modal_server", "--until-eof", "--folder", str(folder)]
        self._process = subprocess.Popen(
            [*command, "--python", python, "--port", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_TESTS,
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline() or b"{}")
        if "url" not in said:
            self.stop()
            raise NoModalServer(said.get("error", "it ended while it started"))
        self.url: str = said["url"]
        self._admin: str = said["admin"]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def environment(self) -> Mapping[str, str]:
        """With which a client talks to it, and to no other."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": self.token[0],
            "MODAL_TOKEN_SECRET": self.token[1],
            "MODAL_CONFIG_PATH": os.devnull,
        }

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_ANSWER_SECONDS)
        self._process.stdout.close()

    # -- what exists

    def reset(self) -> None:
        """End all sandboxes and forget everything, as if it had just started."""
        self._do("reset")

    def add_secret(self, name: str, **values: str) -> None:
        self._do("add_secret", name=name, values=values)

    def add_volume(self, name: str, version: int = 2) -> None:
        self._do("add_volume", name=name, version=version)

    def sandboxes(self) -> list[Seen]:
        """All, in the order they were made."""
        return [Seen(**one) for one in self._do("sandboxes")]

    def running(self) -> list[Seen]:
        return [one for one in self.sandboxes() if not one.status]

    def end_sandbox(self, id_: str, status: str = "TERMINATED") -> None:
        """`TERMINATED`, `TIMEOUT`, `IDLE_TIMEOUT`, `KERNEL_OOM_KILL`, `FAILURE` …"""
        self._do("end_sandbox", id=id_, status=status)

    def kill_processes(self, id_: str, number: int) -> int:
        return int(self._do("kill_processes", id=id_, number=number))

    def forget_images(self) -> None:
        self._do("forget_images")

    def rules(self, **changed: Any) -> None:
        """As of `modal_server.cloud.Rules`."""
        self._do("rules", **changed)

    # -- what goes wrong

    def fault(self, rpc: str, action: Action, **fields: Any) -> None:
        """As of `modal_server.faults.Fault`."""
        self._do("fault", rpc=rpc, action=action, **fields)

    def clear_faults(self) -> None:
        self._do("clear_faults")

    def latency(self, seconds: float) -> None:
        """Of each round trip."""
        self._do("latency", seconds=seconds)

    def drop_connections(self) -> int:
        return int(self._do("drop_connections"))

    def blackout(self, seconds: float, kind: str = "refused") -> None:
        """Returns at once. `refused`: connections break and none can be made; `silent`: nothing passes."""
        self._do("blackout", seconds=seconds, kind=kind)

    def expire_router_tokens(self) -> None:
        self._do("forget_router_tokens")

    # -- what was asked

    def calls(self, rpc: str = "") -> list[Asked]:
        """All calls since the last reset, or those of one name."""
        return [Asked(**one) for one in self._do("calls") if rpc in ("", one["rpc"])]

    def forget_calls(self) -> None:
        self._do("forget_calls")

    def sent_bytes(self) -> int:
        """All that clients sent in messages and blocks since the last reset."""
        return sum(call.sent for call in self.calls())

    def _do(self, what: str, /, **arguments: Any) -> Any:
        request = urllib.request.Request(
            f"{self._admin}/{what}",
            data=json.dumps(arguments).encode(),
            headers={"content-type": "application/json"},
            method="POST",
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                return json.load(answer)["answer"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["error"]) from error
