"""The check of `/v1/responses` fails when anything fails, and says what."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import check_responses

PROJECT = Path(__file__).parent.parent
SCRIPT = PROJECT / "scripts" / "check_responses.py"
KEY = "a-key-of-no-known-shape-4711"


def answer(**changed: Any) -> dict[str, Any]:
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ready"}]}
    return {"object": "response", "status": "completed", "error": None, "output": [message], **changed}


WRONG = {
    "refused": (401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}), "HTTP 401: Incorrect"),
    "broken": (500, "it broke", "HTTP 500: it broke"),
    "silent-error": (502, "", "HTTP 502: no words"),
    "unknown": (404, json.dumps({"detail": "Not Found"}), "HTTP 404: Not Found"),
    "moved": (302, "", "HTTP 302"),
    "garbage": (200, "<html>\x1b]0;owned\x07", "no JSON object"),
    "nested": (200, "[" * 100_000, "no JSON object"),
    "a-list": (200, "[]", "no JSON object"),
    "chat": (200, json.dumps({"object": "chat.completion", "choices": []}), "'chat.completion'"),
    "cut-short": (200, json.dumps(answer(status="incomplete")), "'incomplete'"),
    "failed": (200, json.dumps(answer(status="failed", error={"message": "no capacity"})), "no capacity"),
    "mute": (200, json.dumps(answer(output=[])), "says nothing"),
    "odd-output": (200, json.dumps(answer(output={"type": "message"})), "says nothing"),
    "odd-content": (200, json.dumps(answer(output=[{"type": "message", "content": "ready"}])), "says nothing"),
    "endless": (200, "x" * (check_responses.MOST_BYTES + 1), "more than 4 MiB"),
}


class Endpoint:
    """Answers at `/v1/responses` by the name of the model that is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.leave = threading.Event()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.asked.append((self.path, body, self.headers.get("Authorization", "")))
                endpoint.serve(self, body["model"])

            def log_message(self, message: str, *values: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def serve(self, to: BaseHTTPRequestHandler, model: str) -> None:
        if model == "hangs":
            self.leave.wait(60)
            return
        if model == "hangs-up":
            to.connection.close()
            return
        status, body, _ = WRONG.get(model, (200, json.dumps(answer()), ""))
        to.send_response(status)
        to.send_header("Location", f"{self.url}/v1/elsewhere")
        to.send_header("Content-Length", str(len(body.encode())))
        to.end_headers()
        if model == "drips":  # always something new, never a whole answer
            while not self.leave.wait(0.05):
                to.wfile.write(b" ")
                to.wfile.flush()
            return
        with contextlib.suppress(OSError):  # the client may have heard enough
            to.wfile.write(body.encode())

    def close(self) -> None:
        self.leave.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEET_RLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPSTREAM_API_KEY", KEY)
    made = Endpoint()
    yield made
    made.close()


def written(endpoint: Endpoint, *models: str, **params: Any) -> str:
    """A config in which these models are served by the endpoint."""
    at = {"api_base": f"{endpoint.url}/v1", "api_key": "os.environ/UPSTREAM_API_KEY", **params}
    entries = [{"model_name": f"my-{model}", "litellm_params": {"model": f"openai/{model}", **at}} for model in models]
    path = Path("proxy.yaml")
    general = {"master_key": "os.environ/LITELLM_MASTER_KEY"}
    path.write_text(yaml.safe_dump({"model_list": entries, "general_settings": general}))
    return str(path)


def check(*arguments: str) -> int:
    return check_responses.main(arguments)


def test_when_every_model_answers_it_succeeds(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--config", written(endpoint, "one", "two"), "--prompt", "Are you there?") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:2]] == [["ok", "my-one"], ["ok", "my-two"]]
    assert "'ready'" in said[0]
    assert said[2] == "2 of 2 answered"
    assert {path for path, _, _ in endpoint.asked} == {"/v1/responses"}
    assert {body["model"] for _, body, _ in endpoint.asked} == {"one", "two"}
    assert {body["input"] for _, body, _ in endpoint.asked} == {"Are you there?"}
    assert {key for _, _, key in endpoint.asked} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("model", WRONG)
def test_one_wrong_answer_fails_the_check_and_the_line_says_why(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert check("--config", written(endpoint, "one", model)) == 1
    good, bad, count = capsys.readouterr().out.splitlines()
    assert good.startswith("ok")
    assert bad.startswith(f"FAIL my-{model}")
    assert WRONG[model][2] in bad
    assert count == "1 of 2 answered"
    assert KEY not in bad
    assert "\x1b" not in bad
    assert len(bad) <= 400


@pytest.mark.parametrize("model", ["hangs", "drips"])
def test_the_deadline_is_over_the_whole_answer(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    began = time.monotonic()
    assert check("--config", written(endpoint, model, "one"), "--timeout", "0.5") == 1
    assert time.monotonic() - began < 10
    bad, good, _ = capsys.readouterr().out.splitlines()
    assert "no answer within 0.5 s" in bad
    assert good.startswith("ok")


def test_a_connection_that_closes_or_is_refused_fails(endpoint: Endpoint, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--config", written(endpoint, "hangs-up")) == 1
    assert "FAIL my-hangs-up" in capsys.readouterr().out
    assert check("--config", written(endpoint, "one", api_base="http://127.0.0.1:1")) == 1
    assert "http://127.0.0.1:1/v1/responses" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"api_key": "os.environ/NOT_THERE"}, "NOT_THERE is not set (api_key)"),
        ({"api_base": "os.environ/NOT_THERE"}, "NOT_THERE is not set (api_base)"),
        ({"api_base": "localhost:4000"}, "is no address"),
        ({"api_base": "http://[::1"}, "is no address"),
        ({"api_base": None, "model": "anthropic/claude"}, "anthropic has no /v1/responses of its own"),
        ({"model": None}, "no litellm_params.model"),
        ({"api_key": "ключ"}, "FAIL"),
        ({"api_key": "two\nlines"}, "FAIL"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_what_cannot_be_asked_is_named_and_fails(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], params: dict[str, Any], words: str
) -> None:
    assert check("--config", written(endpoint, "one", **params)) == 1
    assert words in capsys.readouterr().out
    assert endpoint.asked == []


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/", "/v1/responses"])
def test_an_address_may_be_written_with_or_without_its_end(endpoint: Endpoint, base: str) -> None:
    assert check("--config", written(endpoint, "one", api_base=endpoint.url + base)) == 0
    assert endpoint.asked[0][0] == "/v1/responses"


def test_at_a_proxy_every_name_is_asked_once_with_the_master_key(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(endpoint, "one", "one", "two", api_base="http://127.0.0.1:1")
    assert check("--config", path, "--proxy", endpoint.url) == 2
    assert "LITELLM_MASTER_KEY is not set" in capsys.readouterr().err
    Path(".env").write_text("LITELLM_MASTER_KEY=the-master-key\n")
    assert check("--config", path, "--proxy", endpoint.url) == 0
    assert sorted(body["model"] for _, body, _ in endpoint.asked) == ["my-one", "my-two"]
    assert {key for _, _, key in endpoint.asked} == {"Bearer the-master-key"}
    assert check("--config", path, "--proxy", "nowhere") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't be read"),
        ("model_list: [", "is not YAML, in line 1"),
        ("", "has no model_list"),
        ("model_list: []", "has no model_list"),
        ("just words", "has no model_list"),
        ("model_list: [{litellm_params: {}}]", "entry 1 of model_list has no model_name"),
    ],
)
def test_a_config_that_is_none_is_status_2(
    endpoint: Endpoint, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    if text is not None:
        Path("proxy.yaml").write_text(text)
    assert check("--config", "proxy.yaml") == 2
    assert words in capsys.readouterr().err


def test_run_from_a_shell_it_leaves_with_its_status(endpoint: Endpoint) -> None:
    ran = [
        subprocess.run([sys.executable, SCRIPT, *rest], capture_output=True, text=True, env=dict(os.environ))
        for rest in (
            ("--config", written(endpoint, "one")),
            ("--config", "nowhere.yaml"),
            ("--timeout", "0"),
        )
    ]
    assert [done.returncode for done in ran] == [0, 2, 2]
    assert not any("Traceback" in done.stderr for done in ran)


def test_litellm_takes_the_config_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own router refuses settings that it does not know; and no key stands in the file."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("UPSTREAM_API_BASE", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("UPSTREAM_API_KEY", KEY)
    from litellm import Router

    told = yaml.safe_load((PROJECT / "config" / "config.yaml").read_text(encoding="utf-8"))
    router = Router(model_list=told["model_list"], **told["router_settings"])
    assert set(router.model_names) == {"planner", "sub"}
    assert told["litellm_settings"]["drop_params"] is True
    secrets = [told["general_settings"]["master_key"], *(e["litellm_params"]["api_key"] for e in told["model_list"])]
    assert all(secret.startswith("os.environ/") for secret in secrets)
