"""Extractors: what a text's shape tells without reading it.

Each takes the documents by name and gives entries: dicts with `name` and `text` (what the text says of it), `doc` and
`line`, and fields of their own (`method`, `path`, `language`, `code` …). `fields.py` chooses among them by an output's
name, description and type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from fleet_rlm.engine.offline.written.texts import Docs, Entry, Terms, headings, lines_with, under, with_lines


def saying(text: str, at: int) -> str:
    """The first sentence of prose after an offset: what stands below a heading or a signature."""
    for line in text[at : at + 1500].split("\n")[1:12]:
        prose = re.sub(r"[`*]", "", line).strip(" |-•\t")
        if prose.startswith(("#", "{", "}", "<", "==", "--", "~~")) or re.match(
            r"(GET|POST|PUT|PATCH|DELETE|curl)\b", prose
        ):
            if prose.startswith("#"):
                break
            continue
        if len(prose.split()) > 2:
            return re.split(r"(?<=[.!?])\s", prose)[0][:300]
    return ""


def endpoints(docs: Docs) -> list[Entry]:
    """HTTP endpoints: `GET /path` in prose, headings, tables, code and curl lines; route decorators; OpenAPI paths."""
    verbs = "GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS"
    url = r"(?:https?://[^/\s`\"'|]+)?(/(?:[\w\-.~%/:+@]|\{[^}\s]*\}|<[^>\s]*>|\[[^\]\s]*\])*)"
    shapes = [
        (re.compile(rf"\b({verbs})\b[`*\s|:\"',]{{1,12}}{url}"), (1, 2)),
        (re.compile(rf"(?<![\w/]){url}[`*\s|\"']{{1,12}}\(?({verbs})\b"), (2, 1)),
        (re.compile(rf"\.(get|post|put|patch|delete|head|options)\(\s*f?[\"']{url}"), (1, 2)),
        (re.compile(rf"curl\b.*?(?:-X|--request)[\s=]*[\"']?({verbs})\b.*?{url.replace(')?', ')', 1)}"), (1, 2)),
    ]
    needles = [*verbs.split("|"), ".get(", ".post(", ".put(", ".patch(", ".delete("]
    found: dict[tuple[str, str], Entry] = {}
    for doc, text in docs.items():
        heads = headings(text) if len(text) < 5_000_000 else []
        for at, line in lines_with(text, needles):
            for shape, (verb, path) in shapes:
                for met in shape.finditer(line):
                    where = met[path].rstrip(".,;:") if len(met[path]) > 1 else met[path]
                    key = (met[verb].upper(), re.sub(r"\{[^}]*\}|<[^>]*>|(?<=/):\w+", "*", where).rstrip("/") or "/")
                    rest = re.sub(r"\s*\|\s*", " ", re.sub(r"[`*]", "", line[met.end() :])).strip(" |:—–-\"'")
                    shaped = line.lstrip()[:1] in "|-*#" and met.start() < 12 + len(line) - len(line.lstrip())
                    entry_text = rest if len(rest.split()) > 1 and not re.match(r"[;,.)]|\w+ ?[(.]", rest) else ""
                    text_of = entry_text if not line.lstrip().startswith(("curl", "@")) else ""
                    text_of = text_of or saying(text, at)
                    entry = found.setdefault(
                        key,
                        {
                            "method": key[0],
                            "path": where,
                            "description": "",
                            "shaped": False,
                            "name": f"{key[0]} {where}",
                            "doc": doc,
                            "at": at,
                            "under": under(heads, at),
                        },
                    )
                    if text_of and (not entry["description"] or (shaped and not entry["shaped"])):
                        entry["description"] = re.split(r"(?<=[.!?])\s", text_of)[0][:300]
                        entry["shaped"] = shaped
        for met in re.finditer(
            r"^[ ]{2,4}[\"']?(/[\w{}/\-.]*)[\"']?:\s*\{?\s*$((?:\n[ ]{4,}.*|\n\s*$)+)", text[:2_000_000], re.M
        ):
            for verb, block in re.findall(
                r"^\s*[\"']?(get|post|put|patch|delete)[\"']?:((?:.|\n)*?)(?=^\s*[\"']?(?:get|post|put|patch|delete)[\"']?:|\Z)",
                met[2],
                re.M,
            ):
                said = re.search(r"[\"']?(?:summary|description)[\"']?:\s*[\"']?([^\"'\n]+)", block)
                key = (verb.upper(), re.sub(r"\{[^}]*\}", "*", met[1]))
                found.setdefault(
                    key,
                    {
                        "method": key[0],
                        "path": met[1],
                        "description": said[1].strip() if said else "",
                        "shaped": True,
                        "name": f"{key[0]} {met[1]}",
                        "doc": doc,
                        "at": met.start(),
                        "under": "",
                    },
                )
    general = [(verb, re.compile(re.escape(path).replace(r"\*", "[^/]+") + "$")) for verb, path in found if "*" in path]
    kept = [
        entry
        for (verb, path), entry in found.items()
        if "*" in path or not any(verb == other and shape.match(path) for other, shape in general)
    ]
    return with_lines(docs, kept)


def code_blocks(docs: Docs) -> list[Entry]:
    """Fenced code blocks; indented ones after a line that ends with `::` or a blank line, in texts without fences."""
    found = []
    for doc, text in docs.items():
        fenced = list(
            re.finditer(
                r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n((?:.*\n){0,2000}?)[ \t]*\1[`~]*[ \t]*$", text, re.M
            )
        )
        shaped = fenced or list(re.finditer(r"(?:::|:|\n)\n()(\s*)\n((?:(?:    |\t).*\n|[ \t]*\n)+)", text[:3_000_000]))
        for met in shaped:
            code = met[3].rstrip("\n")
            if code.strip() and (fenced or re.search(r"[=(){};$<>]|^\s*(?:import|def|class|from) ", code)):
                language = met[2].strip() if fenced else ""
                found.append(
                    {
                        "name": language or "code",
                        "language": language,
                        "code": code,
                        "doc": doc,
                        "at": met.start(),
                    }
                )
    return with_lines(docs, found)


def header_list(docs: Docs) -> list[Entry]:
    """Every heading, in order."""
    found = [
        {"name": title, "level": level, "doc": doc, "at": at}
        for doc, text in docs.items()
        for at, level, title in headings(text)
    ]
    return with_lines(docs, found)


def subclasses(docs: Docs, roots: list[str]) -> list[Entry]:
    """Classes that derive, directly or not, from one that is named like a root, with the first sentence on each."""
    shape = re.compile(r"^[# \t]*class[ \t]+((?:\w+\.)*)(\w+)(?:\(([^)\n]*)\))?:?[ \t]*$", re.M)
    rows = [(doc, met) for doc, text in docs.items() for met in shape.finditer(text[:20_000_000])]
    family = {met[2] for _, met in rows if any(root in met[2].lower() for root in roots) and not met[3]}
    family |= {root.title() for root in roots}
    grown = True
    while grown:
        grown = False
        for _, met in rows:
            bases = {base.strip().rpartition(".")[2] for base in (met[3] or "").split(",")}
            if met[2] not in family and bases & family:
                family.add(met[2])
                grown = True
    found: dict[str, Entry] = {}
    for doc, met in rows:
        if met[2] in family and met[3] and met[2] not in found and not met[2].startswith("_"):
            below = docs[doc][met.end() : met.end() + 3000]
            said = [line.strip(' #"') for line in re.split(r"\n(?=#+ *class )", below)[0].split("\n")]
            prose = [line for line in said if len(line.split()) > 3 and not re.match(r"[\w.]+\(|def |[-*>:]", line)]
            text = re.split(r"(?<=[.!?])\s", prose[0])[0][:300] if prose else ""
            found[met[2]] = {"name": met[2], "text": text, "doc": doc, "at": met.start(), "score": 100.0}
    return with_lines(docs, list(found.values()))


def blocks_by(docs: Docs, extract: Callable[..., list[Any]]) -> list[Entry]:
    """Fenced code blocks, by a tool that gives all matches of a regular expression; by their shape, without fences."""
    fence = r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)^ {0,3}\1[`~]*[ \t]*$"
    found = []
    for doc, text in docs.items():
        if len(text) < 5_000_000:
            for _, language, code in extract(text, fence, re.MULTILINE | re.DOTALL):
                name, code = language or "code", code.rstrip("\n")
                found.append(
                    {"name": name, "language": language, "code": code, "doc": doc, "at": max(0, text.find(code))}
                )
    return with_lines(docs, found) if found else code_blocks(docs)


def headers_by(docs: Docs, extract: Callable[..., list[Any]]) -> list[Entry]:
    """Markdown headings outside of code blocks, by the same tool; by their shape, where there are none."""
    fence = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?^ {0,3}\1[`~]*[ \t]*$", re.MULTILINE | re.DOTALL)
    found = []
    for doc, text in docs.items():
        if len(text) < 5_000_000:
            for marks, title in extract(fence.sub("", text), r"^(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE):
                at = max(0, text.find(f"{marks} {title}"))
                found.append({"name": title, "level": len(marks), "doc": doc, "at": at})
    return with_lines(docs, found) if found else header_list(docs)


def sampled_lines(docs: Docs, most: int = 120000) -> tuple[list[str], int]:
    """Lines of all documents and the step between those taken: every line, or evenly spread ones of a large text."""
    count = sum(text.count("\n") + 1 for text in docs.values())
    step = max(1, -(-count // most))
    return [line for text in docs.values() for line in text.split("\n")[::step] if line.strip()], step


def line_patterns(docs: Docs, most: int = 25) -> dict[str, int]:
    """Recurring lines, numbers, identifiers and quoted words made place-holders, with how often (sampled if large)."""
    stamp = re.compile(r"^\W?\d{2,4}[-/.:]\d{1,2}[-/.:\dT ,Z+]*\W*\s*|^[A-Z][a-z]{2} +\d+ [\d:]+ ")
    masks = [
        (re.compile(r"\"[^\"]{1,80}\"|'[^']{1,80}'"), "<text>"),
        (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8}[0-9a-f-]*\b|0x[0-9a-f]+", re.I), "<id>"),
        (re.compile(r"\d+(?:[.:]\d+)*"), "<n>"),
    ]
    lines, step = sampled_lines(docs)
    counts: Counter[str] = Counter()
    for line in lines:
        shape = stamp.sub("", line[:400])
        for mask, sign in masks:
            shape = mask.sub(sign, shape)
        counts[shape.strip()[:160]] += step
    recurring = {shape: count for shape, count in counts.most_common(most) if count > 1 and len(shape) > 3}
    return recurring or dict(counts.most_common(min(most, 5)))


def time_range(docs: Docs) -> str:
    """The earliest and latest time stamp of lines that begin with one: `from … to …`."""
    day, clock = r"\d{4}[-/.]\d{2}[-/.]\d{2}", r"\d{2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?"
    stamp = re.compile(rf"(?:^|\n)[\[(]?({day}[T ]{clock}|{day}|[A-Z][a-z]{{2}} +\d+ {clock}|{clock})")
    found = [
        value
        for text in docs.values()
        for part in (text[:2_000_000], text[2_000_000:][-2_000_000:])
        for value in stamp.findall(part)
    ]
    same = [value for value in found if found and len(value) == len(found[0])]
    if not same:
        return "no time stamps found"
    first, last = (same[0], same[-1]) if same[0][:1].isalpha() else (min(same), max(same))
    return f"from {first} to {last}"


def lines_about(docs: Docs, terms: Terms, most: int = 50) -> list[Entry]:
    """Lines that hold as many of the terms as any line does, and at least half of them, in the order of the text."""
    found = []
    for doc, text in docs.items():
        forms = [form for word_forms, _ in terms.values() for form in word_forms]
        for at, line in lines_with(
            text, [shape for form in forms for shape in dict.fromkeys((form, form.upper(), form.capitalize()))]
        ):
            low = line.lower()
            held = sum(any(form in low for form in word_forms) for word_forms, _ in terms.values())
            found.append((held, doc, at, line.strip()))
    full = max((held for held, *_ in found), default=0)
    chosen = [row for row in found if row[0] == full][:most] if full * 2 >= len(terms) else []
    return with_lines(docs, [{"name": line[:400], "doc": doc, "at": at} for _, doc, at, line in chosen])


def occurrences(docs: Docs, pattern: str, most: int = 500) -> list[Entry]:
    """Different things that a regular expression finds (its first group, else all of it), and how often."""
    counts: Counter[str] = Counter()
    first: dict[str, Entry] = {}
    for doc, text in docs.items():
        for met in re.finditer(pattern, text[:20_000_000], re.M):
            name = next((group for group in met.groups() if group), met[0]).strip().rstrip(".,;:")
            counts[name] += 1
            if name not in first and len(first) < most:
                first[name] = {"name": name, "doc": doc, "at": met.start()}
    return with_lines(docs, [{**entry, "count": counts[name]} for name, entry in first.items()])


def structure(docs: Docs) -> str:
    """How the texts are built: how long, how many headings of which level, how much code in which languages."""
    heads = header_list(docs)
    blocks = code_blocks(docs)
    levels = Counter(entry["level"] for entry in heads)
    languages = Counter(block["language"] or "unnamed" for block in blocks).most_common(8)
    tops = [entry["name"] for entry in heads if entry["level"] <= min(levels) + 1][:12]
    lines = sum(text.count("\n") + 1 for text in docs.values())
    said = f"{len(docs)} document(s), {sum(map(len, docs.values())):,} characters in {lines:,} lines. "
    ranks = ", ".join(f"{levels[level]} of level {level}" for level in sorted(levels))
    said += f"{len(heads)} headings ({ranks}). " if heads else "No headings. "
    tongues = ", ".join(f"{count} {language}" for language, count in languages)
    said += f"{len(blocks)} code blocks ({tongues})." if blocks else "No code blocks."
    return said + (f" Main parts: {'; '.join(tops)}." if tops else "")
