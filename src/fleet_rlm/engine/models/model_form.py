"""The form in which a model is asked: limits and parameters from its metadata, the person's settings, its server.

A parameter that the server refuses is left out from then on, a limit that it finds too high is lowered: an optional
parameter never costs the answer.
"""

from __future__ import annotations

import dataclasses
import re

from dspy import lm15
from dspy.clients.lm import _is_openai_reasoning_model

from fleet_rlm.engine.models.context_windows import told_sizes
from fleet_rlm.engine.models.model_facts import ModelFacts, estimated_tokens, facts_of
from fleet_rlm.engine.models.model_settings import ModelSettings
from fleet_rlm.engine.models.prompt_cache import PromptCache
from fleet_rlm.events import Json

USUAL_LIMIT, THINKING_LIMIT = 8_192, 32_768
"""Tokens that an answer may have at first, when nothing is set: of a model that only answers, of one that thinks."""
MORE_ROOM = 4
"""Times as much that an answer which was cut off may have when it is asked for again."""
LEAST_ROOM = 512
_REFUSED = re.compile(
    r"unsupported|not supported|does not support|doesn't support|not (?:allowed|permitted|available|recognized)|unknown"
    r"|unexpected|unrecognized|extra inputs|invalid|deprecated|only the default|must be|may only|cannot|can't|at most"
    r"|maximum|minimum|too (?:large|high|big)|less than|greater than|range|verified",
    re.IGNORECASE,
)
_NAMES = {
    "temperature": r"temperature",
    "top_p": r"top_p|topp",
    "reasoning": r"reasoning(?:_effort|\.effort|_content)?|thinking",
    "max_tokens": r"max_(?:completion_|output_|new_)?tokens|maxoutputtokens|completion tokens|output tokens",
    "stream": r"stream(?:ing|_options)?",
    "cache": r"cache_control|prompt_cache\w*",
}


def is_openai_reasoning_model(model: str) -> bool:
    """True for OpenAI's reasoning models, whose temperature is fixed."""
    return bool(_is_openai_reasoning_model(model))


