"""What the offline model knows of language: words, questions, the shape of a text."""

from __future__ import annotations

import pytest

from fleet_rlm.engine.offline.extract import reply, take_apart
from fleet_rlm.engine.offline.judge import Judge
from fleet_rlm.engine.offline.question import read_question
from fleet_rlm.engine.offline.reading import units
from fleet_rlm.engine.offline.words import stem


@pytest.mark.parametrize(
    "family",
    [
        ("optimizer", "optimizers"),
        ("open", "opens", "opened", "opening"),
        ("state", "states"),
        ("code", "codes"),
        ("policy", "policies"),
        ("direct", "directs", "director", "directors"),
        ("install", "installs", "installed", "installation"),
        ("run", "runs", "running"),
    ],
)
def test_inflections_of_a_word_share_their_stem(family: tuple[str, ...]) -> None:
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize("word", ["access", "status", "analysis", "string", "server", "number", "version"])
def test_an_ending_that_belongs_to_the_word_stays(word: str) -> None:
    assert stem(word) == word


@pytest.mark.parametrize(
    ("question", "kind", "keys"),
    [
        ("What is the access code of the Marlow depot?", "value", ["Marlow"]),
        ("Who directs the museum?", "person", []),
        ("When was New Harbour founded?", "time", ["New", "Harbour"]),
        ("What are the main optimizers, and what does each do?", "list", []),
        ("How many gates are there?", "count", []),
        ("What is the phone number of Ana Ruiz?", "value", ["Ana", "Ruiz"]),
        ("What does error E-1234 mean?", "definition", ["E-1234"]),
        ("Why does `dspy.RLM` wait?", "reason", ["dspy.RLM"]),
        ("Summarize the changes.", "summary", []),
        ("Is it open?", "yes_no", []),
    ],
)
def test_a_question_is_known_by_its_kind_and_its_names(question: str, kind: str, keys: list[str]) -> None:
    read = read_question(question)
    assert (read.kind, [term.word for term in read.keys]) == (kind, keys)


def test_a_text_is_read_by_its_shape() -> None:
    text = (
        "Title\n=====\nOne sentence, e.g. this. Another\nwrapped one.\n\n"
        "There are two:\n- first\n  goes on\n- second\n\n"
        "| Name | Code |\n|--|--|\n| A | 1 |\n\n.. option:: --fast\n\n   Be quick.\n\n```sh\nls\n```\n"
    )
    assert [(unit.kind, unit.text, unit.path, unit.lead) for unit in units(text)] == [
        ("heading", "Title", (), ""),
        ("sentence", "One sentence, e.g. this.", ("Title",), ""),
        ("sentence", "Another wrapped one.", ("Title",), ""),
        ("sentence", "There are two:", ("Title",), ""),
        ("item", "first goes on", ("Title",), "There are two:"),
        ("item", "second", ("Title",), "There are two:"),
        ("row", "A | 1", ("Title",), "Name | Code"),
        ("heading", "--fast", ("Title",), ""),
        ("sentence", "Be quick.", ("Title", "--fast"), ""),
        ("code", "ls", ("Title",), ""),
    ]


@pytest.mark.parametrize(
    ("passage", "answers"),
    [
        ("The Marlow depot lies north. Its access code is 7741.", ["Its access code is 7741."]),
        ("The Marlow depot lies north. The access code of the Harlow depot is 1234.", []),
        ("The access code of the Marlow depot is kept secret.", []),
        ("The Marlow depot changed its access code last spring.", []),
        ("# Marlow depot\n\nThe access code is swordfish.", ["Marlow depot › The access code is swordfish."]),
        ("# Marlow, pallets\n\nThe access code of the Harlow depot is 1234.", []),
        ("| Depot | Access code |\n|--|--|\n| Marlow | 7741 |", ["Depot: Marlow; Access code: 7741"]),
        ("What is the access code of the Marlow depot? Ask the keeper.", []),
    ],
)
def test_an_answer_is_about_the_thing_that_is_named_and_holds_a_value(passage: str, answers: list[str]) -> None:
    found = Judge(read_question("What is the access code of the Marlow depot?")).weigh(units(passage))
    assert [answer.text for answer in found.answers] == answers


def test_a_heading_with_a_colon_is_no_part_of_the_passage_below_it() -> None:
    prompt = (
        "Quote the sentences of the passage that answer the question.\n"
        "Question: What must a client do when an upload is rejected?\n"
        'Passage from "context", line 3, under "Harbour API: a guide › 8. Uploading › 8.3 Rejected uploads":\n'
        "When an upload is rejected, the client must read the list of problems."
    )
    assert take_apart(prompt).path == ("Harbour API: a guide", "8. Uploading", "8.3 Rejected uploads")
    assert reply(prompt) == "When an upload is rejected, the client must read the list of problems."
