"""Read a planner's reply: its reasoning and the Python to run, in whatever form the model wrote them.

Tried in order: dspy's field headers, JSON and tool calls, headers in other dress, blocks, JSON amid prose, and a text
that is nothing but Python. The first form whose code parses is taken, else the first that holds code at all: what is
wrong with it the planner then reads from its cell. Everything that dspy's own adapters read is read here.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from fleet_rlm import code_blocks, syntax
from fleet_rlm.code_blocks import Found, NotPython

Json: TypeAlias = Any  # what a model wrote as JSON

_REASONING = "reasoning|thoughts?|thinking|analysis|rationale|explanation|plan"
_CODE = "code|python code|python"
_STRICT = re.compile(r"^[^\S\n]*\[\[ ## (\w+) ## \]\]", re.MULTILINE)
_NAME = rf"(?P<name>{_REASONING}|{_CODE}|completed)"
_LOOSE = re.compile(
    rf"""
      [*_`]* \[{{1,2}} [ \t]* \#{{1,4}} [ \t]* {_NAME} [ \t]* \#{{0,4}} [ \t]* \]{{0,2}} [*_`:]*
    | [*_`]* \[\[ [ \t]* {_NAME.replace("name", "plain")} [ \t]* \]\] [*_`:]*
    | ^[ \t>]* \#{{1,4}} [ \t]* [*_]* {_NAME.replace("name", "heading")} [*_]* [ \t]* \#{{0,4}} [ \t]* :? [ \t]* $
    | ^[ \t>-]* [*_]* {_NAME.replace("name", "label")} [*_ \t]* : [*_]*
    | ^[ \t]* \*\* {_NAME.replace("name", "bold")} \*\* [ \t]* $
    """,
    re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)
_THINK = r"(?:think|thinking|thoughts?|seed:think|antThinking)"
_THINK_OPEN = re.compile(rf"<{_THINK}>|◁think▷|\[THINK\]", re.IGNORECASE)
_THINK_CLOSE = re.compile(rf"</{_THINK}>|◁/think▷|\[/THINK\]", re.IGNORECASE)
_CHANNEL = re.compile(
    r"<\|channel\|>(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|start|call|return|channel)\|>|\Z)", re.DOTALL
)
_TOKEN = r"<\|[\w ]+\|>|<｜[^｜>\n]+｜>|</s>|<end_of_turn>|<end_code>|\[TOOL_CALLS\]"
_END_TOKENS = re.compile(rf"(?:\s*(?:{_TOKEN}))+\s*\Z")
_PARAMETER = re.compile(
    r"<parameter(?:=|\s+name=)[\"']?(?:code|python|script|source|input)[\"']?\s*>(.*?)(?:</parameter>|\Z)"
    r"|<arg_key>\s*code\s*</arg_key>\s*<arg_value>(.*?)(?:</arg_value>|\Z)"
    r"|<\|python_tag\|>(.*)\Z",
    re.DOTALL | re.IGNORECASE,
)
_JSON_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*(?:json5?|jsonc|tool_call|tool)?[ \t]*\n(?=\s*[\[{])", re.MULTILINE)
_CALL_MARK = re.compile(
    r"<tool_?calls?>|<function|<invoke|\[TOOL_CALLS\]|<\|?tool|<｜tool|<\|python_tag|<arg_key>", re.IGNORECASE
)
_JSON_CODE_KEYS = ("code", "python", "python_code", "script", "source", "source_code", "program", "snippet")
_JSON_REASONING_KEYS = tuple(_REASONING.replace("s?", "").split("|"))
_JSON_INNER_KEYS = (
    "arguments", "parameters", "params", "input", "args", "kwargs", "action_input", "tool_input", "function",
    "function_call", "tool_calls", "tool_call", "tool_uses", "calls", "response", "output", "result",
)  # fmt: skip
_TOOL_NAMES = re.compile(r"python|code|repl|exec|interpreter|ipython|run", re.IGNORECASE)
_THOUGHT_CHARS = 1000
"""Of a thinking block that stands in for reasoning that was left out: its end, since each later prompt repeats it."""
_BLOCK_MARK = re.compile(
    r"```|~~~|<(?:code|python|py|execute|tool_code|repl|ipython)\b|^[ \t]*(?:>>>|In \[)", re.IGNORECASE | re.MULTILINE
)
_TRAILING_MARK = re.compile(r"\s*[*_`]*\[{1,2}[ \t]*#{1,4}[ \t]*completed\b.*\Z", re.IGNORECASE | re.DOTALL)
_JSON_START = re.compile(
    r"^[ \t]*[{\[][ \t]*(?:[\"'{\]\n]|$)|^[ \t]*(?:```+|~~~+)[ \t]*json", re.MULTILINE | re.IGNORECASE
)
_PYTHON_BEFORE_JSON = re.compile(r"\A[^{]*^[ \t]*(?:```+|~~~+)[ \t]*py", re.MULTILINE | re.IGNORECASE)
_NARROW = re.compile(r"^[ \t*_`]*\[{1,2}[ \t]*#{1,4}[ \t]*\w", re.MULTILINE)
_FIELD = re.compile(
    r"\[\[?[ \t]*#+[ \t]*\w|[{\[]\s*[\"']|<(?:tool_?call|function|invoke|parameter|arg_key|\|python_tag)"
)
_BEGINS = re.compile(rf"{_FIELD.pattern}|```|~~~")
"""Where fields, a block or an object begin, behind which no thinking stands."""
_Reading = tuple[str | None, str]
"""The reasoning (None: what leads up to the code) and the text that is to hold the code."""
_MARKS = (
    _STRICT,
    re.compile(_TOKEN),
    re.compile(rf"</?(?:{_REASONING}|tool_?calls?|function_calls|response|step)>|<(?:function=|invoke )[^>]*>"),
    re.compile(rf"\A\s*[#*_ ]*(?:{_REASONING})[*_ ]*:[*_]*\s*", re.IGNORECASE),
    re.compile(rf"\s*[#*_ ]*\b(?:{_CODE})[*_ ]*:[*_]*\s*\Z", re.IGNORECASE),
    re.compile(r"[\s\[{>]+\Z|\A\s*(?:`{3,}|~{3,})\s*\Z"),
)
"""Characters that surround reasoning without being part of it."""
EMPTY = "Your answer held no Python code in a form that could be read."


class Unreadable(ValueError):
    """The reply holds no code that can be run; the message is what the planner is told."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The action that a planner's reply asks for."""

    reasoning: str
    code: str
    left_out: str = ""
    """What of the reply did not run, in words for the planner; empty when all of it did."""


