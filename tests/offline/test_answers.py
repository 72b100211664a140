"""What comes out of a whole run: real prompts of dspy.RLM, real code in a real subprocess."""

from __future__ import annotations

import dspy
import pytest

from fleet_rlm.offline.next_cell import BEYOND
from fleet_rlm.tasks import get
from fleet_rlm.tasks.recipes import RECIPES
from tests.offline.driving import depots, errors, found_nothing, offline, quotes, run

ASK = "context, question -> answer"
NEEDLE = "The access code of the Marlow depot is 7741."
ACCESS = "What is the access code of the Marlow depot?"


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
    assert NEEDLE in quotes(result.answer)
    assert errors(result) == []


def test_a_stated_fact_is_found_in_forty_megabytes() -> None:
    result = run(ASK, context=depots(40_000_000, seed=5, needle=NEEDLE, depth=0.7), question=ACCESS)
    assert NEEDLE in quotes(result.answer)


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
    assert found_nothing(result.answer)


def test_an_answer_says_which_of_several_documents_it_stands_in() -> None:
    library = {
        "north.txt": depots(20_000, seed=6, needle=None),
        "south.txt": depots(20_000, seed=7, needle=NEEDLE),
        "empty.txt": "",
    }
    result = run(ASK, context=library, question="What is the access code of the Marlow depot?")
    line = next(at for at, text in enumerate(library["south.txt"].split("\n"), 1) if NEEDLE in text)
    assert f"“{NEEDLE}” (south.txt:{line})" in result.answer.splitlines()


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
    found = quotes(run(ASK, context=text, question=question).answer)
    assert any(answer in sentence for sentence in found)


def test_a_number_is_found_as_a_whole_word_only() -> None:
    text = "Valve 42420 leaks.\n\nValve 4242 is tight.\n\nValve 14242 is open."
    assert quotes(run(ASK, context=text, question="What is said of valve 4242?").answer) == ["Valve 4242 is tight."]


def test_a_quote_names_its_own_line_and_the_heading_of_its_own_section() -> None:
    text = "# Guide\n\n## Pumps\n\nThe pump is red.\n\n## Valves\n\n"
    text += "Many words stand here, more than fit into a line of it, before\nit ends. The valve V-17\nis blue.\n"
    answer = run(ASK, context=text, question="Which colour has the valve V-17?").answer
    assert answer.splitlines()[1:] == ["“The valve V-17 is blue.” (context:10, Valves)"]


def test_a_summary_quotes_a_sentence_of_every_section() -> None:
    told = {
        "North": "Windmills grind barley for the bakers of the northern valley.",
        "South": "Ferries carry passengers across the southern lagoon at dawn.",
        "West": "Miners dig copper ore from galleries beneath the western ridge.",
    }
    text = "\n".join(f"## {name}\n\n{sentence} More is known.\n" for name, sentence in told.items())
    task = get("summarize")
    result = run(dspy.Signature(task.signature, task.instructions), document=text, focus="overview")
    assert all(sentence in result.summary for sentence in told.values())
    assert result.key_points == list(told.values())
    assert result.coverage_pct == 100


def test_a_number_that_stands_before_the_thing_asked_for_fills_a_number() -> None:
    signature = "context, question -> answer, count: int"
    question = "How many gates are there?"
    stated = run(signature, context="There are 12 gates in the wall. Gates are wide.", question=question)
    assert quotes(stated.answer) == ["There are 12 gates in the wall."]
    assert stated.count == 12
    unstated = run(signature, context="A gate opens. The other gate is shut.", question=question)
    assert found_nothing(unstated.answer) or unstated.count == 0


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What are the first 12 Fibonacci numbers?", "0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89"),
        ("List the first five primes.", "2, 3, 5, 7, 11"),
        ("Which primes are below 20?", "2, 3, 5, 7, 11, 13, 17, 19"),
        ("What is the 10th square?", "100"),
        ("What is 10!?", "3628800"),
        ("Is 97 prime?", "True"),
        ("What are the prime factors of 360?", "2, 2, 2, 3, 3, 5"),
        ("What is the greatest common divisor of 84 and 36?", "12"),
        ("What is the sum of the numbers from 1 to 1,000?", "500500"),
        ("How much is 15 % of 80?", "12.0"),
        ("What is 17 * 3?", "51"),
    ],
)
def test_what_can_be_computed_is_computed_in_the_sandbox(question: str, answer: str) -> None:
    result = run("question -> answer", question=question)
    assert result.answer.endswith(f": {answer}")
    assert answer in result.trajectory[0]["output"].replace("[", "").replace("]", "")


def test_a_question_without_text_that_cannot_be_computed_is_not_answered() -> None:
    result = run("question -> answer, year: int", question="Who was the first emperor?")
    assert (result.answer, result.year) == (BEYOND, 0)


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_no_cell_is_longer_than_fifteen_lines(name: str | None) -> None:
    if name is None:
        result = run(ASK, context=depots(20_000, seed=3, needle=NEEDLE), question=ACCESS)
        lengths = [step["code"].count("\n") + 1 for step in result.trajectory]
        assert len(lengths) == 5
    else:
        lengths = [cell.code.count("\n") + 1 for cell in RECIPES[name]]
    assert max(lengths) <= 15


def test_in_a_sandbox_without_our_helpers_it_writes_a_search_of_its_own() -> None:
    with offline():
        rlm = dspy.RLM(ASK, interpreter_factory=dspy.LocalInterpreter)
        result = rlm(context=depots(20_000, seed=3, needle=NEEDLE), question=ACCESS)
    assert NEEDLE in quotes(result.answer)
