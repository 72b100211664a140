"""Sub-queries and what comes back: prompts, replies checked against their passages, answers put together."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from fleet_rlm.engine.offline.written.fitting import label
from fleet_rlm.engine.offline.written.texts import Entry, Places


def sub_prompt(item: Entry, part: Entry, task: str = "") -> str:
    """What a sub-LLM is asked about one passage."""
    lines = [task or item["task"], f"Question: {' '.join(item['question'].split())}"]
    for say, words in (
        ("It must be about", "about"),
        ("Words, rarest first", "rarest"),
        ("Nowhere in the text", "absent"),
    ):
        lines += [f"{say}: {', '.join(item[words])}"] if item.get(words) else []
    doc, path = (" ".join(str(name).replace('"', "'").split()) for name in (part["doc"], part["under"]))
    where = f', under "{path}"' if path else ""
    return "\n".join([*lines, f'Passage from "{doc}", line {part["line"]}{where}:', part["text"]])


def batch(work: dict[str, Entry], most: int) -> list[tuple[str, Entry]]:
    """(output, passage) not asked about yet, at most so many, the best passages of each output first."""
    open_parts = [
        (rank, field, part)
        for field, item in work.items()
        for rank, part in enumerate(item["passages"])
        if (part["doc"], part["begin"]) not in item.setdefault("asked", [])
    ]
    return [(field, part) for _, field, part in sorted(open_parts, key=lambda row: row[0])[:most]]


def stands_in(answer: str, text: str) -> bool:
    """Whether every word of a quoted answer stands in the text it is said to be from."""
    have = set(re.findall(r"\w+", text.lower()))
    words = re.findall(r"\w+", answer.lower())
    return sum(word in have for word in words) >= 0.9 * len(words)


def take_in(work: dict[str, Entry], sent: list[tuple[str, Entry]], replies: list[str]) -> int:
    """Keep the lines that stand in their passages, and what came nearest where nothing was found; how many answered."""
    answered = 0
    for (field, part), reply in zip(sent, replies, strict=True):
        item = work[field]
        item.setdefault("asked", []).append((part["doc"], part["begin"]))
        item.setdefault("read", []).append(part)
        where = {"doc": part["doc"], "line": part["line"]}
        if reply.startswith(("NOT FOUND", "[ERROR]")):
            near = reply.partition("Nearest: ")[2]
            item.setdefault("nearest", []).extend([{**where, "name": near, "score": part["score"]}] if near else [])
            continue
        lines = [line.strip() for line in reply.split("\n") if line.strip()]
        good = [line for line in lines if stands_in(line, f"{part['under']} {part['doc']} {part['text']}")]
        found = [{**where, "name": line, "score": part["score"] - 0.01 * rank} for rank, line in enumerate(good)]
        known = {" ".join(entry["name"].lower().split()) for entry in item.setdefault("answers", [])}
        item["answers"] += [entry for entry in found if " ".join(entry["name"].lower().split()) not in known]
        item["answers"].sort(key=lambda entry: -entry["score"])
        answered += 1
    return answered


def by_words(work: dict[str, Entry]) -> int:
    """Without a sub-query to spend: the sentences that hold nearly all telling words. How many."""
    for item in work.values():
        whole = sum(item["worth"][word] for word in item["terms"]) or 1.0
        found = {}
        for part in item["passages"]:
            for sentence in re.split(r"(?<=[.!?。！？])\s*(?=\S)|\n+", part["text"]):
                low = sentence.lower()
                held = [word for word, (forms, _) in item["terms"].items() if any(form in low for form in forms)]
                share = sum(item["worth"][word] for word in held) / whole
                if share > 0.7 and not item["absent"] and all(word in held for word in item["about"]):
                    where = {"doc": part["doc"], "line": part["line"], "score": share}
                    found[" ".join(sentence.split())] = {**where, "name": " ".join(sentence.split())}
        item["answers"] = sorted(found.values(), key=lambda entry: -entry["score"])[:3]
    return sum(len(item["answers"]) for item in work.values())


def listed(lines: list[Entry]) -> list[Entry]:
    """Entries out of lines such as `name: what it is`, each name once, with the fullest of its descriptions.

    Where a section is named after the thing that is listed, only such sections count.
    """
    found: dict[str, Entry] = {}
    own = [entry for entry in lines if entry["score"] >= 50]
    for entry in own or lines[:12]:
        name, colon, text = entry["name"].partition(": ")
        short = colon and len(name.split()) <= (12 if own else 4)
        key = re.sub(r"\W+", "", (name if short else entry["name"]).lower())
        made = {**entry, "name": name if short else entry["name"], "text": text.strip() if short else ""}
        if key and (key not in found or len(found[key]["text"]) < len(made["text"]) < 400):
            found[key] = {**made, "score": found.get(key, entry)["score"]}
    named = [entry for entry in found.values() if entry["text"]]
    return named if len(named) > 1 and not own else list(found.values())


def labelled(entries: list[Entry]) -> list[Entry]:
    """Entries with what is said of them as part of their name."""
    return [
        {**entry, "name": f"{entry['name']}: {entry['text']}" if entry["text"] else entry["name"]} for entry in entries
    ]


def pick_number(item: Entry, lines: list[Entry]) -> object:
    """The number that the best line states nearest to what was asked for, and that the question doesn't hold itself."""
    asked = set(re.findall(r"\d[\d.,]*", item["question"]))
    number = r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w])"
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    forms = [form for word_forms, _ in item["terms"].values() for form in word_forms]
    for entry in lines:
        line = entry["name"]
        numbers = re.finditer(number + "|\\b(?:" + "|".join(words) + ")\\b", line, re.I)
        found = [met for met in numbers if met[0] not in asked]
        spots = [met.start() for form in forms for met in re.finditer(r"(?<![^\W_])" + re.escape(form), line, re.I)]
        if found:
            near = min(
                found, key=lambda met: (min((abs(met.start() - spot) for spot in spots), default=0), met.start())
            )
            low = near[0].lower().replace(",", "")
            return words.index(low) + 1 if low in words else float(low) if "." in low else int(low)
    return None


