"""The offline model as a planner: reads from the prompt how far the run has come, and writes the next short cell.

It keeps no state. The steps of a run are known (`steps_for`); a step is done when a cell of the history assigned its
names without an error. So it takes up a run whose cells were edited, skipped or lost as readily as its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fleet_rlm import syntax
from fleet_rlm.offline.arithmetic import computation
from fleet_rlm.offline.dspy_prompt import PlannerPrompt, Step, Variable
from fleet_rlm.offline.fields_reply import ASKING
from fleet_rlm.offline.typed_values import (
    ABSENT,
    HEAD,
    choices_of,
    empty,
    how_filled,
    number_pattern,
    resolved,
)
from fleet_rlm.tasks import TASKS
from fleet_rlm.tasks.recipes import MOST_CALLS, RECIPES, Cell

MOST_PASSAGES = 24
BEYOND = (
    "There is no text to search, and this is nothing that the offline model computes: sequences, primes, factorials, "
    "divisors, sums and other arithmetic. Name documents with --docs, or a model with --model."
)
_TOLD = re.compile(
    r"(?:operator(?:'s)? hint:|person who runs this tells you:|[Ww]rite another[^.]*\.)[ \t]*"
    r"(.*?)(?=\)?\s*(?:\n\n|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_ANOTHER = re.compile(r"\bwrite another\b", re.IGNORECASE)
_LOST = re.compile(r"NameError|state (?:is|was|has been) lost|sandbox (?:was )?(?:lost|restarted)", re.IGNORECASE)
_CALLS_LEFT = re.compile(
    r"(\d+) (?:sub-LLM )?calls? (?:is|are )?left|limit exceeded: (\d+) \+ \d+ > (\d+)", re.IGNORECASE
)
_MANY_FAILURES = 3


@dataclass(frozen=True)
class Action:
    """What a planner answers: its reasoning and its code."""

    reasoning: str
    code: str


@dataclass(frozen=True)
class Progress:
    """What a history says of the steps."""

    reached: int
    """The number of the first step that is not done."""
    failures: int
    """Cells that failed one after the other, the last ones."""
    error: str
    calls_left: int | None
    """Known when a batch was refused for the budget."""


def next_action(prompt: PlannerPrompt) -> Action:
    """The next cell for this prompt. The same prompt gives the same cell."""
    hints = [" ".join(said.split())[:300] for said in _TOLD.findall(prompt.note) if said.strip()]
    spent = progress_of(prompt.history, [])
    calls = prompt.max_calls if spent.calls_left is None else spent.calls_left
    steps = steps_for(prompt, calls, hints, wide=bool(_ANOTHER.search(prompt.note)))
    progress = progress_of(prompt.history, steps)
    left = prompt.limit - prompt.iteration + 1
    if progress.failures >= _MANY_FAILURES or (progress.failures and left <= 1):
        return _give_up(prompt, progress.error)
    reached = progress.reached
    if hints and (at := next((n for n, step in enumerate(steps) if "hits = search(" in step.code), None)) is not None:
        reached = min(reached, at)
    rest = list(steps[reached:])
    if len(rest) > left:
        rest = [step for step in rest if not _optional(step)]
    together = max(1, len(rest) - left + 1)
    if _ANOTHER.search(prompt.note) and len(rest) > 1:
        together = max(together, 2)
    why = [_seen(progress, hints), *(step.why for step in rest[:together])]
    return Action(" ".join(part for part in why if part), "\n\n".join(step.code for step in rest[:together]))


def progress_of(history: Sequence[Step], steps: Sequence[Cell]) -> Progress:
    """Follow a history from its start. A lost sandbox takes everything back to the first step."""
    made = [assigned_names(step.code) for step in steps]
    reached, failures, error, calls_left = 0, 0, "", None
    for past in history:
        if past.error:
            failures, error = failures + 1, past.error
            if met := _CALLS_LEFT.search(past.error):
                calls_left = int(met[1]) if met[1] else max(0, int(met[3]) - int(met[2]))
            elif _LOST.search(past.error):
                reached = 0
            continue
        failures, error = 0, ""
        skipped = past.output.lstrip().startswith("[skipped")
        names = assigned_names(past.code)
        for number, step in enumerate(steps):
            if made[number] and made[number] <= names and (not skipped or _optional(step)):
                reached = number + 1
    return Progress(reached, failures, error, calls_left)


def assigned_names(code: str) -> frozenset[str]:
    """The names that a cell assigns or defines at its top level, outside of loops."""
    try:
        body = syntax.parse(code).body
    except (SyntaxError, ValueError):
        return frozenset()
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            names.add(statement.name)
        targets = statement.targets if isinstance(statement, ast.Assign) else ()
        names.update(node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
    return frozenset(names)


def steps_for(prompt: PlannerPrompt, calls: int, hints: Sequence[str], *, wide: bool) -> tuple[Cell, ...]:
    """The cells of a run, in order: the recipe of its task, a computation, or a search."""
    texts = [one for one in prompt.variables if one.type not in {"int", "float", "bool", "NoneType"}]
    asking = [one for one in texts if ASKING.match(one.name.lower()) and one.length < 20_000]
    documents = [one for one in texts if one not in asking]
    recipe = _recipe(prompt, calls) if prompt.helpers else ()
    if recipe:
        return recipe
    if not documents:
        return _computed(prompt, asking)
    return _searched(prompt, documents, asking, calls, hints, wide=wide)


def _recipe(prompt: PlannerPrompt, calls: int) -> tuple[Cell, ...]:
    given = " ".join(prompt.instructions.split())
    for name, cells in RECIPES.items():
        if " ".join(TASKS[name].instructions.split()) == given:
            most = min(MOST_CALLS.get(name, calls), calls)
            return tuple(Cell(cell.why, re.sub(r"\bCALLS\b", str(most), cell.code)) for cell in cells)
    return ()


def _computed(prompt: PlannerPrompt, asking: Sequence[Variable]) -> tuple[Cell, ...]:
    question = " ".join(" ".join(one.preview.split()) for one in asking or prompt.variables)
    found = computation(question)
    if found is None:
        given = {
            field.name: BEYOND if how_filled(field, prompt.outputs) == "answer" else empty(field.schema)
            for field in prompt.outputs
        }
        return (Cell("There is no text to search, and nothing that I can compute. I say so.", _submit(given)),)
    submitted = []
    for field in prompt.outputs:
        kind = resolved(field.schema).get("type", "string")
        if how_filled(field, prompt.outputs) == "answer":
            submitted.append(f"{field.name}=answer")
        elif kind in {"integer", "number", "array", "boolean"}:
            of = {"array": "list(result) if isinstance(result, list) else [result]", "boolean": "bool(result)"}
            submitted.append(f"{field.name}={of.get(kind, 'result[-1] if isinstance(result, list) else result')}")
        else:
            submitted.append(f"{field.name}={literal(empty(field.schema))}")
    shown = '", ".join(map(str, result)) if isinstance(result, list) else result'
    return (
        Cell("This can be computed: I let Python do it, and look at the result.", f"{found.code}\nprint(result)"),
        Cell(
            "The result is there, so I submit it.",
            f'shown = {shown}\nanswer = f"{found.label}: {{shown}}"\nSUBMIT({", ".join(submitted)})',
        ),
    )


def _searched(
    prompt: PlannerPrompt,
    documents: Sequence[Variable],
    asking: Sequence[Variable],
    calls: int,
    hints: Sequence[str],
    *,
    wide: bool,
) -> tuple[Cell, ...]:
    text = documents[0].name if len(documents) == 1 else _dict_of(documents)
    question = asking[0].name if asking else literal(_task_words(prompt))
    words = f"{question} + {literal(' ' + ' '.join(hints))}" if hints else question
    most = (2 if wide else 1) * MOST_PASSAGES
    source = _source_of(documents)
    if prompt.helpers:
        name = "" if documents[0].type == "str" and len(documents) == 1 else 'part["document"], '
        why = "I look first at how long the text is, how it is built, and how it begins."
        first = Cell(why, _SURVEY.format(text=text, name=name, chars=1200 if wide else 600))
    else:
        first = Cell("This sandbox has no helpers, so I write a small search myself.", _STAND_IN)
    return (
        first,
        Cell(
            "I search for the words of the question; rare words weigh most.",
            _SEARCH.format(text=text, words=words, most=most, source=source),
        ),
        Cell(
            "I read around the best passages before I ask about them.",
            _READ.format(most=5 if wide else 3, whole=_whole_of(documents), source=source),
        ),
        _ask(question, source, min(most, calls)),
        Cell("I submit what was quoted, each sentence with the place where it stands.", _submit_quotes(prompt, asking)),
    )


_SURVEY = """\
sections = chunk_by_headers({text})
print(sum(len(part["content"]) for part in sections), "characters in", len(sections), "sections")
for part in sections[:20]:
    print("-", {name}part["header"] or part["content"][:60])
