"""Parallel chunks: cut the text up, ask sub-LLMs about all pieces in one batch, merge what they say.

    python examples/parallel_chunks.py [--docs PATH] [--question TEXT] [--model M] [--sandbox local|modal]

Sub-LLM calls of a batch are in flight together, as many as `--concurrency` says. The record knows when each began and
ended: the last lines tell how much time that saved. Without `--model` the offline model plans, on the bundled guide.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import fleet_rlm
from fleet_rlm import events as ev

GUIDE = Path(__file__).parent.parent / "rlm_content" / "freight-api-guide.md"
FOCUS = "the rules that a client must follow"
SIGNATURE = "document, focus -> summary: str, key_points: list[str], coverage_pct: int"
INSTRUCTIONS = """\
Summarise `document` with attention to `focus`, by its pieces:
1. Cut it up by its headings (`chunk_by_headers`), or by size where it has none; join small pieces.
2. Ask about every piece in one `llm_query_batched` call: what does it say about the focus?
3. Merge the answers, without doubles, in the order of the text, and SUBMIT.

Outputs:
- `summary`: one or two paragraphs.
- `key_points`: three to ten sentences, in the order of the text.
- `coverage_pct`: how much of the text was given to sub-queries, in percent."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Ask about all pieces of a text at once.")
    parser.add_argument("--docs", action="append", metavar="PATH", help="file, folder or glob (default: the guide)")
    parser.add_argument("--question", default=FOCUS, help="what the summary dwells on")
    parser.add_argument("--model", help="such as openai/gpt-5-mini (default: as configured, else offline)")
    parser.add_argument("--sandbox", choices=["local", "modal", "auto"], default="local")
    parser.add_argument("--concurrency", type=int, default=8, help="sub-LLM calls at once (default: 8)")
    parser.add_argument("--record", metavar="FILE", help="the run file (default: in the run library)")
    given = parser.parse_args()
    try:
        result = fleet_rlm.run(
            given.question,
            given.docs or GUIDE,
            signature=SIGNATURE,
            instructions=INSTRUCTIONS,
            model=given.model,
            sandbox=given.sandbox,
            concurrency=given.concurrency,
            record=given.record,
        )
    except fleet_rlm.SetupError as error:
        print(f"{error.message} {error.hint}", file=sys.stderr)
        return 2
    if not result.outputs:
        print(result.error.message if result.error else result.reason, file=sys.stderr)
    for name, value in result.outputs.items():
        print(f"{name}:")
        for line in value if isinstance(value, list) else [value]:
            print(f"  {line}")
    print()
    for size, together, apart, took in batches(result.run_file):
        print(f"A batch of {size}: {together} in flight at once, {apart:.2f} s of answers in {took:.2f} s.")
    print(f"\nSee it as a time line: fleet-rlm-tui {result.run_file}")
    return 0 if result.outputs else 1


def batches(run_file: Path) -> list[tuple[int, int, float, float]]:
    """Of each batch: its calls, how many were in flight at once, the sum of their seconds, and how long it took."""
    spans: dict[str | None, list[tuple[float, float]]] = {}
    began: dict[str | None, tuple[str | None, float]] = {}
    with fleet_rlm.open_run(run_file) as run:
        for event in run.events():
            if isinstance(event, ev.CallStarted) and event.index is not None:
                began[event.span] = (event.parent, event.t)
            elif isinstance(event, ev.CallRunning) and event.span in began:
                began[event.span] = (began[event.span][0], event.t)
            elif isinstance(event, ev.CallFinished) and event.span in began:
                batch, start = began.pop(event.span)
                spans.setdefault(batch, []).append((start, event.t))
    return [
        (
            len(calls),
            max(sum(start <= at < end for start, end in calls) for at, _ in calls),
            sum(end - start for start, end in calls),
            max(end for _, end in calls) - min(start for start, _ in calls),
        )
        for calls in spans.values()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
