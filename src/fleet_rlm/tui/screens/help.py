"""The keys of a screen: what each does now, and the name to change it by."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from fleet_rlm.tui.look.keys import key_words

if TYPE_CHECKING:
    from textual.binding import ActiveBinding


class HelpScreen(ModalScreen[None]):
    """All actions of the screen below, grouped by where they belong; scrolls, closes with any of its usual keys."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 70%; }
    HelpScreen VerticalScroll {
        width: 92; max-width: 96%; height: auto; max-height: 92%; padding: 0 2; background: $surface;
        border: round $primary; border-title-color: $primary; border-title-style: bold; border-subtitle-color: $muted;
    }
    HelpScreen VerticalScroll { scrollbar-gutter: stable; }
    HelpScreen Static { width: 100%; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "app.pop_screen", "Close", id="help.close"),
        Binding("y", "copy", "Copy", tooltip="The whole list", id="help.copy"),
        Binding("o", "page", "Pager", tooltip="Show the whole list in the pager", id="help.page"),
        Binding("j", "scroll(1)", "Down", id="help.down", show=False),
        Binding("k", "scroll(-1)", "Up", id="help.up", show=False),
    ]

    def __init__(self, of: Screen[object]) -> None:
        super().__init__()
        self._rows = _rows(of)

    def compose(self) -> ComposeResult:
        with VerticalScroll() as box:
            box.border_title = "Keys of this screen"
            box.border_subtitle = "y copy · o pager · esc close"
            yield Static()

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.query_one(Static).update(self._content(self.query_one(Static).size.width)))

    def _content(self, width: int) -> Content:
        """The list in lines of `width` cells: what does not fit beside its key goes on below its first word."""
        wide = max((len(keys) for keys, *_ in self._rows), default=0) + 2
        parts: list[Content | str | tuple[str, str]] = []
        for keys, words, name, enabled in self._rows:
            tone = "$foreground" if enabled else "$muted"
            lines = wrap(words, max(width - wide, 20))
            fits = wide + len(lines[-1]) + 2 + len(name) <= width
            parts += [(f"{keys:>{wide - 2}}  ", "bold $primary"), (f"\n{' ' * wide}".join(lines), tone)]
            parts += [(f"  {name}" if fits else f"\n{' ' * wide}{name}", "$muted"), "\n"]
        parts += ["\n", ("Change a key in config.toml: ", "$muted"), '[keys]  "name" = "key"\n']
        parts += [("All keys of all screens: ", "$muted"), "fleet-rlm-tui --keys"]
        return Content.assemble(*parts)

    @property
    def text(self) -> str:
        """The list as plain text."""
        wide = max((len(keys) for keys, *_ in self._rows), default=0)
        return "\n".join(f"{keys:>{wide}}  {words}  {name}" for keys, words, name, _ in self._rows)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.text)
        self.notify("The list is in the clipboard.")

    def action_page(self) -> None:
        from fleet_rlm.tui.external import CannotRun, page_text

        try:
            page_text(self.app, self.text)
        except CannotRun as error:
            self.notify(str(error), severity="error")


def _rows(screen: Screen[object]) -> list[tuple[str, str, str, bool]]:
    """(keys, words, id, enabled) of each action, in the order of the chain: focused widget, screen, app."""
    found: dict[str, tuple[list[str], ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        name = active.binding.id
        if name is not None and active.binding.description:
            found.setdefault(name, ([], active))[0].append(key_words(active.binding.key))
    rows = []
    for name, (keys, active) in found.items():
        words, tip = active.binding.description, active.tooltip
        if tip.lower().startswith(words.lower()):
            words = tip
        elif tip:
            words = f"{words}: {tip[0].lower()}{tip[1:]}"
        rows.append((" ".join(keys), words, name, active.enabled))
    return rows
