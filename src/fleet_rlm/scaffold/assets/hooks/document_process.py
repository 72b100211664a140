"""When a prompt names a long document or one that isn't plain text, say how fleet-rlm reads it.

A UserPromptSubmit hook: JSON on stdin, context for the answer on stdout. It never blocks and never fails.
"""

from __future__ import annotations

import json
import os
import re
import sys

FORMATS = (".pdf", ".docx", ".html", ".htm", ".eml", ".mbox", ".ipynb", ".zip", ".tar", ".tgz", ".gz")
TEXTS = (".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".tex", ".org")
LONG = 200_000
"""Bytes from which a text is better explored than read."""
MOST = 5
_NAMES = re.compile(r"\"([^\"\n]{1,400})\"|'([^'\n]{1,400})'|`([^`\n]{1,400})`|@?([^\s\"'`<>|]{1,400})")


def main() -> None:
    given = json.loads(sys.stdin.buffer.read(4_000_000))
    if given.get("hook_event_name") != "UserPromptSubmit":
        return
    prompt = str(given.get("prompt") or "")[:20_000]
    if "fleet-rlm" in prompt:
        return  # they know
    found: dict[str, int] = {}
    for match in _NAMES.finditer(prompt):
        name = next(group for group in match.groups() if group).rstrip(".,;:!?)")
        if os.path.splitext(name)[1].lower() not in FORMATS + TEXTS:
            continue
        path = os.path.join(str(given.get("cwd") or "."), os.path.expanduser(name))
        if not os.path.isfile(path):
            continue
        size = os.path.getsize(path)
        if size >= LONG or name.lower().endswith(FORMATS):
            found[name] = size
        if len(found) == MOST:
            break
    if not found:
        return
    named = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size in found.items())
    docs = " ".join(f"--docs {quoted(name)}" for name in found)
    context = (
        f"The prompt names {named}. Reading such documents whole fills the context. To answer a question about "
        f"them, fleet-rlm explores them in a sandbox and keeps a record: "
        f'fleet-rlm run "QUESTION" {docs} --json (skill: rlm-run). Small or exact edits need no such run.'
    )
    json.dump({"hookSpecificOutput": {"hookEventName": "UserPromptSubmit", "additionalContext": context}}, sys.stdout)


def quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w./~+-]+", name) else "'" + name.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    try:
        main()
    except Exception:  # a hook's failure must not disturb the person's prompt
        pass
    sys.exit(0)
