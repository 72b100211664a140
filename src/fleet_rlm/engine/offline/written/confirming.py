"""Endpoints found by their shape, held against what sub-queries say of the passages that name them."""

from __future__ import annotations

import re

from fleet_rlm.engine.offline.written.texts import Docs, Entry, Heads, sections


def endpoint_key(name: str) -> str:
    """`GET /things/{id}` and `get /things/<number>/` are the same endpoint."""
    verb, _, path = name.partition(" ")
    return f"{verb.upper()} {re.sub(r'{[^}]*}|<[^>]*>|(?<=/):[A-Za-z_]+', '*', path).rstrip('/') or '/'}"


def holding(docs: Docs, heads: Heads, found: list[Entry], most: int) -> list[Entry]:
    """Sections that name one of these endpoints, at most so many: those that name the most different ones first."""
    if most < 1 or not found:
        return []
    size = max(3000, sum(map(len, docs.values())) // (4 * most))
    parts = []
    for part in sections(docs, heads, size):
        named = {entry["name"] for entry in found if entry["path"] in part["text"]}
        if named and re.search(
            r"\b(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|get|post|put|patch|delete)\b", part["text"]
        ):
            parts.append({**part, "score": float(len(named))})
    chosen = sorted(parts, key=lambda part: -part["score"])[:most]
    return [part for part in parts if part in chosen]


def endpoint_prompt(part: Entry) -> str:
    """What a sub-LLM is asked about one of these sections."""
    doc, path = (" ".join(str(name).replace('"', "'").split()) for name in (part["doc"], part["under"]))
    where = f', under "{path}"' if path else ""
    task = "List every API endpoint that the passage documents, one a line, as `METHOD /path: what it does`. "
    task += "Leave out those that it says are gone. Say NOT FOUND if there is none."
    return f'{task}\nPassage from "{doc}", line {part["line"]}{where}:\n{part["text"]}'


def confirmed(found: list[Entry], replies: list[str]) -> list[Entry]:
    """The endpoints that a reply names, with the fullest of what replies say of each; all, when no reply says any."""
    said: dict[str, str] = {}
    for reply in replies:
        for line in reply.splitlines():
            met = re.match(r"\W*([A-Za-z]{3,7}) (/\S*?)(?:`?: (.*)|`?\s*$)", line)
            if met:
                key, text = endpoint_key(f"{met[1]} {met[2]}"), (met[3] or "").strip()
                said[key] = max(said.get(key, ""), text, key=len)
    kept = []
    for entry in found:
        key = endpoint_key(entry["name"])
        if key in said or not said:
            kept.append({**entry, "description": said.get(key) or entry["description"]})
    return kept
