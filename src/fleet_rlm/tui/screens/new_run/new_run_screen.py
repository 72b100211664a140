"""New run: documents, question, task, models, limits; each checked as it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static, TextArea

from fleet_rlm.spec import ModalOptions, RunSpec
from fleet_rlm.tasks.catalog import TASKS
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.dialogs.paths import PathSuggester, PickPath
from fleet_rlm.tui.look.footer import KeyFooter
from fleet_rlm.tui.screens.new_run.draft import (
    FURTHER,
    LIMITS,
    Budget,
    Draft,
    Incomplete,
    asked_of,
    cleaned,
    command_line,
    draft_of,
    join_paths,
    references_of,
    spec_of,
)
from fleet_rlm.tui.screens.new_run.field_checks import BAD, HINT_CHARS, FieldChecks
from fleet_rlm.tui.screens.new_run.limit_fields import LimitFields, text_field
from fleet_rlm.tui.screens.new_run.more_settings import FurtherSettings
from fleet_rlm.tui.screens.new_run.sandbox_fields import PlaceForm
from fleet_rlm.tui.screens.new_run.tick import Tick

if TYPE_CHECKING:
    pass

CHECK_SECONDS = 0.25
SIGNATURE_SECONDS = 0.6


class NewRunScreen(FieldChecks):
    """The form. Starts from `spec`, else from the last choices."""

    DEFAULT_CSS = """
    NewRunScreen { align: center middle; background: $background 70%; }
    NewRunScreen #form {
        width: 108; max-width: 100%; height: auto; max-height: 100%; padding: 1 2 0 2; background: $surface;
        border: round $primary; border-title-color: $primary; border-title-style: bold; border-subtitle-color: $muted;
        margin-bottom: 1;
    }
    NewRunScreen.-short #form { padding: 0 1; margin-bottom: 0; height: 100%; }
    NewRunScreen .row { height: auto; }
    NewRunScreen .row Input { width: 1fr; }
    NewRunScreen .label { width: 11; color: $muted; }
    NewRunScreen Input, NewRunScreen Input.-textual-compact, NewRunScreen Input:focus {
        border: none; height: 1; padding: 0 1; background: $panel;
    }
    NewRunScreen Input:focus, NewRunScreen TextArea:focus { background: $selection; }
    NewRunScreen TextArea, NewRunScreen TextArea:focus { border: none; height: 3; padding: 0 1; background: $panel; }
    NewRunScreen TextArea .text-area--cursor-line { background: transparent; }
    NewRunScreen .hint { margin: 0 0 1 11; width: 1fr; height: auto; color: $muted; padding: 0 1; }
    NewRunScreen.-short .hint { margin: 0 0 0 11; }
    NewRunScreen #limits-hint, NewRunScreen #tools-hint { display: none; }
    NewRunScreen #limits-hint.-wrong, NewRunScreen #tools-hint.-wanted { display: block; }
    NewRunScreen .gap { margin-bottom: 1; }
    NewRunScreen.-short .gap { margin-bottom: 0; }
    NewRunScreen Select { width: 1fr; }
    NewRunScreen SelectCurrent, NewRunScreen Select.-textual-compact SelectCurrent {
        border: none; height: 1; padding: 0 1; background: $panel;
    }
    NewRunScreen Select:focus SelectCurrent { border: none; background: $selection; }
    NewRunScreen .limit { width: 11; text-align: right; color: $muted; padding: 0 1 0 0; }
    NewRunScreen #inputs-row { display: none; height: auto; }
    NewRunScreen #inputs-row.-wanted { display: block; }
    NewRunScreen #command { padding: 0 1; color: $muted; height: auto; max-height: 4; width: 1fr; }
    """
    AUTO_FOCUS = ""
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]  # noqa: RUF012 - Textual declares it as an instance's
    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the focused field sees them: what is typed right after a tab belongs to the next field.
        Binding("tab", "app.focus_next", "Next field", id="new_run.next", show=False, priority=True),
        Binding("shift+tab", "app.focus_previous", "Previous field", id="new_run.previous", show=False, priority=True),
        Binding("ctrl+r", "start", "Start", tooltip="Start the run", id="new_run.start", priority=True),
        Binding("ctrl+o", "pick", "Choose files", tooltip="Add a file or a folder", id="new_run.pick", priority=True),
        Binding("ctrl+l", "copy", "Copy command", tooltip="Copy it for a shell", id="new_run.copy", priority=True),
        Binding("escape", "app.back", "Back", id="new_run.back"),
    ]  # fmt: skip

    def __init__(self, spec: RunSpec | None = None, cwd: Path | None = None) -> None:
        super().__init__(cwd or Path(spec.cwd if spec else ".").absolute())
        self._spec = spec

    @property
    def settled(self) -> bool:
        """True when everything that was typed has been checked."""
        return not self._busy and not self._resting and not self.query_one(PlaceForm).asking

    # The form

    def compose(self) -> ComposeResult:
        self._draft = draft = self._first_draft()
        self._unseen = references_of(draft)
        with VerticalScroll(id="form", can_focus=False) as form:
            form.border_title = "New run"
            suggest = PathSuggester(self._cwd, several=True)
            yield from self._row(
                "Documents",
                text_field("documents", draft.documents, "files, folders, globs", suggest),
                hint="documents",
            )
            question = TextArea(draft.question, id="question", compact=True, placeholder="What do you want to know?")
            yield from self._row("Question", question, gap=True)
            tasks = [(f"{task.name:<16}{task.title}", task.name) for task in TASKS.values()]
            yield from self._row(
                "Task", Select(tasks, value=draft.preset.name, allow_blank=False, id="task", compact=True)
            )
            yield from self._row("Signature", text_field("signature", draft.signature), hint="signature")
            yield from self._row("Tools", text_field("tools", draft.tools, "module:function …"), hint="tools")
            with Vertical(id="inputs-row"):
                yield from self._row("Inputs", text_field("inputs", draft.inputs, "name=value …"), gap=True)
            yield from self._row("Model", text_field("model", draft.model))
            yield from self._row("Sub-model", text_field("sub_model", draft.sub_model, "the same"), hint="model")
            yield PlaceForm(draft, self._cwd, configured=self._spec is None or self._spec.modal == ModalOptions())
            yield LimitFields(draft)
            yield FurtherSettings(draft.settings)
            yield from self._row("Command", Static(id="command"))
        yield KeyFooter()

    def _first_draft(self) -> Draft:
        if self._spec is not None:
            return cleaned(draft_of(self._spec))
        kept = self.fleet.memory.get("new_run", Draft, Draft())
        return cleaned(replace(kept, usual_sandbox="local", usual_cloud=ModalOptions()))

    def _row(self, label: str, widget: Widget, hint: str = "", gap: bool = False) -> Iterator[Widget]:
        with Horizontal(classes="row gap" if gap else "row"):
            yield Label(label, classes="label")
            yield widget
        if hint:
            yield Static(id=f"{hint}-hint", classes="hint")

    def on_mount(self) -> None:
        self.query_one("#documents" if not self._draft.documents else "#question").focus()
        self._show_task()
        self._check_soon("documents", self._check_documents, 0)
        self._check_soon("model", self._check_model, 0)
        if self._draft.signature:
            self._check_soon("signature", self._check_signature, 0)
        if self._draft.tools:
            self._check_soon("tools", self._check_tools, 0)
        self._read_form()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Input):
            # A long value is shown from its beginning until its field is entered; this brings the cursor into view.
            event.widget.cursor_position = 0
            event.widget.cursor_position = len(event.widget.value)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        if isinstance(event.widget, Input):
            event.widget.scroll_to(x=0, animate=False, force=True)

    # What is typed

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Tick.Changed)
    def _changed(self, message: Input.Changed | TextArea.Changed | Tick.Changed) -> None:
        self._read_form()
        match message.control.id:
            case "documents":
                self._check_soon("documents", self._check_documents, CHECK_SECONDS)
            case "model" | "sub_model":
                self._check_soon("model", self._check_model, CHECK_SECONDS)
            case "signature":
                self._check_soon("signature", self._check_signature, SIGNATURE_SECONDS)
            case "tools":
                self._check_soon("tools", self._check_tools, SIGNATURE_SECONDS)
            case _:
                pass

    @on(FurtherSettings.Changed)
    def _further_changed(self) -> None:
        self._read_form()
        self._check_soon("model", self._check_model, CHECK_SECONDS)

    @on(PlaceForm.Changed)
    def _place_changed(self) -> None:
        self._read_form()

    @on(Select.Changed, "#task")
    def _task_changed(self) -> None:
        self._read_form()
        self._show_task()

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    def _read_form(self) -> None:
        def typed(name: str) -> str:
            return self.query_one(f"#{name}", Input).value

        place = self.query_one(PlaceForm)
        self._draft = Draft(
            documents=typed("documents"),
            question=self.query_one("#question", TextArea).text,
            task=str(self.query_one("#task", Select).value),
            signature=typed("signature"),
            tools=typed("tools"),
            first_chars=self._draft.first_chars,
            inputs=typed("inputs"),
            model=typed("model"),
            sub_model=typed("sub_model"),
            sandbox=place.sandbox,
            cloud=place.cloud,
            usual_sandbox=place.usual_sandbox,
            usual_cloud=place.usual_cloud,
            budget=Budget(**{name: typed(name) for name in LIMITS}),
            settings=self.query_one(FurtherSettings).typed,
            paused=self.query_one("#paused", Tick).value,
        )
        self.query_one("#command", Static).update(Content(clean_line(command_line(self._draft), HINT_CHARS)))
        self._show_limits()

    def _show_task(self) -> None:
        task, signature = self._draft.preset, self.query_one("#signature", Input)
        signature.placeholder = task.signature
        own = self._draft.signature.strip()
        if not own:
            self._wrong.pop("signature", None)
            self._hint("signature", None, task.summary)
            self.query_one("#inputs-row").remove_class("-wanted")
        self.query_one(LimitFields).show_usual(self._configured, task)
        field = task.question_field
        words = "What do you want to know?"
        if not own and field is None:
            words = "This task takes no question."
        elif not own and task.default_question:
            words = f"{task.default_question} (unless you ask something else)"
        self.query_one("#question", TextArea).placeholder = words

    def _show_limits(self) -> None:
        wrong = False
        try:
            asked_of(self._draft)
        except Incomplete as error:
            self._hint("limits", BAD, str(error))
            wrong = True
        self.query_one("#limits-hint").set_class(wrong, "-wrong")

    # What can be done

    def action_start(self) -> None:
        self._read_form()
        try:
            spec = spec_of(self._draft, str(self._cwd), self._configured)
            for field in ("documents", "signature", "tools", "model"):
                if field in self._wrong:
                    raise Incomplete(field, self._wrong[field])
            if wrong := self.query_one(PlaceForm).wrong:
                raise Incomplete("sandbox", wrong)
        except Incomplete as error:
            self.notify(str(error), title="Not started", severity="warning")
            if error.field in {setting.parameter for setting in FURTHER}:
                self.query_one(FurtherSettings).unfold()
            self.query_one(f"#{error.field}").focus()
            return
        if (given := self._spec) is not None:
            instructions = given.instructions if given.signature == spec.signature else None
            spec = replace(spec, record=given.record, instructions=instructions)
        self.fleet.memory.set("new_run", self._draft)
        self.app.pop_screen()
        self.fleet.start_run(spec)

    @work
    async def action_pick(self) -> None:
        start = self.fleet.memory.get("picked_from", str, str(self._cwd))
        path = await self.app.push_screen_wait(PickPath("Add a file or a folder", start, folders=True))
        if path is None:
            return
        self.fleet.memory.set("picked_from", str(path if path.is_dir() else path.parent))
        shown = path.relative_to(self._cwd) if path.is_relative_to(self._cwd) else path
        field = self.query_one("#documents", Input)
        field.value = f"{field.value.strip()} {join_paths([str(shown)])}".strip()
        field.cursor_position = len(field.value)
        field.focus()

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(command_line(self._draft))
        self.notify("The command is in the clipboard.")
