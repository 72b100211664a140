"""Tell what the Run screen's keys do at this moment, for the footer, the gate's bar and a key that can't act."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from textual.binding import ActiveBinding
from textual.screen import Screen

from fleet_rlm.spec import is_allowed
from fleet_rlm.tui.panes.document import DocumentPane
from fleet_rlm.tui.panes.pane import TextPane
from fleet_rlm.tui.run_view.playhead import Playhead
from fleet_rlm.tui.screens.run.run_keys import BINDINGS, GATE_ACTIONS, LEAVE, LOST_ACTIONS, RunSituation, offer
from fleet_rlm.tui.widgets.find_bar import FindBar
from fleet_rlm.tui.widgets.key_bar import KeyHint
from fleet_rlm.tui.widgets.pane_grid import PaneGrid

if TYPE_CHECKING:
    from fleet_rlm.tui.app import FleetApp


class RunKeyHints(Screen[None]):
    """Shows each key with what it does now, and tells why one does nothing."""

    playhead: Playhead
    grid: PaneGrid
    find: FindBar
    document: DocumentPane
    _keys_drawn: tuple[object, ...] = ()

    def gate_hints(self) -> list[KeyHint]:
        gate = self.playhead.edge.gate
        if gate is None:
            return []
        hints = []
        offers = LOST_ACTIONS if self.playhead.edge.waits_for_sandbox else GATE_ACTIONS[gate.at]
        for binding in BINDINGS:
            for usual, action in offers:
                if binding.action == action:
                    found = offer(action, self.situation)
                    keys = self._keys_of(binding.id or "", usual)
                    hints.append((usual, KeyHint(keys, found.label or binding.description, f"screen.{action}")))
        order = [usual for usual, _ in offers]
        return [hint for _, hint in sorted(hints, key=lambda pair: order.index(pair[0]))]

    def _keys_of(self, name: str, usual: str) -> str:
        """The key of an action as it is now: as the person remapped it."""
        keys = cast("FleetApp", self.app).settings.keys.get(name)
        return keys.split(",")[0] if keys else usual

    @property
    def situation(self) -> RunSituation:
        pane = getattr(self, self.grid.chosen)
        searching = isinstance(pane, TextPane) and pane.search is not None
        return RunSituation.of(
            self.playhead, self.grid.chosen, searching, len(self.document.entries), self.grid.maximised is not None
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        if not self.is_mounted:
            return True
        if self.find.has_focus_within:
            return False  # what is typed belongs to the search
        if action == "abort" and self.selections:
            return True  # what is selected is copied
        if action == "sample":
            return self.playhead.live and is_allowed("sample", self.situation.gate)
        return None if offer(action, self.situation).why_not else True

    def why_disabled(self, action: str) -> str:
        """Why an action does nothing now."""
        return offer(action, self.situation).why_not

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """With the words for what each key does at this moment; this screen's in their own order, first."""
        bindings = super().active_bindings
        if not self.is_mounted:
            return bindings
        now, typing = self.situation, self.find.has_focus_within
        own: dict[str, ActiveBinding] = {}
        others: dict[str, ActiveBinding] = {}
        for key, active in bindings.items():
            if active.node is not self:
                others[key] = active
            else:
                offered = offer(active.binding.action, now)
                shown = not typing and (active.binding.show if offered.shown is None else offered.shown)
                words = offered.label or active.binding.description
                own[key] = active._replace(binding=replace(active.binding, description=words, show=shown))
        order = {binding.id: place for place, binding in enumerate((*BINDINGS, LEAVE))}
        ordered = sorted(own.items(), key=lambda item: order.get(item[1].binding.id, len(order)))
        return {**dict(ordered), **others}

    def draw_keys(self) -> None:
        drawn = (self.situation, self.focused)
        if drawn != self._keys_drawn:
            self._keys_drawn = drawn
            self.refresh_bindings()
