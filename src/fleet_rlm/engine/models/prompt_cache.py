"""Mark in a run's requests what the provider may keep in its cache, for Claude, which caches only what is marked.

A planner's prompt grows: the instructions stay, the history gets longer, only the last field changes with each step.
The message is cut into blocks where earlier prompts ended, so that its beginning stays the same block by block.
"""

from __future__ import annotations

import hashlib
import itertools

from fleet_rlm.engine.trace.stored_prompts import common_prefix
from fleet_rlm.events import Json

EXTRACTION = "extraction"
"""The field that asks for the final outputs, in place of the planner's last field."""


def header(field: str) -> str:
    """Return the line that begins a field in a prompt."""
    return f"[[ ## {field} ## ]]"


_LAST_FIELDS = tuple(f"\n{header(field)}\n" for field in ("iteration", EXTRACTION))
"""The prompt fields that change with each step; all that stands before one of them can be cached."""
_MARK = {"type": "ephemeral"}
_PROMPTS = 32
"""Growing prompts that are remembered: the run's own and those of its sub-agents."""


class PromptCache:
    """Remembers where the prompts of one model were cut before."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, tuple[int, ...]]] = {}

    def mark(self, body: dict[str, Json]) -> None:
        """Mark the end of the instructions and of the history; a prompt that does not grow is left as it is."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
            return
        last = messages[-1]
        text = _text(last.get("content"))
        # What is quoted before may hold the same lines; the blank lines before a field are no history.
        end = len(text[: max(0, *map(text.rfind, _LAST_FIELDS))].rstrip())
        if not end:
            return
        system = next((message for message in messages if message.get("role") in ("system", "developer")), None)
        for holder, name in ((body, "system"), (system, "content")):
            if holder and (words := _text(holder.get(name))):
                holder[name] = [{"type": "text", "text": words, "cache_control": _MARK}]
        key = hashlib.sha256(repr(body.get("system") or (system or {}).get("content")).encode()).hexdigest()
        before, cuts = self._seen.pop(key, ("", ()))
        shared = common_prefix(before, text)
        cuts = (*(cut for cut in cuts if cut <= min(shared, end - 1)), end)[-16:]
        self._seen[key] = (text, cuts)
        while len(self._seen) > _PROMPTS:
            self._seen.pop(next(iter(self._seen)))
        blocks: list[dict[str, Json]] = [
            {"type": "text", "text": text[start:stop]} for start, stop in itertools.pairwise((0, *cuts, len(text)))
        ]
        for block in blocks[-3:-1]:
            block["cache_control"] = _MARK
        last["content"] = blocks


def _text(content: Json) -> str:
    if isinstance(content, str):
        return content
    parts = [part.get("text") if isinstance(part, dict) else None for part in content or ()]
    return "".join(str(part) for part in parts) if all(isinstance(part, str) for part in parts) else ""
