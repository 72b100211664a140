"""The sub-LLM: answers a free prompt from the text that the prompt holds, in that text's own words.

It extracts and never invents: it quotes sentences, lists members, or picks central sentences, and says NOT FOUND when
the text holds no answer. A prompt that holds no text at all is told so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from fleet_rlm.engine.offline.judge import NOTHING_KNOWN, Emphasis, Found, Judge
from fleet_rlm.engine.offline.listing import Member, head_term, members
from fleet_rlm.engine.offline.question import Kind, Question, read_question
from fleet_rlm.engine.offline.reading import Unit, units
from fleet_rlm.engine.offline.summary import central
from fleet_rlm.engine.offline.written.harvest import endpoints

NOT_FOUND = "NOT FOUND in this passage."
NO_TEXT = "NOT FOUND: the prompt holds no text to look in, and this offline model knows nothing by itself."
CUT, SHARP_CUT = 0.72, 0.8
"""An answer weaker than this share of the best one is left out; sharper where one sentence is wanted."""
LONGEST_ANSWER = 900
"""Characters after which no further sentence is added to an answer."""
_SHARP: frozenset[Kind] = frozenset({"value", "person", "time", "place", "definition", "yes_no", "count"})

Mode = Literal["answer", "list", "summary", "endpoints"]

_LABEL = re.compile(r"^\s*[#*]*\s*(question|query|instructions?|task)\b[^:\n]{0,40}:[*]*[ \t]*(.*)$", re.I | re.M)
_MATERIAL = re.compile(
    r"^[ \t]*[#*]*[ \t]*(passages?|text|context|documents?|excerpts?|sections?|content|material|article|logs?|chunk|"
    r"input|data|sentences|candidates|snippet|page|code)\b"
    # Up to the first colon that does not stand in a quoted title.
    r"(?:\"[^\"\n]{0,300}\"|[^:\"\n]|\"(?![^\"\n]{0,300}\")){0,300}:[*]*[ \t]*(?=\S|\n)",
    re.I | re.M,
)
_DELIMITED = re.compile(r"<(\w+)[^>\n]*>\n?(.*)</\1>|\"\"\"(.*)\"\"\"|`{3,}\w*\n(.*)`{3,}|-{4,}\n(.*)\n-{4,}", re.S)
_UNDER = re.compile(r"under \"([^\"\n]{1,300})\"")
_TITLE = re.compile(r"(?:from|of|in) \"([^\"\n]{1,200})\"")
_ABOUT = re.compile(r"^It must be about: (.*)$", re.M)
_RAREST = re.compile(r"^Words, rarest first: (.*)$", re.M)
_ABSENT = re.compile(r"^Nowhere in the text: (.*)$", re.M)
_SUMMARY = re.compile(
    r"\b(summar\w+|condens\w+|tl;?dr|gist|key points?|main points?|overview|zusammenfass\w+|résum\w+)\b|总结|要約", re.I
)
_LIST = re.compile(r"\b(list|enumerate|extract|name|find|collect|identify) (all|every|each|the|any)\b", re.I)
_TASKS: dict[str, Mode] = {
    "Quote the sentences": "answer",
    "List every one": "list",
    "List every API endpoint": "endpoints",
    "Summarise the passage": "summary",
}
"""How the planner's own prompts begin (`cells.TASKS`)."""
_GONE = (
    r"\W{0,3}(?:(?:is|was|has been|will be|are|were) (?:now )?)?(?:became|becomes|removed|renamed|replaced|gone|"
    r"retired|no longer|switched off|withdrawn|went away|dropped)\b"
)
"""What follows the name of something that is not there any more."""
_HOW_MANY = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "ten": 10}
_AMOUNT = re.compile(
    r"\b(\d{1,2}|one|two|three|four|five|six|seven|eight|ten)(?: \w+){0,2} (sentences?|points?|lines|bullets)", re.I
)


@dataclass(frozen=True)
class SubPrompt:
    """A free prompt, taken apart."""

    mode: Mode
    question: str
    material: str
    title: str = ""
    """Name of the document that the material is from."""
    path: tuple[str, ...] = ()
    """Headings above the material."""
    emphasis: Emphasis = NOTHING_KNOWN
    most: int | None = None
    """How many sentences or points are asked for."""


