"""How a planner may go about each preset task: a few short cells, which the offline model runs as they stand.

Plain data. A cell speaks of a task's inputs by their names, of `CALLS` for how many sub-LLM calls it may make, and of
the sandbox's helpers (`search`, `grep`, `chunk_by_headers` …). The last cell of a recipe submits. A task without a
recipe is searched: survey, search, read around, ask, submit.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Cell(NamedTuple):
    """One step: why, in the planner's words, and its code."""

    why: str
    code: str


_SUMMARY_PARTS = Cell(
    "I split the text by its own headings, so that every part of it is heard.",
    """\
parts = [part for part in chunk_by_headers(TEXT) if part["content"].strip()]
if len(parts) < 3:
    parts = [{"header": "", "content": piece} for piece in chunk_by_size(TEXT, 3000)]
step = max(1, -(-len(parts) // max(1, CALLS)))
chosen = parts[::step][:CALLS]
print(len(parts), "parts;", len(chosen), "go to sub-LLMs:")
for part in chosen:
    print("-", part["header"] or part["content"][:60], f"({len(part['content']):,} characters)")""",
)
_SUMMARY_ASK = Cell(
    "I ask one sub-LLM for each part, all in one batch.",
    """\
prompts = [f"Summarise in one sentence:\\n\\n# {part['header']}\\n\\n{part['content'][:6000]}" for part in chosen]
replies = llm_query_batched(prompts)
points = [reply.strip() for reply in replies if reply.strip() and "NOT FOUND" not in reply]
covered = sum(len(part["content"][:6000]) for part in chosen)
share = min(100, round(100 * covered / max(1, sum(len(part["content"]) for part in parts))))
print(f"{len(points)} sentences from {share} % of the text")
for point in points:
    print("-", point)""",
)
_HEAD = '"The offline model quotes one sentence of each part; it does not reason: "'

_SUMMARIZE = (
    Cell(_SUMMARY_PARTS.why, _SUMMARY_PARTS.code.replace("TEXT", "document")),
    _SUMMARY_ASK,
    Cell(
        "I have a sentence of each part: that is the summary.",
        f'summary = {_HEAD} + " ".join(points[:8])\n'
        "SUBMIT(summary=summary, key_points=points[:10], coverage_pct=share)",
    ),
)
_BRIEF = (
    Cell(_SUMMARY_PARTS.why, _SUMMARY_PARTS.code.replace("TEXT", "docs")),
    _SUMMARY_ASK,
    Cell("I have a sentence of each part: that is the summary.", f'SUBMIT(summary={_HEAD} + " ".join(points[:8]))'),
)

_ENDPOINTS = (
    Cell(
        "Endpoints have a shape: a method and a path. I collect them with what stands beside them.",
        """\
import re

place = r"\\b(GET|POST|PUT|PATCH|DELETE|HEAD)[\\s`|*]+(?:https?://[^/\\s]+)?(/[\\w/{}.:<>-]*)"
shape = place + r"(?:(?:[`\\s]*[|:]|`?\\n)\\s*([^|\\n`#]+))?"
found = {}
for text in docs.values() if isinstance(docs, dict) else [docs]:
    for method, path, purpose in re.findall(shape, text):
        key = method, path.rstrip(".,:")
        found[key] = found.get(key) or purpose.strip()
print(len(found), "endpoints are named:")
for (method, path), purpose in found.items():
    print(method, path, "-", purpose or "?")""",
    ),
    Cell(
        "A document also names endpoints that are gone. I ask about each, in one batch.",
        """\
asked = list(found)[:CALLS]
wish = "removed, renamed, retired or became another?"
around = ["\\n".join(grep(docs, re.escape(path), context=1))[:3000] for _, path in asked]
prompts = [f"Was {method} {path} {wish}\\n\\n{text}" for (method, path), text in zip(asked, around)]
replies = llm_query_batched(prompts)
gone = {key: reply for key, reply in zip(asked, replies) if "NOT FOUND" not in reply}
for key, reply in gone.items():
    print(*key, "is gone:", reply)
print(len(found) - len(gone), "endpoints are left")""",
    ),
    Cell(
        "Now I have each endpoint once, without those that are gone.",
        """\
api_endpoints = [
    {"method": method, "path": path, "description": purpose}
    for (method, path), purpose in found.items()
    if (method, path) not in gone
]
SUBMIT(api_endpoints=api_endpoints)""",
    ),
)

