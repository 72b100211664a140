"""Call: the chosen call in full: what was asked and what came back, why it failed, or what a sub-agent did."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_rlm import events as ev
from fleet_rlm.figures import count, dollars, plural, seconds, within
from fleet_rlm.state import CallState
from fleet_rlm.terminal_text import clean_line, model_name
from fleet_rlm.tui.panes.calls import tokens, took
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Moment
from fleet_rlm.tui.run_view.run_words import retry_words, spinner
from fleet_rlm.tui.widgets.highlight import highlighted
from fleet_rlm.tui.widgets.pane_grid import FrameWords
from fleet_rlm.tui.widgets.rows import Row, TextRows, cut, rows_of


class CallPane(TextPane):
    """Shows what the screen chooses for it."""

    def __init__(self) -> None:
        super().__init__("call")
        self.wrap = True
        self.call: CallState | None = None
        self._now = 0.0
        self._drawn: tuple[object, ...] = ()

    def show(self, moment: Moment) -> None:
        self._now = moment.now
        self._draw()

    def choose(self, call: CallState | None) -> None:
        """Show another call."""
        self.call = call
        self._draw()

    def _draw(self) -> None:
        call = self.call
        running = call is not None and call.finished is None
        key = (
            call and call.span,
            id(call),
            call and (call.status, len(call.streamed), len(call.iterations), call.retry, call.members_done),
            int(within(self._now) * 5) if running else None,
        )
        if key == self._drawn:
            return
        same = bool(self._drawn) and self._drawn[0] == key[0]
        self._drawn = key
        self.show_rows(TextRows(_rows(call, self._now)), keep_place=same)
        self.post_message(self.Moved(self))

    @property
    def frame_words(self) -> FrameWords:
        call = self.call
        if call is None:
            return FrameWords(figures=self.place_words())
        if words := self.place_words():
            return FrameWords(str(call.number), words)
        return FrameWords(str(call.number), _figures(call, self._now))

    def item(self) -> tuple[str, str]:
        if self.call is None:
            return "nothing", ""
        answer = self.call.answer
        if answer or self.call.finished is None or self.call.finished.error is None:
            return f"the answer of call {self.call.number}", answer
        return f"the error of call {self.call.number}", self.call.finished.error.message


def _figures(call: CallState, now: float) -> str:
    parts: list[str] = []
    if call.model:
        parts.append(model_name(call.model))
    sent, received = tokens(call)
    if sent is not None:
        parts.append(f"{count(sent)} → {'…' if received is None else count(received)}")
    if call.finished is not None and call.finished.cost_usd:
        parts.append(dollars(call.finished.cost_usd))
    if call.status != "queued":
        parts.append(seconds(took(call, now)))
    return " · ".join(parts)


def _rows(call: CallState | None, now: float) -> Iterator[Row]:
    if call is None:
        yield Row("choose a call to read it", "muted")
        return
    if call.type == "batch":
        yield from _batch_rows(call)
        return
    asked = call.prompt if call.prompt is not None else ""
    if asked:
        yield from _prompt_rows(asked)
    if call.arguments is not None:
        yield Row(f"{clean_line(call.function, 60)} was called with", "muted")
        yield from rows_of(ev.as_text(call.arguments))
    for iteration in call.iterations:
        yield Row("")
        yield Row(f"── iteration {iteration.number} · {iteration.status}", "bold planner")
        yield from rows_of(iteration.reasoning, "italic planner")
        for line, spans in highlighted(iteration.code):
            yield Row(line, spans=spans)
    yield Row("")
    yield from _answer_rows(call, now)


def _prompt_rows(prompt: str) -> Iterator[Row]:
    """The prompt; its first line is mostly the instruction, what follows is what it is about."""
    first, _, rest = prompt.partition("\n")
    yield from rows_of(first, "muted")
    if rest:
        yield from rows_of(rest)


def _answer_rows(call: CallState, now: float) -> Iterator[Row]:
    finished = call.finished
    if call.retry is not None and finished is None:
        yield Row(f"↻ {retry_words(call.retry, now)}", "operator")
        return
    if finished is None:
        if call.streamed:
            yield from rows_of(call.answer, "sub_llm")
        elif call.status == "queued":
            yield Row("queued: it waits for its turn", "muted")
        else:
            yield Row(f"{spinner(now)} waiting for {model_name(call.model)} {seconds(took(call, now))}", "muted")
        return
    if finished.error is not None:
        yield from rows_of(finished.error.words, "error")
        if finished.error.hint:
            yield from rows_of(finished.error.hint, "muted")
        return
    if finished.origin != "live":
        yield Row("from the record: not paid for again" if finished.origin == "recorded" else "from the cache", "muted")
    if finished.thinking:
        yield from rows_of(finished.thinking.strip(), "italic muted")
        yield Row("")
    if finished.cut:
        yield Row("cut off at its token limit", "operator")
    yield from rows_of(call.answer or "an empty answer", "sub_llm" if call.answer else "muted")


def _batch_rows(call: CallState) -> Iterator[Row]:
    size = call.size or 0
    yield Row(f"{clean_line(call.function, 60)}: {plural(size, 'prompt')} at once", "bold sub_llm")
    yield Row("")
    yield Row(f"{call.members_done - call.members_failed:,} answered", "")
    if call.members_failed:
        yield Row(f"{call.members_failed:,} failed", "error")
    if size > call.members_done:
        yield Row(f"{size - call.members_done:,} running or queued", "accent")
    if call.finished is not None and call.finished.error is not None:
        yield Row("")
        yield from cut(clean_line(call.finished.error.words, 4000), "error")
