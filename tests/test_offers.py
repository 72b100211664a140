"""Models within reach are offered with the lines that choose them, and never used unasked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet_rlm import config
from fleet_rlm.cli.doctor import check_model
from fleet_rlm.config import offers
from fleet_rlm.config.offers import Server

LISTS = {
    "/api/tags": {"models": [{"name": "llama3.2:3b"}, {"name": "qwen3"}]},
    "/v1/models": {"object": "list", "data": [{"id": "qwen/qwen3-4b"}]},
    "/odd": {"data": [{"id": "two words"}, {"id": "\x1b[31m"}, {"id": 7}, "x"]},
    "/none": [],
}


@pytest.fixture
def port() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(LISTS[self.path]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))


def offer(monkeypatch: pytest.MonkeyPatch, *servers: Server, folder: Path, **environ: str) -> list[offers.Offer]:
    monkeypatch.setattr(offers, "SERVERS", servers)
    return offers.offers(config.load(folder, environ))


def test_a_key_in_the_environment_is_offered_and_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = offer(monkeypatch, folder=tmp_path, ANTHROPIC_API_KEY="k")
    assert found.found == "ANTHROPIC_API_KEY is in the environment"
    assert found.lines == ("DSPY_LM_MODEL=anthropic/claude-sonnet-4-5",)
    assert config.model_choice(config.load(tmp_path, {"ANTHROPIC_API_KEY": "k"})).offline


def test_the_lines_of_an_offer_choose_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    ollama = Server("Ollama", port, "/api/tags", offers._ollama)
    studio = Server("LM Studio", port, "/v1/models", offers._openai_like)
    environ = {"OPENAI_API_KEY": "victim"}
    key, first, second = offer(monkeypatch, ollama, studio, folder=tmp_path, **environ)
    assert first.found == f"Ollama serves llama3.2:3b and 1 more on port {port} here"
    assert second.found == f"LM Studio serves qwen/qwen3-4b on port {port} here"
    for one, name in ((key, "openai/gpt-5-mini"), (first, "ollama_chat/llama3.2:3b"), (second, "openai/qwen/qwen3-4b")):
        (tmp_path / ".env").write_text("\n".join(one.lines))
        planner = config.model_choice(config.load(tmp_path, environ)).planner
        assert (planner.model, planner.problem) == (name, None)
        assert planner.api_key != "victim" or planner.api_base is None


def test_a_server_with_no_usable_model_or_none_at_all_is_no_offer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    servers = [Server("odd", port, path, offers._openai_like) for path in ("/odd", "/none")]
    assert offer(monkeypatch, *servers, Server("shut", 1, "/v1/models", offers._ollama), folder=tmp_path) == []


def test_the_doctor_offers_with_the_lines_to_paste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "SERVERS", ())
    found = check_model.look(config.load(tmp_path, {"GROQ_API_KEY": "k"}), probe=False)
    (one,) = (finding for finding in found if finding.name == "offer")
    assert "GROQ_API_KEY is in the environment; not used unless you choose it" in one.words
    assert f"add to {tmp_path / '.env'}:\nDSPY_LM_MODEL=groq/" in one.hint
    assert not one.stops_a_run
    configured = config.load(tmp_path, {"GROQ_API_KEY": "k", "DSPY_LM_MODEL": "groq/x"})
    assert [finding.name for finding in check_model.look(configured, probe=False)] == ["model"]
