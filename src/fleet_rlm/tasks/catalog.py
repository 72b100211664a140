"""What can be asked of documents: the presets that the command line and New run offer, as plain data.

A task is a signature in DSPy's notation, instructions that make a planner do well, and what a field holds. The
instructions speak of the field by its name and end with the list of outputs, since a planner sees the types of the
outputs but not their descriptions. This module imports neither dspy nor anything of the engine, which turns a task
into a `dspy.Signature`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from fleet_rlm.spec import Budgets


class UnknownTask(LookupError):
    """No task of that name; `near` holds the names that look like it, best first."""

    def __init__(self, name: str, near: tuple[str, ...], known: tuple[str, ...]) -> None:
        self.name, self.near, self.known = name, near, known
        meant = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known)}."
        super().__init__(f"There is no task named {name!r}. {meant}")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to ask of documents."""

    name: str
    title: str
    """Two or three words for a list."""
    summary: str
    """One line: what comes out."""
    signature: str
    """DSPy's notation, such as `context, question -> answer: str`."""
    goal: str
    """Instructions for the planner."""
    fields: Mapping[str, str]
    """Description of each input and output, by name."""
    document_field: str | None
    """The input that the documents are bound to; None when the task takes none."""
    question_field: str | None = None
    """The input that the person's question is bound to; None when the task takes none."""
    question_optional: bool = False
    """True when the task makes sense without a question."""
    default_question: str | None = None
    """Bound to `question_field` when the person gives none."""
    tools: tuple[str, ...] = ()
    """Functions that generated code may call, `module:function`, besides what every run has."""
    class_name: str
    """Name of the signature's class in `fleet_rlm.signatures`."""
    budgets: Budgets

    @property
    def needs_question(self) -> bool:
        return self.question_field is not None and not self.question_optional

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the output fields, in order."""
        return tuple(part.partition(":")[0].strip() for part in self.signature.partition("->")[2].split(","))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input fields, in order."""
        return tuple(part.partition(":")[0].strip() for part in self.signature.partition("->")[0].split(","))

    @property
    def instructions(self) -> str:
        """The goal, then every output with what it has to hold: a signature's instructions."""
        outputs = "\n".join(f"- `{name}`: {self.fields[name]}" for name in self.outputs)
        return f"{self.goal}\n\nOutputs:\n{outputs}"


_DOCUMENTS = "The text to work on: one string, or a dict from a document's name to its text."
_GROUNDED = (
    "Use only what the text says. Quote names, numbers and identifiers exactly as they stand in it, and say plainly "
    "when it does not say."
)

