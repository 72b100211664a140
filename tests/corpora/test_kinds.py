"""The answers of a made text are right: each is found again by other means than those that made it."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from itertools import combinations, pairwise

import pytest

from fleet_rlm.corpora.chains import Chains
from fleet_rlm.corpora.customer_remarks import _CORES, remarks
from fleet_rlm.corpora.customer_remarks import KINDS as REMARKS
from fleet_rlm.corpora.dice import Dice
from fleet_rlm.corpora.filler import Filler, Plant
from fleet_rlm.corpora.kinds import KINDS, Making, UnknownKind, get
from fleet_rlm.corpora.known_answers import Question
from fleet_rlm.corpora.letters import Counts, Pairs
from fleet_rlm.corpora.logs import Logs
from fleet_rlm.corpora.needles import Needles, Nothing
from fleet_rlm.corpora.write_corpus import LEAST_BYTES

SIZES = (LEAST_BYTES, 60_000, 1_500_000)


def made(making: Making) -> tuple[str, dict[str, Question]]:
    text = b"".join(making.blocks()).decode("ascii")
    return text, {question.id: question for question in making.questions()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_text_has_about_the_size_that_was_asked_for_and_can_be_asked_something(kind: str, size: int) -> None:
    text, questions = made(KINDS[kind].make(Dice(5), size))
    assert size <= len(text) <= size * 1.05 + 1_500
    assert len(questions) >= 2
    assert text.endswith("\n")
    assert all(question.answer and question.question.endswith(("?", ".")) for question in questions.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_always_gives_the_same_bytes_and_another_gives_others(kind: str) -> None:
    one, other, third = (made(KINDS[kind].make(Dice(seed), 50_000)) for seed in (7, 7, 8))
    assert one == other
    assert one[0] != third[0]


def test_the_bytes_of_a_seed_are_fixed_for_ever() -> None:
    """Changing them breaks comparisons with older results: then say so in the change log."""
    from hashlib import sha256

    text, _ = made(KINDS["needles"].make(Dice(1), 20_000))
    assert sha256(text.encode()).hexdigest()[:16] == "d9ea2e93803f25e7"


@pytest.mark.parametrize("size", SIZES)
def test_a_needle_stands_once_and_where_it_is_said_to(size: int) -> None:
    text, questions = made(Needles(Dice(3), size))
    for question, depth in zip(questions.values(), (0.1, 0.5, 0.9), strict=True):
        (where,) = question.evidence
        sentence = text[where.start : where.end]
        place = re.search(r"of the (\w+) depot", question.question)
        assert place is not None
        assert question.answer in sentence
        assert f"the {place[1]} depot" in sentence
        assert text.count(question.answer) == 1
        assert text[: where.start].count("\n") + 1 == where.line
        assert abs(where.depth - depth) < max(0.01, 900 / size)
        assert f"access code of the {place[1]} depot" not in text.replace(sentence, "")


def test_where_there_is_nothing_the_same_questions_have_no_answer() -> None:
    text, questions = made(Nothing(Dice(3), 300_000))
    for question in questions.values():
        place = re.search(r"of the (\w+) depot", question.question)
        assert place is not None
        assert question.match == "absent"
        assert f"access code of the {place[1]} depot" not in text
        assert re.search(rf"(?:alarm|gate|safe|radio|lift) code of the {place[1]} depot is \d{{4}}", text)


@pytest.mark.parametrize("size", SIZES)
def test_a_chain_leads_from_the_question_to_its_answer_sentence_by_sentence(size: int) -> None:
    text, questions = made(Chains(Dice(4), size))
    assert [len(question.evidence) for question in questions.values()] == [2, 3, 4, 5]
    for question in questions.values():
        sentences = [text[where.start : where.end] for where in question.evidence]
        number, people = question.answer.split(", by way of ")
        names = people.split(", ")
        seal = re.search(r"the (\w+) seal of (\w+)\?", question.question)
        assert seal is not None
        assert seal[1] in sentences[0]
        assert seal[2] in sentences[0]
        assert names[0] in sentences[0]
        for step, (one, two) in zip(sentences[1:-1], pairwise(names), strict=True):
            assert one in step
            assert two in step
        assert names[-1] in sentences[-1]
        assert number in sentences[-1]
        assert question.question.count("deputy") == len(names) - 1
        for name in names:  # nobody else has that name, so no other chain runs through it
            assert text.count(name) == sum(sentence.count(name) for sentence in sentences)


def kinds_of(text: str) -> list[tuple[str, str, str]]:
    """(month, user, kind) of every line, its kind found by comparing it with all that can be said of each kind."""
    slot = re.compile(r"\\\{\w+\\\}")
    cores = {
        kind: [re.compile(slot.sub(".+", re.escape(core[1:]))) for core in cores] for kind, cores in _CORES.items()
    }
    found = []
    for line in text.splitlines():
        day, user, remark = line.split(" | ")
        (kind,) = [kind for kind, patterns in cores.items() if any(pattern.search(remark) for pattern in patterns)]
        found.append((day[:7], user, kind))
    return found


@pytest.mark.parametrize("size", [LEAST_BYTES, 60_000])
def test_counts_are_the_counts_of_the_lines(size: int) -> None:
    text, questions = made(Counts(Dice(6), size))
    lines = kinds_of(text)
    kinds = Counter(kind for _, _, kind in lines)
    for number in (1, 2):
        asked = questions[f"count-{number}"]
        kind = re.search(r"of the kind (\w+)\?", asked.question)
        assert kind is not None
        assert asked.answer == str(kinds[kind[1]])
    if "most-frequent" in questions:
        assert questions["most-frequent"].answer == kinds.most_common(1)[0][0]
    if "writer" in questions:
        writer = Counter(user for _, user, _ in lines).most_common(1)[0][0]
        assert questions["writer"].answer == writer
        own = sum((user, kind) == (writer, kinds.most_common(1)[0][0]) for _, user, kind in lines)
        assert questions["count-of-user"].answer == str(own)
    if "month" in questions:
        months = Counter(month for month, _, kind in lines if kind == kinds.most_common(1)[0][0])
        assert questions["month"].answer == months.most_common(1)[0][0]


@pytest.mark.parametrize("size", [LEAST_BYTES, 60_000])
def test_pairs_are_those_of_the_lines(size: int) -> None:
    text, questions = made(Pairs(Dice(6), size))
    wrote: dict[str, set[str]] = {kind: set() for kind in REMARKS}
    for _, user, kind in kinds_of(text):
        wrote[kind].add(user)
    kind = re.search(r"of the kind (\w+)\? List", questions["both"].question)
    assert kind is not None
    assert set(questions["both"].expected) == set(combinations(sorted(wrote[kind[1]]), 2))
    one, other = re.findall(r"of the kind (\w+) and none", questions["one-each"].question)
    expected = {tuple(sorted((a, b))) for a in wrote[one] - wrote[other] for b in wrote[other] - wrote[one]}
    assert set(questions["one-each"].expected) == expected
    assert 10 < len(expected) < 400 or size == LEAST_BYTES


def test_no_word_tells_a_kind() -> None:
    """A remark is not solved by a list of words: every word that is frequent in one kind stands in others too."""
    dice = Dice(0)
    said = {
        kind: Counter(w for r in remarks(dice, kind, 2_000) for w in set(re.findall(r"\w+", r.lower())))
        for kind in REMARKS
    }
    for kind, words in said.items():
        for word, count in words.items():
            if len(word) > 3 and count > 2_000 * 0.3:
                assert any(said[other][word] > 20 for other in REMARKS if other != kind), (kind, word)
    assert min(len(set(remarks(dice, kind, 3_000))) for kind in REMARKS) > 2_000


@pytest.mark.parametrize("size", SIZES)
def test_a_log_says_what_its_answers_say(size: int) -> None:
    text, questions = made(Logs(Dice(9), size))
    lines = [line.split(" ", 4) for line in text.splitlines()]
    times = [datetime.fromisoformat(line[0]) for line in lines]
    assert times == sorted(times)
    assert len({line[0] for line in lines}) == len(lines)
    since, until = re.findall(r"2031-\S+Z", questions["errors"].question)
    errors = [line for line in lines if line[2] == "ERROR" and since <= line[0] < until]
    assert questions["errors"].answer == str(len(errors))
    rare = [line for line in lines if line[4].startswith("E-9090")]
    assert questions["burst"].expected == ((rare[0][0],), (rare[-1][0],))
    assert {name for (name,) in questions["hosts"].expected} == {line[1] for line in rare}
    (gap,) = [(a, b) for a, b in pairwise(range(len(times))) if (times[b] - times[a]).total_seconds() > 900]
    assert questions["silence"].expected == tuple((lines[number][0],) for number in gap)
    if "code" in questions:
        code = re.search(r"E-\d+", questions["code"].question)
        assert code is not None
        assert questions["code"].answer == str(sum(line[4].startswith(code[0]) for line in errors))
    if "service" in questions:
        assert questions["service"].answer == Counter(line[3] for line in errors).most_common(1)[0][0]


def test_planted_sentences_stand_where_the_filler_says_even_at_its_very_end() -> None:
    plants = [Plant("Here is the last.", 1.0), Plant("Here is the first.", 0.0), Plant("Here is the other first.", 0.0)]
    filler = Filler(Dice(1), 30_000, plants)
    text = b"".join(filler.blocks()).decode()
    assert len(text) == filler.bytes
    assert [text[where.start : where.end] for where in filler.places] == [plant.text for plant in plants]


def test_an_unknown_kind_names_the_near_one() -> None:
    with pytest.raises(UnknownKind, match="Did you mean chains"):
        get("chain")
    with pytest.raises(UnknownKind, match="There are: needles"):
        get("zebra")
