"""The planner: reads how far the run has come, and writes the next cell.

It holds no state of its own. Everything it knows stands in the prompt: the inputs, the outputs that are asked for, what
earlier cells printed (each ends with a line that says what it found), how many iterations and sub-queries are left, and
what the operator told it. So it takes up a run that was edited, skipped, restarted or forked as readily as its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fleet_rlm import syntax
from fleet_rlm.engine.offline import cells
from fleet_rlm.engine.offline.fields import Output, plan_outputs
from fleet_rlm.engine.offline.prompt import PlannerPrompt, Step
from fleet_rlm.engine.offline.question import Term, hint_terms, read_question
from fleet_rlm.engine.offline.textless import is_textless, next_cell
from fleet_rlm.engine.offline.written.fitting import fit

STATUS = {
    "survey": "Survey: ",
    "gather": "Gathered: ",
    "confirm": "Confirmed: ",
    "search": "Search: ",
    "read": "Read: ",
    "ask": "Asked: ",
    "draft": "Draft (",
}
"""How the last line that each phase prints begins."""
_QUESTION = re.compile(
    r"^(q|.*question|query|focus|topic|request|task|prompt|instructions?|claim|statement|hypothesis|search|keywords?|goal)$"
)
_LOST = re.compile(r"NameError|state (?:is|was|has been) lost|sandbox (?:was )?(?:lost|restarted)", re.IGNORECASE)
_LIMIT = re.compile(r"call limit exceeded: (\d+) \+ (\d+) > (\d+)", re.IGNORECASE)
_HINTS = re.compile(r"^hints_? = (\[.*\])$", re.MULTILINE)
_TOLD = re.compile(
    r"(?:operator(?:'s)? hint:|person who runs this tells you:|[Ww]rite another[^.]*\.)[ \t]*"
    r"(.*?)(?=\)?\s*(?:\n\n|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_AGAIN = re.compile(r"\bwrite another\b", re.IGNORECASE)
_OPTIONAL = {"read"}


@dataclass(frozen=True)
class Action:
    """What the planner answers: why, and the cell."""

    reasoning: str
    code: str


@dataclass
class Progress:
    """What the history says."""

    done: list[str] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    failures: int = 0
    """Cells that failed one after the other, the last ones."""
    calls: int = 0
    limit_left: int | None = None
    """Sub-queries left, when the host said so."""
    hints: list[str] = field(default_factory=list)
    asked: int = 0
    """Batches asked since the search was begun anew."""
    restarted: bool = False
    last: Step | None = None

    def status(self, phase: str) -> str:
        return self.statuses.get(phase, "")

    statuses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """What the run is about."""

    documents: tuple[str, ...]
    inputs: tuple[str, ...]
    question: str
    outputs: tuple[Output, ...]
    characters: int
    tools: tuple[str, ...]
    """What the person gave besides what every run has."""
    has_text: bool
    """False when the only input is a short question."""

    @property
    def reading(self) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.reads)

    @property
    def gathering(self) -> tuple[Output, ...]:
        return tuple(output for output in self.outputs if output.expression)

    @property
    def confirming(self) -> tuple[Output, ...]:
        """What a shape alone finds too much of."""
        return tuple(output for output in self.gathering if output.expression.startswith("endpoints("))

    @property
    def route(self) -> list[str]:
        """The phases, in order."""
        phases = ["survey"]
        phases += ["gather"] if self.gathering else []
        phases += ["confirm"] if self.confirming else []
        phases += ["search", "read", "ask"] if self.reading else []
        return [*phases, "draft", "submit"]


def plan(prompt: PlannerPrompt) -> Action:
    """The next cell for this prompt. The same prompt gives the same cell."""
    job = understand(prompt)
    if not job.has_text:
        return Action(*next_cell(job.question, job.outputs, prompt.history))
    progress = review(prompt.history, job.route)
    left = prompt.limit - prompt.iteration + 1
    told = [said for said in _told(prompt.note) if said not in progress.hints]
    again = len(_AGAIN.findall(prompt.note))
    if told:
        progress.hints += told
        keep = job.route.index("search") if "search" in job.route else 1
        progress.done = [phase for phase in progress.done if job.route.index(phase) < keep]
    if progress.failures >= 3 or (progress.failures and left <= 1):
        return _give_up(job, progress)
    widen = _wants_widening(job, progress, left) and not told
    if widen:
        progress.done = [phase for phase in progress.done if phase not in {"search", "read", "ask", "draft"}]
    group = _next_group(job, progress, left, widen)
    terms = _terms(job, progress.hints)
    calls = (prompt.max_calls - progress.calls) if progress.limit_left is None else progress.limit_left
    keep = _keep(job, calls, progress.failures)
    if again:  # another version of the same step: more at once, and more of it
        rest = [phase for phase in job.route if phase not in progress.done and phase not in group]
        group = [*group, *rest[:again]]
        keep = max(2, min(keep * (1 + again), calls - len(job.outputs)))
    bodies = [_body(phase, job, terms, keep, calls, widen) for phase in group]
    if progress.hints and "search" in group:
        bodies.insert(
            group.index("search"), "\n".join(f"# Hint: {cells.literal(text)[1:-1]}" for text in progress.hints)
        )
    code = cells.compose("\n\n".join(bodies), progress.defined, job.inputs)
    return Action(_reasoning(group, job, progress, left, bool(told), again, widen), code)


def understand(prompt: PlannerPrompt) -> Job:
    """Which inputs are texts, which is the question, and how each output is come by."""
    texts = [variable for variable in prompt.variables if variable.type not in {"int", "float", "bool", "NoneType"}]
    asking = [variable for variable in texts if _QUESTION.match(variable.name.lower()) and variable.length < 20_000]
    if not asking and len(texts) > 1:
        short = [variable for variable in texts if variable.type == "str" and variable.whole]
        asking = [min(short, key=lambda variable: variable.length)] if short and len(short) < len(texts) else []
    documents = [variable for variable in texts if variable not in asking] or texts or list(prompt.variables)
    question = " ".join(" ".join(variable.preview.split()) for variable in asking if variable in documents or asking)
    question = "" if documents == asking else question.strip()
    if documents == asking:
        question = " ".join(asking[0].preview.split())
    return Job(
        documents=tuple(variable.name for variable in documents),
        inputs=tuple(variable.name for variable in prompt.variables),
        question=question,
        outputs=plan_outputs(prompt.outputs, question, prompt.instructions),
        characters=sum(variable.length for variable in documents),
        tools=prompt.tools,
        has_text=not (documents == asking and len(asking) == 1 and asking[0].whole and is_textless(question)),
    )


def review(history: Sequence[Step], route: Sequence[str]) -> Progress:
    """Read the history from the start: a phase is done when its cell ended with the phase's own line."""
    progress = Progress()
    for step in history:
        progress.last = step
        for hint in [*_told(step.reasoning), *_hints_in(step.code)]:
            if hint not in progress.hints:
                progress.hints.append(hint)
        if step.error:
            progress.failures += 1
            limit = _LIMIT.search(step.error)
            if limit:
                progress.limit_left = max(0, int(limit[3]) - int(limit[1]))
                progress.defined |= cells.defined_in(step.code)
            elif _LOST.search(step.error) or progress.failures == 2:
                progress.done, progress.defined, progress.restarted = [], set(), True
            continue
        progress.defined |= cells.defined_in(step.code)
        phase = next((name for name, opening in STATUS.items() if step.status.startswith(opening)), None)
        if phase is None or phase not in route:
            continue
        progress.failures = 0
        progress.statuses[phase] = step.status
        progress.done = list(route[: route.index(phase) + 1])
        progress.asked = 0 if phase == "search" and "Once more" not in step.code else progress.asked + (phase == "ask")
        for spent in re.findall(r"(?:Asked: |Confirmed: |Draft \(at most )(\d+) sub-quer", step.output):
            progress.calls += int(spent)
    return progress


