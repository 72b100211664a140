"""Before a whole large file is read into the context, say that it can be explored instead.

A PreToolUse hook for Read: JSON on stdin, context on stdout. It decides nothing, never blocks and never fails.
"""

from __future__ import annotations

import json
import os
import shlex
import sys

LARGE = 256 * 1024
"""Bytes."""
NOT_TEXT = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".ico", ".woff", ".woff2", ".so", ".pyc", ".mp4", ".mp3")


def main() -> None:
    given = json.loads(sys.stdin.buffer.read(4_000_000))
    if given.get("hook_event_name") != "PreToolUse" or given.get("tool_name") != "Read":
        return
    asked = given.get("tool_input") or {}
    if asked.get("limit") or asked.get("offset") or asked.get("pages"):
        return  # a part of it is read on purpose
    path = str(asked.get("file_path") or "")
    if path.lower().endswith(NOT_TEXT) or not os.path.isfile(path):
        return
    size = os.path.getsize(path)
    if size < LARGE:
        return
    context = (
        f"{os.path.basename(path)} is {size / 1e6:.1f} MB, about {size // 4000:,}k tokens. For a question about its "
        f'content: fleet-rlm run "QUESTION" --docs {shlex.quote(path)} --json (skill: rlm-run). To see a known '
        "place in it, read with offset and limit, or search it first."
    )
    json.dump({"hookSpecificOutput": {"hookEventName": "PreToolUse", "additionalContext": context}}, sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # a hook's failure must not disturb what the person does
        pass
    sys.exit(0)