def read(text: str, *, whole: bool = True) -> Reply:
    """A reply's reasoning and code. Raises `Unreadable`.

    `whole` is False for a reply that still arrives, of which nothing is mended.
    """
    text = _END_TOKENS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff"))
    if code_blocks.looks_like_code(text):
        return Reply("", text.strip("\n").rstrip())
    thinking, rest = _without_thinking(text)
    complaint = ""
    for form in _forms(rest, text):
        first: Reply | None = None
        for reasoning, section in form:
            try:
                found = _code_in(section, whole=whole)
            except NotPython as error:
                complaint = complaint or str(error)
                continue
            reply = Reply(_said(reasoning, found, thinking), found.code, found.left_out)
            if code_blocks.parses(reply.code):
                return _with_second_field(reply, rest)
            first = first or reply
        if first is not None:
            return first
    raise Unreadable(complaint or EMPTY)


def so_far(text: str) -> Reply:
    """A reply that still arrives, as `read` will see it: all reasoning until code begins."""
    text = re.sub(r"(?:^|\n)[ \t]*(?:\[\[?[^\]\n]*\]?|[`~]{1,2}[^`~\n]*|<[^>\n]*)$", "", text)  # a mark half written
    try:
        return read(text, whole=False)
    except Unreadable:
        thinking, rest = _without_thinking(text)
        return Reply(_tidy(rest) or thinking, "")


def _forms(rest: str, text: str) -> Iterator[Iterator[_Reading]]:
    """The readings of each form that a reply may have, the likeliest form first."""
    if code_blocks.looks_like_code(rest):
        yield iter([("", rest)])
    header, call = _STRICT.search(rest), _CALL_MARK.search(rest)
    if call is not None and (header is None or call.start() < header.start()):
        yield _by_calls(rest)
    narrow = _NARROW.search(rest)
    if narrow is not None and (header is None or narrow.start() < header.start()):
        yield _by_headers(rest, _LOOSE)
    yield _by_headers(rest, _STRICT)
    if rest is not text:
        yield _by_headers(text, _STRICT)
    looks_json = _JSON_START.search(rest) is not None and not _PYTHON_BEFORE_JSON.search(rest)
    if looks_json:
        yield _by_calls(rest)
    yield _by_headers(rest, _LOOSE)
    if _BLOCK_MARK.search(rest):
        yield iter([(None, rest)])
    if not looks_json:
        yield _by_calls(rest)
    if code_blocks.looks_like_code(code_blocks.mended(rest)):
        yield iter([("", rest)])


