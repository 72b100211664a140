"""The app: which screen is shown, which runs are live, how it looks, which keys do what.

What screens find here: `open_run(source)`, `start_run(spec)`, `open_path(path)`, `live_runs`, `memory` (what is kept
from one start to the next), `now()` (the wall clock, fixed in tests) and a safe `notify`.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from textual import work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.worker import WorkerFailed, get_current_worker

from fleet_rlm import config
from fleet_rlm.shipped import themes_folder
from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.key_actions import KeyActionsApp
from fleet_rlm.tui.live_runs import LiveRun, LiveRuns
from fleet_rlm.tui.look.keys import known_ids
from fleet_rlm.tui.look.themes import DEFAULT_THEME, FaultyTheme, load_folder, load_theme, notice, semantic_defaults
from fleet_rlm.tui.person_settings import Settings, load_settings
from fleet_rlm.tui.remembered import Memory
from fleet_rlm.tui.safe_output import SafeOutput, SixteenColors
from fleet_rlm.tui.screens.home.home_screen import HomeScreen
from fleet_rlm.tui.seams import SteadyDriver
from fleet_rlm.tui.terminal_hangup import TerminalDriver, TerminalWatch

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from fleet_rlm.spec import RunSpec
    from fleet_rlm.tui.sources.event_source import RunSource

TOAST_CHARS = 1000


def _kind_of_toast(severity: str, title: str, text: str) -> tuple[str, ...]:
    """Toasts of one kind replace each other: the same text; of mere information, the same title or first word."""
    if severity != "information":
        return severity, title, text
    return severity, title, "" if title else text.partition(" ")[0].rstrip(":.,")


@runtime_checkable
class StartsWork(Protocol):
    def work_failed(self, group: str, words: str) -> None:
        """A worker of this node has failed: don't wait for it any more. `words` says why, in a line."""


