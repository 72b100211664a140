"""A run's steps for a shell: reasoning, code, what it printed, what went wrong."""

from __future__ import annotations

import msgspec

from fleet_rlm import events as ev
from fleet_rlm.cli import printing
from fleet_rlm.figures import plural, seconds
from fleet_rlm.state import IterationState, RunState


def as_json(state: RunState) -> list[dict[str, ev.Json]]:
    """Every step, nothing cut."""
    return [
        {
            "iteration": step.number,
            "status": step.status,
            "reasoning": step.reasoning,
            "code": step.code,
            "error": msgspec.to_builtins(step.error) if step.error else None,
            "output": output_of(step),
            "calls": sum(execution.calls for execution in step.executions),
        }
        for step in state.iterations
    ]


def output_of(step: IterationState) -> str:
    """Return everything that the step printed."""
    return "".join(chunk.text for execution in step.executions for chunk in execution.chunks)


def say(state: RunState, output_chars: int | None) -> None:
    """Every step on stdout; of what a step printed at most so many characters, None for all, 0 for none."""
    for step in state.iterations:
        printing.say(f"\n[{step.number}/{step.of}] {step.status}{_figures(step)}")
        if step.reasoning:
            printing.say(indented(step.reasoning, "  "))
        if step.code:
            printing.say(indented(step.code, "  │ "))
        if output_chars != 0 and (output := output_of(step)):
            printing.say(indented(_cut(output, output_chars), "  > "))
        if step.error is not None:
            printing.say(indented(step.error.words, "  ✗ "))


def _cut(text: str, most: int | None) -> str:
    if most is None or len(text) <= most:
        return text
    left_out = f"… {len(text) - most:,} characters left out: --full-output shows them …"
    return f"{text[: most // 2]}\n{left_out}\n{text[len(text) - (most - most // 2) :]}"


def _figures(step: IterationState) -> str:
    calls = sum(execution.calls for execution in step.executions)
    parts = [f"planner {seconds(step.planner_seconds)}", f"sandbox {seconds(step.sandbox_seconds)}"]
    if calls:
        parts.append(plural(calls, "call"))
    return "".join(f" · {part}" for part in parts)


def indented(text: str, by: str) -> str:
    """Return the text with `by` before each line."""
    return "\n".join(by + line for line in text.splitlines())
