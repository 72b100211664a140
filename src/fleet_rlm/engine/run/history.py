"""Shorten a run's history before it outgrows the model's window: the oldest outputs first, the newest step last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dspy.primitives.repl_types import REPLEntry, REPLHistory

KEPT_CHARS = 400
"""Characters kept of an old step's output, half of them from each end."""
AFTER = 0.7
"""Share of the window that a shortened history fills, so that the prompt's beginning stays the same for some steps."""
LEFT_OUT = "[… {left:,} of {of:,} characters left out here, to fit the context window; print what you still need …]"
STEPS_LEFT_OUT = "(The steps up to here are left out, to fit the context window. Their variables are still there.)"


def cut(text: str, most: int) -> str:
    """Return a text's two ends with a note of how much is left out between them."""
    mark = LEFT_OUT.format(left=len(text) - most, of=len(text))
    if len(text) <= most + len(mark):
        return text
    half = most // 2
    return f"{text[:half]}\n{mark}\n{text[-half:]}" if half else mark


@dataclass(slots=True)
class HistoryShortener:
    """Shortens a history step by step, and keeps what was shortened for the prompts that follow."""

    entries: dict[int, REPLEntry] = field(default_factory=dict)
    """Shortened entries, by their position in the history."""
    dropped: int = 0
    """The number of oldest steps that are left out whole."""

    @property
    def steps(self) -> int:
        return len({*self.entries, *range(self.dropped)})

    def of(self, history: REPLHistory) -> REPLHistory:
        """Return the history with the shortened entries in place."""
        if not self.steps:
            return history
        entries = [self.entries.get(place, entry) for place, entry in enumerate(history.entries)]
        if self.dropped:
            entries[: self.dropped] = [REPLEntry(code="pass", output=STEPS_LEFT_OUT)]
        return REPLHistory(entries=entries, max_output_chars=history.max_output_chars)

    def fit(self, history: REPLHistory, room: int, tokens: Callable[[str], int]) -> bool:
        """Shorten until the history has at most `room` tokens. Returns whether anything more was shortened."""
        total = tokens(self.of(history).format())
        if total <= room:
            return False
        goal, changed = int(room * AFTER), False
        for place, shorter in self._steps(history, goal):
            before = self.entries.get(place, history.entries[place])
            saved = tokens(before.format(place, history.max_output_chars)) - tokens(shorter.format(place))
            if saved > 0:
                self.entries[place], changed = shorter, True
                total -= saved
            if total <= goal:
                return changed
        while self.dropped < len(history.entries) - 1 and tokens(self.of(history).format()) > goal:
            self.dropped, changed = self.dropped + 1, True
        return changed

    def _steps(self, history: REPLHistory, goal: int) -> Iterator[tuple[int, REPLEntry]]:
        """Yield (position, shorter entry), the least important first."""
        newest = len(history.entries) - 1
        for place, entry in enumerate(history.entries[:-1]):
            yield place, entry.model_copy(update={"output": cut(entry.output, KEPT_CHARS)})
        for place, entry in enumerate(history.entries[:-1]):
            yield place, _shortened(entry, KEPT_CHARS, 0)
        last = history.entries[newest]
        for chars in (goal * 2, goal, goal // 2, KEPT_CHARS):
            shown = REPLEntry.format_output(last.output, history.max_output_chars).partition("\n")[2]
            yield newest, last.model_copy(update={"output": cut(shown, chars)})
        yield newest, _shortened(last, 200, 200)


def _shortened(entry: REPLEntry, code: int, output: int) -> REPLEntry:
    return REPLEntry(reasoning=cut(entry.reasoning, 200), code=cut(entry.code, code), output=cut(entry.output, output))
