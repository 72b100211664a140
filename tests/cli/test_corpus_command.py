"""`fleet-rlm corpus`: texts with known answers, from a shell."""

from __future__ import annotations

import json

from cli.shell import Shell
from fleet_rlm import events as ev
from fleet_rlm.runs.recorder import Recorder
from runs.recording import finished, started


def test_a_corpus_is_made_checked_and_never_replaced_by_accident(fleet: Shell) -> None:
    made = fleet.inside("corpus", "make", "needles", "--size", "30kB", "--seed", "4")
    assert (made.returncode, made.stdout) == (0, "needles-30kB-4.txt\n")
    assert "3 questions with answers in needles-30kB-4.answers.json" in made.stderr
    checked = fleet.inside("corpus", "check", "needles-30kB-4.txt")
    assert (checked.returncode, checked.stdout) == (0, "needles-30kB-4.txt: ok\n")
    again = fleet.inside("corpus", "make", "needles", "--size", "30kB", "--seed", "4")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    forced = fleet.inside("corpus", "make", "needles", "--size", "30kB", "--seed", "4", "--force", "--json")
    told = json.loads(forced.stdout)
    assert (told["kind"], told["seed"], told["size"]) == ("needles", 4, 30_000)
    assert told["bytes"] >= 30_000
    assert len(told["questions"]) == 3
    (fleet.folder / "needles-30kB-4.txt").write_text("changed")
    changed = fleet.inside("corpus", "check", "needles-30kB-4.txt", "--json")
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["ok"] is False


def test_wrong_words_are_a_matter_of_usage(fleet: Shell) -> None:
    for words in (
        ("make", "needels"),
        ("make", "logs", "--size", "0"),
        ("make", "logs", "--size", "much"),
        ("build", "cobol"),
        ("make", "logs", "--seed", "-1"),
    ):
        done = fleet.inside("corpus", *words)
        assert done.returncode == 2, words
        assert "Traceback" not in done.stderr
    done = fleet.inside("corpus", "make", "logs", "--size", "much", "--json")
    assert json.loads(done.stdout)["error"]["hint"].startswith("Write it like")
    missing = fleet.inside("corpus", "make", "logs", "--out", "no/such/folder.txt")
    assert missing.returncode == 2
    assert "there is no folder" in missing.stderr


def test_the_installed_dspy_becomes_a_document(fleet: Shell) -> None:
    done = fleet.inside("corpus", "build", "dspy", "--json")
    told = json.loads(done.stdout)
    assert (fleet.folder / told["text"]).stat().st_size == told["bytes"]
    assert fleet.inside("corpus", "build", "dspy").returncode == 2
    assert fleet.inside("corpus", "build", "dspy", "--out", "other.md").stdout == "other.md\n"


def test_kinds_are_listed(fleet: Shell) -> None:
    assert set(json.loads(fleet.inside("corpus", "kinds", "--json").stdout)) == {
        "needles", "nothing", "chains", "counts", "pairs", "logs",
    }  # fmt: skip


def record_answer(fleet: Shell, name: str, question: str, answer: object, sha256: str) -> str:
    ref = ev.DocumentRef(path="/elsewhere/c.txt", name="c.txt", bytes=1, sha256=sha256, chars=1)
    with Recorder(fleet.folder / f"{name}.jsonl") as recorder:
        recorder.emit(
            started(
                name,
                task=ev.Task(name="ask", signature="c, q -> a", question=question),
                inputs=(ev.Input(name="c", type="str", chars=1, documents=(ref,)),),
            )
        )
        recorder.emit(finished(outputs={"answer": answer}))
    return f"{name}.jsonl"


def test_runs_are_scored_against_what_is_known(fleet: Shell) -> None:
    told = json.loads(fleet.inside("corpus", "make", "needles", "--size", "20kB", "--out", "c.txt", "--json").stdout)
    first, second = told["questions"][:2]
    right = record_answer(fleet, "right", first["question"], f"It is {first['answer']}.", told["sha256"])
    wrong = record_answer(fleet, "wrong", second["question"], "Nobody knows.", told["sha256"])
    other = record_answer(fleet, "other", "Who invented it?", "Nobody knows.", told["sha256"])
    done = fleet.inside("corpus", "score", "c.answers.json", right, wrong)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith(f"1.00  {first['id']}")
    assert done.stdout.splitlines()[1].startswith(f"0.00  {second['id']}")
    assert done.stdout.splitlines()[2] == "0.50  mean of 2"
    scored = fleet.inside("corpus", "score", "c.txt", right, other, "missing.jsonl", "--json")
    assert scored.returncode == 1
    scores = json.loads(scored.stdout)
    assert [one["points"] for one in scores["runs"]] == [1.0, None, None]
    assert scores["mean"] == 1.0
    named = fleet.inside("corpus", "score", "c.txt", other, "--question", first["id"])
    assert (named.returncode, named.stdout[:4]) == (0, "0.00")
    assert fleet.inside("corpus", "score", "c.txt", other, "--question", "zebra").returncode == 2


def test_a_run_on_another_text_is_told(fleet: Shell) -> None:
    told = json.loads(fleet.inside("corpus", "make", "needles", "--size", "20kB", "--out", "c.txt", "--json").stdout)
    path = record_answer(fleet, "r", told["questions"][0]["question"], told["questions"][0]["answer"], "0" * 64)
    assert "did not work on this c.txt" in fleet.inside("corpus", "score", "c.txt", path).stderr