def reply(prompt: str) -> str:
    """What the sub-LLM answers to a prompt: lines of text, best first."""
    asked = take_apart(prompt)
    if not asked.material.strip():
        return NO_TEXT
    if asked.mode == "endpoints":
        return "\n".join(_endpoints(asked.material)) or NOT_FOUND
    above = [Unit(title, "heading", asked.path[:depth], level=depth + 1) for depth, title in enumerate(asked.path)]
    inside = [
        Unit(
            unit.text,
            unit.kind,
            (*asked.path, *unit.path),
            unit.lead,
            unit.block + 1,
            unit.level + len(above) * (unit.kind == "heading"),
        )
        for unit in units(asked.material)
    ]
    passage = [*above, *inside]
    question = read_question(asked.question)
    if asked.mode == "summary":
        lines = [unit.text for unit in central(passage, asked.most or 3, question.terms)]
    elif asked.mode == "list":
        lines = [member.line for member in listed(question, passage)][: asked.most or 60]
        lines = lines or answers(question, passage, asked, most=5)
    else:
        lines = answers(question, passage, asked, most=asked.most)
    return "\n".join(lines) if lines else _not_found(question, passage, asked)


def _endpoints(passage: str) -> list[str]:
    """`METHOD /path: what it does` of those that the passage does not say are gone."""
    lines = []
    for entry in endpoints({"": passage}):
        after = re.sub(r"[`*]", "", passage).partition(f"{entry['method']} {entry['path']}")[2]
        if not re.match(_GONE, after, re.I):
            said = entry["description"] if entry["shaped"] else ""
            lines.append(f"{entry['name']}: {said}" if said else entry["name"])
    return lines


def listed(question: Question, passage: list[Unit]) -> list[Member]:
    """Members of what the question asks to list; a passage's own headings when it asks for headings."""
    head = head_term(question)
    if head is not None and re.match(r"(heading|header|title|chapter)s?$", head.word, re.I):
        return [Member(unit.text, "", 0) for unit in passage if unit.kind == "heading"]
    return members(question, passage)


def answers(question: Question, passage: list[Unit], asked: SubPrompt, most: int | None = None) -> list[str]:
    """Sentences that answer the question, best first, each with what it introduces."""
    found = Judge(question, asked.emphasis, asked.title).weigh(passage).answers
    if not found:
        return []
    sharp = question.kind in _SHARP
    cut = (SHARP_CUT if sharp else CUT) * found[0].score
    lines: list[str] = []
    for answer in found:
        line = _whole(answer, passage)
        room = not lines or sum(map(len, lines)) + len(line) <= LONGEST_ANSWER
        if answer.score >= cut and room and len(lines) < (most or (2 if sharp else 4)) and not _told(line, lines):
            lines.append(line)
    return lines


def _told(line: str, lines: list[str]) -> bool:
    """Whether nearly all words of a line stand in one that was taken before, or the other way round."""
    new = set(re.findall(r"\w+", line.lower()))
    for known in lines:
        old = set(re.findall(r"\w+", known.lower()))
        if len(new & old) >= 0.85 * min(len(new), len(old)) and re.findall(r"\d+", line) == re.findall(r"\d+", known):
            return True
    return False


def _whole(answer: Found, passage: list[Unit]) -> str:
    """The sentence, with the entries or the code that it announces."""
    if not answer.unit.text.endswith(":"):
        return answer.text
    following = []
    for unit in passage[answer.at + 1 : answer.at + 9]:
        if unit.kind not in {"item", "row", "code"}:
            break
        following.append(unit.text if unit.kind != "code" else unit.text.strip()[:400])
        if unit.kind == "code":
            break
    return " ".join([answer.text, *(f"• {text}" if len(following) > 1 else text for text in following)])


