"""After a fleet-rlm command whose model calls failed, say what the failure means and what to do next.

A hook for Bash on PostToolUse and PostToolUseFailure: JSON on stdin, context on stdout. It never blocks or fails.
"""

from __future__ import annotations

import json
import re
import sys

OURS = re.compile(r"\b(?:fleet-rlm|rlm-modal|fleet_rlm)\b")
ADVICE = (
    (
        r"refused the key|has no key|needs a key: ",
        "No model was asked: its key is missing or refused. `fleet-rlm config show` says where each value comes "
        "from. The person has to set DSPY_LLM_API_KEY; never ask for its value or print it. To go on without a "
        "key: --model offline, which searches and quotes but doesn't reason.",
    ),
    (
        r"no credit left",
        "The provider's account has no credit left. Another try can't help; tell the person, or use another --model.",
    ),
    (
        r"limiting the rate of requests",
        "The provider limits requests. Wait, then run again with a smaller --concurrency (8 by default), such as 2.",
    ),
    (
        r"longer than the model's context window",
        "A prompt was longer than the model's window. Use a model with a larger one (--sub-model for sub-LLM calls), "
        "or tell the planner to cut smaller pieces (--instructions).",
    ),
    (
        r"does not know this model|is not configured correctly|refused the request",
        "The model's name or address is wrong. `fleet-rlm config show` shows both with their source; a name is "
        "provider/model.",
    ),
    (
        r"model's server (?:cannot be reached|failed)|did not answer in time",
        "The model's server can't be reached or failed. `fleet-rlm doctor --probe` asks it one tiny question.",
    ),
    (
        r"exceeds the \d+ calls? left of the budget|budget of \d+ sub-LLM calls is spent",
        "The budget of sub-LLM calls was spent, so the answer may rest on less than the whole text: say so. Run "
        "again with a larger --max-llm-calls, or give fewer documents.",
    ),
    (
        r"cut off at the model's limit of output tokens",
        "The planner's answer was cut off: DSPY_LM_MAX_TOKENS is too small for it.",
    ),
    (
        r"planner's answer could not be read",
        "The model doesn't keep to the planner's format. A stronger --model is needed; --sub-model may stay small.",
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
    context = " ".join(advice[:2]) + " What was recorded is kept: `fleet-rlm runs show` (skill: rlm-debug)."
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