def counted(item: Entry, lines: list[Entry], places: Places) -> object:
    """The number that the text states, else how often the rarest of the words stands in it."""
    said = pick_number(item, lines)
    return said if said is not None else min((len(places[word]) for word in item["rarest"]), default=0)


def best(item: Entry, ask: Callable[[str], str] | None, most: int = 12) -> list[Entry]:
    """The answers that hold when weighed against each other (by a sub-LLM, when one may be asked), best first."""
    found: list[Entry] = item.get("answers", [])[:most]
    if ask is None or len(found) < 2:
        return found[:3]
    lines = [" ".join(entry["name"].split()) for entry in found]
    quoted = {"doc": "what was quoted", "line": 1, "under": "", "text": "\n".join(f"- {line}" for line in lines)}
    kept = [line.strip()[:300] for line in ask(sub_prompt(item, quoted)).split("\n") if line.strip()]
    chosen = [entry for start in kept for entry, line in zip(found, lines, strict=True) if start in line]
    return list({entry["name"]: entry for entry in chosen}.values()) or found[:3]


def as_text(item: Entry, chosen: list[Entry], several: bool) -> str:
    """The answer as a person reads it: the sentences found, with their documents if several; or that there are none."""
    if chosen:
        lines = [str(entry["name"]) + (f" [{entry['doc']}]" if several else "") for entry in chosen]
        return "\n".join(dict.fromkeys(lines))
    said = f"Nothing in the text answers this: {item['question']}"
    if item.get("absent"):
        said += f"\nNowhere in it: {', '.join(item['absent'])}."
    near = item.get("nearest", [])
    about = [word.lower() for word in item.get("about", [])]
    close = [entry for entry in near if all(word in entry["name"].lower() for word in about)] if about else near
    if close:
        nearest = max(close, key=lambda entry: entry["score"])
        said += f"\nThe nearest mention: {nearest['name'][:300]}" + (f" [{nearest['doc']}]" if several else "")
    return said


