"""A model server on loopback for each provider's own protocol: asked and answered the same in all of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.model_server import Reply

Event = tuple[str, dict[str, Any]]


class DialectServer:
    """Answers what `script` says for a request's whole text, in the protocol of the path that was asked."""

    def __init__(self, script: Callable[[str], Reply | str]) -> None:
        self.script = script
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Path and body of each request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> DialectServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(server) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler below has a `self` of its own
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.asked.append((self.path, body))
                given = server.script(all_text(body))
                reply = given if isinstance(given, Reply) else Reply(given)
                lines = "ollama" if self.path.endswith(("/api/chat", "/api/generate")) else ""
                streamed = body.get("stream", bool(lines)) or "streamGenerate" in self.path
                whole, events = _answer(self.path, reply)
                self.send_response(reply.status)
                kind = "application/x-ndjson" if lines else "text/event-stream" if streamed else "application/json"
                self.send_header("content-type", kind)
                self.end_headers()
                if not streamed:
                    self.wfile.write(json.dumps(whole).encode())
                    return
                for name, event in events:
                    head = "" if lines else (f"event: {name}\n" if name else "") + "data: "
                    self.wfile.write(f"{head}{json.dumps(event)}\n{'' if lines else chr(10)}".encode())

        return Handler


def all_text(body: Any) -> str:
    """Every text in a request, whatever its protocol."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "\n".join(filter(None, map(all_text, body)))
    names = ("instructions", "system", "systemInstruction", "messages", "input", "contents", "prompt")
    return all_text([body[name] for name in (*names, "parts", "content", "text") if name in body]) if body else ""


def _answer(path: str, reply: Reply) -> tuple[dict[str, Any], list[Event]]:
    """The answer whole, and as the events of a stream."""
    cut = reply.finish == "length"
    if path.endswith("/messages"):
        return _anthropic(reply.text, "max_tokens" if cut else "end_turn")
    if path.endswith("/responses"):
        return _responses(reply.text, cut)
    if "enerateContent" in path:
        content = {"role": "model", "parts": [{"text": reply.text}] if reply.text else []}
        candidate = {"content": content, "finishReason": "MAX_TOKENS" if cut else "STOP", "index": 0}
        counts = {"promptTokenCount": 90, "candidatesTokenCount": 9, "totalTokenCount": 99}
        whole = {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m"}
        return whole, [("", whole)]
    if path.endswith("/api/chat"):
        whole = {
            "model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": reply.text},
            "done": True, "done_reason": reply.finish, "prompt_eval_count": 90, "eval_count": 9,
        }  # fmt: skip
        head = {**whole, "done": False, "done_reason": None}
        return whole, [("", head), ("", {**whole, "message": {"role": "assistant", "content": ""}})]
    base = {"id": "c", "created": 1, "model": "m"}
    usage = {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}
    message = {"role": "assistant", "content": reply.text}
    choice = {"index": 0, "finish_reason": reply.finish}
    whole = {**base, "object": "chat.completion", "choices": [{**choice, "message": message}], "usage": usage}
    chunk = {**base, "object": "chat.completion.chunk", "choices": [{**choice, "delta": message}], "usage": usage}
    return whole, [("", chunk)]


def _anthropic(text: str, stop: str) -> tuple[dict[str, Any], list[Event]]:
    usage = {"input_tokens": 90, "output_tokens": 9}
    whole = {
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": text}],
        "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    events = [
        {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return whole, [(str(event["type"]), event) for event in events]


def _responses(text: str, cut: bool) -> tuple[dict[str, Any], list[Event]]:
    item = {
        "id": "msg", "type": "message", "role": "assistant", "status": "incomplete" if cut else "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }  # fmt: skip
    whole = {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": item["status"], "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None, "output": [item],
        "usage": {"input_tokens": 90, "output_tokens": 9, "total_tokens": 99},
    }  # fmt: skip
    place = {"item_id": "msg", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {
            "type": "response.content_part.added",
            **place,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        {"type": "response.output_text.delta", **place, "delta": text},
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.incomplete" if cut else "response.completed", "response": whole},
    ]
    return whole, [(event["type"], {"sequence_number": n, **event}) for n, event in enumerate(events)]
