"""The Run screen's first line: task, question and documents, then what the run does and its state."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from fleet_rlm.figures import count, plural
from fleet_rlm.state import RunState
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.run_view.run_words import Activity, Words
from fleet_rlm.tui.widgets.wrap import cells

LEAST_WORDS = 12
"""The activity is left out when it has fewer cells than this."""


def documents(state: RunState) -> str:
    """`dspy-guide.txt · 278k chars`, `12 documents · 4.1M chars`, or nothing."""
    if state.started is None:
        return ""
    inputs = [one for one in state.started.inputs if one.documents]
    refs = [ref for one in inputs for ref in one.documents]
    if not refs:
        return ""
    chars = sum(one.chars for one in inputs)
    name = clean_line(refs[0].name, 40) if len(refs) == 1 else plural(len(refs), "document")
    return f"{name} · {count(chars)} chars"


class RunHeader(Widget):
    """The header line; without room it leaves out the documents, then the end of the question."""

    DEFAULT_CSS = """
    RunHeader { height: 1; padding: 0 1; background: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[tuple[str, str, str], Words, Activity, tuple[Words, ...]] | None = None

    def show(self, state: RunState, words: Words, doing: Activity, badges: Sequence[Words]) -> None:
        task = clean_line(state.started.task.name, 24) if state.started else ""
        question = clean_line(state.question or (state.started.task.signature if state.started else ""), 400)
        drawn = ((task, question, documents(state)), words, doing, tuple(badges))
        if drawn != self._drawn:
            self._drawn = drawn
            self.refresh()

    def render(self) -> Content:
        if self._drawn is None:
            return Content()
        (task, question, named), words, doing, badges = self._drawn
        width = self.size.width
        end = _state_content(words, doing, list(badges), int(width * 0.65))
        room = width - end.cell_length - 2 - (cells(task) + 2 if task else 0)
        shown = clean_line(question, max(room, 1))
        start = Content.assemble(
            (f"{task}  " if task else "", "$muted"),
            (shown, "bold $foreground"),
            (f"  {named}" if named and cells(named) <= room - cells(shown) - 2 else "", "$muted"),
        )
        return Content.assemble(start, " " * max(2, width - start.cell_length - end.cell_length), end)


def _state_content(words: Words, doing: Activity, badges: list[Words], room: int) -> Content:
    """Return activity, badges and state in at most `room` cells; the activity is dropped first, the state never."""

    def needed() -> int:
        return cells(words[0]) + sum(cells(text) + 4 for text, _ in badges)

    while badges and needed() > room:
        badges.pop()
    left = room - needed() - 2
    shown_activity = (
        doing.words if cells(doing.words) <= left else clean_line(doing.words, left) if left >= LEAST_WORDS else ""
    )
    parts = [Content.styled(shown_activity, f"${doing.tone}")] if shown_activity else []
    parts += [Content.styled(f" {text} ", f"bold $background on ${tone}") for text, tone in badges]
    parts.append(Content.styled(words[0], f"bold ${words[1]}"))
    return Content("  ").join(parts)