print(peek({text}, 0, {chars})[:3000])"""
_STAND_IN = """\
import re

def search(text, words, most=12):
    keys = [word.rstrip("s") for word in re.findall(r"\\w{4,}", words.lower())]
    named = text if isinstance(text, dict) else dict(enumerate(text)) if isinstance(text, list) else {"": text}
    hits = []
    for name, one in named.items():
        for found in re.finditer(r"(?:[^\\n]+\\n?)+", str(one)):
            score = sum(key in found[0].lower() for key in keys)
            hits.append({"document": name, "score": score, "heading": "", "text": found[0], "start": found.start()})
    best = sorted(hits, key=lambda hit: -hit["score"])[:most]
    return [{**hit, "line": str(named[hit["document"]]).count("\\n", 0, hit["start"]) + 1} for hit in best]
"""
_SEARCH = """\
hits = search({text}, {words}, most={most})
for hit in hits:
    print(f"{{hit['score']:6}}  {source}:{{hit['line']}}  {{hit['heading']}}")
    print("        ", " ".join(hit["text"].split())[:110])
print(len(hits), "passages")"""
_READ = """\
around = []
for hit in hits[:{most}]:
    around.append({whole}[max(0, hit["start"] - 200) : hit["start"] + len(hit["text"]) + 200])
    print(f"--- {source}:{{hit['line']}} {{hit['heading']}}")
    print(around[-1][:1500])"""
_ASK = """\
import re

