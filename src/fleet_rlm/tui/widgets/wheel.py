"""How far a turn of the mouse wheel scrolls."""

from __future__ import annotations

WHEEL_LINES = 3
