"""Ask every model of a LiteLLM config one question at `/v1/responses`, and fail when one fails.

    python scripts/check_responses.py [--config config/config.yaml] [--timeout 30] [--prompt TEXT] [--proxy URL]

Each model is asked at its own `api_base`; with `--proxy`, by its name at a running proxy, with the master key. One line
a model says whether it answered, how fast, or why not. Exit status: 0 when all answered, 1 when one did not, 2 when the
config can't be used. Keys are never printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from fleet_rlm import config
from fleet_rlm.runs.redact import Redactor, secrets_in
from fleet_rlm.terminal_text import clean_line

CONFIG = Path(__file__).parent.parent / "config" / "config.yaml"
PROMPT = "Reply with the one word: ready"
OPENAI = "https://api.openai.com/v1"
AT_ONCE = 8
MOST_BYTES = 4 << 20
FROM_ENVIRONMENT = "os.environ/"


class Unusable(Exception):
    """The config can't be used, or one of its models can't be asked; the words say why and what to write."""


@dataclass(frozen=True)
class Target:
    """One model, and where it is asked. `problem`: why it can't be."""

    name: str
    model: str = ""
    url: str = ""
    key: str = field(default="", repr=False)
    problem: str = ""


@dataclass(frozen=True)
class Outcome:
    target: Target
    good: bool
    words: str


def read(path: Path) -> tuple[list[Mapping[str, Any]], Any]:
    """The config's model list and its master key. Raises `Unusable`."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(
            f"{path} can't be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        where = getattr(error, "problem_mark", None)
        raise Unusable(f"{path} is not YAML{f', in line {where.line + 1}' if where else ''}.") from error
    models = told.get("model_list") if isinstance(told, dict) else None
    if not isinstance(models, list) or not models:
        raise Unusable(f"{path} has no model_list. config/config.yaml shows one.")
    for number, entry in enumerate(models, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get("model_name"), str):
            raise Unusable(f"{path}: entry {number} of model_list has no model_name.")
    general = told.get("general_settings")
    return models, general.get("master_key") if isinstance(general, dict) else None


def resolved(value: Any, environment: Mapping[str, str], what: str) -> str:
    """The text of a setting; `os.environ/NAME` is looked up. Raises `Unusable`."""
    text = "" if value is None else str(value).strip()
    if not text.startswith(FROM_ENVIRONMENT):
        return text
    name = text.removeprefix(FROM_ENVIRONMENT)
    found = environment.get(name, "").strip()
    if not found:
        raise Unusable(f"{name} is not set ({what})")
    return found


def own_target(entry: Mapping[str, Any], environment: Mapping[str, str]) -> Target:
    """The model at the address that its entry names."""
    name = str(entry["model_name"])
    given = entry.get("litellm_params")
    try:
        if not isinstance(given, dict) or not given.get("model"):
            raise Unusable("the entry has no litellm_params.model")
        model = resolved(given["model"], environment, "model")
        provider, slash, rest = model.partition("/")
        base = resolved(given.get("api_base"), environment, "api_base")
        key = resolved(given.get("api_key"), environment, "api_key")
        if not base and slash and provider != "openai":
            raise Unusable(f"{provider} has no /v1/responses of its own: ask through a running proxy, with --proxy URL")
        if not base:
            key = key or environment.get("OPENAI_API_KEY", "")
        return Target(name, rest.removeprefix("responses/") if slash else model, address(base or OPENAI), key)
    except Unusable as error:
        return Target(name, problem=str(error))


def proxy_targets(
    models: Sequence[Mapping[str, Any]], master_key: Any, proxy: str, environment: Mapping[str, str]
) -> list[Target]:
    """Every name once, at the proxy. Raises `Unusable`."""
    key, url = resolved(master_key, environment, "general_settings.master_key"), address(proxy)
    return [Target(name, name, url, key) for name in dict.fromkeys(str(entry["model_name"]) for entry in models)]


def address(base: str) -> str:
    """Where responses are asked for below this base. Raises `Unusable`."""
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Unusable(f"{base!r} is no address: write it like http://127.0.0.1:4000/v1")
    base = base.rstrip("/")
    if base.endswith("/responses"):
        return base
    return f"{base}/responses" if re.search(r"/v\d+$", base) else f"{base}/v1/responses"


async def ask(client: httpx.AsyncClient, target: Target, prompt: str, timeout: float) -> Outcome:
    """Ask once, with a deadline over everything from the connection to the last byte."""
    if target.problem:
        return Outcome(target, False, target.problem)
    began = time.monotonic()
    try:
        async with asyncio.timeout(timeout):
            status, body = await exchange(client, target, prompt)
    except TimeoutError:
        return Outcome(target, False, f"no answer within {timeout:g} s at {target.url}")
    except Unusable as error:
        return Outcome(target, False, str(error))
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        return Outcome(target, False, f"{str(error) or type(error).__name__} at {target.url}")
    try:
        said = judge(status, body)
    except Unusable as error:
        return Outcome(target, False, f"{error} at {target.url}")
    return Outcome(target, True, f"{time.monotonic() - began:.1f} s · {said!r}")


async def exchange(client: httpx.AsyncClient, target: Target, prompt: str) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    asked = {"model": target.model, "input": prompt}
    async with client.stream("POST", target.url, json=asked, headers=headers) as response:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MOST_BYTES:
                raise Unusable(f"more than {MOST_BYTES >> 20} MiB came back at {target.url}")
        return response.status_code, bytes(body)


def judge(status: int, body: bytes) -> str:
    """The answer's text. Raises `Unusable` when it is no whole, successful response."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not 200 <= status < 300:
        raise Unusable(f"HTTP {status}: {complaint(answer) or body[:200].decode(errors='replace') or 'no words'}")
    if not isinstance(answer, dict):
        start = body[:60].decode(errors="replace")
        raise Unusable(f"HTTP {status} with something that is no JSON object: {start!r}")
    if answer.get("error"):
        raise Unusable(f"an error in an HTTP {status}: {complaint(answer)}")
    if answer.get("object") != "response":
        raise Unusable(f"no response but {answer.get('object')!r}: is it another endpoint's answer?")
    if answer.get("status") not in (None, "completed"):
        raise Unusable(f"the response is {answer['status']!r}, not 'completed'")
    text = spoken(answer.get("output")).strip()
    if not text:
        raise Unusable("the response says nothing")
    return text


