"""The offline model: a planner and a sub-LLM without weights, that search and quote and never invent.

`engine.py` is the door to DSPy. A prompt is read by `prompt.py` and answered by `planner.py` (with `cells.py`, which
writes code out of `written/`), by `extract.py` (free prompts, with `judge.py`, `listing.py` and `summary.py`) or by
`predict.py` (output fields); `wire.py` writes the answer. `question.py`, `words.py` and `reading.py` are what all of
them know of language; `fields.py` says how each output of a signature is come by.
"""

from __future__ import annotations

from fleet_rlm.engine.offline.engine import DEFAULT_PACE, MODEL, OfflineEngine

__all__ = ["DEFAULT_PACE", "MODEL", "OfflineEngine"]
