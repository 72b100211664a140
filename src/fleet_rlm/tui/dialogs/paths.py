"""Choose a file or a folder: type with completion, or walk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.suggester import Suggester
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from fleet_rlm.terminal_text import clean_line
from fleet_rlm.tui.dialogs.dialog import Dialog

if TYPE_CHECKING:
    from fleet_rlm.tui.app import FleetApp

MAX_ENTRIES = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a folder."""

    name: str
    folder: bool
    bytes: int = 0


def entries(folder: Path, suffixes: tuple[str, ...] = ()) -> tuple[list[Entry], str]:
    """What is in a folder, folders first, hidden ones left out; and a word when it cannot be read or is cut short."""
    found: list[Entry] = []
    try:
        with os.scandir(folder) as listing:
            for item in listing:
                if item.name.startswith("."):
                    continue
                try:
                    is_folder = item.is_dir()
                    size = 0 if is_folder else item.stat().st_size
                except OSError:  # a link that leads nowhere
                    continue
                if is_folder or not suffixes or item.name.endswith(suffixes):
                    found.append(Entry(item.name, is_folder, size))
    except OSError as error:
        return [], f"{folder} cannot be read: {error.strerror or error}"
    found.sort(key=lambda entry: (not entry.folder, entry.name.casefold()))
    if len(found) > MAX_ENTRIES:
        return found[:MAX_ENTRIES], f"the first {MAX_ENTRIES:,} of {len(found):,}: type a name"
    return found, ""


def completion(text: str, cwd: Path, suffixes: tuple[str, ...] = ()) -> str | None:
    """The text with its last name completed as far as it is unambiguous; None when nothing fits or nothing is added."""
    head, slash, start = text.rpartition("/")
    try:
        folder = cwd / Path(head + slash).expanduser() if head or slash else cwd
        names = [
            (entry.name, entry.is_dir())
            for entry in os.scandir(folder)
            if entry.name.startswith(start) and (start or not entry.name.startswith("."))
        ]
    except (OSError, RuntimeError):  # RuntimeError: `~` without a home
        return None
    fitting = [name + "/" * is_dir for name, is_dir in names if is_dir or not suffixes or name.endswith(suffixes)]
    common = _common_start(fitting)
    return head + slash + common if len(common) > len(start) and clean_line(common, 10_000) == common else None


def _common_start(names: list[str]) -> str:
    if not names:
        return ""
    first, last = min(names), max(names)
    return next((first[:place] for place, sign in enumerate(first) if last[place : place + 1] != sign), first)


class PathSuggester(Suggester):
    """Completes the last of several paths in a line."""

    def __init__(self, cwd: Path, suffixes: tuple[str, ...] = (), several: bool = False) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._cwd, self._suffixes, self._several = cwd, suffixes, several

    async def get_suggestion(self, value: str) -> str | None:
        before, last = "", value
        if self._several:
            space = value.rfind(" ")
            before, last = value[: space + 1], value[space + 1 :]
        if not last or last[0] in "'\"":
            return None
        done = completion(last, self._cwd, self._suffixes)
        return None if done is None or (" " in done[len(last) :] and self._several) else before + done


class PickPath(Dialog[Path]):
    """A path, or None on escape. With `folders`, a folder can be chosen as well as a file.

    Accepting takes what is typed, else the folder that is shown (with `folders`), else the file under the cursor.
    """

    DEFAULT_CSS = """
    PickPath > Vertical { width: 80%; max-width: 100; height: 80%; }
    PickPath Input, PickPath Input:focus { border: none; padding: 0; height: 1; background: $panel; margin-bottom: 1; }
    PickPath OptionList, PickPath OptionList:focus { border: none; padding: 0; height: 1fr; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "up", "Parent folder", id="path.up", show=False),
    ]

    def __init__(self, title: str, start: str = ".", suffixes: tuple[str, ...] = (), folders: bool = False) -> None:
        super().__init__()
        self._title, self._suffixes, self._folders = clean_line(title, 76), suffixes, folders
        here = Path(start).expanduser().absolute()
        self._folder = here if here.is_dir() else Path.cwd()
        self._entries: list[Entry] = []

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "enter open · ← parent folder · esc close" + (
                " · ctrl+r this folder" if self._folders else ""
            )
            yield Input(placeholder="path", suggester=PathSuggester(self._folder, self._suffixes))
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()
        self._list(self._folder)

    @work(thread=True, exclusive=True)
    def _list(self, folder: Path) -> None:
        found, word = entries(folder, self._suffixes)
        cast("FleetApp", self.app).tell(self, self._show, folder, found, word)

    def work_failed(self, group: str, words: str) -> None:  # noqa: ARG002 - there is one group
        """Say that the folder can't be read."""
        self._show(self._folder, [], words)

    def _show(self, folder: Path, found: list[Entry], word: str) -> None:
        self._folder, self._entries = folder, found
        self.query_one(Vertical).border_title = Content.assemble(
            self._title, "  ", (clean_line(str(folder), 60), "$muted")
        )
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(_options(found))
        if found:
            options.highlighted = 0
        if word or not found:
            options.add_option(Option(Content(clean_line(word or "nothing here", 200)), disabled=True))

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        if message.option_index == 0:
            self.action_up()
            return
        entry = self._entries[message.option_index - 1]
        self._take(self._folder / entry.name, entry.folder)

    def _take(self, path: Path, is_folder: bool) -> None:
        if is_folder:
            self._list(path)
        else:
            self.dismiss(path)

    def action_accept(self) -> None:
        options = self.query_one(OptionList)
        if self.query_one(Input).value.strip():
            self._typed()
        elif self._folders:
            self.dismiss(self._folder)
        elif options.highlighted:
            options.action_select()

    @on(Input.Submitted)
    def _typed(self) -> None:
        typed = self.query_one(Input).value.strip()
        try:
            path = self._folder / Path(typed).expanduser()
        except RuntimeError:  # `~` without a home
            path = self._folder / typed
        if path.is_dir() and not (self._folders and not typed.endswith("/")):
            self._list(path)
        elif path.exists():
            self.dismiss(path)
        else:
            self.notify(f"There is no {path}.", severity="warning")

    def on_key(self, event: events.Key) -> None:
        """Typing in the list goes to the input."""
        if event.is_printable and event.character and isinstance(self.focused, OptionList):
            field = self.query_one(Input)
            field.focus()
            field.insert_text_at_cursor(event.character)
            event.stop()

    def action_up(self) -> None:
        if self._folder.parent != self._folder:
            self._list(self._folder.parent)


def _options(found: Iterable[Entry]) -> list[Option]:
    from fleet_rlm.documents.document_work import size_in_words

    options = [Option(Content.styled("../", "$muted"))]
    for entry in found:
        name = clean_line(entry.name, 200)
        if entry.folder:
            options.append(Option(Content.styled(f"{name}/", "bold $primary")))
        else:
            options.append(Option(Content.assemble(name, "  ", (size_in_words(entry.bytes), "$muted"))))
    return options
