"""What a prompt of DSPy asks for, read from its structure.

The system message says what is asked: a document that is quoted in a user message may hold anything, DSPy's own
markers and a forged history included. So the fields and the format come from the system message; the REPL history is
cut by the lengths that DSPy states for each output; and what stands at the very end, the iteration or the request for
the final outputs, is found from the end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from fleet_rlm import syntax

Wire = Literal["chat", "json", "xml"]
Schema: TypeAlias = dict[str, Any]
"""A JSON schema: any JSON value may stand in one."""

NO_OUTPUT = "(no output - did you forget to print?)"
_FIELD = re.compile(
    r"^\d+\. `(\w+)` \((.*?)\):[ \t]?(.*(?:\n(?!\d+\. `\w+` \(|Your output fields|All interactions).*)*)", re.M
)
_NOTE = re.compile(r"\{(\w+)\}[ \t]+# note: the value you produce (.+?)(?=\"?,?\n|\"?\s*$)")
_BLOB = re.compile(r"^(?:\[\d+\] )?«««\n(.*?)\n»»»$", re.M | re.S)
_OUTPUTS = "Your output fields are:"
_ITERATION, _EXTRACTION = "\n[[ ## iteration ## ]]\n", "\n[[ ## extraction ## ]]\n"
"""Begin the last field of a planner's prompt, and of the extraction that goes on from one."""
_REQUIREMENTS = ("\n\nRespond with the corresponding output fields", "\n\nRespond with a JSON object")


@dataclass(frozen=True)
class Field:
    """An output that is asked for."""

    name: str
    schema: Schema
    description: str = ""


@dataclass(frozen=True)
class Variable:
    """An input as the planner is shown it."""

    name: str
    type: str
    length: int
    """Characters of the whole value (of its JSON, when it is a collection)."""
    preview: str
    description: str = ""

    @property
    def whole(self) -> bool:
        """Whether the preview is all of it."""
        return len(self.preview) >= self.length


@dataclass(frozen=True)
class Step:
    """One cell of the history and what it printed."""

    reasoning: str
    code: str
    output: str

    @property
    def error(self) -> str:
        """The error it ended with, or an empty text."""
        met = re.match(r"\[(?:Type )?Error\]\s*(.*)", self.output, re.S)
        return met[0].strip() if met else ""

    @property
    def status(self) -> str:
        """The last line that it printed: cells end with one that says what they found."""
        return self.output.rstrip().rsplit("\n", 1)[-1] if not self.error else ""


@dataclass(frozen=True)
class PlannerPrompt:
    """RLM asks for the next cell."""

    wire: Wire
    instructions: str
    variables: tuple[Variable, ...]
    outputs: tuple[Field, ...]
    history: tuple[Step, ...]
    iteration: int
    limit: int
    note: str
    """What stands behind the iteration's number: an operator's hint, a remark on an answer that could not be read."""
    max_calls: int
    tools: tuple[str, ...] = ()
    """Names of functions that the person gave."""
    helpers: bool = True
    """False in a sandbox that lacks fleet-rlm's helpers, such as dspy's own."""


@dataclass(frozen=True)
class FieldsPrompt:
    """Any other module asks for its output fields: a Predict, or RLM's last extraction."""

    wire: Wire
    instructions: str
    inputs: dict[str, str]
    outputs: tuple[Field, ...]
    history: tuple[Step, ...] = ()


@dataclass(frozen=True)
class FreePrompt:
    """Plain text: what `llm_query` sends."""

    text: str


Prompt: TypeAlias = PlannerPrompt | FieldsPrompt | FreePrompt


