"""Everything that must be right before a run begins: task, documents, inputs, models. Fails with `SetupError` alone."""

from __future__ import annotations

import importlib.metadata
import platform
from dataclasses import dataclass

import dspy

import fleet_rlm
from fleet_rlm import config
from fleet_rlm import events as ev
from fleet_rlm.engine import inputs, signatures
from fleet_rlm.engine.errors import SetupError
from fleet_rlm.engine.models import ModelSettings, SyncEngine
from fleet_rlm.runs import redact
from fleet_rlm.spec import RunSpec

OFFLINE_MODEL = "offline/extractive"
"""How the built-in model calls itself in a run."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin."""

    spec: RunSpec
    task: ev.Task
    signature: type[dspy.Signature]
    bound: inputs.Bound
    notices: tuple[str, ...]
    planner: ModelSettings
    sub: ModelSettings
    offline: bool
    secrets: tuple[str, ...]
    isolation: str | None
    """Isolation modes to try, in order, with commas between; None for the sandbox's own order."""


def prepare(
    spec: RunSpec,
    *,
    documents: inputs.Documents | None = None,
    models: tuple[ModelSettings, ModelSettings] | None = None,
) -> Prepared:
    """Check and gather. `documents` when they were read already, `models` to use instead of what is configured."""
    settings = config.load(spec.cwd)
    if models is None:
        planner, sub, offline = _configured(settings, spec)
    else:
        (planner, sub), offline = models, False
    asked = signatures.resolve(spec.task, spec.signature, spec.instructions, spec.inputs)
    types = {field["name"]: field["type"] for field in signatures.fields_of(asked.signature)["inputs"]}
    wanted = inputs.Wanted(
        names=tuple(types),
        types=types,
        document_field=asked.document_field,
        question_field=asked.question_field,
        needs_question=asked.needs_question,
        default_question=asked.default_question,
    )
    documents = documents if documents is not None else inputs.read_documents(spec)
    bound = inputs.bind(spec, wanted, documents)
    signature = asked.signature
    for name, words in bound.told.items():
        signature = signature.with_updated_fields(name, desc=words)
    keys = [key for key in (planner.api_key, sub.api_key) if key]
    return Prepared(
        spec=spec,
        task=ev.Task(
            name=asked.name, signature=asked.notation, instructions=asked.instructions, question=bound.question
        ),
        signature=signature,
        bound=bound,
        notices=(*(str(problem) for problem in settings.problems), *documents.notices),
        planner=planner,
        sub=sub,
        offline=offline,
        secrets=(*redact.secrets_in(settings.environment), *keys),
        isolation=settings.isolation,
    )


def _configured(settings: config.Settings, spec: RunSpec) -> tuple[ModelSettings, ModelSettings, bool]:
    choice = config.model_choice(settings, spec.model, spec.sub_model)
    if choice.problem is not None:
        raise SetupError(choice.problem.message, choice.problem.hint)
    settings.export()
    planner = _settings(choice.planner)
    sub = planner if choice.sub == choice.planner else _settings(choice.sub)
    return planner, sub, choice.offline


def _settings(model: config.ModelConfig) -> ModelSettings:
    if model.offline:
        return ModelSettings(model=OFFLINE_MODEL, engine=offline_engine(), free=True)
    return ModelSettings(model=model.model, api_key=model.api_key, api_base=model.api_base, max_tokens=model.max_tokens)


def offline_engine() -> SyncEngine:
    """The built-in model without weights."""
    from fleet_rlm.engine.offline import OfflineEngine  # only a run without a model needs it

    engine: SyncEngine = OfflineEngine()
    return engine


def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"fleet_rlm": fleet_rlm.__version__, "python": platform.python_version()}
    for package in ("dspy", "litellm", "modal"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