def _told(note: str) -> list[str]:
    """What a person says in the prompt: hints, and words to a request for another version of the step."""
    return [" ".join(said.split())[:500] for said in _TOLD.findall(note) if said.strip()]


def _hints_in(code: str) -> list[str]:
    """Hints that an earlier cell carries along."""
    met = _HINTS.search(code)
    try:
        found = syntax.literal(met[1]) if met else []
    except (ValueError, SyntaxError):  # edited by the operator into something else
        found = []
    return [hint for hint in found if isinstance(hint, str)]


def _terms(job: Job, hints: Sequence[str]) -> dict[str, list[Term]]:
    """What to search for each output: its question's terms, then what hints add."""
    added = [term for hint in hints for term in hint_terms(hint)]
    table = {}
    for output in job.outputs:
        own = list(read_question(output.question or job.question).terms)
        if output.question != job.question and job.question and output.how in {"answer", "number", "flag", "choice"}:
            own += read_question(job.question).keys
        table[output.name] = list({term.word.lower(): term for term in [*own, *added]}.values())
    return table


def _keep(job: Job, calls: int, failures: int) -> int:
    """Passages an output: what the sub-queries left allow, fewer after a failure."""
    share = max(1, (calls - len(job.outputs)) // max(1, len(job.reading)))
    most = 24 if any(cells.mode_of(output) == "summary" for output in job.reading) else 12
    return max(2, min(most, share) // (1 + failures))


def _wants_widening(job: Job, progress: Progress, left: int) -> bool:
    """Whether nothing at all was answered yet, and there is room to look again."""
    if not progress.done or progress.done[-1] != "ask" or progress.asked != 1 or left < 4:
        return False
    searched = [output for output in job.reading if cells.mode_of(output) != "summary"]
    answered = re.search(r", (\d+) answered", progress.status("ask"))
    return bool(searched) and answered is not None and answered[1] == "0" and progress.limit_left != 0


def _next_group(job: Job, progress: Progress, left: int, widen: bool) -> list[str]:
    """The phases of the next cell: one, or as many as it takes to be done in the iterations that are left."""
    open_phases = [phase for phase in job.route if phase not in progress.done]
    if progress.restarted and progress.failures:
        open_phases = [phase for phase in open_phases if phase not in _OPTIONAL]
    unseen = progress.last is not None and not progress.last.error and not progress.done
    if len(open_phases) > left or widen:
        open_phases = [phase for phase in open_phases if phase not in _OPTIONAL]
    groups = [[phase] for phase in open_phases]
    lost = progress.restarted and progress.failures
    while len(groups) > 1 and (len(groups) > left or (lost and len(groups) > 3) or (widen and groups[0] == ["search"])):
        if len(groups) == 2:
            groups = [groups[0] + groups[1]]
        else:
            groups[:2] = [groups[0] + groups[1]]
        widen = False
    if unseen and len(groups) > 2:
        groups[:2] = [groups[0] + groups[1]]
    return groups[0]


def _body(phase: str, job: Job, terms: dict[str, list[Term]], keep: int, calls: int, widen: bool) -> str:
    match phase:
        case "survey":
            return cells.survey(job.documents)
        case "gather":
            return cells.gather(job.gathering, terms, job.tools)
        case "confirm":
            return cells.confirm(job.confirming, max(0, min(24, calls - len(job.outputs))))
        case "search":
            return cells.search(job.reading, terms, keep, widen)
        case "read":
            return cells.read()
        case "ask":
            return cells.ask(max(0, min(keep * len(job.reading), calls - (len(job.reading) if calls > 3 else 0))))
        case "draft":
            return cells.draft(job.outputs, max(0, calls))
        case _:
            return cells.submit(job.outputs)


def _give_up(job: Job, progress: Progress) -> Action:
    """Nothing runs any more: say so in the outputs' own types, with no code that could fail."""
    error = progress.last.error if progress.last is not None else ""
    said = f"No answer could be worked out: the cells kept failing, last with: {error[:300]}"
    values = {
        output.name: fit(said if output.how in {"answer", "summary"} else None, output.field.schema)
        for output in job.outputs
    }
    given = ", ".join(f"{name}={cells.literal(value)}" for name, value in values.items())
    why = "My cells keep failing, and I have no other way to look into the text. I say so rather than guess."
    return Action(why, f"SUBMIT({given})")


def _reasoning(
    group: Sequence[str], job: Job, progress: Progress, left: int, hinted: bool, again: int, widen: bool
) -> str:
    """Why this cell, in the first person, from what was seen."""
    parts = [_seen(progress)]
    if again:
        parts.append("I am asked for another version of this step, so I take it further in one cell.")
    if hinted:
        parts.append("The operator tells me where to look, so I take those words into the search.")
    if widen:
        parts.append("No passage answered. Before I say that there is nothing, I search once more with wider words.")
    parts.append(" ".join(_intent(phase, job) for phase in group if not (widen and phase == "search")))
    if len(group) > 1 and not widen and left <= 3:
        parts.append(f"{left} iteration{'s are' if left != 1 else ' is'} left, so I do these steps in one cell.")
    return " ".join(part for part in parts if part)


def _seen(progress: Progress) -> str:
    last = progress.last
    if last is None:
        return ""
    if last.error:
        if _LIMIT.search(last.error):
            return f"The sub-query limit is reached: {progress.limit_left} are left. I ask fewer."
        if progress.restarted and progress.failures == 2:
            return "It failed again, so what stands in the sandbox is not what I left there. I build it again."
        if progress.restarted:
            return "The names I had defined are gone, so the sandbox has lost its state. I build it again."
        kind = re.match(r"\[.*?\]\s*(\w+)", last.error)
        return f"That cell failed ({kind[1] if kind else 'an error'}). I try again on a smaller part of the text."
    if not progress.statuses:
        return "That step did not print what I need, so I do it myself."
    phase = progress.done[-1] if progress.done else ""
    status = progress.status(phase)
    numbers = re.findall(r"\d+(?:,\d{3})*", status)
    match phase:
        case "survey" if len(numbers) >= 3:
            documents, characters, headings = map(_many, numbers[:3], ("document", "character", "heading"))
            return f"I have {documents} with {characters} and {headings}."
        case "gather":
            things = sum(int(number.replace(",", "")) for number in numbers)
            return f"By shape alone I found {_many(f'{things:,}', 'thing')}."
        case "confirm" if len(numbers) >= 3:
            return f"{_many(numbers[0], 'passage')} asked about, {numbers[1]} of {numbers[2]} confirmed."
        case "search" if numbers:
            kept = sum(int(number) for number in re.findall(r": (\d+)", status.partition(";")[0]))
            return f"The search kept {_many(str(kept), 'passage')}."
        case "ask" if len(numbers) >= 2:
            return f"{numbers[1]} of {_many(numbers[0], 'sub-query', 'sub-queries')} found an answer."
        case _:
            return ""


def _many(number: str, one: str, several: str = "") -> str:
    return f"{number} {one if number == '1' else several or one + 's'}"


def _intent(phase: str, job: Job) -> str:
    match phase:
        case "survey":
            size = f"{job.characters:,} characters"
            return f"I look first at how large the text is ({size}) and how it is built, before I read any of it."
        case "gather":
            return f"I take {_listed(output.name for output in job.gathering)} from the text by their shape."
        case "confirm":
            return "I ask a sub-LLM about every passage that names one, in one batch, which it documents and what for."
        case "search":
            return "I look for the places that hold the words of the question, rare words first."
        case "read":
            return "I read the best places in full before I trust them."
        case "ask":
            return "I ask a sub-LLM about every passage in one batch, and keep only what stands in the text."
        case "draft":
            names = _listed(output.name for output in job.outputs)
            return f"I put together {names} and look at the result once before I submit."
        case _:
            return "The result is complete, so I submit it."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