def read_prompt(system: str, user: str) -> Prompt:
    """Tell by the system message what is asked, and take it apart. Never fails: what isn't DSPy's is a free prompt."""
    listed, _, below = system.partition(_OUTPUTS)
    if not listed.lstrip().startswith("Your input fields are:") or not below:
        return FreePrompt(f"{system}\n\n{user}" if system else user)
    inputs = [name for name, _, _ in _FIELD.findall(listed)]
    wire, instructions, outputs = _asked(below)
    if {field.name for field in outputs} >= {"reasoning", "code"} and {"repl_history", "iteration"} <= {*inputs}:
        at = user.rfind(_EXTRACTION)
        if at <= user.rfind(_ITERATION):  # the last one counts: documents that are quoted before may hold both
            return _planner(wire, instructions, _inputs(user, inputs, wire))
        wire, instructions, outputs = _asked(user[at:].partition(_OUTPUTS)[2])
        user, inputs = user[:at], ["variables_info", "repl_history"]
    values = _inputs(user, inputs, wire)
    history = read_history(values["repl_history"]) if "repl_history" in values else ()
    return FieldsPrompt(wire, instructions, values, outputs, history)


def _asked(below: str) -> tuple[Wire, str, tuple[Field, ...]]:
    """Return the form of the reply, the instructions and the outputs, from DSPy's text on the output fields."""
    for requirement in _REQUIREMENTS:
        below = below.partition(requirement)[0]
    cut = below.find("All interactions will be structured")
    structure = below[cut:] if cut >= 0 else ""
    objective = structure.partition("your objective is:")[2]
    instructions = "\n".join(line.removeprefix(" " * 8) for line in objective.strip("\n ").split("\n")).strip()
    notes = _notes(structure)
    outputs = tuple(
        Field(name, _schema(kind, notes.get(name, "")), said.strip())
        for name, kind, said in _FIELD.findall(below[:cut])
    )
    return _wire(structure, outputs), instructions, outputs


def _wire(structure: str, outputs: tuple[Field, ...]) -> Wire:
    if "[[ ## completed ## ]]" in structure:
        return "chat"
    return "xml" if outputs and f"</{outputs[0].name}>" in structure and "JSON object" not in structure else "json"


def _notes(structure: str) -> dict[str, str]:
    """What DSPy says of each output's type; the JSON adapter writes it escaped."""
    found: dict[str, str] = {}
    for name, note in _NOTE.findall(structure):
        if '\\"' in note:
            note = note.replace('\\"', '"').replace("\\\\", "\\")
        found.setdefault(name, note.strip())
    return found


def _planner(wire: Wire, instructions: str, values: dict[str, str]) -> PlannerPrompt:
    task, _, mechanics = instructions.partition("You are tasked with producing the following outputs given the inputs ")
    asked = mechanics.partition("\n\nYou have access to a Python REPL")[0]
    outputs = []
    for name, note in re.findall(r"^- \{(\w+)\}(?:[ \t]+# note: the value you produce (.*))?$", asked, re.M):
        said = re.search(rf"^\s*[-*]\s*`?{name}`?\s*(?:\([^)]*\))?\s*[:—–-]\s*(.+)$", task, re.M)
        outputs.append(Field(name, _schema("str" if not note else "", note), said[1] if said else ""))
    counted = re.match(r"\s*(\d+)\s*/\s*(\d+)(.*)", values.get("iteration", ""), re.S)
    calls = re.search(r"You have max (\d+) sub-LLM calls", mechanics)
    return PlannerPrompt(
        wire=wire,
        instructions=task.strip(),
        variables=tuple(_variables(values.get("variables_info", ""))),
        outputs=tuple(outputs),
        history=read_history(values.get("repl_history", "")),
        iteration=int(counted[1]) if counted else 1,
        limit=int(counted[2]) if counted else 1,
        note=counted[3].strip() if counted else "",
        max_calls=int(calls[1]) if calls else 50,
        helpers="search(text, words" in mechanics,
        tools=tuple(re.findall(r"^- `(\w+)\(.*?\)` - ", mechanics.partition("Additional tools available")[2], re.M)),
    )


