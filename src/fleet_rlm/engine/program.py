"""A model for a person's own dspy program: the one that runs are configured with, as a plain `dspy.LM`."""

from __future__ import annotations

from pathlib import Path

import dspy

from fleet_rlm import config
from fleet_rlm.engine.errors import SetupError
from fleet_rlm.engine.preparation import retries, timeouts
from fleet_rlm.offline.model import MODEL, OfflineEngine


def lm(model: str | None = None) -> dspy.LM:
    """`dspy.configure(lm=fleet_rlm.lm())`: the model by this name, else the configured one, else the offline model.

    Keys and addresses come from the environment, `.env` and config.toml, as for the command line. Raises `SetupError`
    when the model needs a key that is nowhere to be found.
    """
    settings = config.load(Path.cwd())
    chosen = config.model_choice(settings, model).planner
    if chosen.problem is not None:
        raise SetupError(chosen.problem.message, chosen.problem.hint)
    settings.export()  # where clients look, Modal's too, and where a recording finds what it must not write
    if chosen.offline:
        return dspy.LM(MODEL, engine=OfflineEngine(pace=0), cache=False, num_retries=0)
    given = {"api_key": chosen.api_key, "api_base": chosen.api_base, "timeout": timeouts(settings).total}
    given["num_retries"] = retries(settings).attempts - 1
    if chosen.api_key is None and chosen.api_base is not None:
        given["api_key"] = "none"  # a local server asks for no key, but clients insist on one
    tuned = {"temperature": chosen.temperature, "reasoning_effort": chosen.reasoning_effort}
    return dspy.LM(
        chosen.model,
        max_tokens=chosen.max_tokens or config.DEFAULT_MAX_TOKENS,
        **{name: value for name, value in {**given, **tuned}.items() if value is not None},
    )