class FleetApp(KeyActionsApp):
    """Returns, when it ends, the lines to print: where the runs are that it leaves."""

    TITLE = "fleet-rlm"
    CSS_PATH = Path(__file__).parent / "look" / "styles" / "app.tcss"
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", tooltip="Quit; asks first while a run is going on", id="app.quit",
                priority=True),
        Binding("question_mark,f1", "help", "Help", tooltip="Show the keys of this screen", id="app.help"),
        Binding("f8", "toggle_mouse", "Mouse", tooltip="Give the mouse to the terminal, or take it back",
                id="app.mouse", show=False),
        Binding("ctrl+z", "suspend_process", "Suspend", tooltip="Go to the shell; `fg` comes back", id="app.suspend",
                show=False),
        Binding("f9", "change_theme", "Theme", tooltip="Choose the colours", id="app.theme", show=False),
    ]  # fmt: skip

    def __init__(
        self,
        source: RunSource | None = None,
        spec: RunSpec | None = None,
        *,
        settings: Settings | None = None,
        memory: Memory | None = None,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        on_hang_up: str | None = None,
    ) -> None:
        """Show a source first, else New run filled in with a spec, else Home. `on_hang_up`: as that option says."""
        super().__init__()
        self._on_hang_up = on_hang_up
        self.settings = load_settings(config.config_file()) if settings is None else settings
        self.memory = Memory(config.state_file()) if memory is None else memory
        self.now = now
        self.live_runs = LiveRuns()
        self.mouse_on = self.settings.mouse
        self._first = (source, spec)
        self._output_filter = SafeOutput()
        self._told: set[str] = set()
        self._crashes: set[str] = set()
        self.terminal = TerminalWatch()
        if self.settings.keys:
            self.set_keymap(dict(self.settings.keys))
        self._wanted_theme = self.settings.theme or self.memory.get("theme", str, DEFAULT_THEME)
        self._use_theme_at_once(self._wanted_theme)

    # What the terminal gets

    def get_line_filters(self) -> Sequence[LineFilter]:
        few = [SixteenColors()] if self.console.color_system == "standard" and not self.is_headless else []
        return [*super().get_line_filters(), *few, self._output_filter]

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,  # noqa: ARG002 - Textual's signature; a message is never markup here
    ) -> None:
        """Show a message. It is cleaned, cut at a length a toast can show, and never read as markup."""
        text = clean(message)
        text = text if len(text) <= TOAST_CHARS else text[: TOAST_CHARS - 1] + "…"
        kind = _kind_of_toast(severity, title, text)
        self.withdraw_toasts(lambda shown: _kind_of_toast(shown.severity, shown.title, shown.message) == kind)
        super().notify(text, title=clean_line(title, 80), severity=severity, timeout=timeout, markup=False)

    def tell(self, node: DOMNode, callback: Callable[..., object], *args: object, **more: object) -> None:
        """From a worker's thread: call back on the UI's, unless the app is ending or the node has left it meanwhile."""

        def call() -> None:
            if not self.ending and node.is_attached and node.screen.display:
                callback(*args, **more)

        self.call_from_thread(call)

    def get_driver_class(self) -> type[Driver]:
        usual = super().get_driver_class()
        return TerminalDriver if usual is LinuxDriver else usual

    # Screens

    def get_default_screen(self) -> HomeScreen:
        return HomeScreen()

    def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: self.memory.set("theme", theme.name))
        if isinstance(self.driver_in_use, TerminalDriver):
            self.driver_in_use.watch = self.terminal
            self.terminal.start(self._end_from_outside)
        source, spec = self._first
        if source is not None:
            self.open_run(source, spec)
        elif spec is not None:
            from fleet_rlm.tui.screens.new_run.new_run_screen import NewRunScreen

            self.push_screen(NewRunScreen(spec))
        self.call_after_refresh(self._after_first_paint)

    def _after_first_paint(self) -> None:
        gc.freeze()  # what was imported stays anyway
        gc.enable()
        self._load_themes()
        if self.settings.keys or self.settings.faults:
            self._check_settings()

    def open_run(self, source: RunSource, spec: RunSpec | None = None) -> None:
        """Show a run. A live one goes on when its screen is left."""
        from fleet_rlm.tui.screens.run.run_screen import RunScreen

        screen = RunScreen(source, spec=spec)
        if source.mode == "live":
            run = self.live_runs.add(screen, spec)
            self.install_screen(screen, run.name)
            if len(self.live_runs) == 1:
                self.set_interval(1.0, self._tell_of_ended_runs)
        self.push_screen(screen)

    def start_run(self, spec: RunSpec) -> None:
        """Start an engine for a run, and show it."""
        from fleet_rlm.tui.sources import EngineClient

        self.open_run(EngineClient(spec), spec)

    def start_demo(self) -> None:
        """Start the bundled question about the bundled guide, with the model that is configured."""
        from fleet_rlm.documents.bundled import NotBundled, demo, demo_document
        from fleet_rlm.spec import RunSpec

        try:
            self.start_run(RunSpec(question=demo().question, documents=(str(demo_document()),)))
        except (NotBundled, OSError) as error:
            self.notify(str(error), title="No demo", severity="error")

    def show_live_run(self, run: LiveRun) -> None:
        self._told.add(run.name)
        self.push_screen(run.name)

    @work(thread=True, group="open")
    def open_path(self, path: str) -> None:
        """Show the run in a file: live if it is ours, followed while another process writes it, else replayed."""
        from fleet_rlm.runs.run_reader import NotARun, RunFile
        from fleet_rlm.tui.sources import FollowFile, ReplayFile

        own = self.live_runs.with_path(str(Path(path).absolute()))
        if own is not None:
            self.tell(self.screen, self.show_live_run, own)
            return
        try:
            with RunFile(path) as file:
                source = FollowFile(path) if file.is_being_written() else ReplayFile(path)
        except NotARun as error:
            self.tell(self.screen, self.notify, f"{error} {error.hint}".rstrip(), title="Not opened", severity="error")
            return
        self.tell(self.screen, self.open_run, source)

    async def action_back(self) -> None:
        """Leave a screen. A live run goes on; everything else that it read is closed."""
        if len(self.screen_stack) < 2:
            return
        screen = self.screen
        live = self.live_runs.of(screen)
        if live is not None and live.running:
            self.pop_screen()
            self._go_to_row_of(live.view.source)
            return
        source: RunSource | None = getattr(screen, "source", None)
        self.pop_screen()
        self._go_to_row_of(source)
        if live is not None:
            self.uninstall_screen(live.name)
            self.live_runs.forget(live)
            screen.remove()
        if source is not None:
            source.close()

    def _go_to_row_of(self, source: RunSource | None) -> None:
        """Put Home's cursor on the run that was just left."""
        if source is not None and source.path is not None and isinstance(self.screen, HomeScreen):
            self.screen.go_to_run(Path(source.path))

    def _tell_of_ended_runs(self) -> None:
        for run in self.live_runs:
            if run.running or run.name in self._told:
                continue
            self._told.add(run.name)
            if self.live_runs.of(self.screen) is not run:
                state = run.view.state
                words = state.status if state.is_over else "its engine ended"
                self.notify(clean_line(state.question, 200) or "A run has ended.", title=f"Run {words}", timeout=8)

    # The end

    def action_suspend_process(self) -> None:
        """Stop this program and what started it in this terminal, such as `make`, until the shell's `fg`."""
        if os.getsid(0) == os.getpgrp():
            self.notify("No shell waits in this terminal, so `fg` could not bring the app back.", severity="warning")
            return
        with suppress(SuspendNotSupported), self.suspend():  # the terminal first: `make` would give it back too early
            os.killpg(0, signal.SIGSTOP)

    async def action_quit(self) -> None:
        running = self.live_runs.running()
        if not running:
            self._leave()
            return
        from fleet_rlm.tui.dialogs import Choice, Choose

        if isinstance(self.screen, Choose):
            return
        many = f"{len(running)} runs are still going" if len(running) > 1 else "A run is still going"
        questions = "\n".join(clean_line(run.view.state.question, 70) or "(it is starting)" for run in running)
        choices = (
            Choice("s", "Stop them" if len(running) > 1 else "Stop it", "stop", danger=True),
            Choice("g", "Leave it going, follow it later", "let go"),
            Choice("c", "Stay", "stay"),
        )
        self.push_screen(Choose(many, choices, questions, first=2), self._quit_answered)

    def _quit_answered(self, answer: str | None) -> None:
        if answer == "stop":
            self._leave()
        elif answer == "let go":
            self._leave(let_go=True)

    def _end_from_outside(self, number: int) -> None:
        """From another thread: the terminal has gone, or a signal told the process to end."""
        asked = config.load(asked={"run.on_hang_up": self._on_hang_up})
        let_go = number == signal.SIGHUP and asked.get("run.on_hang_up") == "let-go"
        self.call_from_outside(self._leave, let_go, 128 + number)

    def _leave(self, let_go: bool = False, code: int = 0) -> None:
        lines = []
        for run in self.live_runs:
            path = run.view.source.path
            if path is None:
                continue
            if run.running and let_go:
                lines.append(f"The run goes on; follow it with: fleet-rlm-tui --follow {path}")
            else:
                lines.append(f"The run is kept; open it again with: fleet-rlm-tui {path}")
        if let_go:
            self.live_runs.let_go()
        else:
            self.live_runs.stop_all()
        self.exit(lines, code)

    def lines_of_crash(self, error: BaseException) -> list[str]:
        from fleet_rlm.tui.crash import report

        return report(error, config.state_file().parent)

    def worker_failed(self, error: WorkerFailed) -> None:
        """Tell the error, and whoever started the worker; the app goes on."""
        from fleet_rlm.tui.crash import redact

        what = clean_line(redact(f"{type(error.error).__name__}: {error.error}"), 300)
        worker = get_current_worker()
        if isinstance(worker.node, StartsWork):
            worker.node.work_failed(worker.group, what)
        if what not in self._crashes:
            self._crashes.add(what)
            where = self.lines_of_crash(error.error)[-1]
            self.notify(f"{what}\n{where}", title="Something failed; the app goes on", severity="error")

    # Help, mouse, settings

    def action_help(self) -> None:
        from fleet_rlm.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def action_toggle_mouse(self) -> None:
        self.mouse_on = not self.mouse_on
        if isinstance(self.driver_in_use, SteadyDriver):
            self.driver_in_use.use_mouse(self.mouse_on)
        key = next((key for key, active in self.active_bindings.items() if active.binding.id == "app.mouse"), "f8")
        self.notify("The mouse works in the app." if self.mouse_on else
                    f"The mouse is the terminal's: select and copy as usual. {key} takes it back.")  # fmt: skip

    @work(thread=True, group="settings")
    def _check_settings(self) -> None:
        from fleet_rlm.tui.person_settings import unknown_keys

        faults = list(self.settings.faults)
        if self.settings.keys:
            faults += unknown_keys(self.settings.keys, known_ids())
        if faults:
            self.tell(
                self.screen,
                self.notify,
                "\n".join(faults),
                title=f"In {config.config_file()}",
                severity="warning",
                timeout=15,
            )

    # Themes

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return semantic_defaults(self.current_theme)

    def _use_theme_at_once(self, name: str) -> None:
        """Only the theme in use before the first paint; the others come after it."""
        folders = [folder for folder in (themes_folder(), config.themes_dir()) if folder is not None]
        for wanted in dict.fromkeys((name, DEFAULT_THEME)):
            for folder in reversed(folders):
                if not wanted.replace("-", "").isalnum() or not (folder / f"{wanted}.toml").is_file():
                    continue
                try:
                    theme = load_theme(folder / f"{wanted}.toml")
                except FaultyTheme:
                    continue
                self.register_theme(theme)
                self.theme = wanted
                return
            if wanted in self.available_themes:
                self.theme = wanted
                return

    @work(thread=True, group="themes")
    def _load_themes(self) -> None:
        shipped = themes_folder()
        themes, faults = (
            load_folder(shipped) if shipped else ([], ["this installation lacks themes/: install it again"])
        )
        own, own_faults = load_folder(config.themes_dir())

        def register() -> None:
            for theme in (*themes, *own):
                if theme.name != self.theme:
                    self.register_theme(theme)
            if self.settings.theme and self.settings.theme not in self.available_themes:
                own_faults.append(f"{self.settings.theme}: there is no such theme")
            if words := notice([*faults, *own_faults]):
                self.notify(words, title="Themes", severity="warning", timeout=15)

        self.tell(self.screen, register)
