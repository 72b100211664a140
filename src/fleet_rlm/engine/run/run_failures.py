"""Turn errors of dspy, providers and sandboxes into failures: what happened, and what to do next."""

from __future__ import annotations

import re
import traceback

import dspy
import msgspec
from dspy.primitives.code_interpreter import CodeInterpreterError

from fleet_rlm import events as ev
from fleet_rlm.engine.models.answer_stream import Withheld
from fleet_rlm.engine.models.provider_faults import WITHHELD
from fleet_rlm.engine.run_errors import AgentStopped, OperatorRefused, PlannerGaveUp, SetupError

TRACEBACK_CHARS = 20_000


class CallRefused(dspy.LMError):
    """A sub-call was not made: it is over budget, or its cell was interrupted. The planner reads the message."""


class AnswerCut(dspy.LMError):
    """An answer was cut off at its limit of tokens and must not be used as a whole one; `text` is what came."""

    def __init__(self, limit: int | None, text: str = "", what: str = "the answer") -> None:
        self.limit, self.text = limit, text
        most = f"its limit of {limit:,} output tokens" if limit else "its limit of output tokens"
        empty = ", all used to think" if not text else ""
        super().__init__(f"{what} was cut off at {most}{empty}")

    def failure(self) -> ev.Failure:
        """Return the failure in words for a person."""
        more = f"more than {self.limit}" if self.limit else "more"
        hint = f"Set DSPY_LM_MAX_TOKENS to {more}, if the model can answer longer, or choose another model."
        return ev.Failure(type="AnswerCut", message=str(self), hint=hint)


class UnfitAnswer(dspy.AdapterParseError):
    """A final answer has a value that no answer can hold, such as NaN; `why` names it, for a person."""

    def __init__(self, signature: type[dspy.Signature], text: str, why: str) -> None:
        self.why = why
        super().__init__("Extraction", signature, text, why)


_CONTEXT = "Use a model with a larger context, or lower DSPY_LM_MAX_TOKENS, which counts towards it."
_KEY = "Set DSPY_LLM_API_KEY in the environment or in .env to a valid key for this model."

_BY_TYPE: tuple[tuple[type[Exception], str, str], ...] = (
    (dspy.ContextWindowExceededError, "The prompt is longer than the model's context window.", _CONTEXT),
    (dspy.LMAuthError, "The model's provider refused the key.", _KEY),
    (dspy.LMNotConfiguredError, "The model has no key.", _KEY),
    (
        dspy.LMBillingError,
        "The model's provider says the account has no credit left.",
        "Check the account's plan and billing, or choose another model.",
    ),
    (
        dspy.LMRateLimitError,
        "The model's provider is limiting the rate of requests.",
        "Wait and run again, lower the number of sub-calls at once, or choose another model.",
    ),
    (
        dspy.LMUnsupportedModelError,
        "The model's provider does not know this model.",
        "Check DSPY_LM_MODEL (or --model): `provider/model`, such as openai/gpt-4o-mini.",
    ),
    (dspy.LMTimeoutError, "The model did not answer in time.", "Run again, or choose a faster model."),
    (
        dspy.LMTransportError,
        "The model's server cannot be reached.",
        "Check that it runs and that DSPY_LM_API_BASE and the network are right.",
    ),
    (
        dspy.LMServerError,
        "The model's server failed.",
        "Run again in a while; if it stays so, choose another model or server.",
    ),
    (
        dspy.LMStreamAssemblyError,
        "The model's answer was cut off before its end.",
        "Run again; if it stays so, check the server at DSPY_LM_API_BASE.",
    ),
    (
        dspy.LMInvalidRequestError,
        "The model's server refused the request.",
        "Check DSPY_LM_MODEL and DSPY_LM_API_BASE: the server says why.",
    ),
    (
        dspy.LMConfigurationError,
        "The model is not configured correctly.",
        "Check DSPY_LM_MODEL, DSPY_LM_API_BASE and DSPY_LM_MAX_TOKENS.",
    ),
    (
        dspy.LMError,
        "The model's answer could not be used.",
        "Check that DSPY_LM_API_BASE speaks the OpenAI API, or choose another model.",
    ),
)


_FORBIDDEN = (
    "The model's provider does not allow this account to use the model like this.",
    "Do what the provider says, or choose another model with DSPY_LM_MODEL; the key itself was accepted.",
)
_NO_PATH = (
    "The model's server has nothing at this address.",
    "Check DSPY_LM_API_BASE: most servers want it to end in /v1.",
)
_TOO_LONG = (
    "The model's server does not take an answer of this length.",
    "Set DSPY_LM_MAX_TOKENS to what the server says, or leave it out.",
)
_PARAMETER = "Leave the setting out that the server names, or choose another model with DSPY_LM_MODEL."
_WITHHELD: dict[str | None, tuple[str, str]] = {
    "refusal": (
        "The model refused to answer",
        "Word the question or the task otherwise, or choose another model; asking again would give the same.",
    ),
    "thinking_only": (
        "The model gave no answer",
        "Set a lower DSPY_LM_REASONING_EFFORT or a higher DSPY_LM_MAX_TOKENS, or choose another model.",
    ),
    None: (
        "The answer was withheld by the provider's content filter",
        "Look for what in the question or the documents sets it off, or choose another model or provider.",
    ),
}


