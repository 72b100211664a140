from __future__ import annotations

import csv
import getpass
import io
import json
import re
import socket
from pathlib import Path

import msgspec
import pytest

from fleet_rlm import shipped
from fleet_rlm.corpora import known_answers
from fleet_rlm.corpora.score import score
from fleet_rlm.documents import bundled
from fleet_rlm.documents.document_work import DocumentError
from fleet_rlm.documents.load import load
from fleet_rlm.documents.select import select
from fleet_rlm.runs.run_reader import RunFile
from fleet_rlm.runs.summary import summarise
from fleet_rlm.runs.verify import verify

GUIDE = load(bundled.demo_document()).text
KNOWN = json.loads((bundled.content_folder() / "answers.json").read_bytes())
PLAIN = " ".join(GUIDE.split())


def column(pattern: str) -> list[str]:
    return re.findall(pattern, GUIDE, re.MULTILINE)


def test_the_demo_can_be_answered_from_the_guide() -> None:
    demo = bundled.demo()
    assert demo.question.endswith("?")
    assert demo.expected_facts
    for fact in demo.expected_facts:
        assert fact in PLAIN


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("endpoints", column(r"^\| `[A-Z]+` \| `(/v3[^`]*)` \|")),
        ("errors", column(r"^\| (MF-\d{4}) \|")),
        ("error_categories", column(r"^\| `(\w+)` \| MF-\d\dxx \|")),
        ("headers", column(r"^\| `([A-Z][\w-]+)` \| (?:request|answer|webhook) \|")),
        ("change_log", column(r"^\| \d{4}-\d\d-\d\d \| (\d\.\d\.\d) \|")),
        ("depots", column(r"^\| ([A-Z]{3}) \|")),
        ("code_block_languages", column(r"^```(\w+)$")),
    ],
)
def test_the_known_lists_are_those_of_the_guide(key: str, found: list[str]) -> None:
    listed = [item if isinstance(item, str) else {str(v) for v in item.values()} for item in KNOWN[key]]
    assert len(listed) == len(found) == KNOWN["counts"].get(key, len(KNOWN[key]))
    for item, name in zip(listed, found, strict=True):
        assert name == item or name in item


def test_the_known_counts_are_those_of_the_guide_and_of_the_lists() -> None:
    assert KNOWN["counts"]["sections"] == len(column(r"^## \d+\. (.*)$"))
    for key, name in (
        ("code_blocks", "code_block_languages"),
        ("change_log_entries", "change_log"),
        ("official_libraries", "libraries"),
    ):
        assert KNOWN["counts"][key] == len(KNOWN[name])
    for key in ("scopes", "webhook_events", "environments", "libraries"):
        assert len(KNOWN[key]) == KNOWN["counts"].get(key, len(KNOWN[key]))
        assert all(name in GUIDE for name in KNOWN[key])


def test_the_known_headings_and_code_blocks_are_those_of_the_guide() -> None:
    parts = re.split(r"^```(\w*)\n(.*?)^```$", GUIDE, flags=re.MULTILINE | re.DOTALL)
    prose, languages, codes = parts[::3], parts[1::3], parts[2::3]
    headings = [
        (len(signs), title) for text in prose for signs, title in re.findall(r"^(#+) (.*)$", text, re.MULTILINE)
    ]
    assert [(one["level"], one["title"]) for one in KNOWN["headings"]] == headings
    assert len(headings) == KNOWN["counts"]["headings"]
    assert [(one["language"], one["lines"], one["first_line"]) for one in KNOWN["code_blocks"]] == [
        (language, code.count("\n"), code.splitlines()[0]) for language, code in zip(languages, codes, strict=True)
    ]


def test_each_code_belongs_to_the_category_of_its_number() -> None:
    prefixes = {category["category"]: category["codes"][:5] for category in KNOWN["error_categories"]}
    assert all(error["code"].startswith(prefixes[error["category"]]) for error in KNOWN["errors"])
    assert {error["category"] for error in KNOWN["errors"]} == set(prefixes)


def test_questions_across_sections_name_sections_that_exist() -> None:
    sections = set(column(r"^##+ (\d+(?:\.\d+)?)\.? "))
    for item in KNOWN["across_sections"]:
        assert set(item["sections"]) <= sections
        numbers = re.findall(r"MF-\d{4}|\d\d:\d\d", item["answer"])
        assert all(number in GUIDE for number in numbers)


def test_an_installed_package_has_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "fleet_rlm"
    (package / "_content").mkdir(parents=True)
    (package / "_content" / "answers.json").write_bytes(
        msgspec.json.encode({"demo": {"document": "g.md", "question": "Why?", "expected_facts": []}})
    )
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    assert bundled.demo_document() == package / "_content" / "g.md"
    assert shipped.themes_folder() is None
    (package / "_themes").mkdir()
    assert shipped.themes_folder() == package / "_themes"