def _variables(text: str) -> list[Variable]:
    found = []
    for blob in [met[1] for met in _BLOB.finditer(text)] or [text]:
        plain = "\n".join(line.removeprefix("    ") for line in blob.split("\n"))
        name = re.search(r"^Variable: `(\w+)`", plain)
        kind = re.search(r"^Type: (.*)$", plain, re.M)
        length = re.search(r"^Total length: ([\d,]+) characters$", plain, re.M)
        if name is None or length is None:
            continue
        said = re.search(r"^Description: (.*?)(?=\nConstraints: |\nTotal length: )", plain, re.M | re.S)
        preview = plain[length.end() :].partition("Preview:\n```\n")[2].removesuffix("\n```")
        found.append(
            Variable(
                name[1], kind[1] if kind else "str", int(length[1].replace(",", "")), preview, said[1] if said else ""
            )
        )
    return found


def read_history(text: str) -> tuple[Step, ...]:
    """The steps of a REPL history. An output ends where its stated length ends, whatever it holds."""
    steps: list[Step] = []
    at, number = 0, 1
    while True:
        opening = f"=== Step {number} ===\n"
        if not text.startswith(opening, at):
            at = text.find(f"\n{opening}", at) + 1  # an edited cell may hold anything: go on at the next step
            if not at and not text.startswith(opening):
                return tuple(steps)
        body = at + len(opening)
        shown = re.compile(r"\n```\nOutput \(([\d,]+) chars\):\n").search(text, body)
        if shown is None:
            return tuple(steps)
        head = text[body : shown.start()]
        reasoning, _, code = (
            head.rpartition("Code:\n```python\n")
            if head.count("Code:\n```python\n") == 1
            else head.partition("Code:\n```python\n")
        )
        end = _output_end(text, shown.end(), int(shown[1].replace(",", "")))
        output = text[shown.end() : end]
        steps.append(Step(reasoning.removeprefix("Reasoning: ").strip(), code, "" if output == NO_OUTPUT else output))
        at, number = end + 1, number + 1


def _output_end(text: str, begin: int, length: int) -> int:
    """Where an output of this many characters ends: DSPy keeps a long one's head and tail of equal size."""
    for cut in re.finditer(r"\n\n\.\.\. \(([\d,]+) characters omitted\) \.\.\.\n\n", text[begin : begin + length]):
        kept = length - int(cut[1].replace(",", ""))
        if cut.start() == kept // 2:
            return begin + cut.end() + kept - kept // 2
    return begin + length


def _inputs(user: str, names: list[str], wire: Wire) -> dict[str, str]:
    """The user message cut into its fields."""
    for requirement in _REQUIREMENTS:
        at = user.rfind(requirement)
        if at >= 0:
            user = user[:at]
    opening = "<{}>\n" if wire == "xml" else "[[ ## {} ## ]]\n"
    values, at = {}, 0
    for position, name in enumerate(names):
        header = opening.format(name)
        begin = user.find(header, at)
        if begin < 0:
            continue
        begin += len(header)
        end = len(user)
        for other in names[position + 1 :]:
            following = "\n\n" + opening.format(other)
            last = other == names[-1] and (other == "iteration" or len(user) - user.rfind(following) < 4000)
            found = user.rfind(following, begin - 2) if last else user.find(following, begin - 2)
            if found >= 0:
                end = found
                break
        value = user[begin:end].strip("\n")
        values[name] = value.removesuffix(f"\n</{name}>") if wire == "xml" else value
        at = end
    return values


def _schema(kind: str, note: str) -> Schema:
    """A type as a JSON schema, from DSPy's note on it or from its name."""
    if note.startswith("must adhere to the JSON schema: "):
        try:
            found = json.loads(note.partition(": ")[2])
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
    if kind.startswith("Literal[") and kind.endswith("]"):
        try:
            return {"enum": list(syntax.literal(f"({kind[8:-1]},)"))}
        except (ValueError, SyntaxError):
            pass  # the note below lists the choices too
    one_of = re.match(r"must (?:exactly match \(no extra characters\) one of|be one of): (.*)", note)
    if one_of:
        return {"enum": one_of[1].split("; ")}
    if note.startswith("must be True or False") or kind == "bool":
        return {"type": "boolean"}
    number = re.match(r"must be a single (int|float) value", note)
    if number or kind in {"int", "float"}:
        return {"type": "integer" if (number[1] if number else kind) == "int" else "number"}
    return {"type": "string"}
