"""The footer: a line of key hints for the screen and the focused widget."""

from __future__ import annotations

from textual.screen import Screen

from fleet_rlm.tui.widgets.key_bar import KeyBar, KeyHint

LAST = ("run.search", "run.zoom", "run.leave", "app.quit", "app.help")
"""Keys that the footer always shows, in this order."""


class KeyFooter(KeyBar):
    """Shows the bindings of its screen and of the focused widget; those that apply everywhere stand at the end."""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._follow)
        self._follow(self.screen)

    def _follow(self, screen: Screen[object]) -> None:
        hints: dict[str, KeyHint] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if not binding.show or binding.id is None or binding.id in hints or not active.enabled:
                continue
            keys = self.app.get_key_display(binding)
            action = binding.action if "." in binding.action else f"{_namespace(active.node)}.{binding.action}"
            hints[binding.id] = KeyHint(keys, binding.description, action, active.tooltip)
        last = [hints.pop(name) for name in LAST if name in hints]
        self.show(list(hints.values()), last)


def _namespace(node: object) -> str:
    from textual.app import App

    if isinstance(node, App):
        return "app"
    return "screen" if isinstance(node, Screen) else "focused"
