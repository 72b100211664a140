"""The offline model as an engine of DSPy: no weights, no network, the same answer to the same prompt.

`dspy.LM("offline/extractive", engine=OfflineEngine())`. One engine answers every kind of prompt that a run makes:
the planner's, the final extraction, `llm_query`, and the Predicts of sub-agents. Token counts are characters divided
by four.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

from dspy.lm15 import (
    Message,
    Request,
    Response,
    StreamDeltaEvent,
    StreamEndEvent,
    StreamStartEvent,
    TextDelta,
    TextPart,
    Usage,
)

from fleet_rlm.offline.dspy_prompt import FieldsPrompt, PlannerPrompt, read_prompt
from fleet_rlm.offline.fields_reply import field_values
from fleet_rlm.offline.next_cell import next_action
from fleet_rlm.offline.quoting import reply
from fleet_rlm.offline.reply_format import write_code, write_fields

DEFAULT_PACE = 0.02
"""Seconds between two chunks of a stream: a run on a short document takes some ten seconds and can be watched."""
_CHUNK = re.compile(r"(?:\S*\s*){1,4}")


class OfflineEngine:
    """Answers prompts by searching and quoting the text that is at hand. Safe to call from many threads at once.

    `pace` is the seconds that a stream waits between chunks of a few words; 0 streams as fast as it is read. What
    `complete` returns is never delayed.
    """

    def __init__(self, pace: float = DEFAULT_PACE) -> None:
        if pace < 0:
            raise ValueError(f"pace must be 0 seconds or more, not {pace:g}")
        self.pace = pace
        self._closed = threading.Event()

    def complete(self, request: Request) -> Response:
        """The whole answer at once."""
        system, user = _texts(request)
        text = answer(system, user)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=_usage(system, user, text),
        )

    def stream(self, request: Request) -> Iterator[StreamStartEvent | StreamDeltaEvent | StreamEndEvent]:
        """The answer a few words at a time. Closing the engine lets a stream run out without further delay."""
        system, user = _texts(request)
        yield StreamStartEvent(model=request.model)
        text = answer(system, user)
        for chunk in _CHUNK.findall(text):
            if chunk:
                self._closed.wait(self.pace) if self.pace else None
                yield StreamDeltaEvent(delta=TextDelta(text=chunk))
        yield StreamEndEvent(finish_reason="stop", usage=_usage(system, user, text))

    def close(self) -> None:
        """Nothing is held open; streams that are under way stop waiting."""
        self._closed.set()


def answer(system: str, user: str) -> str:
    """What the offline model says to a prompt."""
    prompt = read_prompt(system, user)
    if isinstance(prompt, PlannerPrompt):
        action = next_action(prompt)
        return write_fields(prompt.wire, {"reasoning": action.reasoning, "code": write_code(action.code)})
    if isinstance(prompt, FieldsPrompt):
        return write_fields(prompt.wire, field_values(prompt))
    return reply(prompt.text)


def _texts(request: Request) -> tuple[str, str]:
    """The system message and the last user message, as text."""
    system = request.system
    held = (
        system if isinstance(system, str) else "".join(part.text for part in system or () if isinstance(part, TextPart))
    )
    users = [message.text or "" for message in request.messages if message.role == "user"]
    return held, users[-1] if users else ""


def _usage(system: str, user: str, text: str) -> Usage:
    read, written = (len(system) + len(user)) // 4, len(text) // 4
    return Usage(input_tokens=read, output_tokens=written, total_tokens=read + written)
