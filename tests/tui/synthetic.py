"""Runs made up event by event, and a source that hands them to a screen as an engine or a file would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from fleet_rlm import events as ev
from fleet_rlm.spec import Command
from fleet_rlm.tui.sources.event_source import Mode, SourceEnd

GUIDE = """# Optimizers
Optimizers tune the prompts and weights of a program so that a
metric improves. They need three things: the program, a metric
and a few examples.

## BootstrapFewShot
Collects demonstrations by running a teacher program over the
training set and keeping the traces that the metric accepts.
Cost: one pass over the examples.

## MIPROv2
Proposes instructions from data summaries, then searches over
instructions and demonstrations jointly with Bayesian
optimization. Works from 40 examples; 200 or more are better.

## GEPA
Reflects on execution traces in natural language, mutates the
instructions, keeps a Pareto front of candidates.

# Modules
A module is a composable building block with learnable parts.
`Predict` is the smallest; `ChainOfThought` adds reasoning;
`ReAct` calls tools; `RLM` explores long inputs by writing
Python in a sandbox and asking sub-LLMs about the pieces.
"""

BATCH_CODE = """import re

sections = re.split(r"(?m)^#{1,3} ", context)
hits = [s for s in sections if "optimi" in s.lower()]
print(len(sections), "sections,", len(hits), "about optimizers")

answers = llm_query_batched([
    f"Name the optimizer and its idea, one line each:\\n{s[:4000]}"
    for s in hits
])
for a in answers:
    print("-", a)
