"""An OpenAI-compatible chat server on loopback, for tests of the real client path: it streams, stalls and fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request: the whole body, and the texts that scripts look at."""

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def system(self) -> str:
        return "".join(_text(m) for m in self.body["messages"] if m["role"] in ("system", "developer"))

    @property
    def text(self) -> str:
        return _text(self.body["messages"][-1])

    @property
    def is_planner(self) -> bool:
        return "[[ ## code ## ]]" in self.system + self.text and not self.is_extraction

    @property
    def is_extraction(self) -> bool:
        return "extract the final outputs" in self.system + self.text


@dataclass
class Reply:
    """What a request gets. `stall` keeps the connection open and says nothing (more) until the server closes."""

    text: str = ""
    status: int = 200
    body: bytes | None = None
    """Instead of an answer in the API's form."""
    headers: dict[str, str] = field(default_factory=dict)
    stall_before: bool = False
    stall_after: int | None = None
    """Characters after which a streamed answer stalls."""
    cut_after: int | None = None
    """Characters after which a streamed answer's connection is closed."""
    usage: bool = True
    finish: str = "stop"


Answer = Reply | str
Script = Callable[[Asked], Answer]


def error(status: int, message: str, code: str = "error", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "type": code, "code": code}}).encode()
    return Reply(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def planner(
    steps: Sequence[Answer], sub: Callable[[str], Answer] = lambda prompt: f"answer to {prompt[:40]}"
) -> Script:
    """Planner requests get the steps in order (the last again and again), sub-calls what `sub` says."""
    lock, count = threading.Lock(), 0

    def answer(asked: Asked) -> Answer:
        nonlocal count
        if asked.is_extraction:
            return "[[ ## answer ## ]]\nextracted\n\n[[ ## completed ## ]]"
        if not asked.is_planner:
            return sub(asked.text)
        with lock:
            step = steps[min(count, len(steps) - 1)]
            count += 1
        return step

    return answer


class ModelServer:
    """Serves one script; use as a context manager."""

    def __init__(self, script: Script, piece: int = 16) -> None:
        self.script, self.piece = script, piece
        self.asked: list[Asked] = []
        self.stalled = threading.Semaphore(0)
        """Released once for every request that stalls."""
        self.closing = threading.Event()
        self.broken = threading.Semaphore(0)
        """Released when a client is found to have gone while it was being answered."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def environment(self, model: str = "openai/test-model") -> dict[str, str]:
        """What configures a run to use this server."""
        return {"DSPY_LM_MODEL": model, "DSPY_LLM_API_KEY": "test-key-0123456789", "DSPY_LM_API_BASE": self.url}

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler below has a `self` of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked = Asked(body, {name.lower(): value for name, value in self.headers.items()})
                server.asked.append(asked)
                given = server.script(asked)
                reply = given if isinstance(given, Reply) else Reply(given)
                try:
                    self._reply(asked, reply)
                except (BrokenPipeError, ConnectionResetError):
                    server.broken.release()

            def _reply(self, asked: Asked, reply: Reply) -> None:
                if reply.stall_before:
                    self._stall()
                    return
                if reply.body is not None:
                    self._whole(reply.status, reply.body, reply.headers)
                elif asked.body.get("stream"):
                    self._stream(asked, reply)
                else:
                    message = {"role": "assistant", "content": reply.text}
                    choices = [{"index": 0, "finish_reason": reply.finish, "message": message}]
                    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": asked.model}
                    usage = _usage(asked, reply)
                    self._whole(200, json.dumps({**answer, "choices": choices, "usage": usage}).encode(), {})

            def _whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _stall(self) -> None:
                server.stalled.release()
                server.closing.wait(30)
                self.close_connection = True

            def _stream(self, asked: Asked, reply: Reply) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": asked.model}
                self._event({**base, "choices": [_choice({"role": "assistant", "content": ""})]})
                for start in range(0, len(reply.text), server.piece):
                    if reply.stall_after is not None and start >= reply.stall_after:
                        self._stall()
                        return
                    if reply.cut_after is not None and start >= reply.cut_after:
                        return
                    piece = reply.text[start : start + server.piece]
                    self._event({**base, "choices": [_choice({"content": piece})]})
                self._event({**base, "choices": [_choice({}, reply.finish)]})
                if reply.usage and (asked.body.get("stream_options") or {}).get("include_usage"):
                    self._event({**base, "choices": [], "usage": _usage(asked, reply)})
                self.wfile.write(b"data: [DONE]\n\n")

            def _event(self, event: dict[str, Any]) -> None:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()

        return Handler


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _usage(asked: Asked, reply: Reply) -> dict[str, int]:
    before, after = sum(len(_text(m)) for m in asked.body["messages"]) // 4, max(1, len(reply.text) // 4)
    return {"prompt_tokens": before, "completion_tokens": after, "total_tokens": before + after}


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