about = f"Question: {{{question}}}\\nQuote the sentences that answer it, or say NOT FOUND.\\n\\n"
prompts = [f"{{about}}# {{hit['heading']}}\\n\\n{{hit['text']}}" for hit in hits[:{most}]]
replies = llm_query_batched(prompts)
quotes = []
for hit, reply in zip(hits, replies):
    for sentence in reply.splitlines():
        found = re.search(r"\\s+".join(map(re.escape, sentence.split())), hit["text"])
        if found and sentence.strip():
            line = hit["line"] + hit["text"][: found.start()].count("\\n")
            place = f"{source}:{{line}}, {{hit['heading'].split(' > ')[-1]}}".rstrip(", ")
            quotes.append(f"“{{sentence}}” ({{place}})")
print(len(quotes), "sentences quoted from", len(prompts), "passages")
print("\\n".join(quotes[:8]))"""
_TAKE = """\
import re

words = set(re.findall(r"\\w{{4,}}", {question}.lower()))
quotes = []
for hit in hits[:5]:
    sentences = re.split(r"(?<=[.!?])\\s+", " ".join(hit["text"].split()))
    shared = [len(words & set(re.findall(r"\\w{{4,}}", one.lower()))) for one in sentences]
    if max(shared) >= 0.75 * len(words):
        place = f"{source}:{{hit['line']}}, {{hit['heading'].split(' > ')[-1]}}".rstrip(", ")
        quotes.append(f"“{{sentences[shared.index(max(shared))]}}” ({{place}})")
