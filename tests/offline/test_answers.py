"""What comes out of a whole run: real prompts of dspy.RLM, real code in a real subprocess."""

from __future__ import annotations

import pytest

from tests.offline.driving import depots, errors, run

ASK = "context, question -> answer"
NEEDLE = "The access code of the Marlow depot is 7741."


@pytest.mark.parametrize(
    ("question", "depth"),
    [
        ("What is the access code of the Marlow depot?", 0.02),
        ("Which code opens the depot at Marlow?", 0.5),
        ("what is the access code of the marlow depot", 0.98),
    ],
)
def test_a_stated_fact_is_found_among_distractors_at_any_depth(question: str, depth: float) -> None:
    result = run(ASK, context=depots(600_000, seed=3, needle=NEEDLE, depth=depth), question=question)
    assert result.answer == NEEDLE
    assert errors(result) == []


def test_a_stated_fact_is_found_in_forty_megabytes() -> None:
    result = run(ASK, context=depots(40_000_000, seed=5, needle=NEEDLE, depth=0.7), question="Which code opens Marlow?")
    assert result.answer == NEEDLE


@pytest.mark.parametrize(
    "question",
    [
        "What is the access code of the Marlow depot?",
        "What is the phone number of the Marlow depot?",
        "Who runs the Zanzibar depot?",
        "What is the airspeed of a swallow?",
    ],
)
def test_it_says_plainly_when_the_text_holds_no_answer(question: str) -> None:
    result = run(ASK, context=depots(200_000, seed=4, needle=None), question=question)
    assert result.answer.startswith("Nothing in the text answers this: " + question)
    assert not any(digits in result.answer for digits in ("code of the Harlow", "code of the Brack"))


def test_an_answer_says_which_of_several_documents_it_stands_in() -> None:
    library = {
        "north.txt": depots(20_000, seed=6, needle=None),
        "south.txt": depots(20_000, seed=7, needle=NEEDLE),
        "empty.txt": "",
    }
    result = run(ASK, context=library, question="What is the access code of the Marlow depot?")
    assert result.answer == f"{NEEDLE} [south.txt]"


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        (
            "Der Zugangscode des Depots Marlow lautet 7741. " * 1,
            "Wie lautet der Zugangscode des Depots Marlow?",
            "7741",
        ),
        (
            "Le code du dépôt de Lyon est 1234. Le code du dépôt de Marlow est 7741.",
            "Quel est le code du dépôt de Marlow ?",
            "7741",
        ),
        (
            "哈洛仓库的访问代码是1234。马洛仓库的访问代码是7741。马洛仓库建于1987年。",
            "马洛仓库的访问代码是什么？",
            "7741",
        ),
        (
            "ハーロウ倉庫のアクセスコードは1234です。マーロウ倉庫のアクセスコードは7741です。",
            "マーロウ倉庫のアクセスコードは何ですか？",
            "7741",
        ),
        (
            "Код доступа склада Харлоу — 1234. Код доступа склада Марлоу — 7741.",
            "Какой код доступа у склада Марлоу?",
            "7741",
        ),
        (
            "رمز الوصول لمستودع هارلو هو 1234. رمز الوصول لمستودع مارلو هو 7741.",
            "ما هو رمز الوصول لمستودع مارلو؟",
            "7741",
        ),
    ],
)
def test_other_languages_and_scripts_are_searched_too(text: str, question: str, answer: str) -> None:
    found = run(ASK, context=text, question=question).answer
    assert answer in found.partition("\n")[0]
    assert not found.startswith("Nothing")


def test_what_a_section_lists_is_listed_with_what_it_says_of_each() -> None:
    text = (
        "# Guide\n\nMany words.\n\n## Optimizers\n\nThere are two.\n\n"
        "### GreedyPruner\nCuts the longest branch first.\n\n### RainPlanner\nMoves watering to dry days.\n\n"
        "## Other\n\nAn optimizer is mentioned here.\n"
    )
    result = run(ASK, context=text, question="What are the main optimizers, and what does each do?")
    assert result.answer.splitlines() == [
        "GreedyPruner: Cuts the longest branch first.",
        "RainPlanner: Moves watering to dry days.",
    ]


def test_a_summary_holds_sentences_from_every_section() -> None:
    told = {
        "North": "Windmills grind barley for the bakers of the northern valley.",
        "South": "Ferries carry passengers across the southern lagoon at dawn.",
        "West": "Miners dig copper ore from galleries beneath the western ridge.",
    }
    text = "\n".join(f"## {name}\n\n{sentence} More is known.\n" for name, sentence in told.items())
    result = run("document -> summary, key_points: list[str], coverage_pct: int", document=text)
    assert all(sentence in result.summary for sentence in told.values())
    assert result.coverage_pct == 100
    assert len(result.key_points) >= 3


def test_a_question_how_many_is_answered_by_the_text_or_else_counted() -> None:
    stated = run(
        "context, question -> answer, count: int",
        context="There are 12 gates in the wall. Gates are wide.",
        question="How many gates are there?",
    )
    assert "12 gates" in stated.answer
    assert stated.count == 12
    counted = run(ASK, context="A gate opens. The other gate is shut.", question="How many gates are there?")
    assert "“gates” stands 2 times" in counted.answer
