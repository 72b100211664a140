"""The sources of the screens' events: a live engine, or a run file that is complete or still grows."""

from __future__ import annotations

from fleet_rlm.tui.sources.live_engine import EngineClient
from fleet_rlm.tui.sources.run_files import FollowFile, ReplayFile

__all__ = ["EngineClient", "FollowFile", "ReplayFile"]
