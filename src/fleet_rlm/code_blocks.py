"""Take the Python out of a text that a model wrote: fenced, tagged, with prompts, or bare.

dspy's own stripping cuts a cell short at the first fence *inside* it (a cell that splits Markdown at its code fences
is common) and reads one block alone. Here the closing fence is the last one that leaves code that parses; what does not
parse as it stands is mended where that is safe: odd spaces, typographic quotes, prompts, a common indentation.
"""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fleet_rlm import syntax

PYTHON = frozenset(
    (
        "python", "py", "python3", "py3", "ipython", "ipython3", "pycon", "python-repl", "repl", "tool_code", "code",
        "jupyter", "exec", "execute",
    )
)  # fmt: skip
_PLAIN = frozenset({"text", "txt", "plaintext", "none"})
_NAMES = f"(?i:{'|'.join(sorted(PYTHON))})"
_LANGUAGE = r"\{?\.?([\w+#-]*)"
_OPEN = re.compile(rf"^[ \t]*(?:[*+-][ \t]+|\d+[.)][ \t]+)?(`{{3,}}|~{{3,}})[ \t]*{_LANGUAGE}([^\n`]*)$", re.MULTILINE)
_OPEN_IN_LINE = re.compile(rf"(`{{3,}}|~{{3,}})[ \t]*({_NAMES})[ \t]*$()", re.MULTILINE)
_ONE_LINE = re.compile(
    rf"(?:^|(?<=[\s:]))(`{{3,}}|~{{3,}})[ \t]*(?:({_NAMES})[ \t]+)?([^\s`~][^\n]*?)[ \t]*\1[ \t]*$",
    re.MULTILINE,
)
_TAG = re.compile(r"<(code|python|py|execute|tool_code|repl|ipython)\b[^<>\n]*>", re.IGNORECASE)
_OUTPUT = re.compile(r"\b(?:output|result|observation|prints?|printed|shows?)\b[^\n]*:?\s*$", re.IGNORECASE)
_MAGIC = re.compile(r"^([ \t]*)[!%].*$", re.MULTILINE)
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.|In \[\d+\]:|[ \t]*\.\.\.:)(?: |$)(.*)$")
_MOST_FENCES = 40
"""Closing fences that are tried from the end, and from the start."""


class NotPython(ValueError):
    """The text holds no Python to run; the message is what the planner is told."""


@dataclass(frozen=True, slots=True)
class Found:
    """Python that was found, and what the planner is to know about the rest of its text."""

    code: str
    before: str = ""
    """The text that leads up to it."""
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    body: str
    start: int
    end: int


def parses(code: str) -> bool:
    """True if the text parses as Python; shell and IPython lines (`!pip`, `%time`) count as statements."""
    for source in (code, _MAGIC.sub(r"\1pass", code)):
        try:
            syntax.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        return True
    return False


def find(text: str, *, whole: bool = True) -> Found:
    """The Python in a text that is to hold some. Raises `NotPython`.

    `whole` is False for a text that still arrives: nothing is mended then.
    """
    text = text.strip("\n").rstrip()
    if not text.strip():
        raise NotPython("Your answer held no code. Write Python code in the `code` field.")
    if not re.match(r"\s*(?:`{3}|~{3}|<)", text) and parses(text):
        return Found(text)
    if (tagged := _tagged(text)) is not None:
        inner = find(tagged.body, whole=whole)
        return Found(inner.code, text[: tagged.start], inner.left_out)
    stray = re.fullmatch(r"(.*\S)\s*\n[ \t]*(?:`{3,}|~{3,})", text, re.DOTALL)
    if stray is not None and not re.search(r"`{3}|~{3}", stray.group(1)):
        text = stray.group(1)  # the end of a block without its begin
    blocks = list(_blocks(text))
    if blocks:
        return _chosen(text, blocks, whole=whole)
    return Found(_some(mended(text) if whole else _without_prompts(text)))


def _some(code: str) -> str:
    if not code.strip():
        raise NotPython("Your code block was empty. Write Python code in it.")
    return code