_ALL = (
    Task(
        name="ask",
        class_name="AnswerQuestion",
        title="Ask a question",
        summary="A short answer to one question, grounded in the documents.",
        signature="context, question -> answer: str",
        goal=(
            "Answer `question` from `context`. Find the passages that bear on it by searching, read around them, ask "
            f"sub-queries over them in one batch, and check the answer against the text. {_GROUNDED}"
        ),
        fields={
            "context": _DOCUMENTS,
            "question": "What the person wants to know.",
            "answer": "The answer first, in as few sentences as it takes; which document it stands in, if several.",
        },
        document_field="context",
        question_field="question",
        budgets=Budgets(max_iterations=20, max_llm_calls=50),
    ),
    Task(
        name="summarize",
        class_name="SummarizeLongDocument",
        title="Summarise",
        summary="A summary with key points, and how much of the text it rests on.",
        signature="document, focus -> summary: str, key_points: list, coverage_pct: int",
        goal=(
            "Summarise `document`, with attention to `focus` when it names something. Split the text by its own "
            "sections, summarise them in one batch of sub-queries, and merge what they say; don't judge the whole by "
            f"its beginning. {_GROUNDED}"
        ),
        fields={
            "document": _DOCUMENTS,
            "focus": "What the summary should dwell on; may be as general as `overview`.",
            "summary": "One or two paragraphs.",
            "key_points": "Three to ten points, each a sentence, in the order of the text.",
            "coverage_pct": "How much of the text was given to sub-queries or printed, in percent, 0 to 100.",
        },
        document_field="document",
        question_field="focus",
        question_optional=True,
        default_question="overview",
        budgets=Budgets(max_iterations=30, max_llm_calls=50, max_seconds=900),
    ),
    Task(
        name="long-context",
        class_name="AnalyzeLongDocument",
        title="Analyse a long text",
        summary="Findings with their evidence, an answer, and how many sections were examined.",
        signature="document, query -> findings: list, answer: str, sections_examined: int",
        goal=(
            "Analyse `document` with `query` in mind. Map its sections, pick those that bear on the query, examine "
            "each by a sub-query (in batches), and collect the findings before you conclude. "
            f"{_GROUNDED}"
        ),
        fields={
            "document": _DOCUMENTS,
            "query": "What to look for.",
            "findings": "What was found: each a sentence that stands on its own, the strongest first.",
            "answer": "The conclusion, in a few sentences.",
            "sections_examined": "How many different sections or passages were given to sub-queries.",
        },
        document_field="document",
        question_field="query",
        budgets=Budgets(max_iterations=30, max_llm_calls=50, max_seconds=900),
    ),
    Task(
        name="architecture",
        class_name="ExtractArchitecture",
        title="Map the architecture",
        summary="Modules, optimizers and design principles that a library's documents describe.",
        signature="docs, query -> modules: list, optimizers: list, design_principles: str",
        goal=(
            "Draw the architecture out of `docs`, guided by `query`. Find the headings and passages about modules, "
            "optimizers and design, list every one that the text names (not only the first), and ask sub-queries for "
            f"what each does. {_GROUNDED}"
        ),
        fields={
            "docs": _DOCUMENTS,
            "query": "What to dwell on.",
            "modules": "Every module or component that the text names, each a string `name: what it does`.",
            "optimizers": "Every optimizer that the text names, each a string `name: what it does`.",
            "design_principles": "The principles and decisions behind the design, a paragraph or a few lines.",
        },
        document_field="docs",
        question_field="query",
        question_optional=True,
        default_question="What are the modules, the optimizers and the design principles?",
        budgets=Budgets(max_iterations=25, max_llm_calls=50),
    ),
    Task(
        name="api-endpoints",
        class_name="ExtractAPIEndpoints",
        title="List API endpoints",
        summary="Every HTTP endpoint with its method, path and purpose.",
        signature="docs -> api_endpoints: list",
        goal=(
            "List every API endpoint that `docs` documents. Find the passages by pattern (method and path, tables, "
            "code, curl lines), then ask about them in one batch with `llm_query_batched`: which endpoints each "
            "passage documents, and what for. Merge the replies, remove doubles, and leave out endpoints that are only "
            f"mentioned as gone or as an example. {_GROUNDED}"
        ),
        fields={
            "docs": _DOCUMENTS,
            "api_endpoints": (
                "One object an endpoint: `method`, `path` (with its parameters as written) and `description`; "
                "no endpoint twice."
            ),
        },
        document_field="docs",
        budgets=Budgets(max_iterations=20, max_llm_calls=30),
    ),
    Task(
        name="error-patterns",
        class_name="FindErrorPatterns",
        title="Find error patterns",
        summary="The errors that the documents speak of, by category, with causes and remedies.",
        signature="docs -> error_categories: dict, total_errors_found: int",
        goal=(
            "Find the errors that `docs` describes or reports. Look for error classes, codes, status numbers and "
            "troubleshooting sections; group them by the categories of the text itself where it has some (a table of "
            "codes often names them), else by kind; and ask sub-queries in one batch for cause and remedy where the "
            f"text gives them. {_GROUNDED}"
        ),
        fields={
            "docs": _DOCUMENTS,
            "error_categories": (
                "From a category's name to the list of its errors, each a string `error: cause or remedy`."
            ),
            "total_errors_found": "How many different errors stand in all categories together.",
        },
        document_field="docs",
        budgets=Budgets(max_iterations=30, max_llm_calls=40),
    ),
    Task(
        name="custom-tool",
        class_name="ExtractWithCustomTool",
        title="Extract the structure",
        summary="Headers and code blocks, word for word, and a summary of how the text is built.",
        signature="docs -> headers: list, code_blocks: list, structure_summary: str",
        goal=(
            "Extract the structure of `docs`: every header and every code block, by `regex_extract` rather than by "
            "reading (a pattern sees the whole text: use flags such as re.MULTILINE, and mind that a `#` inside a code "
            f"block is no header), then describe how the text is built. {_GROUNDED}"
        ),
        fields={
            "docs": _DOCUMENTS,
            "headers": "Every header in order, as text without its markup.",
            "code_blocks": "Every code block in order: `language` and `code`.",
            "structure_summary": "How the text is built: its parts, how deep, how long, how much code.",
        },
        document_field="docs",
        tools=("fleet_rlm.tasks.tools:regex_extract",),
        budgets=Budgets(max_iterations=15, max_llm_calls=20),
    ),
    Task(
        name="logs",
        class_name="ExtractFromLogs",
        title="Read logs",
        summary="Matching lines, recurring patterns with counts, and the time range.",
        signature="logs, query -> matches: list, patterns: dict, time_range: str",
        goal=(
            "Find what `query` asks for in `logs`. Work by code: parse the lines, filter those that match, reduce "
            "numbers and identifiers to place-holders and count the patterns that remain, and take the first and last "
            f"time stamp. Ask sub-queries only about what code can't judge. {_GROUNDED}"
        ),
        fields={
            "logs": _DOCUMENTS,
            "query": "Which lines are wanted.",
            "matches": "Lines that match, as they stand, the most telling first; at most fifty.",
            "patterns": "From a recurring pattern to how many lines follow it, most frequent first.",
            "time_range": "First and last time stamp, `from … to …`.",
        },
        document_field="logs",
        question_field="query",
        budgets=Budgets(max_iterations=20, max_llm_calls=30),
    ),
    Task(
        name="basic",
        class_name="AnswerByComputing",
        title="Ask without documents",
        summary="A short answer that is computed or reasoned out, without documents.",
        signature="question -> answer: str",
        goal=(
            "Answer `question`. Compute in Python what can be computed, print it and check it; use sub-queries for "
            "what has to be known or judged. Don't guess: say so when it can't be answered."
        ),
        fields={
            "question": "What the person wants to know.",
            "answer": "The answer first, in as few sentences as it takes.",
        },
        document_field=None,
        question_field="question",
        budgets=Budgets(max_iterations=15, max_llm_calls=30),
    ),
    Task(
        name="brief",
        class_name="SumUpBriefly",
        title="Sum up briefly",
        summary="A summary of one paragraph, quickly: good for looking at the steps that lead to it.",
        signature="docs -> summary: str",
        goal=(
            "Sum up `docs` in one paragraph. Look at how the text is built, read or ask about each of its parts, and "
            f"merge what they say. {_GROUNDED}"
        ),
        fields={"docs": _DOCUMENTS, "summary": "One paragraph that says what the text is about and what it claims."},
        document_field="docs",
        budgets=Budgets(max_iterations=10, max_llm_calls=10),
    ),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _ALL})
"""Every task by its name, in the order that a list shows them."""


def get(name: str) -> Task:
    """The task of this name. Raises `UnknownTask`, which names those that look like it."""
    task = TASKS.get(name)
    if task is None:
        known = tuple(TASKS)
        near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=3, cutoff=0.55)
        near += [other for other in known if len(name) > 2 and name.lower() in other and other not in near]
        raise UnknownTask(name, tuple(near), known)
    return task
