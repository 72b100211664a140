"""The vocabulary of a run: typed events, one JSON object a line (`fleet-rlm-run`, version 1).

A run *is* its events: fold them (`fleet_rlm.state`) and you have its state at any moment. The engine makes them,
the recorder stamps and writes them, screens and exporters read them. Fields and kinds may be added freely, since
readers ignore what they don't know; a meaning changes only with a new version.

Units: `t` and everything named `seconds` are seconds, `chars` are Unicode code points, `bytes` are bytes,
`cost_usd` is US dollars, and `usage` counts tokens. `None` means *not known*, never zero.
"""

from __future__ import annotations

from fleet_rlm.events.event_kinds import *  # noqa: F403 - the vocabulary is one namespace for its readers
from fleet_rlm.events.event_lines import *  # noqa: F403
from fleet_rlm.events.event_parts import *  # noqa: F403
