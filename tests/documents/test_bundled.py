from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from fleet_rlm import shipped
from fleet_rlm.documents import bundled
from fleet_rlm.documents.load import load

GUIDE = load(bundled.demo_document()).text
KNOWN = bundled.known_answers()
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
