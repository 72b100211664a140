"""From options and configuration to a run's spec: the same for `fleet-rlm run`, `fleet-rlm-tui` and New run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import msgspec

from fleet_rlm.config import SETTINGS, Settings
from fleet_rlm.config.settings_table import TUNING
from fleet_rlm.spec import DEFAULT_CONCURRENCY, Budgets, OnSandboxLost, RunSpec


def complete(spec: RunSpec, settings: Settings, of_task: Budgets) -> RunSpec:
    """The spec with models, sandbox, budgets and concurrency, as asked, else as configured, else as the task has it.

    Raises `sandbox_choice.Unusable` naming what can't be used and where it is said.
    """
    from fleet_rlm.sandbox_choice import choose  # the screen's form needs only the budgets

    sandbox, modal = choose(settings)
    asked = settings.asked
    return msgspec.structs.replace(
        spec,
        model=cast("str | None", asked.get("model.name")),
        sub_model=cast("str | None", asked.get("model.sub")),
        settings={one.key: asked[one.key] for one in SETTINGS if one.group == TUNING and one.key in asked},
        sandbox=sandbox,
        modal=modal,
        on_sandbox_lost=cast(OnSandboxLost, settings.text("run.on_sandbox_lost") or spec.on_sandbox_lost),
        budgets=budgets(settings, of_task),
        concurrency=settings.whole("run.concurrency") or DEFAULT_CONCURRENCY,
    )


def budgets(settings: Settings, of_task: Budgets) -> Budgets:
    """What the run may spend: as asked or configured (0 takes a limit away), else as the task has it."""
    limits = {}
    for name in Budgets.__struct_fields__:
        said = settings.number(f"run.{name}")
        limits[name] = getattr(of_task, name) if said is None else said or None
    return msgspec.convert(limits, Budgets)


def named_values(texts: Iterable[str]) -> dict[str, str]:
    """The further inputs in texts like `limit=5`, by their names. Raises `ValueError` in words for the person."""
    values = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip().isidentifier():
            raise ValueError(f"write it as NAME=VALUE, such as limit=5, not {text[:60]!r}.")
        values[name.strip()] = value
    return values
