"""The form of New run as it was typed, and the run that it asks for: no widgets, no files."""

from __future__ import annotations

import shlex
from typing import Any, cast, get_args

import msgspec

from fleet_rlm.config import BY_KEY, SETTINGS, Settings
from fleet_rlm.config.setting_sources import NOTHING
from fleet_rlm.config.settings_table import TUNING, NotAValue, Parsed
from fleet_rlm.run_settings import budgets as budgets_of
from fleet_rlm.run_settings import named_values
from fleet_rlm.spec import DEFAULT_CONCURRENCY, ModalOptions, OnSandboxLost, RunSpec, SandboxChoice
from fleet_rlm.tasks.catalog import TASKS, Task
from fleet_rlm.tasks.references import is_reference
from fleet_rlm.tasks.tools import BUNDLED
from fleet_rlm.terminal_text import clean, clean_line
from fleet_rlm.tui.screens.new_run.modal_fields import FIELDS, CloudDraft, NotAnOption, command_options, options_of
from fleet_rlm.tui.screens.new_run.modal_fields import draft_of as cloud_of

LIMITS = {
    "iterations": "run.max_iterations",
    "calls": "run.max_llm_calls",
    "seconds": "run.max_seconds",
    "dollars": "run.max_cost_usd",
    "tokens": "run.max_tokens",
}
"""The settings that the fields of `Budget` are."""
FURTHER = tuple(setting for setting in SETTINGS if setting.label)
"""The settings behind the form's last row, which are rarely needed."""
PLACES: tuple[str, ...] = get_args(SandboxChoice)


class Incomplete(ValueError):
    """Something is missing or wrong; `field` is where."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Limits as typed; empty: the task's own."""

    iterations: str = ""
    calls: str = ""
    tokens: str = ""
    seconds: str = ""
    dollars: str = ""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """The form."""

    documents: str = ""
    """Paths as in a shell: spaces between, quotes around those that hold some."""
    question: str = ""
    task: str = "ask"
    signature: str = ""
    """DSPy's notation, or `module:Class`; empty: the task's."""
    tools: str = ""
    """Functions for generated code to call, `module:function` each, spaces between."""
    first_chars: int | None = None
    """Characters of each document; it has no field of its own, and stays as a record or a command line had it."""
    inputs: str = ""
    """Values of further inputs that the signature wants: `audience='new staff' limit=5`."""
    model: str = ""
    sub_model: str = ""
    sandbox: str = ""
    """Empty: as configured."""
    cloud: CloudDraft = CloudDraft()
    usual_sandbox: SandboxChoice = "local"
    usual_cloud: ModalOptions = ModalOptions()
    """As configured, or as the run had it that is asked for again: also what has no field."""
    budget: Budget = Budget()
    settings: dict[str, str] = {}
    """Further settings as typed, by their keys; of a key, the name of the variable that holds it."""
    paused: bool = False

    @property
    def place(self) -> SandboxChoice:
        """Where code is to run."""
        return cast(SandboxChoice, self.sandbox) if self.sandbox in PLACES else self.usual_sandbox

    @property
    def preset(self) -> Task:
        return TASKS.get(self.task, TASKS["ask"])


def references_of(draft: Draft) -> frozenset[str]:
    """The modules' names in a draft whose look-up imports code: all but those that come with fleet-rlm."""
    named = (draft.signature.strip(), *draft.tools.split())
    return frozenset(one for one in named if is_reference(one) and one not in BUNDLED.values())


