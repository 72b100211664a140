"""The cells that the planner writes: a body for each phase, and the functions that it calls, as source.

A cell is complete by itself: `compose` adds the source of every function of `written` that the
body needs and that no earlier cell has defined. Whatever comes from a prompt enters as a literal that can't end
the code block or DSPy's field.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from fleet_rlm import syntax
from fleet_rlm.engine.offline.fields import Output, kind_of_type
from fleet_rlm.engine.offline.listing import head_term
from fleet_rlm.engine.offline.question import Term, kind_of, read_question
from fleet_rlm.engine.offline.written import asking, confirming, failures, fitting, harvest, searching, texts

_GLOBALS = frozenset(
    {"texts", "outlines", "sizes", "work", "earlier", "places", "gathered", "sent", "replies", "answered", "draft"}
    | {"several", "schemas", "found", "must", "gone", "still", "field", "item", "part", "entry", "start", "rows", "row"}
    | {
        "things",
        "kept",
        "lines",
        "parts",
        "before",
        "asked",
        "stand",
        "doc",
        "text",
        "at",
        "level",
        "title",
        "name",
        "schema",
    }
)
"""Names that the cells use at the top level besides their functions."""
TASKS = {
    "answer": "Quote the sentences of the passage that answer the question, word for word, best first. "
    "Say NOT FOUND if none does.",
    "list": "List every one that the passage names, one a line, as `name: what it is`. Say NOT FOUND if there is none.",
    "summary": "Summarise the passage in at most 3 of its own sentences.",
}
_IMPORTS = {
    "bisect": "import bisect",
    "heapq": "import heapq",
    "json": "import json",
    "math": "import math",
    "re": "import re",
    "Counter": "from collections import Counter",
    "Any": "from typing import Any",
    "Callable": "from collections.abc import Callable",
}


@lru_cache(maxsize=1)
def _tools() -> dict[str, tuple[str, frozenset[str]]]:
    """Source of every function and type alias that cells may use, and the names it needs, in the files' order."""
    found = {}
    for module in (texts, searching, asking, fitting, harvest, failures, confirming):
        source = inspect.getsource(module)
        for node in syntax.parse(source).body:
            named = node.name if isinstance(node, ast.FunctionDef) else None
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                named = node.targets[0].id
            segment = ast.get_source_segment(source, node)
            if named and segment:
                found[named] = (segment, _names(node))
    return found


def _names(node: ast.AST) -> frozenset[str]:
    """Names that a piece of code takes from the module: not a function's own."""
    named = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return frozenset(named - _own(node) if isinstance(node, ast.FunctionDef) else named)


