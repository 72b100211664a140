"""A model for a person's own dspy program: the one that runs are configured with, as a plain `dspy.LM`."""

from __future__ import annotations

from pathlib import Path

import dspy
from dspy.utils.exceptions import LMConfigurationError

from fleet_rlm import config
from fleet_rlm.engine.prepare.preparation import retries, timeouts
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.offline import OfflineEngine


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
        return dspy.LM(config.OFFLINE_MODEL, engine=OfflineEngine(pace=0), cache=False, num_retries=0)
    given = {
        "api_key": chosen.api_key,
        "api_base": chosen.api_base,
        "timeout": timeouts(settings).total,
        "num_retries": retries(settings).attempts - 1,
        "temperature": chosen.temperature,
        "reasoning_effort": chosen.reasoning_effort,
    }
    if chosen.api_key is None and chosen.api_base is not None:
        given["api_key"] = "none"  # a local server asks for no key, but clients insist on one
    name, given["model_type"] = chosen.model, "chat"
    if "/responses/" in name:
        name, given["model_type"] = name.replace("/responses/", "/", 1), "responses"
    wanted = {key: value for key, value in given.items() if value is not None}
    try:
        return dspy.LM(name, max_tokens=chosen.max_tokens or config.DEFAULT_MAX_TOKENS, **wanted)
    except LMConfigurationError as error:
        if chosen.max_tokens is not None:
            raise SetupError(str(error), "Set DSPY_LM_MAX_TOKENS and DSPY_LM_TEMPERATURE to that.") from error
    try:  # a reasoning model, which wants far more than the usual limit, or none
        return dspy.LM(name, **wanted)
    except LMConfigurationError as error:
        raise SetupError(str(error), "Set DSPY_LM_TEMPERATURE to that, or leave it out.") from error