def _chosen(text: str, blocks: list[_Block], *, whole: bool) -> Found:
    mend: Callable[[str], str] = mended if whole else lambda body: _without_prompts(textwrap.dedent(body))
    python = [block for block in blocks if block.language in PYTHON]
    python = python or [block for block in blocks if not block.language]
    python = python or [block for block in blocks if block.language in _PLAIN and looks_like_code(block.body)]
    if not python:
        language = blocks[0].language
        raise NotPython(f"Your code was a `{language}` block. Write Python code, not {language}.")
    first = python[0]
    code, end, taken = mend(first.body), first.end, 1
    for block in python[1:]:
        more = mend(block.body)
        if _OUTPUT.search(text[end : block.start].strip()) or not (parses(code) and parses(more)):
            break
        code, end, taken = f"{code}\n\n{more}", block.end, taken + 1
    left = len(python) - taken
    others = {block.language for block in blocks if block.language and block.language not in PYTHON | _PLAIN}
    notes = [f"{left} more Python block{'s' * (left > 1)} of this answer did not run"] if left else []
    notes += [f"its {language} block did not run" for language in sorted(others)]
    return Found(_some(code), text[: first.start], "; ".join(notes))


def _blocks(text: str) -> Iterator[_Block]:
    place = 0
    while (opening := _first(text, place)) is not None:
        fence, language, rest = opening.group(1), (opening.group(2) or "").lower(), opening.group(3)
        if opening.re is _ONE_LINE:
            place = opening.end()
            yield _Block(language, rest, opening.start(), place)
            continue
        start = opening.end()
        inner = _OPEN.match(text, start + 1)
        if not language and not rest.strip() and inner is not None and inner.group(2):
            place = start  # a bare fence around a fenced block is decoration
            continue
        body, place = _closed(text, start, fence)
        if rest.strip() and re.search(r"[(=]|\bimport\b", rest) and parses(f"{rest.strip()}\n{body}"):
            body = f"{rest.strip()}\n{body}"  # code that begins in the line of the fence
        yield _Block(language, body, opening.start(), place)


def spans(text: str) -> list[tuple[int, int]]:
    """Where blocks of a text begin and end that hold Python: what looks like a mark in there is part of it."""
    tagged = _tagged(text)
    found = [*_blocks(text), *([tagged] if tagged is not None else [])]
    return [(block.start, block.end) for block in found if parses(textwrap.dedent(block.body.strip("\n")))]


def _first(text: str, place: int) -> re.Match[str] | None:
    found = [match for form in (_OPEN, _OPEN_IN_LINE, _ONE_LINE) if (match := form.search(text, place)) is not None]
    return min(found, key=lambda match: match.start(1), default=None)


def _closed(text: str, start: int, fence: str) -> tuple[str, int]:
    """The body of a block from its opening line's end, and where it ends: the last fence that leaves Python."""
    body = text[start:].removeprefix("\n")
    start = len(text) - len(body)
    own_line = [match.span() for match in re.finditer(rf"^[ \t]*{re.escape(fence)}[ \t]*$", body, re.MULTILINE)]
    anywhere = [match.span() for match in re.finditer(re.escape(fence), body)]
    for spans in (own_line, anywhere):
        tried = spans if len(spans) <= 2 * _MOST_FENCES else spans[:_MOST_FENCES] + spans[-_MOST_FENCES:]
        for begin, end in reversed(tried):
            if parses(textwrap.dedent(body[:begin])):
                return body[:begin].rstrip(), start + end
    first = next(iter(own_line or anywhere), None)
    if first is not None and not parses(textwrap.dedent(body)):
        return body[: first[0]].rstrip(), start + first[1]
    return body.rstrip(), len(text)


def _tagged(text: str) -> _Block | None:
    """The content of a `<code>` element that stands before every fence."""
    opening = _TAG.search(text)
    fence = _first(text, 0)
    if opening is None or (fence is not None and fence.start(1) < opening.start()):
        return None
    name, start = opening.group(1).lower(), opening.end()
    closings = [match.span() for match in re.finditer(rf"</{name}\s*>", text[start:], re.IGNORECASE)]
    for begin, end in reversed(closings[-_MOST_FENCES:]):
        if parses(textwrap.dedent(text[start : start + begin].strip("\n"))):
            return _Block(name, text[start : start + begin], opening.start(), start + end)
    begin, end = closings[0] if closings else (len(text) - start, len(text) - start)
    return _Block(name, text[start : start + begin], opening.start(), start + end)


