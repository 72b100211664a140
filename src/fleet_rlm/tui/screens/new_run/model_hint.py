"""The hint under New run's model fields: which model would answer, with which key, or what is missing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet_rlm import config
from fleet_rlm.tui.screens.new_run.draft import Draft, Incomplete, asked_of

MOST_OFFERS = 3


@dataclass(frozen=True, slots=True)
class ModelHint:
    """The models that a form names: which would answer, or what is missing."""

    configured: config.Settings
    usual: str
    """The planner where none is typed."""
    words: str
    more: str = ""
    wrong: bool = False


def model_hint(draft: Draft, cwd: Path) -> ModelHint:
    """Check the models of a form. Reads files: not for the UI thread."""
    settings = configured = config.load(cwd)
    usual = config.model_choice(configured).planner.model
    with suppress(Incomplete):  # the form says what is wrong with it
        settings = settings.asking(asked_of(draft))
    choice = config.model_choice(settings, draft.model, draft.sub_model)
    if problem := choice.problem or settings.stopping:
        return ModelHint(configured, usual, problem.message, problem.hint, wrong=True)
    if choice.offline:
        words = "the built-in model without weights: it searches and quotes, needs no key, costs nothing"
        return ModelHint(configured, usual, words, "" if draft.model.strip() else "set DSPY_LM_MODEL for another")
    key = choice.planner.key_source
    return ModelHint(configured, usual, choice.planner.source, f"key: {key}" if key else "no key needed here")


def offered_hint(found: ModelHint) -> ModelHint | None:
    """The same with the models that could be chosen; None when there are none. Takes up to half a second."""
    from fleet_rlm.config.offers import offers

    words = [f"{one.found}: {' '.join(one.lines)}" for one in offers(found.configured)[:MOST_OFFERS]]
    if not words:
        return None
    chosen = "offline, unless you name one of these here or add its lines to .env:"
    return ModelHint(found.configured, found.usual, chosen, " · ".join(words))
