"""How long a prompt may be: what is set or known of a model, and what its provider's errors have told since."""

from __future__ import annotations

import re
import threading

import dspy
from dspy import lm15

from fleet_rlm import events as ev
from fleet_rlm.engine.models.model_facts import estimated_tokens, facts_of
from fleet_rlm.engine.models.model_settings import ModelSettings
from fleet_rlm.engine.models.provider_faults import CONTEXT_WORDS
from fleet_rlm.engine.run.run_failures import CallRefused

_LIMIT = re.compile(
    r"(?:(?:context|prompt)[_ ](?:length|size|window)(?: of)?(?: only)?(?: is)?|n_ctx\W{0,3}|tokens allowed|>)\D{0,14}"
    r"(\d[\d,]{2,})|(\d[\d,]{2,})[- ](?:tokens? )?(?:maximum|context)",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"(?:resulted in|requested(?: about)?|contains|too long|token count(?: is)?|request|n_prompt_tokens\W{0,3})\D{0,12}"
    r"(\d[\d,]{2,})",
    re.IGNORECASE,
)
_PROMPT_ALONE = re.compile(
    r"([\d,]+)(?: tokens)? (?:in|from|of) (?:the |your )?(?:messages|input|prompt)", re.IGNORECASE
)
_SURE = 0.85
"""A prompt is refused unasked only when it is too long even if it is estimated that much too high."""
_MOST_SCALE = 4.0
"""Times as many tokens as are estimated that a text is taken to be at most."""
_SURE_TOKENS = 1000
"""Prompts below say little of a tokenizer: what providers add to each weighs more."""
_MARGIN = 0.03
"""Share of a window that is kept free, since token counts are estimates."""


class PromptTooLong(CallRefused):
    """A sub-call that is not made, because its prompt can't fit the model. The planner reads the message."""


def is_overflow(error: BaseException) -> bool:
    """True if a model's error says that the prompt is too long, whatever its class."""
    if isinstance(error, PromptTooLong | dspy.ContextWindowExceededError | lm15.ContextLengthError):
        return True
    of_the_request = isinstance(error, dspy.LMInvalidRequestError | lm15.InvalidRequestError)
    server = isinstance(error, dspy.LMServerError | lm15.ServerError)
    return (of_the_request or server) and CONTEXT_WORDS.search(str(error)) is not None


class Window:
    """The context window of one model. Thread-safe by single assignments under a lock."""

    def __init__(self, settings: ModelSettings) -> None:
        network = settings.engine is None and not settings.offline
        facts = facts_of(settings.model) if network else None
        self.model = settings.model
        self.size: int | None = settings.context_window or (facts.input_limit if facts else None)
        """In tokens; None: not known."""
        self.answer: int | None = settings.max_tokens or (facts.output_limit if facts else None)
        """The longest answer, in tokens; None: not known."""
        self._scale = 1.0
        self._lock = threading.Lock()

    @property
    def room(self) -> int | None:
        """Tokens that a prompt may have, when its answer is to have room as well."""
        size = self.size
        return None if size is None else int(size * (1 - _MARGIN)) - min(self.answer or 0, size // 4)

    def tokens(self, text: str) -> int:
        """About how many tokens a text is for this model."""
        return self.scaled(estimated_tokens(text))

    def scaled(self, estimate: int) -> int:
        """About how many tokens of this model an estimate for all models is."""
        return int(estimate * self._scale)

    def check(self, prompt: str) -> None:
        """Raises `PromptTooLong` for a prompt that certainly does not fit."""
        room = self.room
        if room is None or len(prompt) <= room:  # no text has more tokens than characters, or hardly any
            return
        tokens = self.tokens(prompt)
        if tokens * _SURE > room:
            raise PromptTooLong(
                f"Not sent: the prompt is about {tokens:,} tokens ({len(prompt):,} characters), and {self.model} takes "
                f"about {room:,}. Split the text and ask about each part, or send only the passages that matter."
            )

    def learn(self, error: BaseException, prompt: str) -> None:
        """Take from an error how long a prompt may be; at the least, that this one is too long."""
        if not is_overflow(error) or isinstance(error, PromptTooLong):
            return
        estimate = max(1, estimated_tokens(prompt))
        limits, asked = told_sizes(str(error))
        with self._lock:
            if limits and min(limits) >= 256:
                self.size = min(limits) if self.size is None else min(self.size, *limits)
            if self.size is None:
                self.size = max(256, int(estimate * self._scale * 0.8))
            over = max(asked, default=self.size)
            self._scale = min(_MOST_SCALE, max(self._scale, over / estimate))

    def counted(self, estimate: int, usage: ev.Usage) -> None:
        """Estimate higher from now on, if the provider counted more tokens in a prompt than were estimated."""
        if estimate >= _SURE_TOKENS and not usage.estimated:
            with self._lock:
                self._scale = min(_MOST_SCALE, max(self._scale, usage.input / estimate))

    def words(self) -> str:
        """What the planner is told of it as the window of its sub-model."""
        answer = f"; its answers have at most {self.answer:,} tokens" if self.answer else ""
        if (room := self.room) is None:
            return f"the size of its context window is not known, a prompt that does not fit raises an error{answer}"
        return (
            f"a prompt may have about {room:,} tokens, some {room * 3 // 1000 * 1000 or room * 3:,} characters{answer}"
        )


def told_sizes(words: str) -> tuple[list[int], list[int]]:
    """Return the sizes in tokens that an error gives for the window, and for the prompt that did not fit.

    Of a server that counts the answer in, the second is what the prompt has without it.
    """
    alone = [_number(match.group(1)) for match in _PROMPT_ALONE.finditer(words)]
    asked = alone or [_number(match.group(1)) for match in _ASKED.finditer(words)]
    return [_number(match.group(1) or match.group(2)) for match in _LIMIT.finditer(words)], asked


def _number(text: str) -> int:
    return int(text.replace(",", ""))
