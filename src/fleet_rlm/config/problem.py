"""Something configured that can't be used, or missing, in words for a person."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault of the configuration, and what to write instead."""

    message: str
    hint: str = ""
    """What to write, and where."""
    stops: bool = False
    """True if no run starts before this is fixed."""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
