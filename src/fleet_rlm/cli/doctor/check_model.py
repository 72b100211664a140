"""The model that a run would ask: configured, and with `probe` reached."""

from __future__ import annotations

from fleet_rlm.cli.config_command import without_password
from fleet_rlm.cli.doctor.finding import Finding
from fleet_rlm.config import ModelConfig, Settings, model_choice
from fleet_rlm.figures import seconds

PROBE_SECONDS = 30.0
_ADD = "To choose it, add to"


def look(settings: Settings, *, probe: bool) -> list[Finding]:
    """The planner, and the model of sub-LLM calls where it is another."""
    choice = model_choice(settings)
    models = [("model", choice.planner)]
    if choice.sub != choice.planner:
        models.append(("sub-LLM model", choice.sub))
    found = [finding for name, model in models for finding in _one(settings, name, model, probe=probe)]
    return [*found, *(_offered(settings) if choice.offline or choice.planner.problem else [])]


def _offered(settings: Settings) -> list[Finding]:
    """List models within reach that could be used instead, each with the line to paste."""
    from fleet_rlm.config.offers import offers

    return [
        Finding("offer", "note", f"{one.found}; not used unless you choose it", f"{_ADD} {settings.env_file}:\n{lines}")
        for one in offers(settings)
        if (lines := "\n".join(one.lines))
    ]


def _one(settings: Settings, name: str, model: ModelConfig, *, probe: bool) -> list[Finding]:
    if model.problem is not None:
        if model.problem == settings.stopping:  # told under `settings`
            return []
        return [Finding(name, "missing", model.problem.message, model.problem.hint, configured=True)]
    if model.offline:
        hint = f"For a live one, add to {settings.env_file}: DSPY_LM_MODEL=provider/model and DSPY_LLM_API_KEY=your-key"
        return [Finding(name, "note", f"offline: the built-in model without weights ({model.source})", hint)]
    key = f"key from {model.key_source}" if model.key_source else "no key"
    base = f", at {without_password(model.api_base)}" if model.api_base else ""
    found = [Finding(name, "ok", f"{model.model}{base} ({model.source}; {key})")]
    if not probe:
        return found
    settings.export()  # where model clients look for keys of their own
    from fleet_rlm.engine.models.model_probe import probe as ask  # loads dspy

    answer = ask(model, PROBE_SECONDS)
    if answer.problem is not None:
        words = f"{model.model} could not be asked: {answer.problem.message}"
        return [*found, Finding(f"{name} reached", "missing", words, answer.problem.hint)]
    return [*found, Finding(f"{name} reached", "ok", f"{model.model} answered in {seconds(answer.seconds)}")]