class Form:
    """How one model is asked; what it learns holds for the rest of the run."""

    def __init__(self, settings: ModelSettings) -> None:
        facts: ModelFacts = facts_of(settings.model)
        self._settings, self._facts = settings, facts
        self.streams = True
        """False once the server was found not to stream."""
        self.left_out: set[str] = set()
        """Parameters that the server refused."""
        self._tokens_name = ""
        """How the server calls the limit, where it is not as the client library thinks."""
        self._cache = PromptCache()
        self._ceiling = facts.output_limit
        """The longest answer that the model can give, None when it is not known."""
        self.limit = self._first_limit()
        """The longest answer that is asked for, in tokens."""

    def notices(self) -> list[str]:
        """What of the person's settings this model can't take, and what is done instead."""
        settings, said = self._settings, []
        if settings.max_tokens is not None and self._ceiling is not None and settings.max_tokens > self._ceiling:
            said.append(
                f"{settings.model} answers with {self._ceiling:,} tokens at most: that is asked for, not the "
                f"{settings.max_tokens:,} that are set. Set DSPY_LM_MAX_TOKENS={self._ceiling}"
            )
        if settings.temperature not in (None, 1.0) and is_openai_reasoning_model(settings.model):
            said.append(
                f"{settings.model} takes no temperature but 1: the {settings.temperature:g} that is set is left out. "
                "Set DSPY_LM_TEMPERATURE=1, or leave it out"
            )
        return said

    def _first_limit(self) -> int:
        settings = self._settings
        thinks = is_openai_reasoning_model(settings.model) or bool(self._facts.entry.get("supports_reasoning"))
        wanted = settings.max_tokens or (THINKING_LIMIT if thinks else USUAL_LIMIT)
        return min(wanted, self._ceiling) if self._ceiling else wanted

    def shaped(self, request: lm15.Request, room: int | None = None) -> lm15.Request:
        """The request with what this model takes; `room` is the longest answer, where it is not the usual one."""
        config = request.config
        wanted: dict[str, Json] = {"max_tokens": config.max_tokens or room or self.limit}
        if room is not None:
            wanted["max_tokens"] = room
        temperature = config.temperature
        if temperature is None:
            temperature = self._settings.temperature
        if temperature not in (None, 1.0) and is_openai_reasoning_model(self._settings.model):
            temperature = None
        wanted["temperature"] = temperature
        for name in self.left_out & {"temperature", "top_p", "reasoning", "max_tokens"}:
            wanted[name] = None
        return dataclasses.replace(request, config=dataclasses.replace(config, **wanted))

    def shape_body(self, body: dict[str, Json]) -> None:
        """Change a request's body, its JSON, just before it goes out."""
        for name in ("max_tokens", "max_completion_tokens"):
            if self._tokens_name not in ("", name) and name in body:
                body[self._tokens_name] = body.pop(name)
        if "claude" in self._settings.model.lower() and "cache" not in self.left_out:
            self._cache.mark(body)

    def more_room(self, request: lm15.Request) -> int | None:
        """How long an answer may be that was cut off in this request; None when there is no more room.

        A limit that the person set is theirs: it is not raised behind their back.
        """
        now = request.config.max_tokens
        if now is None or self._settings.max_tokens is not None:
            return None
        most = self._ceiling or USUAL_LIMIT * MORE_ROOM
        if self._facts.input_limit and self._ceiling and self._facts.input_limit <= self._ceiling:
            most = min(most, self._facts.input_limit - prompt_tokens(request))  # one window for prompt and answer
        more = min(now * MORE_ROOM, most)
        return more if more > now else None

    def learn(self, error: lm15.LM15Error, request: lm15.Request, *, streamed: bool) -> str | None:
        """Change the form after a refusal; what was changed in words, or None when it is not about the form."""
        if not isinstance(error, lm15.InvalidRequestError | lm15.CapabilityError | lm15.AuthError):
            return None
        words = str(error.message or error)
        if isinstance(error, lm15.ContextLengthError):
            return self._fit_window(words, request)
        if not (_REFUSED.search(words)):
            return None
        named = [name for name, pattern in _NAMES.items() if re.search(rf"(?<![a-z]){pattern}(?![a-z])", words, re.I)]
        for name in named:
            if (changed := self._without(name, words, request, streamed)) is not None:
                return changed
        return None

    def _without(self, name: str, words: str, request: lm15.Request, streamed: bool) -> str | None:
        if name == "stream":
            if not streamed:
                return None
            self.streams = False
            return "asked again without streaming"
        if name == "cache":
            if name in self.left_out:
                return None
            self.left_out.add(name)
            return "asked again without marks for the provider's cache"
        if getattr(request.config, name, None) is None or name in self.left_out:
            return None
        if name == "max_tokens" and (changed := self._rename(words) or self._fit_limit(words, request)) is not None:
            return changed
        self.left_out.add(name)
        return f"asked again without {name}"

    def _rename(self, words: str) -> str | None:
        both = re.findall(r"max_completion_tokens|max_tokens", words)
        if (
            self._tokens_name
            or not both
            or not re.search(r"support|unknown|unrecognized|extra|unexpected", words, re.I)
        ):
            return None
        if re.search(r"at most|maximum|too large|exceed", words, re.IGNORECASE):
            return None
        self._tokens_name = "max_completion_tokens" if both[0] == "max_tokens" else "max_tokens"
        return f"asked again with {self._tokens_name}"

    def _fit_limit(self, words: str, request: lm15.Request) -> str | None:
        """Take the limit out of the server's words."""
        now = request.config.max_tokens or 0
        numbers = [int(found.replace(",", "")) for found in re.findall(r"(?<![\w.])\d[\d,]*(?![\w.]*\d)", words)]
        lower = [number for number in numbers if LEAST_ROOM <= number < now]
        if not lower:
            return None
        self.limit = self._ceiling = max(lower) - ("exclusive" in words.lower())
        return f"asked again for an answer of {self.limit:,} tokens at most (DSPY_LM_MAX_TOKENS={self.limit})"

    def _fit_window(self, words: str, request: lm15.Request) -> str | None:
        """A server counts the room for the answer towards its window: ask for what is left beside the prompt."""
        now = request.config.max_tokens
        windows, prompts = told_sizes(words)
        if now is None or not windows or not prompts:
            return None
        left = min(windows) - max(prompts) - 64
        if not LEAST_ROOM <= left < now:
            return None
        self.limit = self._ceiling = left
        return f"asked again for an answer of {left:,} tokens at most, which the server's context window leaves"


def prompt_tokens(request: lm15.Request) -> int:
    """About how many tokens a request's texts are."""
    system = request.system if isinstance(request.system, str) else ""
    return estimated_tokens(system) + sum(estimated_tokens(message.text or "") for message in request.messages)
