"""Errors that a text describes or logs, by category."""

from __future__ import annotations

import re

from fleet_rlm.engine.offline.written.harvest import saying
from fleet_rlm.engine.offline.written.texts import Docs, Entry, headings, lines_with, under, with_lines


def errors(docs: Docs) -> dict[str, list[Entry]]:
    """Errors by category: classes, codes, HTTP statuses and logged failures, under the categories that a table gives
    their codes, else under the headings that treat of them.
    """
    about = re.compile(r"error|exception|fault|fail|troubleshoot|problem|issue|warning|diagnos|status", re.I)
    kinds = {
        "Exceptions": re.compile(r"(?<![\w.])((?:\w+\.)*[A-Z]\w*(?:Error|Exception|Fault|Failure|Timeout|Exceeded))\b"),
        "Error codes": re.compile(
            r"(?<![\w-])(ERR_[A-Z_]{3,}|E(?:RR)?[-_]?\d{2,5}|[A-Z][A-Z_]{1,11}[-_]\d{2,5}|E(?!RRORS?\b)[A-Z]{4,})(?![\w-])"
        ),
        "HTTP status codes": re.compile(r"(?<![\w.$#,-])([45]\d\d)(?![\w.%,-]\w|\w)"),
        "Logged errors": re.compile(r"\b(?:ERROR|FATAL|CRITICAL|SEVERE|PANIC)\b[\]:\s-]*(.{6,160})"),
    }
    needles = [
        "Error",
        "Exception",
        "Fault",
        "Failure",
        "Timeout",
        "Exceeded",
        "ERR",
        "FATAL",
        "CRITICAL",
        "SEVERE",
        "PANIC",
        "E-",
        "E0",
        "E1",
        "E2",
        "E3",
        "E4",
        "E5",
        "_",
        "-",
        "| 4",
        "| 5",
        "`4",
        "`5",
        "4",
        "5",
    ]
    found: dict[str, Entry] = {}
    for doc, text in docs.items():
        heads = headings(text) if len(text) < 5_000_000 else []
        logs = len(re.findall(r"^\W?\d{2,4}[-/:.]\d{1,2}.*\b(?:INFO|WARN|ERROR|DEBUG)", text[:20000], re.M)) > 5
        for at, line in lines_with(text, needles if len(text) < 5_000_000 else needles[:10], most=60000):
            path = under(heads, at + 1)
            fitting = about.search(path) is not None
            for kind, shape in kinds.items():
                if (kind == "Logged errors") != logs and kind in {"Logged errors", "HTTP status codes"}:
                    continue
                for met in shape.finditer(line):
                    name = met[1].split(".")[-1] if kind == "Exceptions" else met[1].strip()
                    near = line[max(0, met.start() - 60) : met.end() + 60]
                    status = re.search(r"HTTP|status|respon|return|error|code|^\s*[|#*`-]+\s*`?[45]\d\d", near, re.I)
                    if kind == "HTTP status codes" and not (
                        status and (fitting or re.search(r"HTTP|status|respon", near, re.I))
                    ):
                        continue
                    if kind == "HTTP status codes" and kinds["Error codes"].search(line):
                        continue  # the status that comes with a code of the text's own
                    if kind == "Error codes" and not (fitting or re.search(r"\b(?:error|code|fail|err)", near, re.I)):
                        continue
                    owner = re.search(r"([A-Z]\w*[a-z]\w*)[`*]*\s*[(/:—–-]\s*[`*]*$", line[: met.start()])
                    if kind == "Error codes" and owner:
                        name = f"{owner[1]} ({name})"
                    if kind == "Logged errors":
                        name = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "#", name).strip()
                    titles = [part for part in path.split(" › ") if name not in part]
                    named = [part for part in titles[1:] if about.search(path)] or [
                        part for part in titles if about.search(part)
                    ]
                    entry = found.setdefault(
                        name,
                        {
                            "name": name,
                            "text": "",
                            "count": 0,
                            "doc": doc,
                            "at": at,
                            "category": kind,
                            "fitting": False,
                            "opens": False,
                        },
                    )
                    entry["count"] += 1
                    rest = re.sub(r"\s*\|\s*", " — ", re.sub(r"[`*#]", "", line[met.end() :])).strip(" |:—–-()[]\t")
                    said = rest if len(rest.split()) > 2 else saying(text, at)
                    said = said if kind != "Logged errors" else ""  # the next line of a log is another matter
                    opens = line.lstrip(" \t|*`#-").startswith(name)
                    if said and (not entry["text"] or (fitting, opens) > (entry["fitting"], entry["opens"])):
                        entry["text"] = re.split(r"(?<=[.!?])\s", said)[0][:300]
                        entry["opens"] = opens
                    if fitting and (not entry["fitting"] or opens):
                        entry.update(
                            category=named[-1] if named and kind != "Logged errors" else kind,
                            fitting=True,
                            doc=doc,
                            at=at,
                        )
        told = " ".join(entry["name"] + " " + entry["category"] for entry in found.values()).lower()
        treated = {title for entry in found.values() for title in under(heads, entry["at"] + 1).split(" › ")}
        for position, (at, level, title) in enumerate(heads):
            parents = under([head for head in heads[:position] if head[1] < level], at)
            free = not treated & set(parents.split(" › ")[1:] or [parents])
            if (
                free
                and about.search(parents)
                and title.lower() not in told
                and not any(name in title for name in found)
            ):
                after = heads[position + 1] if position + 1 < len(heads) else (0, 0, "")
                if after[1] <= level:
                    found[title] = {
                        "name": title,
                        "text": saying(text, at),
                        "count": 1,
                        "doc": doc,
                        "at": at,
                        "category": parents.split(" › ")[-1],
                        "fitting": True,
                    }
    families = code_families(docs)
    for entry in found.values():
        if entry["category"] == "Logged errors" and not entry["text"]:
            entry["text"] = f"logged {entry['count']:,} times" if entry["count"] > 1 else "logged once"
        own = [category for shape, category in families if shape.search(entry["name"])]
        entry["category"] = own[0] if own else entry["category"]
    grouped: dict[str, list[Entry]] = {}
    order = list(docs)
    in_order = sorted(found.values(), key=lambda entry: (order.index(entry["doc"]), entry["at"]))
    for entry in with_lines(docs, in_order):
        grouped.setdefault(entry["category"], []).append(entry)
    return grouped


def code_families(docs: Docs) -> list[tuple[re.Pattern[str], str]]:
    """Which codes belong to which category, by tables with rows such as `| request | MF-11xx | … |`."""
    found = []
    for text in docs.values():
        for met in re.finditer(r"^\|(.*)\|[ \t]*\n\|[-:| \t]+\|[ \t]*\n((?:\|.*\n?)+)", text[:5_000_000], re.M):
            heads = [head.strip().lower() for head in met[1].split("|")]
            named = [at for at, head in enumerate(heads) if re.search(r"categor|class|group|kind|type|family", head)]
            for row in met[2].splitlines():
                cells = [re.sub(r"[`*]", "", cell).strip() for cell in row.strip().strip("|").split("|")]
                family = [cell for cell in cells if re.fullmatch(r"[A-Z][A-Z_-]*\d+(?:[xX]+|\*+)|\dxx", cell)]
                if named and family and named[0] < len(cells) and cells[named[0]] not in family:
                    shape = re.sub(r"[xX*]$|[xX*](?=[xX*])", r"\\d", re.sub(r"(?<=[xX*])[xX*]", "x", family[0]))
                    found.append((re.compile(rf"(?<![\w-]){shape}(?![\w-])"), cells[named[0]]))
    return found