def told(item: Entry, things: object, chosen: list[Entry], several: bool) -> str:
    """Things found by their shape as the answer, each once, after how many; without any, what reading found."""
    groups = things if isinstance(things, dict) else {"": things}
    lines = []
    for name, group in groups.items():
        rows = group if isinstance(group, list) else [group]
        lines += [f"{name} ({len(rows)}):"] if name and isinstance(group, list) else []
        lines += [f"- {label(row)}"[:240] for row in rows] if isinstance(group, list) else [f"- {name}: {label(group)}"]
    count = sum(len(group) if isinstance(group, list) else 1 for group in groups.values())
    return "\n".join([f"{count} found:", *dict.fromkeys(lines)]) if things else as_text(item, chosen, several)


def counted_text(item: Entry, chosen: list[Entry], places: Places, several: bool) -> str:
    """The sentence that states the number; without one, what could be counted, and that it was only counted."""
    if chosen:
        return as_text(item, chosen, several)
    counts = [f"“{word}” stands {len(places[word]):,} times" for word in item["terms"] if places[word]]
    return as_text(item, [], several) + (f"\nCounted in it instead: {'; '.join(counts)}." if counts else "")


def summed_up(item: Entry, ask: Callable[[str], str] | None, most: int = 7) -> str:
    """The sentences picked from each section as one paragraph; the most central of them (by a sub-LLM) when many."""
    found = sorted(item.get("answers", []), key=lambda entry: (entry["doc"], entry["line"]))
    text = "\n\n".join(entry["name"] for entry in found)
    if len(found) > most:
        part = {"doc": "sentences picked", "line": 1, "under": "", "text": text}
        task = f"Summarise the passage in at most {most} of its own sentences."
        text = (
            ask(sub_prompt(item, part, task))
            if ask
            else "\n".join(entry["name"] for entry in found[:: -(-len(found) // most)])
        )
    return " ".join(text.split()) or "There is nothing to summarise in the text."


def points(item: Entry, most: int = 8) -> list[str]:
    """Sentences from all over the text, in its order."""
    found = sorted(item.get("answers", []), key=lambda entry: (entry["doc"], entry["line"]))
    count = min(most, len(found))
    return [found[at * len(found) // count]["name"] for at in range(count)]


def stated(lines: list[Entry]) -> bool:
    """Whether the best line says yes: there is one, and it doesn't deny."""
    denial = r"\b(not|never|no longer|cannot|can't|doesn't|don't|isn't|aren't|won't|without|nor|none)\b"
    return bool(lines) and not re.search(denial, lines[0]["name"], re.I)


def sources(work: dict[str, Entry]) -> list[str]:
    """Where the quoted lines stand."""
    found = [f"{entry['doc']}, line {entry['line']}" for item in work.values() for entry in item.get("answers", [])[:5]]
    return list(dict.fromkeys(found))


def passages_read(work: dict[str, Entry]) -> dict[tuple[str, int], int]:
    """Different passages that sub-queries were asked about, with their length in characters."""
    return {(part["doc"], part["begin"]): len(part["text"]) for item in work.values() for part in item.get("read", [])}


def shown(draft: Entry, most: int = 4000) -> str:
    """The draft as one line of JSON, long texts and lists cut so that all of it can be seen."""
    line = ""
    for keep in (1500, 300, 80, 20):
        cut = {
            key: value[:keep]
            if isinstance(value, (str, list))
            else dict(list(value.items())[:keep])
            if isinstance(value, dict)
            else value
            for key, value in draft.items()
        }
        line = json.dumps(cut, ensure_ascii=False, default=str)
        if len(line) <= most:
            return line
    return line[:most]
