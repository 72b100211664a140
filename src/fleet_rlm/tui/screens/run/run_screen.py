"""Run: watch a run, step through it, go back in it. Live, replayed and followed runs look and behave the same.

The source's events are drained a frame at a time and folded; panes draw the playhead's moment. What is not in view is
not drawn. `run_control` has the live controls, `run_travel` what moves the playhead, `run_search` the searches, and
`run_keys` the keys,
of which `run_key_hints` says what each does now.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.notifications import SeverityLevel

from fleet_rlm.events import Notice, Operator
from fleet_rlm.figures import plural
from fleet_rlm.spec import RunSpec
from fleet_rlm.state import CallState, RunState
from fleet_rlm.tui.dialogs import AskText
from fleet_rlm.tui.external import CannotRun, page_text
from fleet_rlm.tui.look.footer import KeyFooter
from fleet_rlm.tui.panes.answer import AnswerPane
from fleet_rlm.tui.panes.call import CallPane
from fleet_rlm.tui.panes.calls import CallsPane
from fleet_rlm.tui.panes.code import CodePane
from fleet_rlm.tui.panes.document import DocumentPane
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.panes.printed_output import OutputPane
from fleet_rlm.tui.panes.raw_events import EventsPane
from fleet_rlm.tui.panes.variables import VariablesPane
from fleet_rlm.tui.run_view.about_run import about
from fleet_rlm.tui.run_view.playhead import DRAIN, AnyEvent, Moment, Playhead
from fleet_rlm.tui.run_view.run_words import Activity, activity, badges, figures, run_state, sandbox
from fleet_rlm.tui.screens.run import run_keys
from fleet_rlm.tui.screens.run.pick_document import PickDocument
from fleet_rlm.tui.screens.run.run_control import RunControl
from fleet_rlm.tui.screens.run.run_key_hints import RunKeyHints
from fleet_rlm.tui.screens.run.run_search import FILTERED, RunSearch
from fleet_rlm.tui.screens.run.run_travel import RunTravel
from fleet_rlm.tui.screens.run.text_reader import Reader
from fleet_rlm.tui.widgets.find_bar import FindBar
from fleet_rlm.tui.widgets.gate_bar import GateBar
from fleet_rlm.tui.widgets.line_view import LineView
from fleet_rlm.tui.widgets.pane_grid import PaneGrid, Proportions
from fleet_rlm.tui.widgets.record_table import Table
from fleet_rlm.tui.widgets.run_header import RunHeader
from fleet_rlm.tui.widgets.timeline import Timeline, cell_of

if TYPE_CHECKING:
    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.sources.event_source import RunSource

FRAME_SECONDS, BEAT_SECONDS, BACKLOG_SECONDS = 0.04, 0.2, 0.015
REMEMBER_SECONDS = 1.0
FREEZE_EVENTS = 10_000
MOST_TOLD = 3
"""Notices that are told at once; all of them stand in About."""
ENDS_EARLY, GOES_ON = "The record ends early", "The run goes on"
FAILURE_SECONDS = 15
"""How long a failure is told where the pane that has it can't be seen."""


