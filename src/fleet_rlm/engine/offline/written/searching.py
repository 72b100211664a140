"""Search of any size of text by the words of a question, the rare ones first."""

from __future__ import annotations

import heapq
import math
import re

from fleet_rlm.engine.offline.written.texts import Docs, Entry, Heads, Places, Terms, passage, sections, titled, under


def find_terms(docs: Docs, terms: Terms, most: int = 40000) -> Places:
    """Where each term begins a word (or anywhere, when marked so): at most `most` places a term."""
    places: Places = {word: [] for word in terms}
    for doc, text in docs.items():
        for base in range(0, len(text), 8_000_000):
            low = text[base : base + 8_000_200].replace("İ", "i").lower()
            for word, (forms, anywhere) in terms.items():
                for form in forms:
                    at = low.find(form)
                    while 0 <= at < 8_000_000 and len(places[word]) < most:
                        end = at + len(form)
                        whole = (
                            anywhere
                            or len(form) > 3
                            or not low[end : end + 1].isalnum()
                            or not low[end + 1 : end + 2].isalnum()
                        )
                        if whole and (anywhere or not (at and low[at - 1].isalnum())):
                            places[word].append((doc, base + at))
                        at = low.find(form, end)
    return places


def is_name(docs: Docs, places: list[tuple[str, int]]) -> bool:
    """Whether a word stands capitalised inside sentences: then it names one thing, and an answer has to be about it."""
    inner = [
        docs[doc][at]
        for doc, at in places[:: max(1, len(places) // 400)]
        if re.search(r"[^\W_][,;]? $", docs[doc][max(0, at - 4) : at])
    ]
    return len(inner) > 0 and sum(letter.isupper() for letter in inner) >= 0.8 * len(inner)


def weights(docs: Docs, places: Places) -> dict[str, float]:
    """How telling each word is in these texts: inverse frequency over windows of 600 characters; 0 if absent."""
    windows = 1 + sum(map(len, docs.values())) / 600
    return {word: round(math.log1p(windows / len(at)), 2) if at else 0.0 for word, at in places.items()}


def close_calls(docs: Docs, item: Entry, places: Places, worth: dict[str, float], most: int) -> list[tuple[str, int]]:
    """Places of the rarer words whose own sentence, and then whose surroundings, hold most of the telling words."""
    rare = sorted((word for word in item["terms"] if places[word]), key=lambda word: len(places[word]))
    anchors: dict[tuple[str, int], int] = {}
    for word in rare:
        if len(anchors) < 50_000 or len(places[word]) < 2_000:
            anchors.update({(doc, at // 80): at for doc, at in places[word]})
    forms = [(form, worth[word]) for word, (word_forms, _) in item["terms"].items() for form in word_forms]
    value = 0.4 * max((telling for _, telling in forms), default=0.0) if item["value"] else 0.0
    digits = re.compile(r"(?<!\w)\d")

    def telling(place: tuple[str, int]) -> float:
        begin = max(0, place[1] - 250)
        around = docs[place[0]][begin : place[1] + 250].lower()
        at = place[1] - begin
        start = max(around.rfind(mark, 0, at) for mark in (". ", "\n", "。"))
        ends = [end for end in (around.find(mark, at) for mark in (". ", "\n", "。")) if end >= 0]
        own = around[start + 1 : min(ends, default=len(around))]
        held = sum(worth for form, worth in forms if form in own) + (value if digits.search(own) else 0.0)
        return held + 0.2 * sum(worth for form, worth in forms if form in around)

    return heapq.nlargest(most, ((doc, at) for (doc, _), at in anchors.items()), key=telling)


def best_places(docs: Docs, item: Entry, places: Places, worth: dict[str, float], keep: int) -> list[Entry]:
    """The sentences that hold most of an output's telling words (and a value, when one is asked for), none twice."""
    shapes = {
        word: re.compile(("" if anywhere else r"(?<![^\W_])") + "(?:" + "|".join(map(re.escape, forms)) + ")", re.I)
        for word, (forms, anywhere) in item["terms"].items()
    }
    value = 0.4 * max((worth[word] for word in shapes), default=0.0) if item["value"] else 0.0
    asked = set(re.findall(r"\d+", item["question"]))
    ranked: dict[str, Entry] = {}
    for doc, at in close_calls(docs, item, places, worth, max(1000, 3 * keep)):
        begin = max(0, at - 400)
        window = docs[doc][begin : at + 500]
        whole = sum(worth[word] for word, shape in shapes.items() if shape.search(window))
        best: Entry = {"score": 0.0}
        for met in re.finditer(r"[^\n.!?。！？]+(?:[.!?。！？](?!\s)[^\n.!?。！？]+)*[.!?。！？]?", window):
            score = sum(worth[word] for word, shape in shapes.items() if shape.search(met[0]))
            if value and score and set(re.findall(r"\d+", met[0])) - asked:
                score += value
            if score and item["mode"] == "list" and re.search(r"\b(?:is|are) (?:an?|the|one of)\b|: ", met[0]):
                score *= 1.3  # it says what something is
            if score > best["score"]:
                best = {"score": score, "doc": doc, "at": begin + met.start(), "text": met[0].strip()[:600]}
        if best["score"] > 0:
            key = " ".join(best["text"].lower().split())[:300]
            best["score"] = round(best["score"] + 0.35 * max(0.0, whole - best["score"]), 2)
            if key not in ranked or ranked[key]["score"] < best["score"]:
                ranked[key] = best
    return heapq.nlargest(keep, ranked.values(), key=lambda found: found["score"])


def headed(docs: Docs, heads: Heads, item: Entry, worth: dict[str, float], size: int, most: int = 2) -> list[Entry]:
    """What stands below the headings that hold most of the telling words, when any holds more than half by worth."""
    whole = sum(worth[word] for word in item["terms"]) or 1.0
    found = []
    for doc, outline in heads.items():
        for position, (at, _, title) in enumerate(outline):
            low = title.lower()
            held = [word for word, (forms, _) in item["terms"].items() if any(form in low for form in forms)]
            share = sum(worth[word] for word in held) / whole
            if share > 0.5:
                found.append((share, doc, at, position))
    parts = []
    for share, doc, at, position in heapq.nlargest(most, found, key=lambda row: row[0]):
        text = docs[doc][at : at + size]
        line, path = docs[doc].count("\n", 0, at) + 1, under(heads[doc][:position], at)
        part = {"doc": doc, "begin": at, "end": at + size, "line": line, "under": path, "text": text}
        parts.append({**part, "score": round(whole * share, 2), "hit": heads[doc][position][2]})
    return parts


def packed(docs: Docs, found: list[Entry], size: int = 6000) -> list[Entry]:
    """Many sentences to a passage: a wide look that costs few sub-queries."""
    packs: list[Entry] = []
    for entry in sorted(found, key=lambda entry: entry["doc"]):
        line = docs[entry["doc"]].count("\n", 0, entry["at"]) + 1
        if not packs or packs[-1]["doc"] != entry["doc"] or len(packs[-1]["text"]) > size:
            fresh = {"doc": entry["doc"], "begin": -entry["at"] - 1, "line": line, "under": "", "score": entry["score"]}
            packs.append({**fresh, "text": ""})
        packs[-1]["text"] += "- " + " ".join(entry["text"].split()) + "\n"
    return packs


def look_up(docs: Docs, heads: Heads, work: dict[str, Entry], names: list[str], keep: int, wide: bool) -> Places:
    """Find the passages for each output of `work`, and which of its words tell much, must be met, or are nowhere."""
    places = find_terms(docs, {word: forms for item in work.values() for word, forms in item["terms"].items()})
    worth = weights(docs, places)
    for item in work.values():
        words = list(item["terms"])
        telling = 0.35 * max((worth[word] for word in words), default=0.0)
        item["rarest"] = sorted((word for word in words if places[word]), key=lambda word: -worth[word])
        item["worth"] = worth
        item["absent"] = [word for word in words if not places[word]]
        met = [word for word in item["rarest"] if worth[word] >= telling]
        item["about"] = [word for word in met if word in names or is_name(docs, places[word])]
        if item["mode"] == "summary":
            parts = sections(docs, heads, size=max(700, min(40000, sum(map(len, docs.values())) // keep)))
            forms = [form for word_forms, _ in item["terms"].values() for form in word_forms]
            touched = [part for part in parts if any(form in part["text"].lower() for form in forms)]
            parts = touched if len(touched) >= 3 else parts
            item["passages"] = [parts[at * len(parts) // keep] for at in range(keep)] if len(parts) > keep else parts
            continue
        size = 3000 if item["mode"] == "list" else 1500
        ranked = best_places(docs, item, places, worth, 300 if wide else keep)
        if wide:
            item["passages"] = packed(docs, ranked)[:keep]
            continue
        found = [
            {**passage(docs, heads, part["doc"], part["at"], part["score"], size), "hit": part["text"]}
            for part in ranked
        ]
        if item["mode"] == "answer":
            found = [*headed(docs, heads, item, worth, 2 * size), *found]
        whole = titled(docs, heads, item["heads"])
        spans = [(part["doc"], part["begin"], part["end"]) for part in whole]
        beside = [part for part in found if not any(part["doc"] == d and a <= part["begin"] < b for d, a, b in spans)]
        item["passages"] = [*whole, *beside[: 3 if whole else keep]]
    return places
