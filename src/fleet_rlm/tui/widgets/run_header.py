"""The Run screen's first line: what is asked of what, and how the run stands."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widget import Widget

from fleet_rlm.screen_text import clean_line
from fleet_rlm.state import RunState
from fleet_rlm.tui.figures import count, plural
from fleet_rlm.tui.run_words import Activity, Words


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
    """Drops what matters least when there is no room: the documents, then the end of the question."""

    DEFAULT_CSS = """
    RunHeader { height: 1; padding: 0 1; background: $background; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: tuple[str, str, str] = ("", "", "")
        self._right: tuple[tuple[str, str], ...] = ()

    def show(self, state: RunState, words: Words, doing: Activity, badges: Sequence[Words]) -> None:
        task = clean_line(state.started.task.name, 24) if state.started else ""
        question = clean_line(state.question or (state.started.task.signature if state.started else ""), 400)
        left = (task, question, documents(state))
        right: list[tuple[str, str]] = []
        if doing.words:
            right.append((doing.words, f"${doing.tone}"))
        right += [(f" {text} ", f"bold $background on ${tone}") for text, tone in badges]
        right.append((words[0], f"bold ${words[1]}"))
        if (left, tuple(right)) != (self._left, self._right):
            self._left, self._right = left, tuple(right)
            self.refresh()

    def render(self) -> Content:
        width = self.size.width
        right = list(self._right)
        while len(right) > 1 and sum(len(text) + 2 for text, _ in right) > width * 0.6:
            if right[0][1].startswith("bold"):
                break
            longest = width - sum(len(text) + 2 for text, _ in right[1:]) - int(width * 0.35)
            if longest < 12 or len(right[0][0]) <= longest:
                right.pop(0)
            else:
                right[0] = (clean_line(right[0][0], longest), right[0][1])
                break
        end = Content("  ").join(Content.styled(text, tone) for text, tone in right)
        room = width - end.cell_length - 2
        task, question, documents_ = self._left
        room -= len(task) + 2 if task else 0
        shown = clean_line(question, max(room, 1))
        left_room = room - len(shown) - 2
        start = Content.assemble(
            (f"{task}  " if task else "", "$muted"),
            (shown, "bold $foreground"),
            (f"  {documents_}" if documents_ and len(documents_) <= left_room else "", "$muted"),
        )
        return Content.assemble(start, " " * max(2, width - start.cell_length - end.cell_length), end)