"""
SECTIONS = ("BootstrapFewShot", "MIPROv2", "GEPA", "Modules", "Optimizers", "Signatures", "Metrics", "Assertions")


class Script:
    """Events with their stamps: `at` moves the clock, `add` stamps and keeps."""

    def __init__(self) -> None:
        self.events: list[ev.AnyEvent | ev.Unknown] = []
        self.t = 0.0

    def add(self, event: ev.AnyEvent, after: float = 0.0) -> None:
        self.t = round(self.t + after, 3)
        self.events.append(replace(event, seq=len(self.events), t=self.t))

    def start(
        self,
        question: str = "What are the main optimizers, and what does each do?",
        documents: Iterable[Path] = (),
        offline: bool = False,
        value: ev.Json = None,
    ) -> None:
        refs = tuple(_reference(path) for path in documents)
        if refs:
            inputs = (
                ev.Input(
                    name="context",
                    type="str" if len(refs) == 1 else "dict[str, str]",
                    chars=sum(ref.chars for ref in refs),
                    documents=refs,
                ),
            )
        elif value is not None:
            inputs = (ev.Input(name="context", type="str", chars=len(str(value)), value=value),)
        else:
            inputs = ()
        self.add(
            ev.RunStarted(
                span="run",
                format=ev.FORMAT,
                version=ev.VERSION,
                run_id="01SYNTHETIC",
                started_at="2026-01-02T10:42:00Z",
                task=ev.Task(name="ask", signature="context, question -> answer", question=question),
                inputs=(*inputs, ev.Input(name="question", type="str", chars=len(question), value=question)),
                models=ev.Models(
                    planner="offline" if offline else "openai/gpt-5.1",
                    sub="offline" if offline else "openai/gpt-5.1-mini",
                    offline=offline,
                ),
                sandbox=ev.Sandbox(backend="local", isolation=""),
                budgets=ev.BudgetLimits(max_iterations=20, max_llm_calls=50),
                versions={"fleet_rlm": "0.1.0"},
            )
        )

    def sandbox(self) -> None:
        self.add(ev.SandboxStarting(backend="local", what="starting Python"), 0.02)
        self.add(
            ev.SandboxReady(
                backend="local",
                id="4242",
                seconds=0.2,
                isolation="no network · no files of yours",
                mode="namespaces",
                proven=("no network", "no files of yours", "limits"),
            ),
            0.2,
        )
        self.add(ev.InputSent(name="context", bytes=278_000, seconds=0.03, how="file"), 0.03)

    def planner(
        self,
        number: int,
        reasoning: str,
        code: str,
        seconds: float = 2.0,
        *,
        started: bool = True,
        finish: bool = True,
        hints: Iterable[str] = (),
    ) -> None:
        span = f"p{number}"
        if started:
            self.add(ev.IterationStarted(iteration=number, span=f"i{number}", parent="run", of=20), 0.01)
        prompt = (
            ev.Message(role="system", content="You write Python in a REPL to answer the question."),
            ev.Message(role="user", content=f"Iteration {number}. " + " ".join(f"Note: {hint}" for hint in hints)),
        )
        self.add(
            ev.PlannerStarted(iteration=number, span=span, parent=f"i{number}", prompt=prompt, model="openai/gpt-5.1"),
            0.01,
        )
        whole = (
            f"[[ ## reasoning ## ]]\n{reasoning}\n\n[[ ## code ## ]]\n```python\n{code}```\n\n[[ ## completed ## ]]\n"
        )
        pieces = [whole[i : i + 24] for i in range(0, len(whole), 24)]
        if not finish:
            pieces = pieces[: len(pieces) * 2 // 3]
        for piece in pieces:
            self.add(ev.PlannerDelta(iteration=number, span=span, text=piece), seconds / len(pieces))
        if finish:
            self.add(
                ev.PlannerFinished(
                    iteration=number,
                    span=span,
                    reasoning=reasoning,
                    code=code,
                    model="openai/gpt-5.1",
                    usage=ev.Usage(input=4200 + number * 900, output=260),
                    cost_usd=0.009,
                    seconds=seconds,
                )
            )

    def execute(self, number: int, code: str, origin: ev.Origin = "planner") -> str:
        span = f"x{number}" if origin == "planner" else f"x{number}{origin}"
        self.add(ev.ExecutionStarted(iteration=number, span=span, parent=f"i{number}", code=code, origin=origin), 0.01)
        return span

    def output(self, span: str, number: int, text: str, stream: ev.Stream = "stdout", after: float = 0.05) -> None:
        self.add(ev.Output(iteration=number, span=span, stream=stream, text=text), after)

    def finish(
        self,
        span: str,
        number: int,
        outcome: ev.Outcome = "ok",
        error: ev.Failure | None = None,
        seconds: float = 0.5,
        **more: ev.Json,
    ) -> None:
        self.add(
            ev.ExecutionFinished(iteration=number, span=span, outcome=outcome, error=error, seconds=seconds, **more),
            0.1,
        )

    def batch(self, number: int, parent: str, size: int = 8, finished: int = 8, failing: int | None = 3) -> None:
        group = f"b{number}"
        self.add(
            ev.CallStarted(
                iteration=number, span=group, parent=parent, type="batch", function="llm_query_batched", size=size
            ),
            0.01,
        )
        spans = [f"{group}.{i}" for i in range(size)]
        for i, span in enumerate(spans):
            section = SECTIONS[i % len(SECTIONS)]
            text = _section(section) or f"## {section}\nAbout {section.lower()} and what they are for."
            self.add(
                ev.CallStarted(
                    iteration=number,
                    span=span,
                    parent=group,
                    type="sub_llm",
                    function="llm_query",
                    index=i,
                    prompt=f"Name the optimizer and its idea, one line each:\n{text}",
                    model="openai/gpt-5.1-mini",
                    queued=i >= finished + 2,
                )
            )
        for i, span in enumerate(spans[:finished]):
            self.add(ev.CallRunning(iteration=number, span=span, queued_seconds=0.01), 0.01)
            failed = i == failing
            if failed:
                error = ev.Failure(type="RateLimited", message="429 Too Many Requests", hint="lower the concurrency")
                self.add(ev.ModelRetrying(iteration=number, span=span, attempt=1, of=3, error=error, delay_seconds=2))
            self.add(
                ev.CallFinished(
                    iteration=number,
                    span=span,
                    answer=None if failed else f"{SECTIONS[i % 8]}: keeps what the metric accepts.",
                    error=error if failed else None,
                    model="openai/gpt-5.1-mini",
                    usage=None if failed else ev.Usage(input=1200 - 40 * i, output=84 - 3 * i),
                    cost_usd=None if failed else 0.0004,
                    seconds=0.6 + 0.1 * i,
                ),
                0.15,
            )
        if finished == size:
            self.add(ev.CallFinished(iteration=number, span=group, answer=["…"] * size, seconds=1.6), 0.01)

    def end(self, status: ev.Status = "submitted", outputs: dict[str, ev.Json] | None = None, **more: ev.Json) -> None:
        self.add(
            ev.RunFinished(
                span="run",
                status=status,
                outputs=outputs or {},
                totals=ev.Totals(iterations=6, calls=14, input_tokens=38_000, output_tokens=3_000, seconds=self.t),
                **more,
            ),
            0.05,
        )


ANSWER = {
    "answer": "Three optimizers: BootstrapFewShot keeps accepted traces, MIPROv2 searches instructions and "
    "demonstrations together, GEPA reflects on traces and keeps a Pareto front.",
    "sources": ["## BootstrapFewShot", "## MIPROv2", "## GEPA"],
    "table": [{"name": "GEPA", "cost": 3}, {"name": "MIPROv2", "cost": 2}],
}


def rich(documents: Iterable[Path] = (), until: str = "end") -> Script:
    """Six iterations: a look, a search, an error, a batch of eight with a 429, a sub-agent and a tool, the answer.

    `until` stops earlier: starting, sandbox, planning, executing, batch, error, agent, end.
    """
    run = Script()
    run.start(documents=documents, offline=False)
    if until == "starting":
        run.add(ev.Progress(what="reading dspy-guide.txt", done=120_000, total=278_000))
        return run
    if until == "sandbox":
        run.add(ev.SandboxStarting(backend="local", what="starting Python"), 0.02)
        return run
    run.sandbox()
    look = "print(len(context))\nprint(context[:200])\n"
    run.planner(1, "First see how long the text is and how it begins.", look, 1.8)
    span = run.execute(1, look)
    run.output(span, 1, f"278114\n{GUIDE[:200]}\n")
    run.finish(span, 1, stdout_chars=207, shown_to_planner=ev.Shown(head=207), seconds=0.1)
    run.add(
        ev.Variables(iteration=1, span=span, added=(ev.Variable(name="context", type="str", size=278_114),)),
    )
    search = 'headers = [l for l in context.splitlines() if l.startswith("#")]\nfor h in headers:\n    print(h)\n'
    run.planner(2, "Markdown. Its headers are the map: list them.", search, 1.5)
    span = run.execute(2, search)
    run.output(span, 2, "".join(f"## Section {i}\n" for i in range(40)))
    run.finish(span, 2, stdout_chars=560, shown_to_planner=ev.Shown(head=200, tail=100), seconds=0.3)
    run.add(
        ev.Variables(
            iteration=2,
            span=span,
            added=(
                ev.Variable(name="headers", type="list[str]", size=40, preview="['# Optimizers', '## BootstrapFew…"),
                ev.Variable(name="h", type="str", size=13, preview="'## Section 39'"),
            ),
        ),
    )
    wrong = (
        'index = {h.strip("# "): i for i, h in enumerate(headers)}\nprint(len(index))\n\nprint(index["Optimisers"])\n'
    )
    if until == "planning":
        run.planner(3, "Find the section about optimizers by its header.", wrong, 1.9, finish=False)
        return run
    run.planner(3, "Find the section about optimizers by its header.", wrong, 1.9)
    span = run.execute(3, wrong)
    run.output(span, 3, "40\n")
    run.output(span, 3, "DeprecationWarning: strip() with a set of characters\n", "stderr")
    if until == "executing":
        return run
    run.finish(
        span,
        3,
        "error",
        ev.Failure(
            type="KeyError",
            message="'Optimisers'",
            line=4,
            traceback='Traceback (most recent call last):\n  File "<cell 3>", line 4, in <module>\n'
            "    print(index[\"Optimisers\"])\nKeyError: 'Optimisers'",
        ),
        stdout_chars=3,
        shown_to_planner=ev.Shown(head=3),
        seconds=0.2,
    )
    if until == "error":
        return run
    run.add(ev.Operator(action="hint", text="it is spelled with a z"))
    run.planner(4, "I know where the headers are. Ask about each optimizer section, in one batch.", BATCH_CODE, 2.1)
    span = run.execute(4, BATCH_CODE)
    run.output(span, 4, "24 sections, 8 about optimizers\n")
    if until == "batch":
        run.batch(4, span, finished=4)
        return run
    run.batch(4, span)
    run.output(span, 4, "- BootstrapFewShot: keeps traces that the metric accepts\n- MIPROv2: searches instructions\n")
    run.finish(span, 4, stdout_chars=125, shown_to_planner=ev.Shown(head=200), seconds=2.4)
    run.add(
        ev.Variables(
            iteration=4,
            span=span,
            added=(ev.Variable(name="answers", type="list[str]", size=8, preview="['BootstrapFewShot: keeps…"),),
            changed=(ev.Variable(name="h", type="str", size=9, preview="'## GEPA …'"),),
            removed=("index",),
        ),
    )
    agent = 'report = researcher("compare GEPA with MIPROv2")\nprices = price_list(models=["gpt-5.1"])\nprint(report)\n'
    run.planner(5, "A sub-agent may compare them in depth; the tool knows prices.", agent, 1.4)
    span = run.execute(5, agent)
    run.add(
        ev.CallStarted(
            iteration=5,
            span="agent",
            parent=span,
            type="sub_agent",
            function="researcher",
            prompt="compare GEPA with MIPROv2",
        )
    )
    run.add(ev.IterationStarted(iteration=1, span="ai1", parent="agent", of=5), 0.1)
    run.add(ev.PlannerStarted(iteration=1, span="ap1", parent="ai1", model="openai/gpt-5.1-mini"))
    run.add(
        ev.PlannerFinished(iteration=1, span="ap1", reasoning="Compare.", code="SUBMIT('GEPA is newer')", seconds=0.4),
        0.4,
    )
    run.add(ev.ExecutionStarted(iteration=1, span="ax1", parent="ai1", code="SUBMIT('GEPA is newer')"))
    run.add(ev.ExecutionFinished(iteration=1, span="ax1", outcome="submitted", seconds=0.05), 0.05)
    run.add(ev.CallFinished(iteration=5, span="agent", answer="GEPA is newer", seconds=0.6), 0.05)
    run.add(
        ev.CallStarted(
            iteration=5,
            span="tool",
            parent=span,
            type="tool",
            function="price_list",
            arguments={"models": ["gpt-5.1"]},
        )
    )
    run.add(ev.CallFinished(iteration=5, span="tool", answer={"gpt-5.1": 0.00125}, seconds=0.02), 0.02)
    run.output(span, 5, "GEPA is newer\n")
    if until == "agent":
        return run
    run.finish(span, 5, stdout_chars=14, shown_to_planner=ev.Shown(head=14), seconds=0.8)
    submit = "SUBMIT(answer=summary, sources=found, table=rows)\n"
    run.planner(6, "Everything is known: submit.", submit, 1.2)
    span = run.execute(6, submit)
    run.add(ev.Submitted(iteration=6, span="s6", parent=span, outputs=ANSWER))
    run.finish(span, 6, "submitted", seconds=0.05)
    run.end("submitted", ANSWER)
    return run


def many_calls(count: int = 5000) -> Script:
    """One iteration that asks a sub-LLM very often."""
    run = Script()
    run.start("Which of the sections mentions a price?", offline=True)
    run.sandbox()
    code = "answers = llm_query_batched(prompts)\n"
    run.planner(1, "Ask about every section.", code)
    span = run.execute(1, code)
    run.batch(1, span, size=count, finished=count)
    run.finish(span, 1, seconds=60.0)
    return run


def flood(lines: int = 10_000, at_once: int = 1) -> Iterator[ev.AnyEvent | ev.Unknown]:
    """A cell that prints and prints, one event for `at_once` lines."""
    run = Script()
    run.start("Print everything", offline=True)
    run.sandbox()
    run.planner(1, "Print all of it.", "for line in lines:\n    print(line)\n")
    span = run.execute(1, "for line in lines:\n    print(line)\n")
    yield from run.events
    seq, t = len(run.events), run.t
    for first in range(0, lines, at_once):
        text = "".join(f"{i} llm_query(prompt='summarise section 12') -> '42'\n" for i in range(first, first + at_once))
        yield ev.Output(seq=seq, t=t, iteration=1, span=span, stream="stdout", text=text)
        seq, t = seq + 1, t + 0.0001


class ScriptedSource:
    """A `RunSource` whose events a test hands over; what was asked of the engine is kept in `commands`."""

    def __init__(self, events: Iterable[ev.AnyEvent | ev.Unknown] = (), mode: Mode = "live") -> None:
        self.mode: Mode = mode
        self.path: str | None = None
        self.end: SourceEnd | None = None
        self.commands: list[Command] = []
        self.closed = False
        self._waiting = list(events)
        self._wake: Callable[[], None] | None = None
        if mode == "replay":
            complete = bool(self._waiting) and isinstance(self._waiting[-1], ev.RunFinished)
            self.end = SourceEnd(complete, "" if complete else "the file ends before the run does")

    def open(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        if self._waiting:
            wake()

    @property
    def waiting(self) -> bool:
        """True while there is something that was not drained."""
        return bool(self._waiting)

    def push(self, *events: ev.AnyEvent | ev.Unknown) -> None:
        self._waiting.extend(events)
        if self._wake:
            self._wake()

    def finish(self, end: SourceEnd) -> None:
        self.end = end
        if self._wake:
            self._wake()

    def drain(self, limit: int = 2000) -> list[ev.AnyEvent | ev.Unknown]:
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        if self._waiting and self._wake:
            self._wake()
        return taken

    def send(self, command: Command) -> None:
        if self.mode != "live":
            raise RuntimeError("only a live run can be told something")
        self.commands.append(command)

    def close(self) -> None:
        self.closed = True


def _reference(path: Path) -> ev.DocumentRef:
    data = path.read_bytes()
    return ev.DocumentRef(
        path=str(path),
        name=path.name,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        chars=len(data.decode("utf-8", "replace")),
    )


def _section(name: str) -> str:
    start = GUIDE.find(f"## {name}")
    return GUIDE[start : GUIDE.find("\n\n", start)] if start >= 0 else ""
