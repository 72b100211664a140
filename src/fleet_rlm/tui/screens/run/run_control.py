"""The Run screen's live controls: what a person tells a running engine."""

from __future__ import annotations

from textual.screen import Screen

from fleet_rlm import spec, syntax
from fleet_rlm.events import GateWaiting
from fleet_rlm.figures import plural
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.dialogs import AskText, Confirm, EditCode
from fleet_rlm.tui.external import CannotRun, edit_text
from fleet_rlm.tui.panes.code import CodePane
from fleet_rlm.tui.run_view.playhead import Playhead
from fleet_rlm.tui.screens.run.set_breakpoints import BreakpointsDialog
from fleet_rlm.tui.screens.run.text_reader import Reader


class RunControl(Screen[None]):
    """Actions that send commands. What they are called and when they make sense says `run_keys`."""

    playhead: Playhead
    code: CodePane

    def tell_engine(self, command: spec.Command) -> None:
        """Send a command; the events that come of it show what it did."""
        try:
            self.playhead.source.send(command)
        except RuntimeError as error:
            self.notify(str(error), severity="error", markup=False)

    def action_step(self) -> None:
        self.tell_engine(spec.Step())

    def action_change(self) -> None:
        gate = self.playhead.edge.gate
        if gate is None:
            return

        self.change_code(gate)

    def change_code(self, gate: GateWaiting, edited: str | None = None) -> None:
        """Let the person change the pending code, beginning with an edited version if there is one."""

        def changed(code: str | None) -> None:
            if code is not None:
                self.run_changed(gate.seq, gate.code, code)

        self.app.push_screen(EditCode(gate.code, edited=edited), changed)

    def run_changed(self, gate_seq: int, before: str, code: str) -> None:
        """Run another version of the code at the gate that it was made for."""
        gate = self.playhead.edge.gate
        if gate is None or gate.seq != gate_seq:
            self.notify("The run has gone on meanwhile: the changed code was not sent.", severity="warning")
        elif code == before:
            self.notify("The code is as it was: nothing was sent.")
        else:
            self.tell_engine(spec.Edit(code=code, step=True))

    def action_tell(self) -> None:
        def told(text: str | None) -> None:
            if text and text.strip():
                self.tell_engine(spec.Hint(text=text.strip()))
                self.notify("The planner reads it in its next prompt.")

        self.app.push_screen(AskText("Tell the planner", placeholder="what it should know or do"), told)

    def action_restart(self) -> None:
        self.tell_engine(spec.Restart())

    def action_retry(self) -> None:
        def asked(text: str | None) -> None:
            if text is not None:
                self.tell_engine(spec.Retry(text=text.strip()))

        hint = "enter or ctrl+r retry · esc close"
        self.app.push_screen(AskText("Ask for another version", placeholder="why (may stay empty)", hint=hint), asked)

    def action_skip(self) -> None:
        self.tell_engine(spec.Skip())

    def action_sample(self) -> None:
        self.tell_engine(spec.Sample(count=5))

    def action_finish(self) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.tell_engine(spec.Finish())

        detail = "The answer is extracted from what is known so far. A running cell is interrupted."
        self.app.push_screen(Confirm("Finish now?", "Finish", "Go on", detail), answered)

    def action_evaluate(self) -> None:
        seen = len(self.playhead.edge.operator)

        def asked(expression: str | None) -> None:
            if expression and expression.strip():
                self.tell_engine(spec.Evaluate(expression=expression.strip()))
                self.watch_for_result(seen)

        self.app.push_screen(AskText("Evaluate in the sandbox", placeholder="an expression, such as len(hits)"), asked)

    def watch_for_result(self, seen: int) -> None:
        """Show what an evaluation gives, once it is there."""
        for event in self.playhead.edge.operator[seen:]:
            if event.action == "eval":
                words = event.result if event.error is None else event.error.words
                self.app.push_screen(Reader(f": {clean_line(event.text, 80)}", words or "None"))
                return
        if self.playhead.live and self.is_mounted:
            self.set_timer(0.05, lambda: self.watch_for_result(seen))

    def action_breakpoints(self) -> None:
        def chosen(breakpoints: spec.Breakpoints | None) -> None:
            if breakpoints is not None:
                self.tell_engine(spec.SetBreakpoints(breakpoints=breakpoints))

        self.app.push_screen(BreakpointsDialog(self.playhead.edge.breakpoints), chosen)

    def action_interrupt(self) -> None:
        self.tell_engine(spec.Interrupt())

    def action_abort(self) -> None:
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
            self.clear_selection()
            self.notify(f"Copied {plural(len(selected), 'character')}.")
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.tell_engine(spec.Abort(reason="aborted by the person"))

        detail = "Everything stops within a second. What was recorded so far is kept."
        self.app.push_screen(Confirm("Abort the run?", "Abort", "Go on", detail, danger=True), answered)

    def action_editor(self) -> None:
        """The code in `$EDITOR`; at a gate before code, what comes back runs."""
        gate = self.playhead.edge.gate
        pending = gate if gate is not None and gate.at == "code" and self.playhead.live else None
        code = pending.code if pending is not None else self.code.code
        if not code:
            self.notify("There is no code to open.")
            return
        try:
            edited = edit_text(self.app, code)
        except CannotRun as error:
            self.notify(str(error), severity="error", markup=False)
            return
        if pending is not None and edited != code and syntax.fault(edited):
            self.change_code(pending, edited)
        elif pending is not None:
            self.run_changed(pending.seq, code, edited)
        elif edited != code:
            self.notify("This code is read-only: your changes were not kept.", severity="warning")