# -- fields by their headers ---------------------------------------------------------------------------------------


def _by_headers(text: str, form: re.Pattern[str]) -> Iterator[_Reading]:
    """The field `code`, the first of them, up to the next header, then to later ones: it may hold headers itself."""
    inside = code_blocks.spans(text)
    headers = [
        (match, _name(match))
        for match in form.finditer(text)
        if not any(start < match.start() < end for start, end in inside)
    ]
    place = next((place for place, (_, name) in enumerate(headers) if name == "code"), None)
    if place is None:
        return
    start = headers[place][0].end()
    ends = [match.start() for match, _ in headers[place + 1 :]] + [len(text)]
    reasoning = next(
        (
            text[headers[at][0].end() : headers[at + 1][0].start()]
            for at in range(place)
            if headers[at][1] == "reasoning"
        ),
        None,
    )
    if reasoning is None:
        reasoning = text[: headers[0][0].start()]
        for at in range(place + 1, len(headers)):
            if headers[at][1] == "reasoning":
                reasoning += text[headers[at][0].end() : ends[at - place]]
                break
    for end in ends[:20]:
        yield reasoning, text[start:end]


def _name(match: re.Match[str]) -> str:
    name = next(filter(None, match.groups()), "").lower()
    return "code" if re.fullmatch(_CODE, name) else "reasoning" if re.fullmatch(_REASONING, name) else name


def _with_second_field(reply: Reply, text: str) -> Reply:
    """Tell of another `code` field behind the one that runs: it was written without its output."""
    more = sum(match.group(1) == "code" for match in _STRICT.finditer(text)) - 1
    inside = sum(match.group(1) == "code" for match in _STRICT.finditer(reply.code))
    if more <= inside:
        return reply
    told = "a second `code` field of this answer did not run: write one step, then see its output"
    return replace(reply, left_out="; ".join(filter(None, [reply.left_out, told])))


# -- JSON and tool calls -------------------------------------------------------------------------------------------


def _by_calls(text: str) -> Iterator[_Reading]:
    """Code in a JSON object or in a call of a tool."""
    for match in _PARAMETER.finditer(text):
        yield text[: match.start()], next(filter(None, match.groups()), "")
    for before, piece in _json_pieces(text):
        found = _searched(_loaded(piece))
        if found is not None:
            yield found[0] or before, found[1]


def _json_pieces(text: str, keys: tuple[str, ...] = _JSON_CODE_KEYS) -> Iterator[tuple[str, str]]:
    """(what stands before, text that may be JSON)."""
    for fence in _JSON_FENCE.finditer(text):
        body = text[fence.end() :]
        closing = body.rfind(fence.group(1))
        yield text[: fence.start()], body[:closing] if closing >= 0 else body
    for left, right in ("{}", "[]"):
        start, end = text.find(left), text.rfind(right)
        if start >= 0 and re.search("|".join(map(re.escape, keys)), text[start:], re.I):
            yield text[:start], text[start : end + 1] if end > start else text[start:]


def _loaded(piece: str) -> Json:
    piece = piece.strip()
    try:
        return json.loads(piece, strict=False)
    except (ValueError, RecursionError):
        pass
    try:
        return syntax.literal(piece)  # Python's notation, with single quotes
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        pass
    import json_repair  # a library of dspy's that reads what is nearly JSON; only such a reply needs it

    try:
        return json_repair.loads(piece)
    except (ValueError, RecursionError):
        return None


def _searched(value: Json, depth: int = 0, tool: bool = False) -> tuple[str, str] | None:
    """(reasoning, code) of the first object with code in it."""
    if depth > 6:
        return None
    if isinstance(value, list):
        return next((found for item in value if (found := _searched(item, depth + 1, tool)) is not None), None)
    if isinstance(value, str):
        if value.lstrip().startswith(("{", "[")) and (found := _searched(_loaded(value), depth + 1)) is not None:
            return found
        return ("", value) if tool and value.strip() else None
    if not isinstance(value, dict):
        return None
    fields = {str(key).strip().lower(): part for key, part in value.items()}
    reasoning = next((text for key in _JSON_REASONING_KEYS if isinstance(text := fields.get(key), str)), "")
    for key in _JSON_CODE_KEYS:
        code = fields.get(key)
        if isinstance(code, list) and all(isinstance(line, str) for line in code):
            code = "\n".join(line.rstrip("\n") for line in code)
        if isinstance(code, str) and code.strip():
            return reasoning, code
    names = (fields.get(key) for key in ("name", "tool", "tool_name", "recipient_name", "action"))
    named = any(isinstance(name, str) and _TOOL_NAMES.search(name) for name in names)
    for key in _JSON_INNER_KEYS:
        if (
            key in fields
            and key != "action"
            and (found := _searched(fields[key], depth + 1, named or tool)) is not None
        ):
            return found[0] or reasoning, found[1]
    return None


