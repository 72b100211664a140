"""`module:Name`: how a signature or a tool of a person's own module is named in options, specs and run files."""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def is_reference(text: str) -> bool:
    """Return True if it is `module:Name` (`package.module:Class.inner`), not DSPy's notation, which has an arrow."""
    return _REFERENCE.fullmatch(text.strip()) is not None
