"""What was asked of the server: each call with its bytes, for tests that claim how often something crossed."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


@dataclass
class Entry:
    rpc: str
    """A gRPC method, or `PUT block` and `GET block` of a volume."""
    at: float
    """Seconds since 1970."""
    seconds: float | None = None
    """None while it is being answered."""
    status: str = ""
    """A gRPC status' name; empty while it is being answered."""
    sent: int = 0
    """Bytes of the client's messages."""
    received: int = 0
    """Bytes of the server's."""
    request: dict[str, Any] = field(default_factory=dict)
    """The first message, data left out."""

    def hear(self, message: Message) -> None:
        if self.sent == 0:
            self.request = _without_data(message)
        self.sent += message.ByteSize()

    def say(self, message: Message) -> None:
        self.received += message.ByteSize()

    def end(self, status: str) -> None:
        self.seconds = time.time() - self.at
        self.status = status


class Ledger:
    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def begin(self, rpc: str) -> Entry:
        self.entries.append(Entry(rpc, time.time()))
        return self.entries[-1]

    def as_dicts(self) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in self.entries]


def _without_data(message: Message) -> dict[str, Any]:
    names = {field.name for field in message.DESCRIPTOR.fields}
    if "data" in names or "payload" in {group.name for group in message.DESCRIPTOR.oneofs}:
        return {name: getattr(message, name) for name in ("task_id", "exec_id", "offset", "eof") if name in names}
    return MessageToDict(message, preserving_proto_field_name=True)