def _kind_of(error: dspy.LMError) -> tuple[str, str, str] | None:
    """Return type, message and hint for causes that have no dspy class of their own, else None."""
    status, code, quoted = (
        getattr(error, "status", None),
        getattr(error, "provider_code", None),
        provider_words(error),
    )
    if isinstance(error, Withheld) or code == WITHHELD:
        return ("Withheld", *_WITHHELD.get(code, _WITHHELD[None]))
    if isinstance(error, dspy.LMAuthError) and status == 403:
        return ("LMAuthError", *_FORBIDDEN)
    if isinstance(error, dspy.LMInvalidRequestError) and type(error) is dspy.LMInvalidRequestError:
        if re.search(r"max_(?:\w+_)?tokens|(?:output|completion) tokens", quoted):
            return ("LMInvalidRequestError", *_TOO_LONG)
        if status in (404, 405):
            return ("LMInvalidRequestError", *_NO_PATH)
        if re.search(r"parameter|temperature|reasoning|unsupported|extra inputs", quoted, re.IGNORECASE):
            return ("LMInvalidRequestError", "The model's server refused the request.", _PARAMETER)
    return None


def provider_words(error: BaseException, limit: int = 600) -> str:
    """Return the provider's own message, without LiteLLM's advice (which names settings that don't exist here)."""
    text = str(getattr(error, "message", "") or error)
    return text.strip().partition("\n\n")[0].strip()[:limit]


def model_failure(error: Exception) -> ev.Failure:
    """Return the failure of a model call."""
    if isinstance(error, CallRefused):
        return ev.Failure(type="Refused", message=str(error))
    if isinstance(error, AnswerCut):
        return error.failure()
    known = _kind_of(error) if isinstance(error, dspy.LMError) else None
    known = known or next(
        ((kind.__name__, words, hint) for kind, words, hint in _BY_TYPE if isinstance(error, kind)), None
    )
    if known is not None:
        name, words, hint = known
        status, quoted = getattr(error, "status", None), provider_words(error)
        code = f" (HTTP {status})" if status else ""
        return ev.Failure(type=name, message=f"{words.rstrip('.')}{code}: {quoted}" if quoted else words, hint=hint)
    return ev.Failure(type=type(error).__name__, message=str(error))


def unreadable(*, truncated: bool) -> ev.Failure:
    """Return the failure of a planner's answer that lacks the fields asked for."""
    message = "The planner's answer could not be read: it lacks the `reasoning` and `code` fields."
    hint = None
    if truncated:
        message = "The planner's answer was cut off at the model's limit of output tokens."
        hint = "Raise DSPY_LM_MAX_TOKENS."
    return ev.Failure(type="Unreadable", message=message, hint=hint)


def failure_in_program(error: BaseException) -> ev.Failure:
    """Return the failure of a person's own program: its own words, without advice about our settings."""
    if isinstance(error, dspy.LMError):
        return msgspec.structs.replace(model_failure(error), hint=None)
    name = type(error).__name__
    trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARS:]
    return ev.Failure(type=name, message=str(error) or name, traceback=trace)


def failure_of(error: BaseException) -> ev.Failure:
    """Return the failure that ended a run. An unexpected error keeps its traceback in the record, not on the screen."""
    if isinstance(error, SetupError):
        return ev.Failure(type="Setup", message=str(error), hint=error.hint or None)
    if isinstance(error, PlannerGaveUp):
        return error.failure
    if isinstance(error, dspy.LMError):
        return model_failure(error)
    if isinstance(error, AgentStopped | OperatorRefused):
        return ev.Failure(type=type(error).__name__, message=str(error))
    if isinstance(error, dspy.AdapterParseError):
        return ev.Failure(
            type="Unreadable",
            message=f"The final answer can't be used: {error.why}"
            if isinstance(error, UnfitAnswer)
            else "The model's answer lacks the fields that were asked for.",
            hint="Try again, or choose a stronger model.",
        )
    if isinstance(error, CodeInterpreterError):
        return ev.Failure(
            type="SandboxFailed",
            message=str(error),
            hint=getattr(error, "hint", "")
            or "Run again; if it stays so, the last lines of the run file say how far it came.",
        )
    return ev.Failure(
        type=type(error).__name__,
        message=f"An error inside fleet-rlm ended the run: {error}",
        traceback="".join(traceback.format_exception(error))[-TRACEBACK_CHARS:],
        hint="Everything recorded so far is kept. Please report this with the run file.",
    )
