"""Say what is known of a model before it is asked: how long a prompt may be, how much it can answer, what it costs.

The one place that reads dspy's catalogue of models (LiteLLM's, as the package holds it). A catalogue may be wrong about
a server of one's own, and says nothing of most local models: what is not known is None, never a guess.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from dspy import lm15
from dspy.clients.engines import LM15Engine
from dspy.clients.model_metadata import model_info

from fleet_rlm.events import Json

_MAKERS = ("openai", "anthropic", "gemini", "deepseek", "mistral", "xai")
"""Providers whose models are served by others and by proxies under the same name."""
_SAMPLES, _SAMPLE_CHARS = 64, 1024
_PIECES = re.compile(r"[A-Za-z]+|[0-9]+|[^\S\n]+|\n+|[^\x00-\x7f]|[^\sA-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the catalogue says of one model; sizes are in tokens."""

    input_limit: int | None = None
    """The longest prompt."""
    output_limit: int | None = None
    """The longest answer, its thinking included."""
    entry: Mapping[str, Json] = field(default_factory=lambda: MappingProxyType({}))
    """The whole entry, under LiteLLM's names: prices, parameters, what the model can do. Empty when it has none."""


@functools.lru_cache(maxsize=64)
def facts_of(model: str) -> ModelFacts:
    """The facts of a model by the name that a person writes, such as `openai/gpt-5-mini`."""
    entry = _entry(model)
    sizes = entry
    if _size(entry, "max_input_tokens") is None and _size(entry, "max_output_tokens") is None:
        name = model.rpartition("/")[2]  # behind a proxy: sizes stay what they are, prices don't
        sizes = next((found for maker in _MAKERS if (found := model_info(maker, name)).get("max_input_tokens")), {})
    return ModelFacts(
        input_limit=_size(sizes, "max_input_tokens"),
        output_limit=_size(sizes, "max_output_tokens"),
        entry=MappingProxyType(entry),
    )


def _entry(model: str) -> dict[str, Json]:
    plain = re.sub(r"^([^/]+)/(?:responses|chat|text)/", r"\1/", model)
    try:
        route = LM15Engine(lm15.RouterConfig(env={})).resolve(plain)
        provider, name = route.provider, route.model
    except lm15.LM15Error:
        provider, _, name = plain.partition("/")
    found: dict[str, Json] = model_info(provider, name)
    return found


def _size(entry: Mapping[str, Json], key: str) -> int | None:
    value = entry.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is, from its kinds of characters; of a long one, from samples all over it.

    Within a fifth or so of common tokenizers for prose, code, figures and Asian scripts. Takes milliseconds.
    """
    if len(text) <= _SAMPLES * _SAMPLE_CHARS:
        return _counted(text)
    step = (len(text) - _SAMPLE_CHARS) / (_SAMPLES - 1)
    starts = [int(place * step) for place in range(_SAMPLES)]
    samples = [text[start : start + _SAMPLE_CHARS] for start in starts]
    return sum(map(_counted, samples)) * len(text) // (_SAMPLES * _SAMPLE_CHARS)


def _counted(text: str) -> int:
    tokens = 0.0
    for piece in _PIECES.findall(text):
        first = piece[0]
        if first.isascii() and first.isalpha():
            tokens += 1 if len(piece) <= 7 else len(piece) / 5
        elif first.isdigit():
            tokens += -(-len(piece) // 3)
        elif first.isspace():
            tokens += 0 if piece == " " else 1
        elif first.isascii():
            tokens += max(1.0, len(piece) / 2.5)
        else:
            tokens += 0.8 if first >= "\u2e80" else 0.5
    return round(tokens)
