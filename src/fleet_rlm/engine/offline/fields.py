"""How an output is come by: chosen from its name, its description and its type, for any signature.

| output | come by |
| --- | --- |
| `…endpoints`, `routes` | `harvest.endpoints` |
| `…errors`, `error_…`, `exceptions` | `failures.errors`, grouped for a dict, flat for a list |
| `headers`, `headings`, `toc` | `harvest.header_list` |
| `code_blocks`, `snippets` | `harvest.code_blocks` |
| `patterns` · `matches` · `time_range` | `harvest.line_patterns` · `lines_about` · `time_range` |
| `urls`, `emails`, `dates`, `versions`, `functions`, `classes` … | `harvest.occurrences` of their shape |
| a number named `total_…`, `…_count`, `num_…` | the size of the output that shares a word with it, else counted |
| `coverage_pct` · `sections_examined` · `confidence` | measured on the run itself |
| `sources`, `citations` | documents and lines of what the answer quotes |
| `summary` · `key_points` | central sentences, section by section |
| `modules`, `optimizers` | `harvest.subclasses`, when the text lists classes; else as the next |
| another list or dict (`modules`, `people`) | members of the thing it is named after (`listing`) |
| another text | the question's answer for the main output, else an answer to a question made of its name |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fleet_rlm.engine.offline.prompt import Field, Schema
from fleet_rlm.engine.offline.question import Kind, kind_of, read_question

How = Literal[
    "answer",
    "findings",
    "members",
    "summary",
    "points",
    "harvest",
    "size",
    "count",
    "number",
    "flag",
    "choice",
    "coverage",
    "examined",
    "confidence",
    "sources",
    "structure",
]
"""A way to come by an output's value."""

_HARVESTED = (
    (r"endpoint|\broutes?\b|\bapi paths?\b", "endpoints(texts)"),
    (r"\berrors?\b|exception|failure", "errors(texts)"),
    (r"\bheaders?\b|heading|\btoc\b|table of contents|\bsection titles?\b", "header_list(texts)"),
    (r"code ?blocks?|snippets?|code examples?|\bcode samples?", "code_blocks(texts)"),
    (r"\bpatterns?\b|templates?", "line_patterns(texts)"),
    (r"\bmatch(es|ing)?\b|\blog lines\b", "lines_about(texts, TERMS)"),
    (r"time ?range|\bperiod\b|time span|date range", "time_range(texts)"),
    (r"\b(urls?|links?|hyperlinks?)\b", r"""occurrences(texts, r"https?://[^\s<>()\[\]\"'`]+")"""),
    (r"e-?mails?\b", r"""occurrences(texts, r"[\w.+-]+@[\w-]+\.[\w.-]+")"""),
    (r"\bip( addresses)?\b|\bips\b", r"""occurrences(texts, r"\b(?:\d{1,3}\.){3}\d{1,3}\b")"""),
    (r"\bversions\b", r"""occurrences(texts, r"\bv?\d+\.\d+(?:\.\d+)?(?:[ab]\d+|rc\d+)?\b")"""),
    (
        r"\bdates\b",
        r"""occurrences(texts, r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2} [A-Z][a-z]{2,8} \d{4}\b"
    r"|\b[A-Z][a-z]{2,8} \d{1,2}, \d{4}\b")""",
    ),
    (
        r"\bfunctions?\b|\bmethods\b",
        r"""occurrences(texts, r"\bdef (\w+)|\bfunction (\w+)|\bfn (\w+)|`(\w[\w.]*)\(")""",
    ),
    (r"\bclasses\b", r"""occurrences(texts, r"\bclass ([A-Z]\w*)")"""),
    (
        r"environment variables?|\benv vars?\b|\bsettings\b",
        r"""occurrences(texts, r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b")""",
    ),
    (r"\btodos?\b|\bfixmes?\b", r"""occurrences(texts, r"\b(?:TODO|FIXME)\b.*")"""),
)
_ROOTS = {
    "modules": ("module",),
    "optimizers": ("optimizer", "teleprompter"),
    "adapters": ("adapter",),
    "retrievers": ("retriever",),
}
"""Names of the base classes by which the documents of a library in Python tell what is one of these."""
_MAIN = re.compile(r"^(final_?)?(answer|response|result|output|conclusion|reply|text|verdict|explanation)s?$")


@dataclass(frozen=True)
class Output:
    """An output and the way to come by it."""

    field: Field
    how: How
    question: str = ""
    """What sub-queries ask, for what comes from reading."""
    expression: str = ""
    """Python that harvests it in the sandbox."""
    of: str = ""
    """The output that it counts."""

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def reads(self) -> bool:
        """Whether sub-queries have to be asked for it."""
        return bool(self.question) and self.how in {
            "answer", "findings", "members", "summary", "points", "number", "count", "flag", "choice",
        }  # fmt: skip