_ERRORS = (
    Cell(
        "Errors stand in tables, lists and headings, by code or by class name. I collect them section by section.",
        """\
import re

code = r"[A-Z]{1,6}-?\\d{2,5}"
begin = r"^[ \\t]*(?:[|#*+-]|\\d+\\.)[ \\t|*`#]*(?:([\\w ]{3,60}?)[^\\w\\n]{1,4})?"
shape = begin + rf"({code}|[A-Z]\\w*(?:Error|Exception))\\b(.*)$"
found = {}
for part in chunk_by_headers(docs):
    body = f"# {part['header']}\\n{part['content']}"
    if re.search(r"(?i)error|exception|fault|failure|troubleshoot", body):
        for name, key, rest in re.findall(shape, body, re.M):
            text = re.sub(r"[\\s|*`()]+", " ", rest).strip(" :-")
            found.setdefault(key, (part["header"], f"{name.strip()} ({key})" if name.strip() else key, text))
print(len(found), "errors are described")""",
    ),
    Cell(
        "A table may name classes of codes. I group by these, else by the heading.",
        """\
texts = "\\n".join(docs.values()) if isinstance(docs, dict) else docs
classes = re.findall(r"\\|\\s*`?([\\w -]+?)`?\\s*\\|\\s*([A-Z]{1,6}-?\\d+)x+\\b", texts)
categories = {}
for key, (header, name, text) in found.items():
    category = next((title for title, begin in classes if key.startswith(begin)), header or "Errors")
    categories.setdefault(category, []).append(f"{name}: {text}" if text else name)
for category, errors in categories.items():
    print(category, len(errors), errors[:2])""",
    ),
    Cell(
        "Logs report errors too. I count them by message; numbers become #, but codes stay.",
        """\
level = r"\\b(?:ERROR|FATAL|CRITICAL|SEVERE)\\b"
kept = re.compile(rf"(?:\\w+=)?\\W*{code}\\W*")
counts = {}
for line in grep(docs, rf"^\\W?\\d[\\d:./T -]{{7,}}.*{level}", ignore_case=False):
    message = re.split(level + r"\\W*", line, maxsplit=1)[1]
    message = re.sub(r"\\S*\\d\\S*", lambda met: met[0] if kept.fullmatch(met[0]) else "#", message)
    counts[message] = counts.get(message, 0) + 1
for message, times in sorted(counts.items(), key=lambda one: -one[1])[:50]:
    categories.setdefault("Logged errors", []).append(f"{message}: logged {times} times")
total = sum(map(len, categories.values()))
print(total, "errors in", len(categories), "categories")""",
    ),
    Cell(
        "The errors are grouped and counted, so I submit them.",
        "SUBMIT(error_categories=categories, total_errors_found=total)",
    ),
)

_STRUCTURE = (
    Cell(
        "Headers and code blocks have a shape. I take the blocks first: a # inside of one is no header.",
        """\
import re

texts = list(docs.values()) if isinstance(docs, dict) else [docs]
text = "\\n\\n".join(texts)
fence = r"^(`{3,}|~{3,})[ \\t]*([\\w+-]*)[^\\n]*\\n(.*?)^\\1[ \\t]*$"
blocks = regex_extract(text, fence, re.MULTILINE | re.DOTALL)
code_blocks = [{"language": language, "code": code} for _, language, code in blocks]
prose = re.sub(fence, "", text, flags=re.MULTILINE | re.DOTALL)
headers = regex_extract(prose, r"^#{1,6}[ \\t]+(.+?)[ \\t#]*$", re.MULTILINE)
print(len(headers), "headers;", len(code_blocks), "code blocks")
print("\\n".join(headers[:20]))""",
    ),
    Cell(
        "I describe the structure by what can be counted, and submit.",
        """\
levels = [len(signs) for signs in regex_extract(prose, r"^(#{1,6})[ \\t]", re.MULTILINE)]
languages = sorted({block["language"] or "plain" for block in code_blocks})
structure_summary = (
    f"{len(headers)} headings down to level {max(levels, default=0)}, {len(code_blocks)} code blocks"
    f" ({', '.join(languages) or 'none'}), {sum(map(len, texts)):,} characters"
    f" in {sum(len(one.splitlines()) for one in texts):,} lines."
)
SUBMIT(headers=headers, code_blocks=code_blocks, structure_summary=structure_summary)""",
    ),
)