def _not_found(question: Question, passage: list[Unit], asked: SubPrompt) -> str:
    nearest = Judge(question, asked.emphasis, asked.title).weigh(passage).nearest
    if nearest is None or nearest.coverage < 0.3 or asked.mode == "summary":
        return NOT_FOUND
    return f"{NOT_FOUND} Nearest: {nearest.text}"


def take_apart(prompt: str) -> SubPrompt:
    """Find the question and the text in a prompt of any shape: labels, delimiters, or the place of the paragraphs."""
    label = _LABEL.search(prompt)
    marker = _MATERIAL.search(prompt)
    if marker and label and marker.start() < label.start() and label.start() > len(prompt) - 2000:
        # The text first and the question after it: the last label is the question, whatever the text holds.
        *_, label = _LABEL.finditer(prompt)
        around, material = prompt[: marker.start()] + label[0], prompt[marker.end() : label.start()]
        question = label[2].strip() or prompt[label.end() :].strip()
    elif marker:
        around, material = prompt[: marker.start()], prompt[marker.end() :]
        question = _labelled(around, label)
    else:
        around, material, question = _by_place(prompt, label)
    head = marker[0] if marker else ""
    under, title = _UNDER.search(head), _TITLE.search(head)
    return SubPrompt(
        mode=_mode(around, question),
        question=question or around.strip(),
        material=material,
        title=title[1] if title else "",
        path=tuple(part.strip() for part in under[1].split("›") if part.strip()) if under else (),
        emphasis=Emphasis(
            about=_words(_ABOUT.search(around)),
            rarest=tuple(_weighted(word) for word in _words(_RAREST.search(around))),
            absent=_words(_ABSENT.search(around)),
        ),
        most=_amount(around),
    )


def _labelled(around: str, label: re.Match[str] | None) -> str:
    if label is not None and label.start() < len(around):
        return label[2].strip() or around[label.end() :].strip().partition("\n\n")[0]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", around) if part.strip()]
    asking = [part for part in paragraphs if "?" in part]
    return (asking or paragraphs or [""])[-1]


def _by_place(prompt: str, label: re.Match[str] | None) -> tuple[str, str, str]:
    delimited = max(_DELIMITED.finditer(prompt), key=lambda met: len(met[0]), default=None)
    if delimited is not None and len(delimited[0]) > 40:
        around = prompt[: delimited.start()] + "\n\n" + prompt[delimited.end() :]
        material = next(part for part in delimited.groups()[1:] if part is not None)
        return around, material, _labelled(around, _LABEL.search(around))
    if label is not None and label[2].strip():
        return label[0], prompt[: label.start()] + prompt[label.end() :], label[2].strip()
    paragraphs: list[str] = re.split(r"\n\s*\n", prompt.strip())
    if len(paragraphs) > 1:
        first, last = paragraphs[0], paragraphs[-1]
        ask_last = len(last) < 600 and "?" in last and not ("?" in first and len(first) < 600)
        asking = last if ask_last else first
        body = paragraphs[:-1] if ask_last else paragraphs[1:]
        return asking, "\n\n".join(body), asking
    head, colon, tail = prompt.partition(":")
    if colon and len(head) < 300 and len(tail.split()) > 5:
        return head, tail, head
    line, _, rest = prompt.strip().partition("\n")
    return line, rest, line


def _mode(around: str, question: str) -> Mode:
    for opening, mode in _TASKS.items():
        if around.startswith(opening):
            return mode
    kind = read_question(question).kind
    if kind == "summary" or (_SUMMARY.search(around) and "?" not in around):
        return "summary"
    if kind == "list" or _LIST.search(question):
        return "list"
    return "answer"


def _words(met: re.Match[str] | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in met[1].split(",") if word.strip()) if met else ()


def _weighted(word: str) -> tuple[str, float]:
    """`walrus 6.5` as the planner writes it; a word alone is as telling as any."""
    name, _, worth = word.rpartition(" ")
    return (name, float(worth)) if name and re.fullmatch(r"\d+(\.\d+)?", worth) else (word, 1.0)


def _amount(around: str) -> int | None:
    met = _AMOUNT.search(around)
    if met is None:
        return None
    return int(met[1]) or None if met[1].isdigit() else _HOW_MANY[met[1].lower()]
