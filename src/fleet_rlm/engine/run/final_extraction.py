"""The forced final answer: made from the steps so far, with a history that fits, by a model that can still answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import dspy
from dspy.primitives.repl_types import REPLHistory

from fleet_rlm import events as ev
from fleet_rlm.engine.models.context_windows import Window, is_overflow
from fleet_rlm.engine.models.observed_engine import CallInterrupted
from fleet_rlm.engine.run.history import HistoryShortener
from fleet_rlm.engine.run.reply_adapter import ExtractionAdapter, FieldsAdapter
from fleet_rlm.engine.run.run_failures import AnswerCut, UnfitAnswer
from fleet_rlm.engine.run.submissions import LONG_NUMBER, holds_long_number, problem
from fleet_rlm.engine.trace.call_events import Emit
from fleet_rlm.engine.trace.run_observer import fields_of

ATTEMPTS = 6
"""The number of times that one model is asked, each time with a shorter history."""
STEP = 0.6
"""Size of the next attempt's history, as a share of the one that did not fit."""


class Prompting:
    """Shortens the history of one agent to what its model's context window holds."""

    def __init__(self, emit: Emit, window: Window) -> None:
        self.window = window
        self.emit = emit
        self.shortened = HistoryShortener()

    def history(self, whole: REPLHistory, beside: str, place: dict[str, Any], room: int | None = None) -> REPLHistory:
        """Return the history shortened to fit beside the rest of a prompt; `room` overrides the window's tokens."""
        left = self.window.room if room is None else room
        if left is None or not whole.entries:
            return self.shortened.of(whole)
        before = self.shortened.of(whole)
        left = max(64, left - self.window.tokens(beside))
        if self.shortened.fit(whole, left, self.window.tokens):
            after = self.shortened.of(whole)
            self.emit(
                ev.HistoryShortened(
                    steps=self.shortened.steps, of=len(whole.entries), window=self.window.size,
                    chars_before=len(before.format()), chars_after=len(after.format()), **place,
                )
            )  # fmt: skip
        return self.shortened.of(whole)

    def smaller(self, beside: str, history: REPLHistory) -> int:
        """Return the tokens for another attempt, after a prompt with this history did not fit."""
        asked = self.window.tokens(beside) + self.window.tokens(history.format())
        return int(STEP * min(asked, self.window.room or asked))


def beside(signature: type[dspy.Signature], fields: dict[str, Any]) -> str:
    """Return about the text that a prompt holds beside the history, to measure it."""
    info = fields.get("variables_info") or ()
    frame = "[[ ## field ## ]] {a field's description and how it is formatted}\n" * 12
    return "\n".join([signature.instructions, *map(str, info if isinstance(info, list | tuple) else [info]), frame])


class Extraction(dspy.Module):
    """Replaces dspy's extraction: tries shorter histories and other models before it gives up."""

    def __init__(
        self,
        inner: dspy.Predict,
        prompting: Prompting,
        asked: Callable[[], tuple[type[dspy.Signature], list[dict[str, Any]]]],
        others: Callable[[], Iterator[tuple[Any, Window]]],
        is_cut: Callable[[], bool],
    ) -> None:
        """`asked` is the signature and the examples that the planner was asked with last.

        `others` are models to ask when the agent's own fails, with their windows; `is_cut` tells whether the newest
        answer ended at its limit of tokens.
        """
        super().__init__()
        self.inner = inner
        self._prompting, self._planner, self._others, self._is_cut = prompting, asked, others, is_cut

    @property
    def signature(self) -> type[dspy.Signature]:
        """The signature of the extraction module that this one replaces."""
        signature: type[dspy.Signature] = self.inner.signature
        return signature

    def forward(self, **fields: Any) -> SimpleNamespace:
        """Return the outputs as attributes, whatever their names. Raises `LMError` and `AdapterParseError`."""
        try:
            return self._asked(fields, self._prompting)
        except CallInterrupted:
            raise
        except (dspy.LMError, dspy.AdapterParseError) as failed:
            error = failed
            if isinstance(failed, AnswerCut):
                error = self._cut(failed.text)
            elif isinstance(failed, dspy.AdapterParseError) and self._is_cut():
                error = self._cut(failed.lm_response)
            for lm, window in self._others():
                other = Prompting(self._prompting.emit, window)
                try:
                    with dspy.context(lm=lm):
                        return self._asked(fields, other)
                except CallInterrupted:
                    raise
                except (dspy.LMError, dspy.AdapterParseError):
                    continue
            raise error from None

    def _cut(self, text: str) -> AnswerCut:
        return AnswerCut(self._prompting.window.answer, text, "the final answer")

    def _asked(self, fields: dict[str, Any], prompting: Prompting) -> SimpleNamespace:
        (planner, examples), room = self._planner(), None
        adapter = FieldsAdapter() if self.inner.demos else ExtractionAdapter(planner, examples)
        rest = "\n".join([beside(planner, fields), self.signature.instructions])
        for attempt in range(ATTEMPTS):
            history = prompting.history(fields["repl_history"], rest, {}, room)
            try:
                with dspy.context(adapter=adapter):
                    given = self.inner(**{**fields, "repl_history": history})
                if self._is_cut() and [*self.signature.output_fields.values()][-1].annotation is not str:
                    raise self._cut(str(given))  # half a text is usable; half a number or list would be wrong
                outputs = fields_of(given) or {}
                for name, value in outputs.items():
                    if why := problem(value, None):
                        raise UnfitAnswer(self.signature, str(given), f"{name}: {why}")
                return SimpleNamespace(**outputs)
            except UnfitAnswer:
                raise
            except dspy.AdapterParseError as error:
                return SimpleNamespace(**self._text_alone(error))
            except dspy.LMError as error:
                if not is_overflow(error) or attempt == ATTEMPTS - 1:
                    raise
                room = prompting.smaller(rest, history)
        raise AssertionError("the last attempt returns or raises")

    def _text_alone(self, error: dspy.AdapterParseError) -> dict[str, Any]:
        """Take the whole reply as the answer when one text is asked for and the reply has no fields."""
        outputs = self.signature.output_fields
        text = str(error.lm_response).strip()
        if len(outputs) != 1 or next(iter(outputs.values())).annotation is not str or not text or text[0] in "{[<":
            if holds_long_number(text) and any(field.annotation is not str for field in outputs.values()):
                raise UnfitAnswer(self.signature, text, LONG_NUMBER) from error
            raise error
        return {next(iter(outputs)): text}

    async def aforward(self, **fields: Any) -> SimpleNamespace:
        """Run `forward` in a thread, off the event loop."""
        return await asyncio.to_thread(self.forward, **fields)
