"""After a fleet-rlm command that failed at Modal, say what the failure means and what to do next.

A hook for Bash on PostToolUse and PostToolUseFailure: JSON on stdin, context on stdout. It never blocks or fails.
"""

from __future__ import annotations

import json
import re
import sys

OURS = re.compile(r"\b(?:fleet-rlm|rlm-modal|fleet_rlm)\b")
ADVICE = (
    (
        r"Modal has no token here|Modal refused the token|Modal token has expired",
        "Modal's token is missing, refused or expired. The person runs `modal token new` once; don't ask for its "
        "value. Until then the same command works with --sandbox local.",
    ),
    (
        r"hides the installed package",
        "A file named modal.py hides Modal's package. `fleet-rlm doctor` names it; the person decides what becomes "
        "of it.",
    ),
    (
        r"image could not be built",
        "The image could not be built: check each name and version after --image-package.",
    ),
    (
        r"limit of the Modal workspace is reached",
        "The Modal workspace is at a limit: wait, or ask the person which sandboxes may end.",
    ),
    (
        r"Modal does not have it",
        "A secret, volume or image of this name doesn't exist at Modal (or in another environment: "
        "MODAL_ENVIRONMENT). `fleet-rlm check-secret --secret-name NAME` looks at a secret.",
    ),
    (
        r"Modal can't be reached|Modal did not answer within|Modal took too long",
        "Modal can't be reached. `fleet-rlm doctor --sandbox modal` tries each step; --sandbox auto goes to Modal only "
        "where it has a token, and --sandbox local never.",
    ),
    (
        r"sandbox (?:was )?lost|SANDBOX LOST",
        "The sandbox was lost. With --on-sandbox-lost restart (the default) the run goes on in another one with its "
        "state rebuilt, and no sub-LLM call is paid twice; raise --memory or --sandbox-timeout if it is lost again.",
    ),
)


def main() -> None:
    given = json.loads(sys.stdin.buffer.read(8_000_000))
    event = given.get("hook_event_name")
    if event not in ("PostToolUse", "PostToolUseFailure") or given.get("tool_name") != "Bash":
        return
    if not OURS.search(str((given.get("tool_input") or {}).get("command") or "")):
        return
    text = said(given)
    advice = [words for pattern, words in ADVICE if re.search(pattern, text)]
    if not advice:
        return
    context = " ".join(advice[:2]) + " (skill: modal-sandbox)"
    json.dump({"hookSpecificOutput": {"hookEventName": event, "additionalContext": context}}, sys.stdout)


def said(given: dict[str, object]) -> str:
    """What the command printed, or why it failed."""
    answer = given.get("tool_response")
    parts = [given.get("error"), answer]
    if isinstance(answer, dict):
        parts = [given.get("error"), answer.get("stderr"), answer.get("stdout")]
    return "\n".join(part[-100_000:] for part in parts if isinstance(part, str))


if __name__ == "__main__":
    try:
        main()
    except Exception:  # a hook's failure must not disturb what the person does
        pass
    sys.exit(0)