# -- what stands around the code -----------------------------------------------------------------------------------


def _code_in(section: str, *, whole: bool) -> Found:
    """Raises `NotPython`."""
    section = _TRAILING_MARK.sub("", section)
    if section.lstrip().startswith(("{", "```json", "~~~json")) and (found := _searched(_loaded_section(section))):
        section = found[1]
    if _THINK_OPEN.match(section.lstrip()):
        section = _without_thinking(section)[1] or section
    return code_blocks.find(section, whole=whole)


def _loaded_section(section: str) -> Json:
    return next((value for _, piece in _json_pieces(section) if isinstance(value := _loaded(piece), dict)), None)


def _without_thinking(text: str) -> tuple[str, str]:
    """(thinking, the rest) of a reply that begins with thinking; a block that never closes is no block."""
    if "<|channel|>" in text:
        parts = _CHANNEL.findall(text)
        final = [said for channel, said in parts if channel != "analysis"]
        if final:
            return "\n".join(said for channel, said in parts if channel == "analysis").strip(), final[-1]
    thinking: list[str] = []
    while True:
        opening, closing = _THINK_OPEN.search(text), _THINK_CLOSE.search(text)
        if closing is not None and (opening is None or closing.start() < opening.start()):
            place = closing.start()
            if _FIELD.search(text, 0, place) or any(start < place < end for start, end in code_blocks.spans(text)):
                break  # in a field, or in code
            thinking.append(text[: closing.start()])
            text = text[closing.end() :]
        elif opening is not None and _BEGINS.search(text, 0, opening.start()) is None:
            if closing is None:
                text = text[: opening.start()] + text[opening.end() :]
                break
            thinking.append(text[opening.end() : closing.start()])
            text = text[: opening.start()] + text[closing.end() :]
        else:
            break
    return "\n\n".join(part.strip() for part in thinking if part.strip()), text


def _said(reasoning: str | None, found: Found, thinking: str) -> str:
    said = _tidy(found.before if reasoning is None else reasoning)
    if said or not thinking:
        return said
    return thinking if len(thinking) <= _THOUGHT_CHARS else f"…{thinking[-_THOUGHT_CHARS:]}"


def _tidy(reasoning: str) -> str:
    """Reasoning without the marks around it."""
    for mark in _MARKS:
        reasoning = mark.sub("", reasoning)
    return reasoning.strip()


# -- any fields ----------------------------------------------------------------------------------------------------


def fields(text: str, names: tuple[str, ...]) -> Iterator[dict[str, Json]]:
    """Values of named fields as each form gives them: headers in other dress, JSON, XML. They may be too few."""
    thinking, rest = _without_thinking(_END_TOKENS.sub("", text.replace("\r\n", "\n")))
    for source in (rest, text) if thinking else (rest,):
        name = rf"(?P<name>{'|'.join(map(re.escape, names))}|reasoning|completed)"
        bracketed = rf"[*_`]*\[{{1,2}}[ \t]*#{{0,4}}[ \t]*{name}[ \t]*#{{0,4}}[ \t]*\]{{1,2}}[*_`:]*"
        labelled = rf"^[ \t>#-]*[*_]*{name}[*_ \t]*:[*_]*|^[ \t]*#{{1,4}}[ \t]*{name.replace('?P<name>', '')}[ \t]*$"
        for form in (bracketed, labelled):
            yield _between_headers(source, re.compile(form, re.MULTILINE | re.IGNORECASE), names)
        for _, piece in _json_pieces(source, names):
            if isinstance(value := _loaded(piece), dict):
                yield {name: value[name] for name in names if name in value}
        elements = ((name, re.search(rf"<{re.escape(name)}>(.*?)</{re.escape(name)}>", source, re.S)) for name in names)
        yield {name: html.unescape(found.group(1)).strip() for name, found in elements if found is not None}


def _between_headers(text: str, form: re.Pattern[str], names: tuple[str, ...]) -> dict[str, Json]:
    known = {name.lower(): name for name in names}
    headers = list(form.finditer(text))
    ends = [match.start() for match in headers[1:]] + [len(text)]
    found: dict[str, Json] = {}
    for match, end in zip(headers, ends, strict=False):  # without headers there is one end
        name = known.get(next(filter(None, match.groups()), "").lower())
        if name is not None:
            found.setdefault(name, text[match.end() : end].strip())
    return found
