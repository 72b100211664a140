"""About a run: what it is made of, in a page to read."""

from __future__ import annotations

from collections.abc import Iterator

from fleet_rlm.documents.document_work import size_in_words
from fleet_rlm.events import RunStarted
from fleet_rlm.figures import dollars, plural, seconds
from fleet_rlm.state import RunState


def about(state: RunState, path: str | None) -> str:
    """Everything about a run that is not in its panes. Raw text: clean it before it meets a screen."""
    parts = [_sandbox(state), _notices(state)]
    if state.started is not None:
        parts = [_run(state.started, path), _spent(state), _documents(state.started), _limits(state.started), *parts]
    return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _run(started: RunStarted, path: str | None) -> Iterator[str]:
    yield f"task        {started.task.name}: {started.task.signature}"
    if started.task.instructions:
        yield f"goal        {started.task.instructions}"
    yield f"planner     {started.models.planner}"
    yield f"sub-LLM     {started.models.sub}"
    if started.models.offline:
        yield "            the built-in model without weights: it searches and quotes"
    yield f"run         {started.run_id}, started {started.started_at}"
    if started.forked_from is not None:
        yield f"            forked from {started.forked_from.run_id} after iteration {started.forked_from.iteration}"
    if path:
        yield f"file        {path}"
    yield "versions    " + ", ".join(f"{name} {version}" for name, version in sorted(started.versions.items()))


def _spent(state: RunState) -> Iterator[str]:
    """What the planner and the sub-models have spent, each for itself."""
    for who, share in (("planner", state.spent.planner), ("sub-LLM", state.spent.sub)):
        if share.tokens:
            money = state.spent.dollars(share) or "price unknown"
            more = f" without {plural(share.unpriced, 'call')} of unknown price"
            more = more if share.unpriced and share.cost_usd is not None else ""
            yield f"{who} spent  {'~' if share.usage.estimated else ''}{share.tokens:,} tokens, {money}{more}"


def _documents(started: RunStarted) -> Iterator[str]:
    for one in started.inputs:
        yield f"{one.name}: {one.type}, {one.chars:,} characters"
        for ref in one.documents:
            what = ref.format or ref.encoding
            where = f"{ref.path} › {ref.member}" if ref.member else ref.path
            yield f"    {where}  {size_in_words(ref.bytes)}, {what}, sha256 {ref.sha256[:12]}"


def _limits(started: RunStarted) -> Iterator[str]:
    limits = started.budgets
    yield f"at most {plural(limits.max_iterations, 'iteration')}"
    if limits.max_llm_calls is not None:
        yield f"at most {plural(limits.max_llm_calls, 'sub-LLM call')}"
    if limits.max_tokens is not None:
        yield f"at most {plural(limits.max_tokens, 'token')}"
    if limits.max_seconds is not None:
        yield f"at most {seconds(limits.max_seconds)}"
    if limits.max_cost_usd is not None:
        yield f"at most {dollars(limits.max_cost_usd)}"


def _sandbox(state: RunState) -> Iterator[str]:
    box = state.sandbox
    if box.status == "lost":
        yield f"sandbox     {box.backend}, lost: {box.reason}"
    else:
        yield f"sandbox     {box.backend} ({box.mode or 'not started yet'}): {box.isolation or 'not checked yet'}"
    for words in box.proven:
        yield f"    ✓ {words}"
    for words in box.not_protected:
        yield f"    ✗ {words}"
    for name, took in box.steps.items():
        yield f"    {name} {seconds(took)}"


def _notices(state: RunState) -> Iterator[str]:
    for notice in state.notices:
        yield f"{notice.level}: {notice.text}"
    if state.imported is not None:
        yield f"imported from {state.imported.source}"
        for name, lost in state.imported.lost.items():
            yield f"    {name}: {lost}"
