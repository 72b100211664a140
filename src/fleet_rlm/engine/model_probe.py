"""One tiny call to a model, by the way that runs take: is it reachable, and is the key good?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from dspy import lm15
from dspy.clients.errors import wrap_error

from fleet_rlm.config import ModelConfig, Problem
from fleet_rlm.engine.failures import model_failure
from fleet_rlm.engine.model_clients import NetworkEngine
from fleet_rlm.engine.model_settings import ModelSettings, Timeouts

PROMPT = "Answer with the one word: ok"


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it: an answer, or a problem."""

    seconds: float
    text: str = ""
    problem: Problem | None = None


def probe(model: ModelConfig, seconds: float) -> Probed:
    """Ask once, without trying again, for at most so long. Never raises for what a model or server does."""
    timeouts = Timeouts(connect=min(seconds, 10.0), first_token=seconds, idle=seconds, total=seconds)
    settings = ModelSettings(
        model=model.model, api_key=model.api_key, api_base=model.api_base, max_tokens=model.max_tokens
    )
    began = time.monotonic()
    try:
        text = asyncio.run(_ask(settings, timeouts))
    except Exception as error:  # noqa: BLE001 - whatever a client library raises is the answer to the question
        return Probed(time.monotonic() - began, problem=_problem(error, model))
    return Probed(time.monotonic() - began, text)


async def _ask(settings: ModelSettings, timeouts: Timeouts) -> str:
    engine = NetworkEngine(settings, timeouts)
    request = lm15.Request(
        model=settings.model,
        messages=(lm15.Message.user(PROMPT),),
        config=lm15.Config(max_tokens=settings.max_tokens),
    )
    try:
        async with asyncio.timeout(timeouts.total):
            return (await engine.complete(request)).text or ""
    finally:
        await engine.aclose()


def _problem(error: Exception, model: ModelConfig) -> Problem:
    if isinstance(error, TimeoutError) and not isinstance(error, lm15.LM15Error):
        return Problem("It did not answer in time.", "Check the address, the network and any proxy.")
    wrapped = wrap_error(error, model=model.model, provider=model.provider)
    failure = model_failure(wrapped if isinstance(wrapped, Exception) else error)
    words = failure.message or type(error).__name__
    for secret in _secrets(model):
        words = words.replace(secret, "•••")  # errors repeat the key that was sent, and the address with its password
    return Problem(words, failure.hint or "Check DSPY_LM_MODEL, DSPY_LM_API_BASE and the key.")


def _secrets(model: ModelConfig) -> list[str]:
    try:
        password = urlsplit(model.api_base or "").password
    except ValueError:
        password = None
    in_address = [f":{password}@"] if password else []
    return [*in_address, *([model.api_key] if model.api_key and len(model.api_key) > 3 else [])]
