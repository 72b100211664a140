"""Store a planner's prompts without repetition: each keeps only what it adds to the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dspy import lm15

from fleet_rlm import events as ev
from fleet_rlm.events import Json

Prompt = tuple[tuple[str, str], ...]
"""(role, text) of each message."""


def messages_of(inputs: Mapping[str, Json]) -> Prompt:
    """Return the messages of a model call, from the arguments in dspy's callback."""
    request = inputs.get("request")
    if isinstance(inputs.get("prompt"), lm15.Request):
        request = inputs["prompt"]
    if isinstance(request, lm15.Request):
        system = request.system if isinstance(request.system, str) else ""
        head = (("system", system),) if system else ()
        return head + tuple((message.role, message.text or "") for message in request.messages)
    messages = inputs.get("messages")
    if messages:
        return tuple((str(m.get("role", "user")), _text(m.get("content"))) for m in messages)
    return (("user", _text(inputs.get("prompt"))),)


def _text(content: Json) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text") or f"[{part.get('type', 'part')}]" for part in content if isinstance(part, Mapping))
        return "\n".join(str(part) for part in parts)
    return "" if content is None else str(content)


def common_prefix(a: str, b: str) -> int:
    """Return how many leading characters two texts share (by halving: C speed on long prompts)."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def added(prompt: Prompt, base: Prompt | None) -> tuple[ev.Message, ...]:
    """Return the messages as an event stores them, given the prompt of the span that it names as `base`."""
    stored = []
    for place, (role, text) in enumerate(prompt):
        before = base[place][1] if base and place < len(base) else ""
        reuse = common_prefix(before, text) if before else 0
        if reuse < 64:  # not worth a reference
            reuse = 0
        stored.append(ev.Message(role=role, content=text[reuse:], reuse=reuse))
    return tuple(stored)
