"""Everything that must be right before a run begins: task, documents, inputs, models. Fails with `SetupError` alone.

A preset needs no dspy to be checked, so that a run's first event need not wait for the import; a signature that the
person wrote does.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import fleet_rlm
from fleet_rlm import config, sandbox_choice, tasks
from fleet_rlm import events as ev
from fleet_rlm.engine.models.model_settings import ModelSettings, Retries, Timeouts
from fleet_rlm.engine.prepare import own_code, run_inputs
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.runs import redact
from fleet_rlm.sandbox.local import IsolationError, parse_modes
from fleet_rlm.spec import RunSpec, SandboxChoice
from fleet_rlm.tasks.references import is_reference

if TYPE_CHECKING:
    import dspy

CUSTOM = "custom"
"""Name of the task when the person wrote the signature."""
DOCUMENT_NAMES = ("context", "document", "documents", "text", "docs", "corpus", "logs")
QUESTION_NAMES = ("question", "query", "instruction", "request", "task", "focus")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin."""

    task: ev.Task
    field_words: Mapping[str, str]
    """What the planner is told of the signature's fields."""
    bound: run_inputs.Bound
    notices: tuple[str, ...]
    planner: ModelSettings
    sub: ModelSettings
    secrets: tuple[str, ...]
    isolation: tuple[str, ...]
    """Modes of local isolation to try, in order."""
    sandbox: SandboxChoice = "local"
    """Never `auto`."""
    signature: type[dspy.Signature] | None = None
    """The class, when the person gave one; else the task's notation says it."""
    tools: tuple[own_code.Tool, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: Retries = field(default_factory=Retries)


@dataclass(frozen=True, slots=True)
class Own:
    """What a program gives of its own, beside what a spec can say."""

    signature: type[dspy.Signature] | None = None
    tools: tuple[own_code.Function | str, ...] = ()


def prepare(
    spec: RunSpec,
    *,
    documents: run_inputs.Documents | None = None,
    models: tuple[ModelSettings, ModelSettings] | None = None,
    own: Own | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Check and gather. `documents` when they were read already, `models` to use instead of what is configured."""
    own = own or Own()
    _check_numbers(spec)
    settings = configured(spec)
    if settings.stopping is not None:
        raise SetupError(settings.stopping.message, settings.stopping.hint)
    planner, sub = models if models is not None else _configured(settings, spec)
    place = _place(spec, settings)
    asked = _asked(spec, own)
    tools = own_code.tools((*asked.tools, *spec.tools, *own.tools), spec.cwd)
    if spec.tools or own.tools:
        _check_tools(asked, tools)
    documents = documents if documents is not None else run_inputs.read_documents(spec, cancelled)
    bound = run_inputs.bind(spec, asked.wanted, documents)
    keys = [key for key in (planner.api_key, sub.api_key) if key]
    addresses = {model.model: model.api_base for model in (planner, sub) if model.api_base}
    return Prepared(
        task=ev.Task(
            name=asked.name,
            signature=asked.notation,
            instructions=asked.instructions,
            question=bound.question,
            reference=asked.reference,
            tools=tuple(tool.record for tool in tools),
        ),
        field_words={**asked.field_words, **_told(asked, bound.told)},
        bound=bound,
        notices=(*filter(None, [place.notice]), *(str(problem) for problem in settings.problems), *documents.notices),
        planner=planner,
        sub=sub,
        secrets=(*redact.secrets_in(settings.environment), *redact.secrets_in(addresses), *keys),
        isolation=_isolation(settings.isolation),
        sandbox=place.sandbox,
        signature=asked.signature,
        tools=tools,
        timeouts=timeouts(settings),
        retries=retries(settings),
    )


def configured(spec: RunSpec) -> config.Settings:
    """The settings of a run: what its spec asks for, before what is configured."""
    return config.load(spec.cwd, asked={**spec.settings, "model.name": spec.model, "model.sub": spec.sub_model})


def _check_numbers(spec: RunSpec) -> None:
    budgets = spec.budgets
    least: dict[str, tuple[float | None, float]] = {
        "max_iterations": (budgets.max_iterations, 1),
        "max_llm_calls": (budgets.max_llm_calls, 0),
        "max_tokens": (budgets.max_tokens, 1),
        "concurrency": (spec.concurrency, 1),
        "first_chars": (spec.first_chars, 1),
    }
    for name, (value, limit) in least.items():
        if value is not None and value < limit:
            raise SetupError(f"{name} is {value}.", f"It must be {limit} or more.")
    for name, amount in {"max_seconds": budgets.max_seconds, "max_cost_usd": budgets.max_cost_usd}.items():
        if amount is not None and amount <= 0:
            raise SetupError(f"{name} is {amount:g}.", "It must be more than 0; leave it out for no limit.")


@dataclass(frozen=True, slots=True)
class _Asked:
    name: str
    notation: str
    instructions: str
    field_words: Mapping[str, str]
    wanted: run_inputs.Wanted
    tools: tuple[str, ...] = ()
    signature: type[dspy.Signature] | None = None
    reference: str | None = None


def _asked(spec: RunSpec, own: Own) -> _Asked:
    if own.signature is not None:
        return _asked_by_class(spec, own.signature, own_code.reference_of_signature(own.signature))
    if spec.signature is None:
        return _asked_by_task(spec)
    if is_reference(spec.signature):
        reference = spec.signature.strip()
        return _asked_by_class(spec, own_code.signature_class(reference, spec.cwd), reference)
    return _asked_by_signature(spec, spec.signature)


def _asked_by_task(spec: RunSpec) -> _Asked:
    try:
        task = tasks.get(spec.task)
    except tasks.UnknownTask as error:
        raise SetupError(str(error), "`--task NAME` takes one of them; `--signature` takes your own.") from error
    types = dict.fromkeys(task.inputs, "str")
    for part in task.signature.partition("->")[0].split(","):
        name, _, written = part.partition(":")
        types[name.strip()] = written.strip() or "str"
    wanted = run_inputs.Wanted(
        types=types,
        document_field=task.document_field,
        question_field=task.question_field,
        needs_question=task.needs_question,
        default_question=task.default_question,
    )
    instructions = task.instructions if spec.instructions is None else spec.instructions
    return _Asked(task.name, task.signature, instructions, task.fields, wanted, task.tools)


def _asked_by_signature(spec: RunSpec, notation: str) -> _Asked:
    from fleet_rlm.engine.prepare import signature_notation  # half a second, which a preset does not need

    instructions = spec.instructions or ""
    signature = signature_notation.parse(notation, instructions)
    return _Asked(CUSTOM, notation, instructions, {}, _wanted(spec, signature))


def _asked_by_class(spec: RunSpec, signature: type[dspy.Signature], reference: str | None) -> _Asked:
    from fleet_rlm.engine.prepare import signature_notation

    signature_notation.check(signature, reference or signature.__name__)
    if spec.instructions is not None:
        signature = signature.with_instructions(spec.instructions)
    words = {
        name: said
        for name, field in signature.input_fields.items()
        if (said := str((field.json_schema_extra or {}).get("desc") or "")) and said != f"${{{name}}}"
    }
    return _Asked(
        name=(reference or "").rpartition(":")[2].rpartition(".")[2] or signature.__name__,
        notation=signature_notation.notation_of(signature),
        instructions=signature.instructions,
        field_words=words,
        wanted=_wanted(spec, signature),
        signature=signature,
        reference=reference,
    )


def _told(asked: _Asked, told: Mapping[str, str]) -> dict[str, str]:
    """What binding adds to a field's words; those of a preset speak of any documents, and make way."""
    own = asked.field_words if asked.signature is not None else {}
    return {name: f"{own[name]} {words}" if name in own else words for name, words in told.items()}


def _check_tools(asked: _Asked, tools: tuple[own_code.Tool, ...]) -> None:
    from fleet_rlm.engine.prepare import signature_notation

    signature = asked.signature or signature_notation.parse(asked.notation, asked.instructions)
    own_code.check_names(signature, tools)


def _wanted(spec: RunSpec, signature: type[dspy.Signature]) -> run_inputs.Wanted:
    """Which inputs hold the documents and the question, by their names, else by their order."""
    from fleet_rlm.engine.prepare import signature_notation

    types = {one["name"]: one["type"] for one in signature_notation.fields_of(signature)["inputs"]}
    free = [name for name in types if name not in spec.inputs]
    question = next((name for name in QUESTION_NAMES if name in free), None)
    document = next((name for name in DOCUMENT_NAMES if name in free), None)
    if document is None:
        document = next((name for name in free if name != question), None)
    if question is None:
        question = next((name for name in free if name != document), None)
    return run_inputs.Wanted(
        types=types, document_field=document, question_field=question, needs_question=question is not None
    )


def _configured(settings: config.Settings, spec: RunSpec) -> tuple[ModelSettings, ModelSettings]:
    choice = config.model_choice(settings)
    if choice.problem is not None:
        raise SetupError(choice.problem.message, choice.problem.hint)
    settings.export()
    planner = model_settings(choice.planner, watched=spec.watched)
    return planner, planner if choice.sub == choice.planner else model_settings(choice.sub, watched=spec.watched)


def model_settings(model: config.ModelConfig, *, watched: bool = False) -> ModelSettings:
    """How a run asks a configured model."""
    if model.offline:
        return ModelSettings(model=config.OFFLINE_MODEL, offline=True, watched=watched)
    return ModelSettings(
        model=model.model,
        api_key=model.api_key,
        api_base=model.api_base,
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        reasoning_effort=model.reasoning_effort,
        context_window=model.context_window,
        price_in=model.price_in,
        price_out=model.price_out,
    )


def timeouts(settings: config.Settings) -> Timeouts:
    """How long a run waits for its models."""
    usual = Timeouts()
    return Timeouts(
        first_token=settings.number("model.first_token_timeout") or usual.first_token,
        idle=settings.number("model.idle_timeout") or usual.idle,
        total=settings.number("model.answer_timeout") or usual.total,
        extraction=settings.number("model.extraction_timeout"),
    )


def retries(settings: config.Settings) -> Retries:
    """How often a run asks its models again."""
    again, usual = settings.whole("model.retries"), Retries()
    return usual if again is None else Retries(attempts=again + 1, timeouts=min(again + 1, usual.timeouts))


def _place(spec: RunSpec, settings: config.Settings) -> sandbox_choice.Place:
    if spec.sandbox != "local" and (problem := sandbox_choice.check(spec.modal)) is not None:
        raise SetupError(problem.message, problem.hint)
    place = sandbox_choice.settle(spec.sandbox, settings)
    if place.problem is not None:
        raise SetupError(place.problem.message, place.problem.hint)
    if place.sandbox == "modal":
        settings.export()  # Modal's client looks for its token there
    return place


def _isolation(configured: str | None) -> tuple[str, ...]:
    try:
        return parse_modes(configured or "")
    except IsolationError as error:
        raise SetupError(str(error), "Set FLEET_RLM_ISOLATION to one of them, or leave it out.") from error


def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"fleet_rlm": fleet_rlm.__version__, "python": platform.python_version()}
    for package in ("dspy", "litellm", "modal"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
