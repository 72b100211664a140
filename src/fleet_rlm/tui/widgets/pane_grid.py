"""The panes side by side, as the terminal's size allows: three columns, two, or one pane with tabs.

A grid has *slots*; a slot shows one of the panes that share it, and its frame's title names them all (click one, or
press its number). Borders between slots are dragged with the mouse or moved by keys. Nothing is ever mounted anew: a
pane keeps its place in its text wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import msgspec
from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from fleet_rlm.tui.look.themes import Palette, palette

WIDE, MEDIUM, TALL, LOW = 120, 100, 28, 150
"""From this many columns three columns of panes, from this many two (if there are this many lines as well); without
these lines, three columns of one pane each from `LOW` columns on."""
LEAST_WIDTH, LEAST_HEIGHT = 18, 5
MANY_TABS = 6
"""In a slot of more panes than this, the frame's title has room for their names alone."""
Shape = Literal["wide", "low", "medium", "single"]
Side = Literal["left", "right", "upper", "calls"]


class Proportions(msgspec.Struct, kw_only=True):
    """Shares of the grid, 0.0 … 1.0: the width of the left and of the right column, the height of the upper slots."""

    left: float = 0.29
    right: float = 0.30
    upper: float = 0.58
    calls: float = 0.58


@dataclass(frozen=True, slots=True)
class FrameWords:
    """The words in a pane's frame."""

    extra: str = ""
    """Words beside its name, at the top."""
    figures: str = ""
    """Words at the bottom."""
    alert: bool = False
    """True to show the figures in the colour of warnings."""


@runtime_checkable
class Pane(Protocol):
    """A widget that the grid can show: it says what stands in its frame."""

    @property
    def frame_words(self) -> FrameWords: ...


SLOTS: dict[Shape, dict[str, tuple[str, ...]]] = {
    "wide": {
        "left": ("document",),
        "upper": ("code",),
        "lower": ("output", "variables", "answer", "events"),
        "calls": ("calls",),
        "call": ("call",),
    },
    "low": {
        "left": ("document",),
        "upper": ("code",),
        "calls": ("output", "calls", "call", "variables", "answer", "events"),
    },
    "medium": {
        "left": ("document",),
        "upper": ("code",),
        "lower": ("output", "calls", "call", "variables", "answer", "events"),
    },
    "single": {"left": ("document", "code", "output", "calls", "call", "variables", "answer", "events")},
}
NAMES = {
    name: name.capitalize() for name in ("document", "code", "output", "calls", "variables", "answer", "events", "call")
}
NUMBERS = {name: str(number) for number, name in enumerate(NAMES, 1) if name != "call"}


def shape_of(size: Size) -> Shape:
    if size.width >= WIDE and size.height >= TALL:
        return "wide"
    if size.width >= LOW:
        return "low"
    return "medium" if size.width >= MEDIUM and size.height >= TALL else "single"


class _GridLayout(Layout):
    name = "panes"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:  # noqa: ARG002
        assert isinstance(parent, PaneGrid)
        regions = parent.regions(size)
        placements = []
        for child in children:
            region = regions.get(child.id or "", Region(0, 0, 0, 0))
            margin = child.styles.margin
            placements.append(WidgetPlacement(region, region.reset_offset.offset, margin, child))
        return placements


