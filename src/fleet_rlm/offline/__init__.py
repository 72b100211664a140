"""The offline model: a planner and a sub-LLM without weights. It searches and quotes, and concludes nothing.

`offline_model.py` is what DSPy calls. `dspy_prompt.py` reads a prompt; `next_cell.py` answers a planner's, with
the recipes of `fleet_rlm.tasks.recipes`; `quoting.py` answers `llm_query`; `fields_reply.py` fills the fields of a
`Predict`. `arithmetic.py` computes what needs no text, `typed_values.py` fits values to types, `reply_format.py`
writes the reply.
"""

from __future__ import annotations

from fleet_rlm.offline.offline_model import DEFAULT_PACE, OfflineEngine

__all__ = ["DEFAULT_PACE", "OfflineEngine"]