print("\\n".join(quotes))"""


def _ask(question: str, source: str, most: int) -> Cell:
    if most < 1:
        return Cell(
            "No sub-LLM call is left, so I take the sentences that share most words with the question.",
            _TAKE.format(question=question, source=source),
        )
    return Cell(
        "I ask a sub-LLM about each passage, all in one batch, and keep what stands there word for word.",
        _ASK.format(question=question, source=source, most=most),
    )


def _source_of(documents: Sequence[Variable]) -> str:
    """A hit's document inside of an f-string: the only one's name, when it is told, else what the hit says."""
    if len(documents) > 1 or documents[0].type != "str":
        return "{hit['document']}"
    named = re.search(r"The text of `([^`'{}\\\\]+)`", documents[0].description)
    return named[1] if named else documents[0].name


def _whole_of(documents: Sequence[Variable]) -> str:
    """The expression for the text that a hit stands in."""
    if len(documents) > 1:
        return f"{_dict_of(documents)}[hit['document']]"
    index = {"str": "", "list": "[int(hit['document'])]"}.get(documents[0].type.partition("[")[0], "[hit['document']]")
    return f"{documents[0].name}{index}"


def _dict_of(documents: Sequence[Variable]) -> str:
    return "{" + ", ".join(f"{one.name!r}: str({one.name})" for one in documents) + "}"


def _task_words(prompt: PlannerPrompt) -> str:
    words = " ".join(field.name.replace("_", " ") for field in prompt.outputs)
    own = prompt.instructions if not prompt.instructions.startswith("Given the fields") else ""
    return f"{own} {words}".strip()[:300]


def _submit_quotes(prompt: PlannerPrompt, asking: Sequence[Variable]) -> str:
    question = " ".join(asking[0].preview.split()) if asking else ""
    lines = [f'answer = "{HEAD}\\n" + "\\n".join(quotes[:12] or ["{ABSENT}"])']
    given = []
    for field in prompt.outputs:
        inner = resolved(field.schema)
        match how_filled(field, prompt.outputs):
            case "answer":
                said = "answer"
            case "quotes":
                said = "quotes"
            case "found":
                said = "bool(quotes)"
            case "number":
                lines.append(f'numbers = re.findall({literal(number_pattern(question))}, " ".join(quotes).lower())')
                kind = "int(float(" if inner.get("type") == "integer" else "(float("
                said = f"{kind}numbers[0].replace(',', ''))) if numbers else {literal(empty(inner))}"
                if field.name == "sections_examined":
                    lines.pop()
                    said = "len({(hit['document'], hit['heading'], hit['line']) for hit in hits})"
            case "choice":
                lines.append(f"named = [one for one in {literal(choices_of(inner))} if str(one) in ' '.join(quotes)]")
                said = f"named[0] if named else {literal(empty(field.schema))}"
            case _:
                said = literal(empty(field.schema))
        given.append(f"{field.name}={said}")
    if any("numbers" in line for line in lines):
        lines.insert(0, "import re")
    return "\n".join([*lines, f"SUBMIT({', '.join(given)})"])


def literal(value: object) -> str:
    """A JSON value as Python source that holds neither a code fence nor one of DSPy's markers."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        inside = ", ".join(map(literal, value))
        return f"[ {inside}]" if inside.startswith("[") else f"[{inside}]"
    return repr(value).replace("`", "\\x60").replace("[[", "[\\x5b")


def _submit(values: dict[str, object]) -> str:
    return f"SUBMIT({', '.join(f'{name}={literal(one)}' for name, one in values.items())})"


def _give_up(prompt: PlannerPrompt, error: str) -> Action:
    said = f"No answer could be worked out: the cells kept failing, last with: {error[:300]}"
    given = {
        field.name: said if how_filled(field, prompt.outputs) == "answer" else empty(field.schema)
        for field in prompt.outputs
    }
    return Action("My cells keep failing, and I have no other way. I say so rather than guess.", _submit(given))


def _optional(step: Cell) -> bool:
    return step.code.startswith(("sections = ", "around = "))


def _seen(progress: Progress, hints: Sequence[str]) -> str:
    """What the planner says first about an error or a hint."""
    parts = []
    if progress.calls_left is not None and progress.failures:
        parts.append(f"Only {progress.calls_left} sub-LLM calls are left, so I ask fewer.")
    elif _LOST.search(progress.error):
        parts.append("The sandbox has lost its state. I build it again.")
    elif progress.failures:
        parts.append(f"The last cell failed ({progress.error[:120]}). I try it again.")
    if hints:
        parts.append(f"I am told: {'; '.join(hints)} I take these words into the search.")
    return " ".join(parts)