def paths(text: str) -> list[str]:
    """The paths in a line. Raises `Incomplete` when a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Incomplete("documents", "a quote is not closed") from error


def join_paths(several: list[str]) -> str:
    """The opposite of `paths`; wildcards stay unquoted, so that a line reads as in a shell."""
    return " ".join(_quoted(path) for path in several)


def spec_of(draft: Draft, cwd: str, configured: Settings = NOTHING) -> RunSpec:
    """The run that the form asks for, with what is `configured` where nothing was typed.

    Raises `Incomplete` with the first field that is missing or wrong.
    """
    documents = tuple(paths(draft.documents))
    signature = draft.signature.strip()
    if not signature and not documents and draft.preset.document_field is not None:
        raise Incomplete("documents", "name the documents first")
    question = draft.question.strip()
    if not signature and draft.preset.needs_question and not question:
        raise Incomplete("question", "say what you want to know")
    takes_question = bool(signature) or draft.preset.question_field is not None
    try:
        cloud = options_of(draft.cloud, draft.usual_cloud) if draft.place != "local" else ModalOptions()
    except NotAnOption as error:
        raise Incomplete(error.field, str(error)) from error
    asked = asked_of(draft)
    settings = configured.asking(asked)
    return RunSpec(
        question=question or None if takes_question else None,
        documents=documents,
        cwd=cwd,
        task=draft.preset.name,
        signature=signature or None,
        tools=tuple(draft.tools.split()),
        first_chars=draft.first_chars,
        inputs=_values(draft.inputs) if signature else {},
        model=draft.model.strip() or None,
        sub_model=draft.sub_model.strip() or None,
        sandbox=draft.place,
        modal=cloud,
        settings={key: value for key, value in asked.items() if BY_KEY[key].group == TUNING},
        on_sandbox_lost=cast(OnSandboxLost, settings.text("run.on_sandbox_lost") or "restart"),
        budgets=budgets_of(settings, draft.preset.budgets),
        concurrency=settings.whole("run.concurrency") or DEFAULT_CONCURRENCY,
        paused=draft.paused,
    )


def asked_of(draft: Draft) -> dict[str, Parsed]:
    """The limits and further settings that were typed, by their keys. Raises `Incomplete`."""
    typed = [(name, LIMITS[name], getattr(draft.budget, name)) for name in LIMITS]
    typed += [(BY_KEY[key].parameter, key, text) for key, text in draft.settings.items() if key in BY_KEY]
    asked: dict[str, Parsed] = {}
    for field, key, text in typed:
        if text.strip():
            try:
                asked[key] = BY_KEY[key].read(text)
            except NotAValue as error:
                raise Incomplete(field, f"{BY_KEY[key].label or field}: {error}") from error
    return asked


def draft_of(spec: RunSpec) -> Draft:
    """The form that asks for this run again."""
    own = TASKS.get(spec.task, TASKS["ask"]).budgets
    given = spec.budgets

    def typed(value: float | None, usual: float | None) -> str:
        return "" if value == usual else "0" if value is None else f"{value:g}"

    settings = {key: str(value) for key, value in spec.settings.items() if key in BY_KEY}
    if spec.concurrency != DEFAULT_CONCURRENCY:
        settings["run.concurrency"] = str(spec.concurrency)
    if spec.on_sandbox_lost != "restart":
        settings["run.on_sandbox_lost"] = spec.on_sandbox_lost

    cloud, rest = cloud_of(spec.modal)
    return Draft(
        documents=join_paths(list(spec.documents)),
        question=spec.question or "",
        task=spec.task if spec.task in TASKS else "ask",
        signature=spec.signature or "",
        tools=" ".join(spec.tools),
        first_chars=spec.first_chars,
        inputs=" ".join(f"{name}={shlex.quote(_written(value))}" for name, value in spec.inputs.items()),
        model=spec.model or "",
        sub_model=spec.sub_model or "",
        sandbox=spec.sandbox,
        cloud=cloud,
        usual_cloud=rest,
        budget=Budget(
            iterations=typed(given.max_iterations, own.max_iterations),
            calls=typed(given.max_llm_calls, own.max_llm_calls),
            tokens=typed(given.max_tokens, own.max_tokens),
            seconds=typed(given.max_seconds, own.max_seconds),
            dollars=typed(given.max_cost_usd, own.max_cost_usd),
        ),
        settings=settings,
        paused=spec.paused,
    )


def cleaned(draft: Draft) -> Draft:
    """Return a draft with harmless text: what it holds came from a record or a file, which may be a stranger's."""
    one_line = {
        name: clean_line(getattr(draft, name), 100_000)
        for name in ("documents", "signature", "tools", "inputs", "model", "sub_model")
    }
    budget = Budget(**{name: clean_line(getattr(draft.budget, name), 20) for name in Budget.__struct_fields__})
    cloud = CloudDraft(**{name: clean_line(getattr(draft.cloud, name), 1000) for name in FIELDS})
    sandbox = draft.sandbox if draft.sandbox in PLACES else ""
    settings = {key: clean_line(text, 1000) for key, text in draft.settings.items() if key in BY_KEY}
    return msgspec.structs.replace(
        draft,
        question=clean(draft.question),
        budget=budget,
        cloud=cloud,
        sandbox=sandbox,
        settings=settings,
        **one_line,
    )


def command_line(draft: Draft) -> str:
    """The command that does the same, to copy into a shell. `--paused` only the app knows."""
    words = ["fleet-rlm-tui" if draft.paused else "fleet-rlm run"]
    question = draft.question.strip()
    if question and not draft.paused:
        words.append(shlex.quote(question))
    words += [f"--docs {shlex.quote(path)}" for path in _split(draft.documents)]
    if question and draft.paused:
        words.append(f"--question {shlex.quote(question)}")
    if draft.signature.strip():
        words.append(f"--signature {shlex.quote(draft.signature.strip())}")
        words += [f"--input {shlex.quote(given)}" for given in _split(draft.inputs)]
    elif draft.preset.name != "ask":
        words.append(f"--task {draft.preset.name}")
    words += [f"--tool {shlex.quote(tool)}" for tool in draft.tools.split()]
    if draft.first_chars:
        words.append(f"--chars {draft.first_chars}")
    typed = {"model.name": draft.model, "model.sub": draft.sub_model}
    typed |= {key: getattr(draft.budget, name).strip().lstrip("$") for name, key in LIMITS.items()}
    for setting in SETTINGS:
        if value := (typed.get(setting.key) or draft.settings.get(setting.key, "")).strip():
            words.append(f"{setting.options[0]} {shlex.quote(value)}")
    if draft.place != draft.usual_sandbox or draft.place != "local":
        words.append(f"--sandbox {draft.place}")
    if draft.place != "local":
        words += command_options(draft.cloud)
    if draft.paused:
        words.append("--paused")
    return " ".join(words)


def _quoted(path: str) -> str:
    return path if path and all(c.isalnum() or c in "*?[]/._-+,:@%=~" for c in path) else shlex.quote(path)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _values(typed: str) -> dict[str, Any]:  # as a spec holds them
    """The further inputs as texts, which the engine reads by their types. Raises `Incomplete`."""
    try:
        several = shlex.split(typed)
    except ValueError as error:
        raise Incomplete("inputs", "a quote is not closed") from error
    try:
        return dict(named_values(several))
    except ValueError as error:
        raise Incomplete("inputs", str(error)) from error


def _written(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
