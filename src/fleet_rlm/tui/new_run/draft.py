"""What was typed into New run, and the run that it asks for: no widgets, no files."""

from __future__ import annotations

import math
import shlex
from typing import Any, cast, get_args

import msgspec

from fleet_rlm.screen_text import clean, clean_line
from fleet_rlm.spec import Budgets, ModalOptions, RunSpec, SandboxChoice
from fleet_rlm.tasks.catalog import TASKS, Task
from fleet_rlm.tui.new_run.cloud import FIELDS, CloudDraft, NotAnOption, command_options, options_of
from fleet_rlm.tui.new_run.cloud import draft_of as cloud_of

MAX_COUNT = 1_000_000
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
    """Of each document; it has no field of its own, and stays as a record or a command line had it."""
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
    paused: bool = False

    @property
    def place(self) -> SandboxChoice:
        """Where code is to run."""
        return cast(SandboxChoice, self.sandbox) if self.sandbox in PLACES else self.usual_sandbox

    @property
    def preset(self) -> Task:
        return TASKS.get(self.task, TASKS["ask"])


def paths(text: str) -> list[str]:
    """The paths in a line. Raises `Incomplete` when a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Incomplete("documents", "a quote is not closed") from error


def join_paths(several: list[str]) -> str:
    """The opposite of `paths`; wildcards stay unquoted, so that a line reads as in a shell."""
    return " ".join(_quoted(path) for path in several)


def budgets_of(budget: Budget, task: str) -> Budgets:
    """Limits as numbers, the task's where nothing was typed. Raises `Incomplete`."""
    own = TASKS[task].budgets if task in TASKS else Budgets()
    return Budgets(
        max_iterations=_whole("iterations", budget.iterations) or own.max_iterations,
        max_llm_calls=_whole("calls", budget.calls) or own.max_llm_calls,
        max_tokens=_whole("tokens", budget.tokens) or own.max_tokens,
        max_seconds=_amount("seconds", budget.seconds) or own.max_seconds,
        max_cost_usd=_amount("dollars", budget.dollars.strip().lstrip("$")) or own.max_cost_usd,
    )


def spec_of(draft: Draft, cwd: str) -> RunSpec:
    """The run that the form asks for. Raises `Incomplete` with the first field that is missing or wrong."""
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
        budgets=budgets_of(draft.budget, draft.preset.name),
        paused=draft.paused,
    )


def draft_of(spec: RunSpec) -> Draft:
    """The form that asks for this run again."""
    own = budgets_of(Budget(), spec.task)
    given = spec.budgets

    def typed(value: float | None, usual: float | None) -> str:
        return "" if value is None or value == usual else f"{value:g}"

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
        paused=spec.paused,
    )


def cleaned(draft: Draft) -> Draft:
    """What is put into the form came from a record or from a file: it is a stranger's text until it is read."""
    one_line = {
        name: clean_line(getattr(draft, name), 100_000)
        for name in ("documents", "signature", "tools", "inputs", "model", "sub_model")
    }
    budget = Budget(**{name: clean_line(getattr(draft.budget, name), 20) for name in Budget.__struct_fields__})
    cloud = CloudDraft(**{name: clean_line(getattr(draft.cloud, name), 1000) for name in FIELDS})
    sandbox = draft.sandbox if draft.sandbox in PLACES else ""
    return msgspec.structs.replace(
        draft, question=clean(draft.question), budget=budget, cloud=cloud, sandbox=sandbox, **one_line
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
    for option, value in (
        ("--model", draft.model),
        ("--sub-model", draft.sub_model),
        ("--max-iterations", draft.budget.iterations),
        ("--max-llm-calls", draft.budget.calls),
        ("--max-tokens", draft.budget.tokens),
        ("--max-seconds", draft.budget.seconds),
        ("--max-cost", draft.budget.dollars.strip().lstrip("$")),
    ):
        if value.strip():
            words.append(f"{option} {shlex.quote(value.strip())}")
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


def _values(typed: str) -> dict[str, Any]:  # JSON, which has no narrower type here
    """Each value as JSON when it is some, else as the text it is. Raises `Incomplete`."""
    values: dict[str, Any] = {}
    try:
        several = shlex.split(typed)
    except ValueError as error:
        raise Incomplete("inputs", "a quote is not closed") from error
    for given in several:
        name, sign, text = given.partition("=")
        if not sign or not name.isidentifier():
            raise Incomplete("inputs", f"write inputs as name=value, not {given[:40]!r}")
        try:
            values[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            values[name] = text
    return values


def _written(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _whole(field: str, text: str) -> int | None:
    if not (text := text.strip().replace("_", "").replace(",", "")):
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000 * MAX_COUNT:
        raise Incomplete(field, f"{field}: a whole number from 1 on, not {text[:20]!r}")
    return int(text)


def _amount(field: str, text: str) -> float | None:
    if not (text := text.strip()):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise Incomplete(field, f"{field}: a number above 0, not {text[:20]!r}")
    return value
