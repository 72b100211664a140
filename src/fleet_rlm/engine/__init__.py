"""The engine: runs one `dspy.RLM` call from start to end and records its events. Only the engine imports dspy."""

from __future__ import annotations

import os

# Before dspy is imported anywhere below: prices come from the package. Otherwise the first priced call asks the net.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
# Else LiteLLM puts a whole `.env` that it finds into the environment: proxies, addresses, everything (see config).
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