class RunScreen(RunKeyHints, RunControl, RunTravel, RunSearch):
    """One run. It drains its source from its mounting on, also while another screen is shown."""

    DEFAULT_CSS = """
    RunScreen ToastRack { margin-bottom: 4; }
    """
    AUTO_FOCUS: ClassVar[str | None] = ""
    BINDINGS: ClassVar[list[BindingType]] = [*run_keys.BINDINGS, run_keys.LEAVE]

    class Wake(Message, bubble=False):
        """From the source's thread: there is something to drain."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RunScreen.Wake)

    def __init__(
        self, source: RunSource, *, spec: RunSpec | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.source = source
        self.spec = spec
        self.clock = clock
        self.playhead = Playhead(source)
        self.document, self.code, self.output = DocumentPane(), CodePane(), OutputPane()
        self.calls, self.call = CallsPane(), CallPane()
        self.variables, self.answer, self.events = VariablesPane(), AnswerPane(), EventsPane()
        self._last_drain = 0.0
        self._drain_due = False
        self._told_end = False
        self._unfrozen = 0
        self._remember_due = False
        self._had_answer = False
        self._error_shown = -1
        """The gate whose failing cell was brought into view."""
        self.searched = "document"
        self.typed = {}

    @property
    def state(self) -> RunState:
        """The run as it stands now, wherever the playhead is."""
        return self.playhead.edge

    @property
    def fleet(self) -> FleetApp:
        return cast("FleetApp", self.app)

    def compose(self) -> ComposeResult:
        yield RunHeader()
        yield Timeline()
        panes = (
            self.document, self.code, self.output, self.calls,
            self.variables, self.answer, self.events, self.call,
        )  # fmt: skip
        yield PaneGrid(panes, self.fleet.memory.get("run.layout", Proportions, Proportions()))
        yield GateBar()
        yield FindBar()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.grid, self.find = self.query_one(PaneGrid), self.query_one(FindBar)
        self.call_after_refresh(lambda: self.grid.show("code"))
        self.set_interval(BEAT_SECONDS, self._beat)
        self.source.open(self._wake)
        self._drain()

    # What comes

    def _wake(self) -> None:
        """Called from the source's thread."""
        self.post_message(self.Wake())

    def on_run_screen_wake(self) -> None:
        if not self._drain_due:
            self._drain_due = True
            self.set_timer(max(0.001, FRAME_SECONDS - (self.clock() - self._last_drain)), self._drain)

    def _drain(self) -> None:
        self._drain_due, self._last_drain = False, self.clock()
        started = self.playhead.edge.started
        fresh = self.playhead.take(self.clock())
        if started is None and self.playhead.edge.started is not None:
            self._recall_bookmarks(self.playhead.edge.started.run_id)
        self._spare_the_collector(len(fresh))
        if self.source.mode == "live":
            self._tell_notices(fresh)
        if len(fresh) == DRAIN:
            self._drain_due = True
            self.set_timer(BACKLOG_SECONDS, self._drain)
        end = self.source.end
        if end is None and self._told_end:
            self._told_end = False
            self.fleet.withdraw_toasts(lambda toast: toast.title == ENDS_EARLY)
            self.notify("More was written to the record: it is followed again.", title=GOES_ON)
        if end is not None and not self._told_end and not fresh:
            self._told_end = True
            if not end.complete:
                words = f"{end.words.rstrip('. ')}. {end.hint}".strip()
                self.fleet.withdraw_toasts(lambda toast: toast.title == GOES_ON)
                self.notify(words, title=ENDS_EARLY, severity="warning")
        if fresh or end is not None:
            self.draw()

    def _tell_notices(self, fresh: list[AnyEvent]) -> None:
        """Tell the run's notices, and what the engine refused to do (an evaluation's error has its own window)."""
        told: list[tuple[str, SeverityLevel]] = []
        for event in fresh:
            if isinstance(event, Notice):
                told.append((event.text, "information" if event.level == "info" else event.level))
            elif isinstance(event, Operator) and event.error is not None and event.action != "eval":
                told.append((f"Not done ({event.action}): {event.error.message}", "warning"))
        for words, severity in told[-MOST_TOLD:]:
            self.notify(words, severity=severity, timeout=8)

    def _spare_the_collector(self, fresh: int) -> None:
        """What was folded lives as long as the screen: looking through it for garbage again and again would be felt."""
        self._unfrozen += fresh
        if self._unfrozen >= FREEZE_EVENTS:
            self._unfrozen = 0
            gc.freeze()

    def on_unmount(self) -> None:
        gc.unfreeze()

    def _beat(self) -> None:
        """Clocks go on, and what ended without a word is seen."""
        if self.playhead.growing or self.source.end is not None:
            if self.source.end is not None and not self._told_end:
                self._drain()
            elif self.playhead.growing:
                self.draw()

    # What is drawn

    def draw(self) -> None:
        """Draw the present moment where the person can see it."""
        if not self.is_mounted or not self.is_current:
            return
        moment = self.playhead.moment(self.clock())
        gate = moment.state.gate
        if gate is not None and gate.at == "error" and gate.seq != self._error_shown and self.grid.laid_out:
            self._error_shown = gate.seq
            if "code" not in self.grid.in_view():
                self.grid.show("code")
        self._draw_lines(moment)
        for name in self.grid.in_view():
            self._draw_pane(name, moment)
            self.grid.news.discard(name)
        self._point_to_the_answer(moment)
        self.grid.draw_titles()
        self.draw_keys()

    def _point_to_the_answer(self, moment: Moment) -> None:
        """There is one, or the reason why there is none: its tab says so, or takes the place of an empty output."""
        state = moment.state
        failure = state.finished.error if state.finished is not None else None
        there = bool(state.outputs) or failure is not None
        if there == self._had_answer or not self.grid.laid_out:
            return
        self._had_answer = there
        if not there:
            self.grid.news.discard("answer")
            return
        unsaid = failure is not None and not state.output and "output" in self.grid.in_view()
        if unsaid and self.grid.shape != "single":
            self.grid.show("answer", focus=False)
        if "answer" not in self.grid.in_view():
            self.grid.news.add("answer")
            if failure is not None and self.source.mode == "live":
                words = f"{failure.message} {failure.hint or ''}".strip()
                self.notify(words, title="The run failed", severity="error", timeout=FAILURE_SECONDS)

    def _draw_pane(self, name: str, moment: Moment) -> None:
        pane = getattr(self, name)
        if pane is self.events:
            self.events.show_events(self.playhead.events, self.playhead.position)
        elif pane is self.call:
            self.calls.show(moment)
            self.call.choose(self.calls.chosen)
            self.call.show(moment)
        else:
            pane.show(moment)

    def _draw_lines(self, moment: Moment) -> None:
        playhead, edge = self.playhead, self.playhead.edge
        now = playhead.edge_now(self.clock())
        doing = activity(moment.state, moment.now) if moment.moving else Activity()
        self.query_one(RunHeader).show(edge, run_state(playhead), doing, badges(edge, self.source.end))
        here = moment.state.iteration
        reached = here.number if here else 0
        cells = tuple(cell_of(it, edge, now, it.number <= reached) for it in edge.iterations)
        of = edge.iterations[-1].of if edge.iterations else 0
        spent = figures(moment.state, moment.now, None if playhead.following else now)
        marks = frozenset(number for at in playhead.bookmarks if (number := playhead.iteration_at(at)))
        self.query_one(Timeline).show(cells, reached or None, of, (spent, sandbox(edge)), marks)
        gate = edge.gate if playhead.live or self.source.mode == "follow" else None
        waited = now - edge.gate_since if edge.gate_since is not None else 0.0
        hints = self.gate_hints() if playhead.live else ()
        self.query_one(GateBar).show(gate, waited, hints, lost=edge.waits_for_sandbox)

    def on_screen_resume(self) -> None:
        self.draw()

    # Panes

    def action_pane(self, name: str) -> None:
        self.grid.show(name)

    def action_next_pane(self) -> None:
        self.grid.step(1)

    def action_previous_pane(self) -> None:
        self.grid.step(-1)

    def action_zoom(self) -> None:
        self.grid.toggle_maximised()

    def action_resize(self, columns: int, lines: int) -> None:
        self.grid.resize_pane(columns, lines)

    def action_reset_sizes(self) -> None:
        self.grid.reset_sizes()

    def action_close(self) -> None:
        pane = getattr(self, self.grid.chosen)
        if isinstance(pane, TextPane) and pane.search is not None:
            pane.end_search()
        elif self.grid.chosen in FILTERED and self.typed.get(self.grid.chosen):
            self.search_in(self.grid.chosen, "", False)
        elif self.grid.maximised is not None:
            self.grid.toggle_maximised()
        elif self.document.marks:
            self.document.forget_source()
        self.draw()

    @on(PaneGrid.Arranged)
    def _arranged(self) -> None:
        self.draw()
        if not self._remember_due:
            self._remember_due = True
            self.set_timer(REMEMBER_SECONDS, self._remember_layout)

    def _remember_layout(self) -> None:
        self._remember_due = False
        self.fleet.memory.set("run.layout", self.grid.proportions)

    @on(LineView.Moved)
    def _moved(self) -> None:
        self.grid.draw_titles()

    def action_follow(self) -> None:
        self.stop_playing()
        self.playhead.follow()
        pane = getattr(self, self.grid.chosen)
        self.code.release()
        if isinstance(pane, LineView) and pane is not self.code and pane is not self.document:
            pane.to_end()
        elif isinstance(pane, Table):
            pane.action_last()
        self.draw()

    def action_about(self) -> None:
        self.app.push_screen(Reader("About this run", about(self.playhead.edge, self.source.path)))

    def action_prompt(self) -> None:
        self.grid.show("code")
        self.code.toggle_prompt()
        self.draw()

    # Calls, variables, events

    @on(Table.Moved)
    def _table_moved(self, message: Table.Moved) -> None:
        if message.table is self.calls and type(message) is Table.Moved:
            self._show_call(self.calls.chosen)
        self.grid.draw_titles()

    def _show_call(self, call: CallState | None) -> None:
        self.call.choose(call)
        if call is not None and call.prompt:
            self.document.show_source_of(f"call {call.number}", call.prompt, without=self.state.question)
        else:
            self.document.forget_source()

    @on(Table.Chosen)
    def _table_chosen(self, message: Table.Chosen) -> None:
        if message.table is self.calls:
            self._show_call(self.calls.chosen)
            self.grid.show("call")
        elif message.table is self.variables:
            self.app.push_screen(Reader("Variable", self.variables.details()))
        elif message.table is self.events:
            self.app.push_screen(Reader("Event", self.events.details()))

    # Documents

    def action_documents(self) -> None:
        def picked(place: int | None) -> None:
            if place is not None:
                self.grid.show("document")
                self.document.open(place)

        self.app.push_screen(PickDocument(self.document.entries, self.document.place), picked)

    def action_goto(self) -> None:
        def typed(words: str | None) -> None:
            if words and (wrong := self.document.go_to(words)):
                self.notify(wrong, severity="warning")

        self.grid.show("document")
        self.app.push_screen(AskText("Go to", placeholder="a line such as 118, or a place such as 40%"), typed)

    # Taking something along

    def _item(self) -> tuple[str, str]:
        pane = getattr(self, self.grid.chosen)
        if pane is self.calls:
            self.call.choose(self.calls.chosen)
            return self.call.item()
        found: tuple[str, str] = pane.item()
        return found

    def action_copy(self) -> None:
        what, text = self._item()
        if not text:
            self.notify("There is nothing to copy here.")
            return
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {what}: {plural(len(text), 'character')}.", timeout=3)

    def action_pager(self) -> None:
        _, text = self._item()
        try:
            page_text(self.app, text)
        except CannotRun as error:
            self.notify(str(error), severity="error")

    # What is kept from one start to the next

    def remembered_bookmarks(self) -> dict[str, list[int]]:
        return self.fleet.memory.get("run.bookmarks", dict[str, list[int]], {})

    def remember_bookmarks(self, bookmarks: dict[str, list[int]]) -> None:
        self.fleet.memory.set("run.bookmarks", bookmarks)

    def _recall_bookmarks(self, run_id: str) -> None:
        if self.source.mode == "replay":
            for at in self.remembered_bookmarks().get(run_id, []):
                if at not in self.playhead.bookmarks:
                    self.playhead.add_bookmark(at)