def kind_of_type(schema: Schema) -> str:
    """`string`, `integer`, `number`, `boolean`, `array`, `object`, `enum`, `any`; of a union, the first but null."""
    if "enum" in schema or "const" in schema:
        return "enum"
    if "$ref" in schema:
        target = schema.get("$defs", {}).get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
        return kind_of_type({**target, "$defs": schema.get("$defs", {})})
    for choice in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
        if choice.get("type") != "null":
            return kind_of_type({**choice, "$defs": schema.get("$defs", {})})
    return str(schema.get("type", "any"))


def plan_outputs(fields: tuple[Field, ...], question: str, instructions: str) -> tuple[Output, ...]:
    """The way to come by every output. `question` may be empty."""
    kind = kind_of(question)
    planned = [_plan(field, fields, question, kind, instructions) for field in fields]
    if question and kind != "summary" and not any(output.question == question for output in planned):
        # Nothing answers the question itself: the first text, else the first output that is read for, does.
        for at, output in enumerate(planned):
            if output.how == "answer" or (output.how == "members" and _MAIN.match(output.name)):
                planned[at] = Output(output.field, output.how, question)
                break
    return tuple(planned)


def _plan(field: Field, fields: tuple[Field, ...], question: str, kind: Kind, instructions: str) -> Output:
    name, held = field.name.lower(), kind_of_type(field.schema)
    words = _words(name)
    main = _MAIN.match(name) is not None or len(fields) == 1
    own = (
        question if main and question else f"What are the {words}?" if words.endswith("s") else f"What is the {words}?"
    )
    if held in {"integer", "number"}:
        return _number(field, fields, words, question or own)
    if held == "boolean":
        return Output(field, "flag", question or own)
    if held == "enum":
        return Output(field, "choice", question or own)
    if re.search(r"structure", words) and held == "string":
        return Output(field, "structure")
    if re.search(r"\b(sources?|citations?|references|provenance)\b", words):
        return Output(field, "sources")
    if held == "string" and re.search(r"time ?range|\bperiod\b|time span|date range", words):
        return Output(field, "harvest", expression="time_range(texts)")
    if held == "string":
        summary = re.search(r"\b(summary|abstract|overview|tl ?dr|synopsis|digest)\b", words)
        if summary or (main and (kind == "summary" or (not question and not _asks(field, instructions)))):
            return Output(field, "summary", question or "Summarise the text.")
        shaped = _shaped(question) if main and kind in {"list", "count"} else ""
        return Output(field, "members" if kind_of(own) == "list" and not shaped else "answer", own, shaped)
    if re.search(r"\b(key points|points|highlights|takeaways|bullets)\b", words):
        return Output(field, "points", question or "Summarise the text.")
    if re.search(r"\b(findings|evidence|facts|insights|observations|quotes|passages|relevant)\b", words) and question:
        return Output(field, "findings", question)
    return _collection(field, words, question, kind, main, own)


def _collection(field: Field, words: str, question: str, kind: Kind, main: bool, own: str) -> Output:
    for source in (words, field.description.lower() if main else ""):
        for shape, expression in _HARVESTED:
            if source and re.search(shape, source):
                return Output(field, "harvest", question, expression)
    if main and question and kind not in {"list", "count"} and not re.search(r"\ball\b|\bevery\b", question, re.I):
        return Output(field, "findings", question)
    if main and question and _shaped(question):
        return Output(field, "harvest", question, _shaped(question))
    asked = own if own.startswith("What") or own == question else f"List the {words}."
    roots = _ROOTS.get(words, ())
    return Output(field, "members", asked, f"subclasses(texts, {list(roots)!r})" if roots else "")


def _shaped(question: str) -> str:
    """What harvests the things that a question asks to list, when it asks for all of them and names nothing else."""
    asked = read_question(question)
    if len(asked.terms) > 2 or len(asked.keys) > 1:
        return ""
    told = question.lower()
    return next((expression for shape, expression in _HARVESTED if re.search(shape, told)), "")


def _number(field: Field, fields: tuple[Field, ...], words: str, question: str) -> Output:
    if re.search(r"coverage|percent|pct", words):
        return Output(field, "coverage")
    if re.search(r"examined|inspected|sections (read|seen|used)|chunks|passages", words):
        return Output(field, "examined")
    if re.search(r"confidence|certainty|probability|score", words):
        return Output(field, "confidence")
    if re.search(r"\b(count|total|num|number|n|amount|how many)\b", words):
        mine = set(words.split()) - {"count", "total", "num", "number", "n", "of", "found", "all", "amount"}
        for other in fields:
            theirs = set(_words(other.name.lower()).split())
            shared = {word.rstrip("s") for word in mine} & {word.rstrip("s") for word in theirs}
            if other is not field and kind_of_type(other.schema) in {"array", "object"} and (shared or not mine):
                return Output(field, "size", of=other.name)
        if question.startswith("What"):
            return Output(field, "count", f"How many {' '.join(sorted(mine)) or 'are there'}?")
    return Output(field, "count" if kind_of(question) == "count" else "number", question)


def _asks(field: Field, instructions: str) -> bool:
    return bool(field.description.strip().endswith("?") or re.search(r"\banswer\b", instructions, re.I))


def _words(name: str) -> str:
    """`total_errors_found` → `total errors found`; `keyPoints` → `key points`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower().strip()
