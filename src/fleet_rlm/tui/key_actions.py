"""The keys of the app: what one that can't act now says, what the command palette lists, how a key is written.

A screen or widget whose `check_action` answers None (disabled, but shown) has a method `why_disabled(action) -> str`:
the app says it when the key is pressed all the same, and the command palette shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual.actions import ActionParseResult, parse
from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from fleet_rlm.tui.look.keys import key_words
from fleet_rlm.tui.seams import OpenApp

if TYPE_CHECKING:
    from textual.dom import DOMNode


@runtime_checkable
class SaysWhy(Protocol):
    def why_disabled(self, action: str) -> str:
        """Why an action of this widget cannot be done now, in a few words."""


class KeyActionsApp(OpenApp[list[str]]):
    """An app that says why a key does nothing, and lists every action with its key."""

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        done = await super().run_action(action, default_namespace, namespaces)
        if not done and isinstance(action, str) and default_namespace is not None:
            why = self._why_disabled(action, default_namespace)
            if why:
                self.notify(why, timeout=4)
                return True
        return done

    def _why_disabled(self, action: str, node: DOMNode) -> str:
        namespace, name, parameters = parse(action)
        target: DOMNode = {"app": self, "screen": self.screen}.get(namespace, node)
        if isinstance(target, SaysWhy) and target.check_action(name, parameters) is None:
            return target.why_disabled(name)
        return ""

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Everything that can be done now, with its key."""
        seen: set[str] = set()
        for node, binding, enabled, tooltip in screen.active_bindings.values():
            if binding.id is None or binding.id in seen or not binding.description:
                continue
            seen.add(binding.id)
            keys = self.get_key_display(binding)
            why = "" if enabled else self._why_disabled(binding.action, node)
            help_text = f"{keys}  {tooltip or ''}".rstrip() if enabled else f"{keys}  not now: {why}"

            async def run(action: str = binding.action, node: DOMNode = node) -> None:
                await self.run_action(action, node)

            yield SystemCommand(binding.description, help_text, run)

    def get_key_display(self, binding: Binding) -> str:
        """Keys as a person says them: `enter`, `ctrl+q`, `?`."""
        if binding.key_display:
            return binding.key_display
        return key_words(binding.key)
