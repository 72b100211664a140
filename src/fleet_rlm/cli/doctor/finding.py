"""The result of one check, as `fleet-rlm doctor` prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "missing"]
"""`note`: worth knowing, and nothing that a run stops at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its state, in words, with the next step where there is one."""

    name: str
    state: State
    words: str
    hint: str = ""
    """The person's next step to fix it."""
    needed: bool = True
    """Whether the run that was asked about stops where this is missing."""
    configured: bool = False
    """True if the fault lies in the configuration: a run then ends with exit status 2."""

    @property
    def stops_a_run(self) -> bool:
        return self.state == "missing" and self.needed
