"""Ask a model one tiny question with the very client that a run would ask it with: is it reached, is the key good?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import dspy
from dspy import lm15
from dspy.clients.errors import wrap_error

from fleet_rlm import events as ev
from fleet_rlm.config import ModelConfig, Problem
from fleet_rlm.engine.control.budgets import Spending
from fleet_rlm.engine.control.cancel import CancelToken, Slots
from fleet_rlm.engine.models.model_settings import Retries, Timeouts
from fleet_rlm.engine.models.observed_engine import Answered, Calls, ObservedEngine, language_model
from fleet_rlm.engine.prepare.preparation import model_settings
from fleet_rlm.engine.run.run_failures import model_failure
from fleet_rlm.spec import Budgets

PROMPT = "Answer with the one word: ok"
CLOSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of it: an answer, or a problem."""

    seconds: float
    text: str = ""
    problem: Problem | None = None


def probe(model: ModelConfig, seconds: float) -> Probed:
    """Ask once, without trying again, for at most so long. Never raises for what a model or server does."""
    limits = Timeouts(connect=min(seconds, 10.0), first_token=seconds, idle=seconds, total=seconds)
    calls = Calls(
        CancelToken(),
        _NoWatch(),
        Spending(Budgets()),
        Slots(1),
        timeouts=limits,
        retries=Retries(attempts=1, timeouts=1),
    )
    settings, began = model_settings(model), time.monotonic()
    engine = ObservedEngine(settings, calls)
    try:
        with dspy.context(disable_history=True, track_usage=False):
            said = language_model(settings, engine)(PROMPT)
    except Exception as error:  # noqa: BLE001 - whatever a client library raises is the answer to the question
        return Probed(time.monotonic() - began, problem=_problem(error, model))
    finally:
        calls.loop.close((engine.inner,), CLOSE_SECONDS)
    return Probed(time.monotonic() - began, str(said[0]) if said else "")


class _NoWatch:
    """Hears of the call and tells nobody."""

    def is_sub_call(self, call: str | None) -> bool:  # noqa: ARG002 - these are `Watch`'s
        return False

    def is_planner(self, call: str | None) -> bool:  # noqa: ARG002
        return False

    def call_running(self, call: str | None, queued_seconds: float) -> None: ...

    def call_delta(self, call: str | None, text: str, *, thinking: bool) -> None: ...

    def call_retrying(self, call: str | None, attempt: int, of: int, error: ev.Failure, delay: float) -> None: ...

    def call_answered(self, call: str | None, answered: Answered) -> None: ...


def _problem(error: Exception, model: ModelConfig) -> Problem:
    if isinstance(error, lm15.LM15Error):
        error = wrap_error(error, model=model.model, provider=model.provider)
    failure = model_failure(error)
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
