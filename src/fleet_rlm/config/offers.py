"""Models that are within reach but not chosen: a provider's key in the environment, a server on this machine.

They are offered with the lines that choose them, and never used unasked. Only loopback is asked, for a moment.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from fleet_rlm.config.providers import SUGGESTED, keys_of
from fleet_rlm.config.setting_sources import Settings, Trust

SECONDS: Final = 0.5
"""Seconds that a server on this machine may take to answer."""
MAX_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that could be used."""

    found: str
    """Words for what was found, such as `OPENAI_API_KEY is in the environment`."""
    lines: tuple[str, ...]
    """Lines for `.env` that choose this model."""


@dataclass(frozen=True, slots=True)
class Server:
    """A program that serves models on its usual port."""

    name: str
    port: int
    path: str
    """The path of its list of models."""
    lines: Callable[[str, int], tuple[str, ...]]
    """Return the lines for `.env` that choose one of them."""


def _ollama(model: str, port: int) -> tuple[str, ...]:
    return (f"DSPY_LM_MODEL=ollama_chat/{model}", f"DSPY_LM_API_BASE=http://127.0.0.1:{port}")


def _openai_like(model: str, port: int) -> tuple[str, ...]:
    # A key of its own, so that OPENAI_API_KEY of the environment is neither sent there nor in the way.
    return (
        f"DSPY_LM_MODEL=openai/{model}",
        f"DSPY_LM_API_BASE=http://127.0.0.1:{port}/v1",
        "DSPY_LLM_API_KEY=none",
    )


SERVERS: Final[tuple[Server, ...]] = (
    Server("Ollama", 11434, "/api/tags", _ollama),
    Server("LM Studio", 1234, "/v1/models", _openai_like),
    Server("vLLM", 8000, "/v1/models", _openai_like),
)


def offers(settings: Settings) -> list[Offer]:
    """Find the models within reach on this machine. Takes up to about `SECONDS`: not for the UI thread."""
    found = [
        Offer(f"{variable} is in the environment", (f"DSPY_LM_MODEL={model}",))
        for provider, model in SUGGESTED.items()
        for variable in keys_of(provider)[:2]
        if settings.variable(variable, Trust.ENVIRONMENT)
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(SERVERS)), thread_name_prefix="fleet-offers") as threads:
        asked = threads.map(_served, SERVERS)
        found += [offer for offer in asked if offer is not None]
    return found


def _served(server: Server) -> Offer | None:
    """The offer of a server, if one listens on its port and has a model."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)  # knows no proxies
    try:
        connection.request("GET", server.path)
        reply = connection.getresponse()
        raw = reply.read(MAX_BYTES)
        names = _models(json.loads(raw)) if reply.status == 200 else []
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    finally:
        connection.close()
    if not names:
        return None
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Offer(
        f"{server.name} serves {names[0]}{more} on port {server.port} here", server.lines(names[0], server.port)
    )


def _models(listed: object) -> list[str]:
    """The names in a list of models, as OpenAI's and Ollama's servers write it; odd ones are left out."""
    if not isinstance(listed, dict):
        return []
    entries = listed.get("data") or listed.get("models")
    several = entries if isinstance(entries, list) else []
    names = [one.get("id") or one.get("name") for one in several if isinstance(one, dict)]
    return [
        name
        for name in names
        if isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable() and not set(name) & set(" '\"#$\\`")
    ]
