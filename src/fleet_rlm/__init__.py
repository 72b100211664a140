"""fleet-rlm: watch, steer and replay Recursive Language Model runs."""

from __future__ import annotations

__version__ = "0.1.0"
