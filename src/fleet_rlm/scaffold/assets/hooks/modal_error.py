"""After a fleet-rlm command that failed at Modal, say what the failure means and what to do next.

A hook for Bash on PostToolUse and PostToolUseFailure: JSON on stdin, context on stdout. It never blocks or fails.
"""

from __future__ import annotations

import json
import re
import sys

OURS = re.compile(r"\b(?:fleet-rlm|rlm-modal|fleet_rlm)\b")
PHRASES = {
    "no token": "Modal has no token here",
    "token refused": "Modal refused the token",
    "token expired": "the Modal token has expired",
    "image": "the image could not be built",
    "limit": "a limit of the Modal workspace is reached",
    "no secret": "there is no secret named",
    "no volume": "there is no volume named",
    "volume of version 1": "is of version 1",
    "not there": "Modal does not have it",
    "unreachable": "Modal can't be reached",
    "no answer": "Modal did not answer within",
    "slow": "Modal took too long",
    "shadowed": "hides the installed package",
    "lost": "sandbox lost",
    "lost on screen": "SANDBOX LOST",
    "was lost": "sandbox was lost",
}
"""What fleet-rlm prints of each failure: its own table, held equal by a test."""
_TOKEN = (
    "Modal's token is missing, refused or expired. The person runs `modal token new` once; don't ask for its value. "
    "Until then the same command works with --sandbox local."
)
_REACH = (
    "Modal can't be reached. `fleet-rlm doctor --sandbox modal` tries each step; --sandbox auto goes to Modal only "
    "where it has a token, and --sandbox local never."
)
_LOST = (
    "The sandbox was lost. With --on-sandbox-lost restart (the default) the run goes on in another one with its state "
    "rebuilt, and no sub-LLM call is paid twice; raise --memory or --sandbox-timeout if it is lost again."
)
ADVICE = {
    "no token": _TOKEN,
    "token refused": _TOKEN,
    "token expired": _TOKEN,
    "shadowed": "A file named modal.py hides Modal's package. `fleet-rlm doctor` names it; the person decides what "
    "becomes of it.",
    "image": "The image could not be built: check each name and version after --image-package.",
    "limit": "The Modal workspace is at a limit: wait, or ask the person which sandboxes may end.",
    "no secret": "There is no such secret at Modal. The person makes it with `modal secret create NAME KEY=value`; "
    "`fleet-rlm check-secret --secret-name NAME` looks at one. Never ask for a value.",
    "no volume": "There is no such volume at Modal: `modal volume create --version 2 NAME` makes one, and so does a "
    "run with --volume-name NAME.",
    "volume of version 1": "The volume is of version 1, which can't hold documents and results: name another one with "
    "--volume-name, which is made as version 2. Delete the old one only when the person says so.",
    "not there": "A secret, volume or image of this name doesn't exist at Modal (or in another environment: "
    "MODAL_ENVIRONMENT). `fleet-rlm check-secret --secret-name NAME` looks at a secret.",
    "unreachable": _REACH,
    "no answer": _REACH,
    "slow": _REACH,
    "lost": _LOST,
    "lost on screen": _LOST,
    "was lost": _LOST,
}


def main() -> None:
    given = json.loads(sys.stdin.buffer.read(8_000_000))
    event = given.get("hook_event_name")
    if event not in ("PostToolUse", "PostToolUseFailure") or given.get("tool_name") != "Bash":
        return
    if not OURS.search(str((given.get("tool_input") or {}).get("command") or "")):
        return
    text = said(given)
    advice = list(dict.fromkeys(ADVICE[kind] for kind, phrase in PHRASES.items() if phrase in text))
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