def test_an_installation_without_its_content_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "lib" / "fleet_rlm")
    with pytest.raises(bundled.NotBundled, match="Install it again"):
        bundled.demo_document()


WEEK = bundled.content_folder() / bundled.WEEK_TEN
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(WEEK.iterdir())}
ASKED = {one.id: one for one in known_answers.read(bundled.content_folder() / "week-ten.answers.json").questions}


def test_the_week_is_the_one_that_its_answers_are_about() -> None:
    checked = known_answers.check(bundled.content_folder() / "week-ten.answers.json")
    assert [one.problem for one in checked] == [""] * len(TEXTS)
    assert {one.name for one in checked} == {f"{bundled.WEEK_TEN}/{name}" for name in TEXTS}


def test_every_answer_about_the_week_scores_as_right_and_stands_in_the_documents_it_names() -> None:
    for one in ASKED.values():
        assert score(one, {"answer": one.answer}).right, one.id
        assert set(one.documents) <= set(TEXTS)
        together = " ".join(TEXTS[name] for name in one.documents)
        if one.match in ("facts", "items") and one.id != "noticed-late":
            for wordings in one.expected:
                assert any(word.replace(",", "") in together for word in wordings), (one.id, wordings)
    assert sum(len(one.documents) > 1 for one in ASKED.values()) >= 5


def test_the_week_adds_up() -> None:
    shipments = list(csv.DictReader(io.StringIO(TEXTS["shipments.csv"])))
    delayed = sum(int(row["weight_kg"]) for row in shipments if row["state"] == "delayed")
    assert ASKED["delayed-weight"].expected == ((str(delayed),),)
    tenby = [row for row in shipments if row["origin"] == "TEN"]
    saturday = [row["shipment"] for row in tenby if row["departed"] == "2031-03-08"]
    assert (len(saturday), len(tenby)) == (6, 9)
    assert ASKED["tenby-saturday"].expected == tuple((name,) for name in saturday)
    log = TEXTS["gateway-2031-03-05.log"].splitlines()
    failed = [line for line in log if "code=MF-5502 carrier=northline" in line]
    assert ASKED["failed-by-the-log"].expected == ((str(len(failed)),),)
    before = [line for line in failed if line < next(line for line in log if "rollback" in line)]
    assert f"{len(before)} requests failed" in TEXTS["incident-207-gateway.md"]
    assert log == sorted(log)
    (complaint,) = [row for row in shipments if row["shipment"] in TEXTS["handover.eml"]]
    assert {complaint["origin"], complaint["departed"], complaint["carrier"], complaint["weight_kg"]} <= {
        word for wordings in ASKED["complaint"].expected for word in wordings
    }


def test_bundled_documents_go_by_names_that_mean_the_same_everywhere(tmp_path: Path) -> None:
    assert bundled.located("bundled:freight-api-guide.md") == bundled.demo_document()
    assert bundled.portable(str(bundled.demo_document())) == "bundled:freight-api-guide.md"
    assert bundled.portable(str(WEEK / "on-call.txt")) == "bundled:week-ten/on-call.txt"
    for path in (str(tmp_path / "on-call.txt"), str(bundled.content_folder() / "answers.json"), "relative.txt"):
        assert bundled.portable(path) == path
        assert bundled.located(path) == Path(path)
    for name in ("answers.json", "runs", "", "../pyproject.toml", "week-ten/../answers.json", "/etc/passwd"):
        with pytest.raises(bundled.NotBundled, match="There are"):
            bundled.located(f"bundled:{name}")


def test_bundled_documents_can_be_chosen_by_name() -> None:
    chosen = select(["bundled:week-ten", "bundled:freight-api-guide.md"])
    assert [file.name for file in chosen.files] == [*TEXTS, "freight-api-guide.md"]
    with pytest.raises(DocumentError, match="nothing that ships"):
        select(["bundled:nonsense"])


def test_recorded_runs_ship_with_the_package_and_hold_nothing_of_the_machine_that_made_them() -> None:
    runs = bundled.recorded_runs()
    assert len(runs) >= 3
    for path in runs:
        assert verify(path) is None
        assert summarise(path).status == "submitted"
        data = path.read_text(encoding="utf-8")
        assert path.stat().st_size < 400_000
        for private in (str(Path.home()), str(Path(__file__).parents[2]), getpass.getuser(), socket.gethostname()):
            if len(private) > 4:
                assert private not in data
        assert not re.search(r"/(?:home|Users|root|tmp|work|var|opt)/\w", data)
        with RunFile(path) as run:
            assert run.header is not None
            for ref in (ref for given in run.header.inputs for ref in given.documents):
                text = load(bundled.located(ref.path))
                assert (text.bytes, text.sha256, text.chars) == (ref.bytes, ref.sha256, ref.chars), ref.path