_LOGS = (
    Cell(
        "I look at the entries, how many there are, and when they begin and end.",
        """\
import re

entries = [entry for entry in chunk_by_timestamps(logs) if entry["timestamp"]]
whole = "\\n".join(logs.values()) if isinstance(logs, dict) else logs
lines = [line for line in whole.splitlines() if line.strip()]
stamps = sorted(entry["timestamp"] for entry in entries)
time_range = f"from {stamps[0]} to {stamps[-1]}" if stamps else ""
print(f"{len(lines):,} lines, {len(entries):,} entries with a time stamp; {time_range}")
print("\\n".join(lines[:5]))""",
    ),
    Cell(
        "I count the lines by their shape: the time stamp goes, numbers become #, codes such as MF-5502 stay.",
        """\
from collections import Counter

def shape_of(line):
    message = re.sub(r"^\\W{0,2}[\\d:./T+Z,-]{4,}(?: [\\d:.,+Z-]{4,})?\\W*", "", line)
    kept = re.compile(r"(?:\\w+=)?\\W*[A-Z]{1,6}-?\\d{2,5}\\W*")
    return re.sub(r"\\S*\\d\\S*", lambda met: met[0] if kept.fullmatch(met[0]) else "#", message)

shapes = Counter(shape_of(line) for line in lines)
patterns = dict(shapes.most_common(50))
for shape, count in shapes.most_common(10):
    print(f"{count:6,}  {shape[:120]}")""",
    ),
    Cell(
        "I keep the lines that hold the most words of the query.",
        """\
common = {"the", "and", "all", "are", "how", "many", "what", "which", "lines", "line"}
words = [word.rstrip("s") for word in re.findall(r"[\\w-]{3,}", query.lower()) if word not in common]
scores = [sum(word in line.lower() for word in words) for line in lines]
best = max(scores, default=0)
matches = [line for line, score in zip(lines, scores) if best and score == best][:50]
print(len(matches), "lines hold", best, "of", words)
print("\\n".join(matches[:5]))""",
    ),
    Cell(
        "I have lines, patterns and the time range, so I submit them.",
        "SUBMIT(matches=matches, patterns=patterns, time_range=time_range)",
    ),
)

_ARCHITECTURE = (
    Cell(
        "A library's reference names its classes in headings, with what they derive from. I collect these.",
        """\
import re

classes, listed = {}, {"module": [], "optimizer": []}
for part in chunk_by_headers(docs):
    found = re.match(r"class `?(?:\\w+\\.)*(\\w+)(?:\\(([\\w., ]*)\\))?", part["header"])
    sentence = re.match(r"\\s*([A-Z][^\\n]{10,200}?[.])(?:\\s|$)", part["content"])
    if found:
        classes[found[1]] = (re.findall(r"(\\w+)(?=,|$)", found[2] or ""), sentence[1] if sentence else "")
    for kind in listed:
        if re.search(rf"(?i)\\b{kind}s?\\b", part["header"]):
            listed[kind] += re.findall(r"^\\s*[-*] \\*\\*(.+?)\\*\\*[:\\s]*(.*)$", part["content"], re.M)
print(len(classes), "classes;", {kind: len(items) for kind, items in listed.items()}, "in lists")""",
    ),
    Cell(
        "Which classes are modules and which are optimizers follows from their bases.",
        """\
def derives(name, roots, depth=0):
    bases = classes.get(name, ((), ""))[0] if depth < 20 else ()
    return any(base in roots or derives(base, roots, depth + 1) for base in bases)

def with_words(items):
    return [f"{name}: {words}" if words else name for name, words in items]

modules = with_words(listed["module"] + [(name, classes[name][1]) for name in classes if derives(name, {"Module"})])
roots = {"Optimizer", "Teleprompter"}
optimizers = with_words(listed["optimizer"] + [(name, classes[name][1]) for name in classes if derives(name, roots)])
print(len(modules), "modules:", modules[:5])
print(len(optimizers), "optimizers:", optimizers[:5])""",
    ),
    Cell(
        "For the design I search for passages and ask sub-LLMs about them in one batch.",
        """\
hits = search(docs, f"design principles decisions {query}", most=CALLS)
prompts = [f"What are the design principles?\\n\\n# {hit['heading']}\\n{hit['text']}" for hit in hits]
replies = llm_query_batched(prompts)
said = [reply for reply in replies if "NOT FOUND" not in reply]
design_principles = "\\n".join(dict.fromkeys(said))
print(len(said), "of", len(hits), "passages speak of it")
print(design_principles[:1000])""",
    ),
    Cell(
        "I submit what I found; what I did not find stays empty.",
        "SUBMIT(modules=modules, optimizers=optimizers, design_principles=design_principles)",
    ),
)

RECIPES: Mapping[str, tuple[Cell, ...]] = MappingProxyType(
    {
        "summarize": _SUMMARIZE,
        "brief": _BRIEF,
        "api-endpoints": _ENDPOINTS,
        "error-patterns": _ERRORS,
        "custom-tool": _STRUCTURE,
        "logs": _LOGS,
        "architecture": _ARCHITECTURE,
    }
)
"""The cells of each task that is not simply searched, by the task's name."""
MOST_CALLS: Mapping[str, int] = MappingProxyType({"brief": 8, "summarize": 20, "api-endpoints": 28, "architecture": 8})
"""`CALLS` of a recipe, when the run's budget allows that many."""