class PaneGrid(Widget):
    """Lays out the panes it is given, whose ids are the keys of `NAMES`."""

    DEFAULT_CSS = """
    PaneGrid { width: 1fr; height: 1fr; background: $background; }
    """

    class Arranged(Message):
        """Another pane is shown, or the person changed the proportions."""

    def __init__(self, panes: Iterable[Widget], proportions: Proportions | None = None) -> None:
        super().__init__()
        self._panes = {pane.id or "": pane for pane in panes}
        self.proportions = proportions or Proportions()
        self.shape: Shape = "wide"
        self.laid_out = False
        """True once `shape` is that of the terminal."""
        self.chosen = "code"
        """The pane that has the focus, or had it last."""
        self.tabs: dict[str, str] = {"lower": "output"}
        """The pane that each slot shows."""
        self.maximised: str | None = None
        self._layout_ = _GridLayout()
        self.news: set[str] = set()
        """Panes with something new that was not seen yet: their tabs are highlighted."""
        self._dragged: Side | None = None
        self._drawn: dict[str, tuple[Content, Content]] = {}

    @property
    def layout(self) -> Layout:
        return self._layout_

    def compose(self) -> ComposeResult:
        yield from self._panes.values()

    def render_line(self, y: int) -> Strip:  # noqa: ARG002
        return Strip([Segment(" " * self.size.width, self.rich_style)])

    # Which panes are seen

    @property
    def slots(self) -> dict[str, tuple[str, ...]]:
        return SLOTS[self.shape]

    def slot_of(self, name: str) -> str:
        return next(slot for slot, names in self.slots.items() if name in names)

    def in_view(self) -> list[str]:
        """Return the panes that can be seen, in the order of `tab`."""
        if self.maximised:
            return [self.maximised]
        return [self.shown_in(slot) for slot in self.slots]

    def shown_in(self, slot: str) -> str:
        names = self.slots[slot]
        if self.shape == "single":
            return self.chosen if self.chosen in names else names[1]
        shown = self.tabs.get(slot, names[0])
        return shown if shown in names else names[0]

    def show(self, name: str, focus: bool = True) -> None:
        """Show a pane and, with `focus`, put the focus on it."""
        if self.shape == "single" or focus:
            self.chosen = name
        self.tabs[self.slot_of(name)] = name
        if self.maximised and self.maximised != name:
            self.maximised = name if focus else self.maximised
        self._apply()
        if focus:
            self.screen.set_focus(self._panes[name], scroll_visible=False)  # at once: the next key belongs there
        self.post_message(self.Arranged())

    def step(self, direction: int) -> None:
        """Focus the next pane (1) or the one before (-1); past the last of a slot's tabs comes the next slot."""
        order = self.in_view()
        if self.maximised or self.shape == "single":
            order = [name for slot in self.slots.values() for name in slot]
        place = order.index(self.chosen) if self.chosen in order else -direction
        self.show(order[(place + direction) % len(order)])

    def toggle_maximised(self) -> bool:
        self.maximised = None if self.maximised else self.chosen
        self._apply()
        self.screen.set_focus(self._panes[self.chosen], scroll_visible=False)
        self.post_message(self.Arranged())
        return self.maximised is not None

    def _apply(self) -> None:
        visible = set(self.in_view())
        for name, pane in self._panes.items():
            pane.display = name in visible
        self.refresh(layout=True)
        self.draw_titles()

    # Frames

    def draw_titles(self, names: Iterable[str] | None = None) -> None:
        """Write the frames' titles and figures."""
        colors = palette(self.app)
        for name in self.in_view() if names is None else names:
            widget = self._panes[name]
            assert isinstance(widget, Pane)
            words = widget.frame_words
            title = self._title(name, words.extra, colors)
            figures = Content.styled(words.figures, f"not bold {colors.operator if words.alert else colors.muted}")
            if words.extra and not self.maximised and len(self.slots[self.slot_of(name)]) > MANY_TABS:
                beside = f"{words.extra} · " if words.figures else words.extra
                figures = Content.assemble((beside, f"not bold {colors.muted}"), figures)
            before = self._drawn.get(name)
            if before is None or not (before[0].is_same(title) and before[1].is_same(figures)):
                self._drawn[name] = (title, figures)
                widget.border_title, widget.border_subtitle = title, figures

    def _title(self, name: str, extra: str, colors: Palette) -> Content:
        muted, accent, plain, news = colors.muted, colors.primary, colors.foreground, colors.success
        focused = self._panes[name].has_focus_within or self._panes[name].has_focus
        together = self.slots[self.slot_of(name)] if not self.maximised else (name,)
        narrow = len(together) > MANY_TABS
        parts: list[Content] = []
        for other in together:
            if narrow and other == "call" and name != "call":
                continue  # there is no room, and enter on a call shows it
            if other == name:
                tone = f"bold {accent if focused else plain}"
            else:
                tone = f"bold {news}" if other in self.news else f"not bold {muted}"
            click = Style.from_meta({"@click": f"screen.pane('{other}')"})
            number = f"{NUMBERS[other]} " if other in NUMBERS else ""
            if parts:
                parts.append(Content("  "))
            if number:
                parts.append(Content.styled(number, Style.parse(f"not bold {muted}") + click))
            parts.append(Content.styled(NAMES[other], Style.parse(tone) + click))
            if other == name and extra and not narrow:
                parts.append(Content.styled(f" {extra}", f"not bold {muted}"))
        return Content.assemble(*parts)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.draw_titles())

    def on_descendant_focus(self) -> None:
        for name, pane in self._panes.items():
            if pane.has_focus or pane.has_focus_within:
                self.chosen = name
        self.draw_titles()

    def on_descendant_blur(self) -> None:
        self.draw_titles()

    # Sizes

    def on_resize(self, event: events.Resize) -> None:
        self.laid_out = True
        shape = shape_of(Size(event.size.width, self.screen.size.height))
        if shape != self.shape or not any(pane.display is False for pane in self._panes.values()):
            self.shape = shape
            if shape != "single" and self.chosen not in self.in_view():
                self.tabs[self.slot_of(self.chosen)] = self.chosen
            self._apply()

    def regions(self, size: Size) -> dict[str, Region]:
        """Return the region of each visible pane."""
        width, height = size
        if self.maximised:
            return {self.maximised: Region(0, 0, width, height)}
        if self.shape == "single":
            return {self.shown_in("left"): Region(0, 0, width, height)}
        x1, x2, y1, y2 = self._lines(size)
        if self.shape == "low":
            y1 = y2 = height
        regions = {
            "left": Region(0, 0, x1, height),
            "upper": Region(x1, 0, x2 - x1, y1),
            "lower": Region(x1, y1, x2 - x1, height - y1),
        }
        if self._three_columns:
            regions["calls"] = Region(x2, 0, width - x2, y2)
        if self.shape == "wide":
            regions["call"] = Region(x2, y2, width - x2, height - y2)
        return {self.shown_in(slot): region for slot, region in regions.items() if slot in self.slots}

    @property
    def _three_columns(self) -> bool:
        return self.shape in ("wide", "low")

    def _lines(self, size: Size) -> tuple[int, int, int, int]:
        """Return where the borders are: two columns, and a line in each of the two columns at the right."""
        width, height = size
        share = self.proportions
        x1 = _between(round(width * (share.left if self._three_columns else share.left + 0.08)), LEAST_WIDTH, width)
        x2 = width
        if self._three_columns:
            x2 = _between(width - round(width * share.right), x1 + LEAST_WIDTH, width)
        y1 = _between(round(height * share.upper), LEAST_HEIGHT, height, LEAST_HEIGHT)
        return x1, x2, y1, _between(round(height * share.calls), LEAST_HEIGHT, height, LEAST_HEIGHT)

    def resize_pane(self, columns: int, lines: int) -> None:
        """Make the focused pane wider (narrower) and higher (lower)."""
        if self.shape == "single" or self.maximised:
            return
        slot = self.slot_of(self.chosen)
        across: dict[str, tuple[Side, int]] = {"left": ("left", 1), "calls": ("right", 1), "call": ("right", 1)}
        if columns:
            side, sign = across.get(slot, ("left", -1))
            self._move(side, sign * columns / max(1, self.size.width))
        along: dict[str, tuple[Side, int]] = {
            "upper": ("upper", 1),
            "lower": ("upper", -1),
            "calls": ("calls", 1),
            "call": ("calls", -1),
        }
        if lines and slot in along and self.shape != "low":
            side, sign = along[slot]
            self._move(side, sign * lines / max(1, self.size.height))

    def reset_sizes(self) -> None:
        self.proportions = Proportions()
        self._resized()

    def _move(self, side: Side, share: float) -> None:
        self._set_share(side, getattr(self.proportions, side) + share)

    def _set_share(self, side: Side, share: float) -> None:
        setattr(self.proportions, side, min(0.85, max(0.08, share)))
        self._resized()

    def _resized(self) -> None:
        self._panes[self.in_view()[0]].refresh(layout=True)  # a child's: only that makes the grid arrange anew
        self.post_message(self.Arranged())

    def _border_at(self, x: int, y: int) -> Side | None:
        if self.shape == "single" or self.maximised:
            return None
        x1, x2, y1, y2 = self._lines(self.size)
        if x in (x1 - 1, x1):
            return "left"
        if self._three_columns and x in (x2 - 1, x2):
            return "right"
        if self.shape == "low":
            return None
        if x1 < x < x2 - 1 and y == y1 - 1:
            return "upper"
        if self.shape == "wide" and x > x2 and y == y2 - 1:
            return "calls"
        return None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        origin = self.region
        self._dragged = self._border_at(event.screen_x - origin.x, event.screen_y - origin.y)
        if self._dragged:
            self.capture_mouse()
            event.stop()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if not self._dragged:
            return
        width, height = self.size
        x, y = event.screen_x - self.region.x, event.screen_y - self.region.y
        share = {
            "left": x / max(1, width) - (0 if self._three_columns else 0.08),
            "right": (width - x) / max(1, width),
            "upper": (y + 1) / max(1, height),
            "calls": (y + 1) / max(1, height),
        }[self._dragged]
        self._set_share(self._dragged, share)

    def on_mouse_up(self) -> None:
        if self._dragged:
            self._dragged = None
            self.release_mouse()


def _between(value: int, least: int, most: int, keep: int = LEAST_WIDTH) -> int:
    return max(least, min(value, most - keep))
