"""The checks of New run's fields: each runs beside the typing, and tells under its field what it found."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual import work
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from fleet_rlm import config, figures
from fleet_rlm.config.setting_sources import NOTHING
from fleet_rlm.documents.document_work import DocumentError, size_in_words
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.screens.new_run.draft import (
    Draft,
    Incomplete,
    paths,
)
from fleet_rlm.tui.screens.new_run.model_hint import ModelHint, model_hint, offered_hint
from fleet_rlm.tui.screens.new_run.more_settings import FurtherSettings

if TYPE_CHECKING:
    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.screens.new_run.ask_engine import Answer, ToolsAnswer

HINT_CHARS = 600
OK, BAD, BUSY = ("✓ ", "bold $success"), ("✗ ", "bold $error"), ("… ", "$muted")


class FieldChecks(ModalScreen[None]):
    """Checks documents, models, signature and tools in the background, once the typing rests."""

    def __init__(self, cwd: Path) -> None:
        super().__init__()
        self._cwd = cwd
        self._draft = Draft()
        self._resting: dict[str, Timer] = {}
        self._wrong: dict[str, str] = {}
        """The faults that keep the run from starting, by field."""
        self._unseen: frozenset[str] = frozenset()
        """`module:name`s that nobody typed into this form: they are imported once the person starts the run."""
        self._busy: set[str] = set()
        self._configured = NOTHING
        """The configured settings, once they have been read."""

    @property
    def fleet(self) -> FleetApp:
        return cast("FleetApp", self.app)

    @abstractmethod
    def _show_task(self) -> None:
        """Show what the task and the configuration bring where nothing is typed."""

    def _hint(self, name: str, sign: tuple[str, str] | None, words: str, more: str = "") -> None:
        parts: list[str | tuple[str, str]] = [sign] if sign else []
        parts.append((clean_line(words, HINT_CHARS), "$foreground" if sign in (OK, BAD) else "$muted"))
        if more:
            parts.append((f"  {clean_line(more, HINT_CHARS)}", "$muted"))
        self.query_one(f"#{name}-hint", Static).update(Content.assemble(*parts))

    def _check_soon(self, name: str, check: object, seconds: float) -> None:
        """Check a field once the typing rests."""
        assert callable(check)
        before = self._resting.pop(name, None)
        if before is not None:
            before.stop()

        def begin() -> None:
            self._resting.pop(name, None)
            self._busy.add(name)
            check()

        if seconds:
            self._resting[name] = self.set_timer(seconds, begin)
        else:
            begin()

    def _checked(self, name: str, wrong: str = "") -> None:
        self._busy.discard(name)
        if wrong:
            self._wrong[name] = wrong
        else:
            self._wrong.pop(name, None)

    # Documents

    def _check_documents(self) -> None:
        try:
            given = paths(self._draft.documents)
        except Incomplete as error:
            self._hint("documents", BAD, str(error))
            self._checked("documents", str(error))
            return
        if not given:
            self._hint("documents", None, "several are separated by spaces · ctrl+o chooses · → completes")
            self._checked("documents")
            return
        self._hint("documents", BUSY, "checking")
        self._select(given)

    @work(thread=True, exclusive=True, group="documents")
    def _select(self, given: list[str]) -> None:
        from fleet_rlm.documents.select import select

        worker = get_current_worker()
        try:
            chosen = select(given, cwd=self._cwd, cancelled=lambda: worker.is_cancelled)
        except DocumentError as error:
            words, hint, wrong = error.message, error.hint, error.message
            sign = BAD
        else:
            number = len(chosen.files)
            words = " · ".join((
                figures.plural(number, "file"), size_in_words(chosen.bytes),
                f"about {figures.count(chosen.approximate_tokens)} tokens",
            ))  # fmt: skip
            hint, wrong, sign = "; ".join(chosen.notices[:3]), "", OK
        if not worker.is_cancelled:
            self.fleet.tell(self, self._hint, "documents", sign, words, hint)
            self.fleet.tell(self, self._checked, "documents", wrong)

    def work_failed(self, group: str, words: str) -> None:
        """A check has failed: say so beside its field, and don't keep the run from being started."""
        if group in ("documents", "model", "signature", "tools"):
            self._hint(group, BAD, f"this could not be checked: {words}")
            self._checked(group)

    # Model

    @work(thread=True, exclusive=True, group="model")
    def _check_model(self) -> None:
        worker, draft = get_current_worker(), self._draft
        found = model_hint(draft, self._cwd)
        if not worker.is_cancelled:
            self.fleet.tell(self, self._show_model, found)
        if found.usual == config.OFFLINE and not draft.model.strip() and not found.wrong:
            offered = offered_hint(found)
            if offered is not None and not worker.is_cancelled:
                self.fleet.tell(self, self._show_model, offered)

    def _show_model(self, found: ModelHint) -> None:
        self._configured = found.configured
        self.query_one(FurtherSettings).show_configured(found.configured)
        self._show_task()
        self.query_one("#model", Input).placeholder = clean_line(found.usual, 80)
        self._hint("model", BAD if found.wrong else OK, found.words, found.more)
        self._checked("model", found.words if found.wrong else "")

    # Signature and tools, which the engine knows

    def _check_signature(self) -> None:
        self._show_task()
        notation = self._draft.signature.strip()
        if not notation:
            self._checked("signature")
            return
        if notation in self._unseen:
            self._hint("signature", None, self._imported_later(notation))
            self._checked("signature")
            return
        self._hint("signature", BUSY, "checking")
        self._ask_signature(notation)

    @work(thread=True, exclusive=True, group="signature")
    def _ask_signature(self, notation: str) -> None:
        from fleet_rlm.tui.screens.new_run.ask_engine import CannotDescribe, ask

        worker = get_current_worker()
        try:
            answer = ask(signature=notation, cwd=str(self._cwd), cancelled=lambda: worker.is_cancelled)
        except CannotDescribe as error:
            self.fleet.tell(self, self._hint, "signature", BAD, str(error))
            self.fleet.tell(self, self._checked, "signature")
            return
        if answer is not None and not worker.is_cancelled:
            self.fleet.tell(self, self._show_signature, answer)

    def _show_signature(self, answer: Answer) -> None:
        found = answer.signature
        if found is None or found.error:
            words = found.error if found else "the engine did not say"
            self._hint("signature", BAD, words, found.hint if found else "")
            self._checked("signature", words)
            return
        sides = [", ".join(f"{field.name}: {field.type}" for field in side) for side in (found.inputs, found.outputs)]
        self._hint("signature", OK, " → ".join(sides))
        self.query_one("#inputs-row").set_class(len(found.inputs) > 2, "-wanted")
        self._checked("signature")

    def _imported_later(self, *references: str) -> str:
        """Return the text in place of a description: a record may be a stranger's, and importing runs code."""
        return f"{', '.join(references)}: imported from {self._cwd} when you start the run, not before"

    def _check_tools(self) -> None:
        given = self._draft.tools.split()
        self.query_one("#tools-hint").set_class(bool(given), "-wanted")
        typed = [tool for tool in given if tool not in self._unseen]
        if typed:
            self._hint("tools", BUSY, "checking")
            self._ask_tools(typed)
        else:
            if given:
                self._hint("tools", None, self._imported_later(*given))
            self._checked("tools")

    @work(thread=True, exclusive=True, group="tools")
    def _ask_tools(self, given: list[str]) -> None:
        from fleet_rlm.tui.screens.new_run.ask_engine import CannotDescribe, ToolsAnswer, ask

        worker = get_current_worker()
        try:
            answer = ask(tools=given, cwd=str(self._cwd), cancelled=lambda: worker.is_cancelled)
        except CannotDescribe as error:
            found = ToolsAnswer(error=str(error))
        else:
            found = answer.tools if answer and answer.tools else ToolsAnswer(error="the engine did not say")
        if not worker.is_cancelled:
            self.fleet.tell(self, self._show_tools, found)

    def _show_tools(self, answer: ToolsAnswer) -> None:
        if answer.error:
            self._hint("tools", BAD, answer.error, answer.hint)
        else:
            words = [f"{tool.name}: {tool.description}" for tool in answer.found]
            if later := [tool for tool in self._draft.tools.split() if tool in self._unseen]:
                words.append(self._imported_later(*later))
            self._hint("tools", OK, " · ".join(words))
        self._checked("tools", answer.error)
