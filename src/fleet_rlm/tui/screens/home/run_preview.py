"""The preview of a run: its question, how it went and remarks; read from its record in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.worker import get_current_worker

from fleet_rlm import figures
from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.screens.home.run_row import GOING_ON, MARKS, STATUS_WORDS, documents
from fleet_rlm.tui.widgets.rows import PASSAGE

if TYPE_CHECKING:
    from fleet_rlm.runs.summary import RunRow
    from fleet_rlm.state import RunState
    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.screens.home.run_details import Details

FOLD_BYTES = 24 * 1024 * 1024
"""Size of a record above which only its row is shown: folding it would take seconds."""
DELAY_SECONDS = 0.12
"""The cursor rests this long on a run before its record is read."""
QUESTION_CHARS, REMARK_CHARS = 2000, 400
_BARS = "▁▂▃▄▅▆▇█"

_Part = Content | str | tuple[str, str]


class Preview(VerticalScroll, can_focus=True):
    """The run under the cursor."""

    DEFAULT_CSS = """
    Preview { padding: 0 1; }
    Preview Static { height: auto; width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__(id="preview", classes="pane")
        self.border_title = "Preview"
        self._row: RunRow | None = None
        self._details: Details | None = None
        self._note = ""
        self._reading = False

    @property
    def settled(self) -> bool:
        """True when everything that is known of the run is shown."""
        return not self._reading

    def compose(self) -> ComposeResult:
        yield Static(id="preview-text")

    def show(self, row: RunRow | None, live: RunState | None = None) -> None:
        """Show a row at once and its record soon after; `live` is the state of a run that this app drives."""
        same = row is not None and self._row is not None and row.path == self._row.path
        changed = not same or row is None or self._row is None or row.size != self._row.size
        self._row = row
        if not same:
            self._details, self._note = None, ""
            self.scroll_home(animate=False)
        if live is not None:
            from fleet_rlm.tui.screens.home.run_details import details_of

            self._details = details_of(live)
        elif row is not None and changed:
            self._reading = True
            self._read(str(row.path), row.size, 0.0 if same else DELAY_SECONDS)
        self._draw()

    @work(thread=True, exclusive=True, group="preview")
    def _read(self, path: str, size: int, delay: float) -> None:
        worker = get_current_worker()
        if worker.cancelled_event.wait(delay):
            return
        from fleet_rlm.documents.document_work import size_in_words
        from fleet_rlm.runs.run_reader import NotARun
        from fleet_rlm.tui.screens.home.run_details import read_details

        note, details = "", None
        if size > FOLD_BYTES:
            note = f"The record has {size_in_words(size)}: open it to see more."
        else:
            try:
                details = read_details(path, lambda: worker.is_cancelled)
            except NotARun as error:
                note = str(error)
            except OSError as error:
                note = f"The record cannot be read: {error.strerror or error}"
        if not worker.is_cancelled:
            cast("FleetApp", self.app).tell(self, self._take, path, details, note)

    def work_failed(self, group: str, words: str) -> None:  # noqa: ARG002 - there is one group
        """Say that the record can't be read."""
        self._note, self._reading = f"The record cannot be read: {words}", False
        self._draw()

    def _take(self, path: str, details: Details | None, note: str) -> None:
        if self._row is not None and str(self._row.path) == path:
            self._details, self._note, self._reading = details, note, False
            self._draw()

    def _draw(self) -> None:
        if self.is_mounted:
            self.query_one("#preview-text", Static).update(self._content())

    def _content(self) -> Content:
        row, details = self._row, self._details
        if row is None:
            return Content("")
        parts: list[_Part] = [_headline(row), "\n\n"]
        parts += [(clean_line(row.question, QUESTION_CHARS) or "(no question)", "bold"), "\n"]
        parts.append((_about(row, details), "$muted"))
        if details is not None:
            if len(details.bars) > 1:
                parts += ["\n\n", *sparkline(details.bars)]
            for name, text in details.outputs.items():
                parts += ["\n\n", (clean_line(name, 60), "$muted"), "\n", answer_content(text)]
            if details.remarks:
                parts += ["\n\n", ("remarks", "$muted")]
                for remark in details.remarks:
                    parts += ["\n", ("• ", "$warning"), Content(clean_line(remark, REMARK_CHARS))]
        elif row.answer:
            parts += ["\n\n", ("answer", "$muted"), "\n", answer_content(row.answer)]
        if self._note:
            parts += ["\n\n", (clean_line(self._note, REMARK_CHARS), "$muted")]
        return Content.assemble(*parts)


def answer_content(text: str) -> Content:
    """An answer, with the places of its quotes muted as in the pane Answer."""
    content = Content(clean(text))
    for passage in PASSAGE.finditer(content.plain):
        content = content.stylize("$muted", *passage.span(1))
    return content


def _headline(row: RunRow) -> Content:
    sign, tone = MARKS[row.status]
    parts = [
        f"in {figures.seconds(row.seconds)}" if row.status not in GOING_ON else "",
        figures.plural(row.iterations, "iteration"),
        figures.plural(row.calls, "call"),
        "" if row.cost is None else figures.dollars(row.cost),
    ]
    return Content.assemble(
        (f"{sign} {STATUS_WORDS[row.status]} ", f"bold ${tone.replace('_', '-')}"),
        (" · ".join(filter(None, parts)), "$muted"),
    )


def _about(row: RunRow, details: Details | None) -> str:
    parts = [clean_line(row.task, 60), documents(details.documents if details else row.documents)]
    if details is not None and details.chars:
        parts.append(f"{figures.count(details.chars)} chars")
    parts.append(clean_line(details.models if details else row.model, 80))
    if row.sandbox != "local":
        parts.append(clean_line((details.sandbox if details else "") or row.sandbox, 80))
    return " · ".join(filter(None, parts))


def sparkline(values: Sequence[float], width: int = 48) -> list[_Part]:
    """One bar an iteration (the longest of several when there are more than `width`), and what the tallest means."""
    if len(values) > width:
        step = len(values) / width
        values = [max(values[int(n * step) : max(int(n * step) + 1, int((n + 1) * step))]) for n in range(width)]
    top = max(values)
    bars = "".join(_BARS[min(len(_BARS) - 1, int(value / (top or 1.0) * len(_BARS)))] for value in values)
    return [(bars, "$planner"), (f"  longest iteration {figures.seconds(top)}", "$muted")]
