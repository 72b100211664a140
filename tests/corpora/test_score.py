"""Right answers score 1, wrong ones don't, in whatever words they come."""

from __future__ import annotations

import pytest

from fleet_rlm.corpora.known_answers import Answers, Question
from fleet_rlm.corpora.score import question_of, score


def question(match: str, *expected: tuple[str, ...], pattern: str = "") -> Question:
    return Question(id="q", question="What?", answer="", match=match, expected=expected, pattern=pattern)  # type: ignore[arg-type]


NUMBER = question("number", ("1234",))
FACTS = question("facts", ("5 March 2031",), ("Mina Strand", "Strand"))
ITEMS = question("items", ("gate-1",), ("gate-2",), pattern=r"\bgate-\d\b")
NAMES = question("items", ("Kelso Road",), ("Wick Head",))
PAIRS = question("pairs", ("U001", "U002"), ("U001", "U003"), pattern=r"U\d{3}")
ABSENT = question("absent", pattern=r"(?<!\d)\d{4}(?!\d)")


@pytest.mark.parametrize(
    ("asked", "answer", "points"),
    [
        (NUMBER, 1234, 1),
        (NUMBER, "There are 1,234 of them.", 1),
        (NUMBER, "The code is **1234**, as section 3 says.", 1),
        (NUMBER, 1233, 0.75),
        (NUMBER, "1230", 0.75**4),
        (NUMBER, "Either 1230 or 1235.", 0),
        (NUMBER, "The code is 51234.", 0.75**200),
        (NUMBER, "lot-1234x", 0),
        (NUMBER, "I don't know.", 0),
        (FACTS, "It was Mina Strand, on 5 March 2031.", 1),
        (FACTS, "strand; 5  march\n2031", 1),
        (FACTS, "It was Mina Strand.", 0.5),
        (FACTS, "Strandberg on 15 March 2031", 0),
        (ITEMS, ["gate-1", "gate-2"], 1),
        (ITEMS, "gate-2 and gate-1", 1),
        (ITEMS, "gate-1", 2 / 3),
        (ITEMS, "gate-1, gate-2, gate-3, gate-4", 2 / 3),
        (ITEMS, "none of them", 0),
        (NAMES, "Wick Head as well as Kelso Road.", 1),
        (PAIRS, "(U001, U002), (U003, U001)", 1),
        (PAIRS, [["U002", "U001"], ["U001", "U003"]], 1),
        (PAIRS, "U001 and U002", 2 / 3),
        (PAIRS, "(U001, U002), (U001, U003), (U002, U003), (U004, U005)", 2 / 3),
        (ABSENT, "The text does not say.", 1),
        (ABSENT, "It isn't stated anywhere.", 1),
        (ABSENT, "It is not stated, but it is probably 1234.", 0),
        (ABSENT, "Ask the porter.", 0),
        (ABSENT, "", 0),
    ],
)
def test_an_answer_is_worth_what_it_is_worth(asked: Question, answer: object, points: float) -> None:
    result = score(asked, {"answer": answer})
    assert result.points == pytest.approx(points)
    assert result.right == (points == 1)
    assert bool(result.why) == (points < 1)


def test_all_outputs_of_a_run_count_together() -> None:
    assert score(FACTS, {"who": "Mina Strand", "when": ["5 March 2031"], "sure": True}).right


def test_no_pairs_is_an_answer_where_there_are_none() -> None:
    none = question("pairs", pattern=r"U\d{3}")
    assert score(none, {"answer": "There are none."}).right
    assert score(none, {"answer": "(U001, U002)"}).points == 0


def test_a_huge_answer_is_compared_in_no_time() -> None:
    assert score(PAIRS, {"answer": "(U001, U002) " * 500_000}).points == pytest.approx(2 / 3)


def test_a_run_is_matched_with_what_it_was_asked() -> None:
    answers = Answers(kind="k", documents=(), questions=(NUMBER,))
    assert question_of(answers, "  what ?  ".replace(" ?", "?")) is NUMBER
    assert question_of(answers, "Who?") is None
    assert question_of(answers, None) is NUMBER
