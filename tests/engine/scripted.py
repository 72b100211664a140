"""Models without weights for tests: they answer from a script, as lm15 engines, so dspy's real path runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from dspy import lm15

from fleet_rlm.engine.models.model_settings import ModelSettings

EXTRACTED = "[[ ## answer ## ]]\nextracted\n\n[[ ## completed ## ]]"


def action(reasoning: str, code: str) -> str:
    """A planner's answer in the format that dspy's ChatAdapter asks for."""
    return f"[[ ## reasoning ## ]]\n{reasoning}\n\n[[ ## code ## ]]\n```python\n{code}\n```\n\n[[ ## completed ## ]]"


def system_of(request: lm15.Request) -> str:
    return request.system if isinstance(request.system, str) else "".join(part.text for part in request.system or ())


def response(request: lm15.Request, text: str) -> lm15.Response:
    asked = len(system_of(request)) + sum(len(message.text or "") for message in request.messages)
    return lm15.Response(
        id="scripted",
        model=request.model,
        message=lm15.Message.assistant([lm15.TextPart(text)]),
        finish_reason="stop",
        usage=lm15.Usage(input_tokens=asked // 4, output_tokens=max(1, len(text) // 4)),
    )


class Script:
    """Planner answers in order (the last again and again); anything else is a sub-call."""

    def __init__(
        self,
        steps: Sequence[str | Exception | Callable[[str], str]],
        sub: Callable[[str], str] = lambda prompt: f"answer to {prompt[:40]}",
        extract: str | Exception = EXTRACTED,
    ) -> None:
        self.steps, self.sub, self.extract = list(steps), sub, extract
        self.prompts: list[str] = []
        """What planners were asked, newest last."""
        self.subs: list[str] = []
        self.held = threading.Event()
        """Set once a call waits for ever (see `hold`)."""
        self.released = threading.Event()
        self._lock = threading.Lock()

    def hold(self, *_: str) -> str:
        """An answer that does not come until `released`."""
        self.held.set()
        assert self.released.wait(30)
        return "late"

    def complete(self, request: lm15.Request) -> lm15.Response:
        system, text = system_of(request), request.messages[-1].text or ""
        if "extract the final outputs" in system + text:
            if isinstance(self.extract, Exception):
                raise self.extract
            return response(request, self.extract)
        if "[[ ## code ## ]]" in system + text:
            with self._lock:
                step = self.steps[min(len(self.prompts), len(self.steps) - 1)]
                self.prompts.append(text)
            if isinstance(step, Exception):
                raise step
            return response(request, step if isinstance(step, str) else step(text))
        with self._lock:
            self.subs.append(text)
        return response(request, self.sub(text))

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamStartEvent]:
        yield from lm15.response_to_events(self.complete(request))

    def models(self) -> tuple[ModelSettings, ModelSettings]:
        """This script as planner and sub-model."""
        settings = ModelSettings(model="scripted/model", engine=self)
        return settings, settings
