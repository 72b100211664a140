"""The sandbox fields of New run: the backend, whether it is ready, and what a sandbox in Modal's cloud gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from msgspec.structs import asdict
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Label, Select, Static
from textual.worker import get_current_worker

from fleet_rlm import config
from fleet_rlm.spec import ModalOptions, SandboxChoice
from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.screens.new_run.draft import Draft
from fleet_rlm.tui.screens.new_run.modal_fields import FIELDS, CloudDraft, NotAnOption, draft_of, options_of

if TYPE_CHECKING:
    from fleet_rlm.tui.app import FleetApp
    from fleet_rlm.tui.screens.new_run.ask_engine import Answer, ModalAnswer

HINT_CHARS = 600
PLACES: dict[SandboxChoice, str] = {
    "local": "an isolated process of this machine",
    "modal": "a sandbox in Modal's cloud",
    "auto": "Modal where it is configured, else local",
}
WORDS = {
    "volume": "keeps documents and results",
    "secrets": "names that the code may read",
    "packages": "for the image: numpy pandas …",
    "cpu": "cores",
    "memory": "MiB",
}
ROWS = (("Modal", ("volume", "secrets")), ("", ("packages",)), ("", ("cpu", "memory")))


class PlaceForm(Vertical):
    """The part of New run that says where code runs. Asks the engine once what this machine and Modal offer."""

    DEFAULT_CSS = """
    PlaceForm { height: auto; }
    PlaceForm #cloud-rows { display: none; height: auto; }
    PlaceForm #cloud-rows.-wanted { display: block; }
    PlaceForm #cloud-rows Input { margin-right: 1; }
    """

    class Changed(Message):
        """Something was chosen, typed or found out."""

    def __init__(self, draft: Draft, cwd: Path, *, configured: bool) -> None:
        """`configured`: what has no field is as the person configured it, not as the draft has it."""
        super().__init__()
        self._cwd, self._configured, self._draft = cwd, configured, draft
        self.usual_sandbox, self.usual_cloud = draft.usual_sandbox, draft.usual_cloud
        self.wrong = ""
        """Why nothing can start there."""
        self.asking = True
        """True until the engine has said what there is."""
        self._answer: Answer | None = None
        self._fault = ""

    def compose(self) -> ComposeResult:
        places = [(f"{name:<16}{words}", name) for name, words in PLACES.items()]
        with Horizontal(classes="row"):
            yield Label("Sandbox", classes="label")
            yield Select(places, value=self._draft.place, allow_blank=False, id="sandbox", compact=True)
        yield Static(id="sandbox-hint", classes="hint")
        with Vertical(id="cloud-rows"):
            for label, names in ROWS:
                with Horizontal(classes="row gap" if "cpu" in names else "row"):
                    yield Label(label, classes="label")
                    yield from self._fields(names)

    def _fields(self, names: tuple[str, ...]) -> Iterator[Widget]:
        for name in names:
            yield Label(name, classes="limit")
            yield Input(getattr(self._draft.cloud, name), WORDS[name], id=name, compact=True, select_on_focus=False)

    def on_mount(self) -> None:
        self._hint("… ", "$muted", "checking what this machine offers")
        self._show()
        self._ask()

    # What is chosen

    @property
    def sandbox(self) -> SandboxChoice:
        """The choice."""
        return cast(SandboxChoice, self.query_one("#sandbox", Select).value)

    @property
    def cloud(self) -> CloudDraft:
        """What is typed for the cloud."""
        return CloudDraft(**{name: self.query_one(f"#{name}", Input).value for name in FIELDS})

    @on(Select.Changed, "#sandbox")
    def _chosen(self) -> None:
        self._show()
        self.post_message(self.Changed())

    @on(Input.Changed)
    def _typed(self) -> None:
        self._show()
        self.post_message(self.Changed())

    # What there is

    @work(thread=True, exclusive=True, group="isolation")
    def _ask(self) -> None:
        from fleet_rlm import sandbox_choice
        from fleet_rlm.tui.screens.new_run.ask_engine import CannotDescribe, ask

        worker, app = get_current_worker(), cast("FleetApp", self.app)
        try:
            usual = sandbox_choice.choose(config.load(self._cwd))
            app.tell(self, self._take_usual, *usual)
            answer = ask(isolation=True, cwd=str(self._cwd), cancelled=lambda: worker.is_cancelled)
        except sandbox_choice.Unusable as error:
            app.tell(self, self._told, None, f"{error} {error.hint}".rstrip())
        except CannotDescribe as error:
            app.tell(self, self._told, None, str(error))
        else:
            if answer is not None and not worker.is_cancelled:
                app.tell(self, self._told, answer, "")

    def work_failed(self, group: str, words: str) -> None:  # noqa: ARG002 - there is one group
        """Say that the sandbox backends could not be asked."""
        self._told(None, words)

    def _take_usual(self, sandbox: SandboxChoice, options: ModalOptions) -> None:
        """Put what is configured into the form, unless the person chose something before."""
        self.usual_sandbox = sandbox
        if self._configured:
            self.usual_cloud = options
            for name, value in asdict(draft_of(options)[0]).items():
                self.query_one(f"#{name}", Input).placeholder = clean_line(value, 80) or WORDS[name]
        if not self._draft.sandbox:
            self.query_one("#sandbox", Select).value = sandbox
        self.post_message(self.Changed())

    def _told(self, answer: Answer | None, fault: str) -> None:
        self._answer, self._fault, self.asking = answer, fault, False
        self._show()
        self.post_message(self.Changed())

    # What is shown

    def _show(self) -> None:
        """The chosen place, its isolation in a word, and what is missing."""
        place, modal = self.sandbox, self._answer.modal if self._answer else None
        self.query_one("#cloud-rows").set_class(place != "local", "-wanted")
        if self.asking:
            return
        self.wrong = ""
        try:
            if place != "local":
                options_of(self.cloud, self.usual_cloud)
        except NotAnOption as error:
            self._hint("✗ ", "bold $error", str(error))  # whoever starts it is told by its own field
            return
        if place == "modal" or (place == "auto" and modal is not None and modal.ready):
            self._show_modal(modal, "Modal: " if place == "auto" else "")
        else:
            self._show_local("local: " if place == "auto" else "", modal.words if modal else "")

    def _show_modal(self, modal: ModalAnswer | None, how: str) -> None:
        if modal is None or not modal.ready:
            self.wrong = modal.words if modal else self._fault
            self._hint("✗ ", "bold $error", self.wrong, modal.hint if modal else "")
            return
        network = "the network is open" if self.usual_cloud.network else "network blocked"
        self._hint("✓ ", "bold $success", f"{how}{network}, none of your files, no secret but those named", modal.words)

    def _show_local(self, how: str, why: str) -> None:
        modes = self._answer.isolation if self._answer else ()
        ready = next((mode for mode in modes if mode.ready), None)
        if ready is None:
            words = self._fault or "no isolation works on this machine"
            self._hint("✗ ", "bold $error", words, "; ".join(mode.words for mode in modes))
            return
        more = why if how and why else f"by {ready.mode}, proven before the first cell"
        self._hint("✓ ", "bold $success", f"{how}{ready.words}", more)

    def _hint(self, sign: str, tone: str, words: str, more: str = "") -> None:
        said = (clean_line(words, HINT_CHARS), "$muted" if tone == "$muted" else "$foreground")
        rest = (f"  {clean_line(more, HINT_CHARS)}", "$muted") if more else ""
        self.query_one("#sandbox-hint", Static).update(Content.assemble((sign, tone), said, rest))