def looks_like_code(text: str) -> bool:
    """True if a text without a code fence is a program, not prose that happens to parse (`Done`, `yes, no`)."""
    calls = re.search(r"^[ \t]*[\w.]*\w\(|=[ \t]*\S|^[ \t]*(?:import|from|for|def|with|while|if) ", text, re.MULTILINE)
    label = re.search(r"^[ \t]*(?:[A-Z]\w*|reasoning|thought|code|action)\s*:(?!=)", text, re.MULTILINE)
    return calls is not None and label is None and text.lstrip()[:1] not in "{[<" and parses(text)


# -- mending -------------------------------------------------------------------------------------------------------


def mended(code: str) -> str:
    """The code; where it does not parse, the nearest that does, else the code as it is."""
    code = code.strip("\n").rstrip()
    code = _without_prompts(code)
    if parses(code):
        return code
    for steps in ((_dedented,), (_plain_characters,), (_dedented, _plain_characters), (html.unescape,), (_unescaped,)):
        better = code
        for step in steps:
            better = step(better)
        if better != code and parses(better):
            return better
    return code


def _without_prompts(code: str) -> str:
    """The code typed in an interactive session, without its `>>>` prompts and its output."""
    if not code.lstrip().startswith((">>>", "In [")):
        return code
    return "\n".join(match.group(1) for line in code.splitlines() if (match := _PROMPT.match(line)))


def _dedented(code: str) -> str:
    quoted = "\n".join(re.sub(r"^[ \t]*> ?", "", line) for line in code.splitlines()).rstrip()
    if code.lstrip().startswith(">") and parses(quoted):
        return quoted
    dedented = textwrap.dedent(code)
    if parses(dedented):
        return dedented
    first, _, rest = code.partition("\n")  # the indentation of the first line was cut off
    return f"{first.strip()}\n{textwrap.dedent(rest)}"


def _unescaped(code: str) -> str:
    """Code in one line with its line ends written as two characters, as a string in a string is."""
    if "\n" in code or "\\n" not in code:
        return code
    return code.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\'", "'")


_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"
_SIGNS = {"−": "-", "–": "-", "—": "-", "‑": "-", "…": "...", "×": "*", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!="}
_QUOTES = {"“": "”“\"", "”": "”\"", "„": "“”\"", "«": "»", "‘": "’‘'", "’": "’'", "‚": "‘’'", "`": "`´"}  # fmt: skip
_MOST_CHARACTERS = 500


def _plain_characters(code: str) -> str:
    """Odd spaces, signs and quotes made plain, only where Python stumbles over one, so that texts keep theirs."""
    for _ in range(_MOST_CHARACTERS):
        try:
            syntax.parse(_MAGIC.sub(r"\1pass", code))
        except SyntaxError as error:
            better = _plain_at(code, error)
            if better is None or better == code:
                return code
            code = better
        except (ValueError, RecursionError, MemoryError):
            return code
        else:
            return code
    return code


def _plain_at(code: str, error: SyntaxError) -> str | None:
    """The code with the character that the error names made plain."""
    named = re.search(r"\(?U\+([0-9A-F]{4,6})\)?", error.msg or "")
    if named is None or not error.lineno:
        return None
    lines = code.split("\n")
    if error.lineno > len(lines):
        return None
    line, odd = lines[error.lineno - 1], chr(int(named.group(1), 16))
    place = line.find(odd, max(0, (error.offset or 1) - 1))
    place = line.find(odd) if place < 0 else place
    if place < 0:
        return None
    lines[error.lineno - 1] = _plain_line(line, place, odd)
    return "\n".join(lines)


def _plain_line(line: str, place: int, odd: str) -> str:
    if odd in _INVISIBLE:
        return line[:place] + line[place + 1 :]
    if odd.isspace():
        return f"{line[:place]} {line[place + 1 :]}"
    closings = (line.find(mark, place + 1) for mark in _QUOTES.get(odd, ""))
    closing = next((at for at in closings if at >= 0), None)
    if closing is not None:
        inner = line[place + 1 : closing]
        quote = "'" if '"' in inner and "'" not in inner else '"'
        return f"{line[:place]}{quote}{inner.replace(quote, chr(92) + quote)}{quote}{line[closing + 1 :]}"
    wide = chr(ord(odd) - 0xFEE0) if "\uff01" <= odd <= "\uff5e" else odd  # the full width forms of ASCII
    return line[:place] + _SIGNS.get(odd, wide) + line[place + 1 :]