def _own(node: ast.FunctionDef) -> set[str]:
    """Parameters and local variables of a function."""
    own = {inner.arg for inner in ast.walk(node.args) if isinstance(inner, ast.arg)}
    return own | {
        inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


@lru_cache(maxsize=512)
def defined_in(code: str) -> frozenset[str]:
    """The functions and aliases of ours that a cell defines; none when it isn't Python."""
    try:
        tree = syntax.parse(code)
    except (SyntaxError, ValueError):
        return frozenset()
    named = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    named |= {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return frozenset({name.removesuffix("_") for name in named} & _tools().keys())


def compose(body: str, defined: Collection[str] = (), inputs: Collection[str] = ()) -> str:
    """The body, with imports and the functions it needs that aren't defined yet before it.

    DSPy binds the inputs again before each cell, so a name of ours that is an input's gets an underscore.
    """
    tools = _tools()
    wanted = [name for name in _names(syntax.parse(body)) if name in tools]
    needed: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in needed and name not in defined:
            needed.add(name)
            wanted += [other for other in tools[name][1] if other in tools]
    used = {name for tool in needed for name in tools[tool][1]} | _names(syntax.parse(body))
    imports = [line for name, line in _IMPORTS.items() if name in used]
    aliases = [tools[name][0] for name in tools if name in needed and not tools[name][0].startswith("def ")]
    functions = [tools[name][0] for name in tools if name in needed and tools[name][0].startswith("def ")]
    purpose, _, rest = body.strip().partition("\n") if body.startswith("#") else ("", "", body.strip())
    header = "\n".join([*([purpose] if purpose else []), *imports, *aliases])
    code = "\n\n".join(part for part in (header, *functions, rest) if part)
    taken = frozenset(inputs) & (tools.keys() | _GLOBALS)
    return ast.unparse(_Renamed(taken).visit(syntax.parse(code))) if taken else code


class _Renamed(ast.NodeTransformer):
    """Module-level names with an underscore behind them, where they are not a function's own."""

    def __init__(self, taken: frozenset[str]) -> None:
        self.taken = taken

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"{node.id}_", node.ctx) if node.id in self.taken else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        _Renamed(self.taken - _own(node)).generic_visit(node)
        node.name += "_" if node.name in self.taken else ""
        return node


def literal(value: object) -> str:
    """Python source of a value of plain types, safe inside a fenced block and inside DSPy's markers."""
    if isinstance(value, str):
        return repr(value).replace("`", "\\x60").replace("[[", "[\\x5b")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(literal, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    return repr(value)


def term_table(terms: Sequence[Term], widened: bool = False) -> dict[str, tuple[list[str], bool]]:
    """Terms as the sandbox searches them; widened: nearly the same words and shorter beginnings too."""
    table = {}
    for term in terms[:14]:
        forms = [*term.forms, *term.also[:6]]
        if widened:
            forms += [*(form[: max(4, round(len(form) * 0.7))] for form in term.forms if not term.key)]
        table[term.word] = (list(dict.fromkeys(forms)), term.loose)
    return table


def survey(documents: Sequence[str]) -> str:
    """Sizes, headings, beginnings and ends."""
    merged = ", ".join(f"**as_documents({_input(name)}, {literal(name)})" for name in documents)
    return f"""\
# How much is there, and how is it built?
texts = {{{merged}}}
outlines = {{doc: headings(text) for doc, text in texts.items()}}
for doc, text in list(texts.items())[:6]:
    lines = text.count(chr(10)) + 1
    print(f"{{doc}}: {{len(text):,}} characters, {{lines:,}} lines, {{len(outlines[doc]):,}} headings")
    for at, level, title in outlines[doc][:12]:
        print("    " + "  " * level + title[:100])
    print("    begins:", repr(text[:200]))
    print("    ends:  ", repr(text[-200:]))
if len(texts) > 6:
    print("further documents:", ", ".join(list(texts)[6:60]))
sizes = sum(map(len, texts.values())), sum(map(len, outlines.values()))
print(f"Survey: {{len(texts):,}} documents, {{sizes[0]:,}} characters, {{sizes[1]:,}} headings")"""


def _input(name: str) -> str:
    """How a cell reads an input: by its name, unless the cell uses that name for something of its own."""
    return f"globals()[{literal(name)}]" if name in _tools().keys() | _GLOBALS else name


def search(outputs: Sequence[Output], terms: Mapping[str, Sequence[Term]], keep: int, widened: bool = False) -> str:
    """Passages for every output that is read for."""
    keys = sorted({term.word for found in terms.values() for term in found if term.key})
    lines = ["# Which places hold the words of the question? Rare words tell more."]
    if widened:
        lines = ["# Once more: shorter beginnings, words that mean nearly the same, and many places to a sub-query."]
        lines += ["earlier = work"]
    lines.append("work = {")
    for output in outputs:
        mode = mode_of(output)
        item = {
            "question": output.question,
            "mode": mode,
            "value": read_question(output.question).wants_value,
            "task": TASKS[mode],
            "terms": term_table(terms[output.name], widened),
            "heads": _head_forms(output) if mode == "list" else [],
        }
        lines += [
            f"    {literal(output.name)}: {{",
            *(f"        {literal(key)}: {literal(part)}," for key, part in item.items()),
            "    },",
        ]
    lines += [
        "}",
        f"places = look_up(texts, outlines, work, names={literal(keys)}, keep={keep}, wide={widened})",
        'print("How often:", ", ".join(f"{word} {len(at):,}" for word, at in places.items()))',
    ]
    if widened:
        lines += [
            "for field, item in work.items():",
            '    kept = ("about", "rarest", "worth", "absent", "asked", "read", "answers", "nearest")',
            "    item.update({key: earlier[field].get(key, []) for key in kept})",
        ]
    return "\n".join(
        [
            *lines,
            "for field, item in work.items():",
            '    for part in item["passages"][:8]:',
            "        start = ' '.join(part.get('hit', part['text']).split())[:160]",
            "        print(f\"{field}  {part['score']:5.1f}  {part['doc']}:{part['line']}  {start}\")",
            "found = {field: len(item['passages']) for field, item in work.items()}",
            "must = sorted({word for item in work.values() for word in item['about']})",
            "gone = sorted({word for item in work.values() for word in item['absent']})",
            'print(f"Search: {found} passages; about {must}; nowhere {gone}")',
        ]
    )


def mode_of(output: Output) -> str:
    """Which of `TASKS` reads for an output."""
    return {"members": "list", "summary": "summary", "points": "summary"}.get(output.how, "answer")


def _head_forms(output: Output) -> list[str]:
    head = head_term(read_question(output.question))
    return list(head.forms) if head is not None else []


def read() -> str:
    """Print the best passages whole."""
    return """\
# Read the best places in full.
for field, item in work.items():
    for part in item["passages"][:3]:
        print(f"--- {field}: {part['doc']}, line {part['line']}; {part['under']}")
        print(part["text"][:900])
print(f"Read: {sum(len(item['passages'][:3]) for item in work.values())} passages")"""


_BY_TOOL = {
    "header_list(texts)": "headers_by(texts, regex_extract)",
    "code_blocks(texts)": "blocks_by(texts, regex_extract)",
}


def gather(outputs: Sequence[Output], terms: Mapping[str, Sequence[Term]], tools: Collection[str] = ()) -> str:
    """Harvest what the text's shape tells, by the tool where there is one for it."""
    lines = ["# What can be taken by its shape, without reading?", "gathered = {}"]
    for output in outputs:
        name = f"gathered[{literal(output.name)}]"
        table = literal(term_table(terms.get(output.name, ())))
        expression = output.expression
        if "regex_extract" in tools:
            expression = _BY_TOOL.get(expression, expression)
        lines.append(f"{name} = {expression.replace('TERMS', table)}")
        if output.expression.startswith("errors(") and kind_of_type(output.field.schema) == "array":
            lines.append(f"{name} = [entry for group in {name}.values() for entry in group]")
    return "\n".join(
        [
            *lines,
            "for field, things in gathered.items():",
            "    rows = things if isinstance(things, list) else getattr(things, 'items', lambda: [things])()",
            "    for row in list(rows)[:12]:",
            '        print(f"{field}: {label(row)}"[:200])',
            'print(f"Gathered: { {field: int(number(found)) for field, found in gathered.items()} }")',
        ]
    )


def confirm(outputs: Sequence[Output], limit: int) -> str:
    """One batch of sub-queries about the sections that name what was gathered; only what they confirm stays."""
    lines = ["# Which of these does the text document, and what for? Ask about every passage that names one, at once."]
    lines.append("asked = stand = before = 0")
    for output in outputs:
        name = f"gathered[{literal(output.name)}]"
        lines += [
            f"parts = holding(texts, outlines, {name}, most={max(0, limit // len(outputs))})",
            "replies = llm_query_batched([endpoint_prompt(part) for part in parts]) if parts else []",
            f"before, asked = before + len({name}), asked + len(parts)",
            f"{name} = confirmed({name}, replies)",
            f"stand += len({name})",
            f"for row in {name}[:40]:",
            f"    print(f\"{output.name}: {{row['name']}}: {{row['description']}}\"[:200])",
        ]
    return "\n".join([*lines, 'print(f"Confirmed: {asked} sub-queries, {stand} of {before} stand")'])


def ask(limit: int) -> str:
    """One batch of sub-queries over the passages; none left: the sentences that hold the words."""
    if limit > 0:
        asking = """\
# Ask a sub-LLM about each passage, all in one batch.
sent = batch(work, most=LIMIT)
replies = llm_query_batched([sub_prompt(work[field], part) for field, part in sent]) if sent else []
answered = take_in(work, sent, replies)""".replace("LIMIT", str(limit))
    else:
        asking = """\
# No sub-query is left, so the sentences that hold nearly all of the words have to do.
sent, answered = [], by_words(work)"""
    return (
        asking
        + """
for field, item in work.items():
    for entry in item.get("answers", [])[:8]:
        print(f"{field}: {entry['name'][:220]}  ({entry['doc']}, line {entry['line']})")
still = [field for field, item in work.items() if not item.get("answers")]
print(f"Asked: {len(sent)} sub-queries, {answered} answered; still open {still}")"""
    )


def draft(outputs: Sequence[Output], calls: int) -> str:
    """Every output from what was found, in its type; at most `calls` sub-queries weigh answers against each other."""
    schemas = {o.name: o.field.schema for o in outputs if o.field.schema != {"type": "string"}}
    lines = ["# Put together what was found, each output in its type.", "several, draft = len(texts) > 1, {}"]
    spent = 0
    for output in outputs:
        weighs = output.how in {"answer", "summary", "number", "count", "flag", "choice"} and spent < calls
        spent += weighs
        lines.append(f"draft[{literal(output.name)}] = {_value(output, weighs)}")
    return "\n".join(
        [
            *lines,
            *(
                f"draft[{literal(name)}] = fit(draft[{literal(name)}], {literal(schema)})"
                for name, schema in schemas.items()
            ),
            f'print(f"Draft (at most {spent} sub-queries): {{shown(draft)}}")',
        ]
    )


def _value(output: Output, weighs: bool) -> str:
    """The expression that an output's value comes from."""
    item = f"work[{literal(output.name)}]"
    query = "llm_query" if weighs else "None"
    weighed = f"best({item}, {query})"
    match output.how:
        case "harvest":
            return f"gathered[{literal(output.name)}]"
        case "size":
            return f"number(draft.get({literal(output.of)}))"
        case "coverage":
            return "min(100, round(100 * sum(passages_read(work).values()) / max(sizes[0], 1)))"
        case "examined":
            return "len(passages_read(work))"
        case "confidence":
            return 'max((0.9 for item in work.values() if item.get("answers")), default=0.0)'
        case "sources":
            return "sources(work)"
        case "structure":
            return "structure(texts)"
        case "summary":
            return f"summed_up({item}, {query})"
        case "points":
            return f"points({item})"
        case "members" if output.expression and kind_of_type(output.field.schema) != "string":
            return f'gathered[{literal(output.name)}] or listed({item}.get("answers", []))'
        case "members" if kind_of_type(output.field.schema) == "string":
            return f'as_text({item}, labelled(listed({item}.get("answers", []))), several)'
        case "members":
            return f'listed({item}.get("answers", []))'
        case "findings":
            return f'[entry["name"] for entry in {item}.get("answers", [])[:20]]'
        case "flag":
            return f"stated({weighed})"
        case "choice":
            return f'" ".join(entry["name"] for entry in {weighed})'
        case "number" | "count":
            return f"counted({item}, {weighed}, places)" if output.how == "count" else f"pick_number({item}, {weighed})"
        case "answer" if output.expression:
            return f"told({item}, gathered[{literal(output.name)}], {weighed}, several)"
        case "answer" if kind_of(output.question) == "count":
            return f"counted_text({item}, {weighed}, places, several)"
        case "answer":
            return f"as_text({item}, {weighed}, several)"


def submit(outputs: Sequence[Output]) -> str:
    """Hand in the draft."""
    given = ", ".join(f"{output.name}=draft[{literal(output.name)}]" for output in outputs)
    return f"# The draft stands on what was found and checked: hand it in.\nSUBMIT({given})"