def complaint(answer: Any) -> str:
    """What an error's body says, wherever it says it."""
    told = answer.get("error", answer.get("detail")) if isinstance(answer, dict) else answer
    if isinstance(told, dict):
        told = told.get("message") or told
    return "" if told is None else str(told)


def spoken(output: Any) -> str:
    """The text of a response's messages."""
    items = output if isinstance(output, list) else []
    contents = [item.get("content") for item in items if isinstance(item, dict) and item.get("type") == "message"]
    parts = [part for content in contents if isinstance(content, list) for part in content if isinstance(part, dict)]
    return "".join(str(part.get("text") or "") for part in parts if part.get("type") == "output_text")


async def ask_all(targets: Sequence[Target], prompt: str, timeout: float) -> list[Outcome]:
    free = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=None, follow_redirects=False) as client:

        async def one(target: Target) -> Outcome:
            async with free:
                return await ask(client, target, prompt, timeout)

        return await asyncio.gather(*map(one, targets))


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("a number of seconds above 0, at most 86,400")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Ask every model of a LiteLLM config at /v1/responses.")
    parser.add_argument("--config", type=Path, default=CONFIG, help="the proxy's config (default: config/config.yaml)")
    parser.add_argument("--timeout", type=positive, default=30.0, metavar="SECONDS", help="a model (default: 30)")
    parser.add_argument("--prompt", default=PROMPT, help=f"what is asked (default: {PROMPT!r})")
    parser.add_argument("--proxy", metavar="URL", help="ask a running proxy for every model, with the master key")
    given = parser.parse_args(arguments)
    environment = config.load().environment
    try:
        models, master_key = read(given.config)
        if given.proxy:
            targets = proxy_targets(models, master_key, given.proxy, environment)
        else:
            targets = [own_target(entry, environment) for entry in models]
    except Unusable as error:
        print(f"Error: {clean_line(str(error))}", file=sys.stderr)
        return 2
    outcomes = asyncio.run(ask_all(targets, given.prompt, given.timeout))
    hide = Redactor([*secrets_in(environment), *(target.key for target in targets)])
    width = max(len(target.name) for target in targets)
    for outcome in outcomes:
        words = f"{'ok  ' if outcome.good else 'FAIL'} {outcome.target.name:{width}}  {outcome.words}"
        print(clean_line(hide.text(words), 400))
    failed = sum(not outcome.good for outcome in outcomes)
    print(f"{len(outcomes) - failed} of {len(outcomes)} answered", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        os._exit(1)
