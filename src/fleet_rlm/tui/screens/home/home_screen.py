"""Home: the runs that were recorded here, those that are going on, and the ways to begin another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from fleet_rlm import figures
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.look.footer import KeyFooter
from fleet_rlm.tui.screens.home.run_order import RunOrder
from fleet_rlm.tui.screens.home.run_preview import Preview
from fleet_rlm.tui.screens.home.run_row import GOING_ON
from fleet_rlm.tui.screens.home.run_table import SORTS, RunTable
from fleet_rlm.tui.screens.home.welcome import Offer, Welcome

if TYPE_CHECKING:
    from fleet_rlm.runs.library import Library
    from fleet_rlm.runs.summary import RowStatus, RunRow
    from fleet_rlm.spec import RunSpec
    from fleet_rlm.state import RunState
    from fleet_rlm.tui.app import FleetApp

REFRESH_SECONDS = 2.0
FAULT_CHARS = 160
NARROW = 110
"""Columns of the terminal below which the preview stands under the table instead of beside it."""


class _NotWanted(Exception):
    """The app ends: a library of thousands of new files need not be read to the end."""


class HomeScreen(RunOrder):
    """The run library."""

    DEFAULT_CSS = """
    HomeScreen #head { height: 1; padding: 0 1; background: $background; }
    HomeScreen #head-left { width: 1fr; }
    HomeScreen #head-right { width: auto; color: $muted; }
    HomeScreen #filter { display: none; width: 40; height: 1; border: none; padding: 0 1; background: $panel; }
    HomeScreen #body { layout: horizontal; height: 1fr; }
    HomeScreen #runs { width: 3fr; }
    HomeScreen #preview { width: 2fr; }
    HomeScreen RunTable { height: 1fr; padding: 0 1; }
    HomeScreen Welcome { display: none; }
    HomeScreen.-empty Welcome { display: block; }
    HomeScreen.-empty RunTable, HomeScreen.-empty #preview { display: none; }
    HomeScreen.-narrow #body { layout: vertical; }
    HomeScreen.-narrow #runs { width: 100%; height: 3fr; }
    HomeScreen.-narrow #preview { width: 100%; height: 2fr; }
    """
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - Textual declares it as an instance's
        (0, "-narrow"),
        (NARROW, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", tooltip="Replay the run, or watch it while it goes on", id="home.open"),
        Binding("n", "new_run", "New run", tooltip="Choose documents, a question and a model", id="home.new_run"),
        Binding(
            "r", "run_again", "Run again", tooltip="Fill in New run with what this run was asked", id="home.run_again"
        ),
        # Before the table sees it: what is typed right after belongs to the filter.
        Binding(
            "slash",
            "filter",
            "Filter",
            tooltip="Show runs with these words in question, documents or answer",
            id="home.filter",
            priority=True,
        ),
        Binding(
            "o", "open_file", "Open a file", tooltip="Open a run file that is not in the library", id="home.open_file"
        ),
        Binding("s", "sort", "Sort", tooltip="Sort by the next column; S reverses the order", id="home.sort"),
        Binding("S", "reverse", "Reverse", tooltip="Reverse the order", id="home.reverse", show=False),
        Binding("delete", "delete", "Delete", tooltip="Delete the run's record", id="home.delete"),
        Binding("y", "copy", "Copy answer", tooltip="Copy the answer of the run", id="home.copy", show=False),
        Binding(
            "t", "demo", "Try the demo", tooltip="Ask a question about the bundled guide", id="home.demo", show=False
        ),
        Binding(
            "w",
            "samples",
            "Watch a replay",
            tooltip="Replay a recorded run that comes with fleet-rlm",
            id="home.samples",
            show=False,
        ),
        Binding("f5", "refresh", "Refresh", tooltip="Read the library again", id="home.refresh", show=False),
        Binding("escape", "close", "Close the filter", id="home.close", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._library: Library | None = None
        self._rows: Sequence[RunRow] = ()
        self._known = self._looking = self._look_again = False
        self._configured = ""
        self._going = 0
        self._left: Path | None = None
        """The run that was just left: the cursor goes to its row, as soon as there is one."""
        self._drawn: object = None
        """The content of the table when it was drawn last: most looks at the library find nothing new."""

    @property
    def fleet(self) -> FleetApp:
        return cast("FleetApp", self.app)

    @property
    def empty(self) -> bool:
        """True when nothing was ever run here."""
        return self.has_class("-empty")

    @property
    def settled(self) -> bool:
        """True when the table shows what the library held when it was asked last."""
        return self._known and not self._looking

    def compose(self) -> ComposeResult:
        with Horizontal(id="head"):
            yield Static(id="head-left")
            yield Static(id="head-right")
        with Container(id="body"):
            with Vertical(id="runs", classes="pane") as runs:
                runs.border_title = "Runs"
                yield RunTable(self.fleet.now)
            yield Preview()
        yield KeyFooter()

    def on_mount(self) -> None:
        self.query_one(RunTable).focus()
        self._draw_head()
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """Mount the filter and ask the library, after the first frame."""
        head = self.query_one("#head")
        if not (head.is_mounted and head.is_attached):  # the app is ending already
            return
        await head.mount(Input(id="filter", placeholder="filter by words", select_on_focus=False))
        self._look()
        self.set_interval(REFRESH_SECONDS, self._look_while_shown)

    def _look_while_shown(self) -> None:
        if self.is_current:
            self._look()

    def on_screen_resume(self) -> None:
        if self._known:
            self._look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        if action == "filter" and (isinstance(self.focused, Input) or not self.query("#filter")):
            return False
        if action in ("open", "run_again", "filter", "sort", "reverse", "delete", "copy"):
            return not self.empty
        return True

    # The library

    def _look(self) -> None:
        """Ask the library in the background, one question at a time."""
        if self._looking:
            self._look_again = True
            return
        self._looking = True
        self._ask(self._words, self._column, self._descending, first=not self._known)

    @work(thread=True, group="library")
    def _ask(self, words: str, column: str, descending: bool, first: bool) -> None:
        import sqlite3

        from fleet_rlm import config
        from fleet_rlm.runs.library import Library

        worker = get_current_worker()

        def tell(callback: Callable[..., object], *given: object) -> None:
            if worker.is_cancelled:
                raise _NotWanted
            self.fleet.tell(self, callback, *given)

        rows: Sequence[RunRow] = ()
        fault = ""
        try:
            if self._library is None:
                self._library = Library()
                tell(self._take_configured, config.model_choice(config.load()).planner.model)
            if first:
                tell(self._take, self._library.list(words, SORTS[column], descending=descending))
            self._library.refresh(lambda done, of: tell(self._take_progress, done, of))
            rows = self._library.list(words, SORTS[column], descending=descending)
            fault = self._library.notices[-1] if self._library.notices else ""
        except _NotWanted:
            return
        except (OSError, sqlite3.Error) as error:
            fault = f"the library cannot be read: {error}"
        if not worker.is_cancelled:
            self.fleet.tell(self, self._take, rows, fault, True)

    def work_failed(self, group: str, words: str) -> None:
        """Say that the library can't be read; it is asked again at the next look."""
        if group == "library":
            self._take(self._rows, f"the library cannot be read: {words}", True)

    def _take_configured(self, model: str) -> None:
        self._configured = model
        self._draw_head()

    def _take_progress(self, done: int, of: int) -> None:
        self.query_one("#runs").border_subtitle = Content(f"reading {done:,} of {of:,} records") if done < of else ""

    def _take(self, rows: Sequence[RunRow], fault: str = "", last: bool = False) -> None:
        before = self._drawn
        self._rows, self._drawn = rows, (tuple(rows), self._column, self._descending, self._words, fault)
        news = before != self._drawn or not self._known or self.fleet.live_runs.running()
        if last:
            self._looking, self._known = False, True
            if news:
                self.set_class(not rows and not self._words and not fault, "-empty")
                if self.empty and not self.query(Welcome):
                    self.query_one("#runs").mount(Welcome())
                words = Content(clean_line(fault, FAULT_CHARS)) if fault else self._order_words
                self.query_one("#runs").border_subtitle = "" if self.empty else words
                self._focus_what_is_there()
        if news:
            self._draw()
        if last and self._look_again:
            self._look_again = False
            self._look()

    def _focus_what_is_there(self) -> None:
        focused = self.focused
        if self.empty and (focused is None or isinstance(focused, RunTable)):
            for offer in self.query(Offer)[:1]:
                offer.focus()
        elif not self.empty and (focused is None or isinstance(focused, Offer)):
            self.query_one(RunTable).focus()
        self.refresh_bindings()

    def _draw(self) -> None:
        table = self.query_one(RunTable)
        rows = [self._with_live(row) for row in self._rows]
        table.show(rows, self._column, self._descending)
        if self._left is not None and table.select(self._left):
            self._left = None
        self._going = sum(row.status in GOING_ON for row in rows)
        self._draw_head()
        self._show_preview()

    def _draw_head(self) -> None:
        number = len(self._rows)
        figure = f"{number:,} found" if self._words else figures.plural(number, "run")
        left: list[str | tuple[str, str]] = [("fleet-rlm", "bold $primary"), "   "]
        left.append((figure if self._known else "reading the library …", "$muted"))
        if self._going:
            left.append((f" · {self._going} going on", "$accent"))
        if self._words and not self._filter.has_class("-open"):
            left.append((f" · filter: {clean_line(self._words, 40)}  esc clears", "$muted"))
        self.query_one("#head-left", Static).update(Content.assemble(*left))
        model = clean_line(self._configured, 40)
        self.query_one("#head-right", Static).update(Content(f"model {model}" if model else ""))

    def _live_state(self, row: RunRow | None) -> RunState | None:
        """The state of a run that this app drives."""
        live = self.fleet.live_runs.with_path(str(row.path)) if row is not None else None
        return live.view.state if live is not None and live.running else None

    def _with_live(self, row: RunRow) -> RunRow:
        state = self._live_state(row)
        if state is None or state.started is None:
            return row
        status: RowStatus = "waiting" if state.gate is not None else "running"
        return replace(
            row,
            status=status,
            iterations=len(state.iterations),
            calls=state.sub_calls,
            cost=state.spent.cost_usd,
            seconds=state.t,
        )

    def _show_preview(self) -> None:
        row = self.query_one(RunTable).row
        self.query_one(Preview).show(row, self._live_state(row))

    def go_to_run(self, path: Path) -> None:
        """Put the cursor on a run, now or as soon as the library has it, unless the person moves it before."""
        self._left = path
        self._draw()

    @on(RunTable.Moved)
    def _moved(self) -> None:
        self._left = None
        self._show_preview()

    # Runs

    def _chosen(self) -> RunRow | None:
        row = None if self.empty else self.query_one(RunTable).row
        if row is None:
            self.notify("There is no run under the cursor.")
        return row

    @on(RunTable.Chosen)
    def action_open(self) -> None:
        if self._left is not None and not self._words:  # the library has no row of it yet
            self.fleet.open_path(str(self._left))
        elif (row := self._chosen()) is not None:
            self.fleet.open_path(str(row.path))

    @on(Offer.Chosen)
    async def _offer(self, message: Offer.Chosen) -> None:
        await self.run_action(message.action)

    def action_new_run(self) -> None:
        self._open_form()

    def action_run_again(self) -> None:
        if (row := self._chosen()) is None:
            return
        live = self.fleet.live_runs.with_path(str(row.path))
        if live is not None and live.spec is not None:
            self._open_form(live.spec)
        else:
            self._read_spec(str(row.path))

    @work(thread=True, exclusive=True, group="again")
    def _read_spec(self, path: str) -> None:
        from fleet_rlm.tui.screens.new_run.again import NotAgain, spec_of_record

        try:
            spec = spec_of_record(path)
        except NotAgain as error:
            self.fleet.tell(self, self.notify, str(error), severity="error")
        else:
            self.fleet.tell(self, self._open_form, spec)

    def _open_form(self, spec: RunSpec | None = None) -> None:
        from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen

        self.app.push_screen(NewRunScreen(spec))

    @work
    async def action_open_file(self) -> None:
        from fleet_rlm.tui.dialogs.paths import PickPath

        start = self.fleet.memory.get("opened_from", str, ".")
        path = await self.app.push_screen_wait(PickPath("Open a run file", start, suffixes=(".jsonl",)))
        if path is not None:
            self.fleet.memory.set("opened_from", str(path.parent))
            self.fleet.open_path(str(path))

    def action_demo(self) -> None:
        self.fleet.start_demo()

    @work
    async def action_samples(self) -> None:
        from fleet_rlm.documents.bundled import NotBundled, recorded_runs
        from fleet_rlm.tui.dialogs import Choice, Choose

        try:
            runs = recorded_runs()
        except NotBundled as error:
            self.notify(str(error), title="No recorded runs", severity="error")
            return
        choices = [Choice(str(number), path.stem, str(path)) for number, path in enumerate(runs, 1)]
        detail = "Recorded with the built-in offline model on the bundled documents.\nspace plays, [ and ] step."
        chosen = await self.app.push_screen_wait(Choose("Watch a recorded run", choices, detail))
        if chosen is not None:
            self.fleet.open_path(chosen)

    @work
    async def action_delete(self) -> None:
        if (row := self._chosen()) is None:
            return
        if row.status in GOING_ON or self._live_state(row) is not None:
            self.notify("This run is still going on: open it and abort it (ctrl+c) first.", severity="warning")
            return
        from fleet_rlm.tui.dialogs import Confirm

        detail = f"{clean_line(row.question, 200) or clean_line(row.task, 40)}\n{clean_line(str(row.path), 300)}"
        if await self.app.push_screen_wait(Confirm("Delete this run's record?", "Delete", "Keep", detail, danger=True)):
            self._delete(row)

    @work(thread=True, group="delete")
    def _delete(self, row: RunRow) -> None:
        from fleet_rlm.runs.library import RunIsRunning

        if self._library is None:
            return
        try:
            self._library.delete(row)
        except (OSError, RunIsRunning) as error:
            self.fleet.tell(self, self.notify, f"Not deleted: {error}", severity="error")
        self.fleet.tell(self, self._look)

    def action_copy(self) -> None:
        if (row := self._chosen()) is None:
            return
        if row.answer:
            self.app.copy_to_clipboard(row.answer)
            self.notify("The answer is in the clipboard.")
        else:
            self.notify("This run has no answer to copy.")

    def action_refresh(self) -> None:
        self._look()
