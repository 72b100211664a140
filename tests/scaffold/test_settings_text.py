"""settings.json is changed in our lines only."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.scaffold.assets import On
from fleet_rlm.scaffold.settings_text import Entry, NotSettings, commands, merged, unmerged

OURS = [
    Entry(On("UserPromptSubmit", None), "ours one"),
    Entry(On("PreToolUse", "Read"), "ours two"),
    Entry(On("PostToolUse", "Bash"), "ours three"),
    Entry(On("PostToolUse", "Bash"), 'ours "four" \\ ü'),
]
NAMES = {entry.command for entry in OURS}

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_handlers = st.fixed_dictionaries(
    {"type": st.just("command"), "command": st.text()}, optional={"timeout": st.integers()}
)
_groups = st.fixed_dictionaries({"hooks": st.lists(_handlers, max_size=3)}, optional={"matcher": st.text()})
_hooks = st.dictionaries(
    st.sampled_from(["PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop"]), st.lists(_groups, max_size=3)
)
_settings = st.builds(
    lambda rest, hooks, where: dict(
        [*list(rest.items())[:where], *([("hooks", hooks)] if hooks is not None else []), *list(rest.items())[where:]]
    ),
    st.dictionaries(st.text().filter(lambda name: name != "hooks"), _values, max_size=4),
    st.none() | _hooks,
    st.integers(0, 4),
)
_styles: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"indent": 2},
        {"indent": 4},
        {"indent": "\t"},
        {},
        {"separators": (",", ":")},
        {"indent": 1, "ensure_ascii": True},
    ]
)


def written(value: object, style: dict[str, Any], newline: str) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **style}).replace("\n", newline) + newline


@given(_settings, _styles, st.sampled_from(["\n", "\r\n"]))
def test_what_was_merged_and_taken_out_again_leaves_the_same_bytes(
    settings: dict[str, Any], style: dict[str, Any], newline: str
) -> None:
    before = written(settings, style, newline)
    after, made = merged(before, OURS)
    back, count = unmerged(after, NAMES, made)
    assert count == len(OURS)
    assert back == before


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "before",
    [
        "{ }",
        '{"hooks":{ }}',
        '{\n\t"a": 1,\n\t"hooks": {\n\t}\n}\n',
        '{"hooks": {"PreToolUse": [\n\n]}}',
        '\n{\n"hooks" : {}}',
    ],
)
def test_white_space_in_an_empty_object_or_list_comes_back(before: str, newline: str) -> None:
    before = before.replace("\n", newline)
    after, made = merged(before, OURS)
    assert unmerged(after, NAMES, made)[0] == before


@given(_settings, _styles, st.sampled_from(["\n", "\r\n"]))
def test_a_merge_adds_our_entries_and_changes_nothing_else(
    settings: dict[str, Any], style: dict[str, Any], newline: str
) -> None:
    after, _ = merged(written(settings, style, newline), OURS)
    value = json.loads(after)
    for entry in OURS:
        assert value["hooks"][entry.on.event].count(entry.group()) == 1
        value["hooks"][entry.on.event].remove(entry.group())
    value["hooks"] = {event: groups for event, groups in value["hooks"].items() if groups}
    theirs = {event: groups for event, groups in settings.get("hooks", {}).items() if groups}
    assert {**value, "hooks": theirs} == {**settings, "hooks": value["hooks"]}
    assert merged(after, OURS) == (after, []), "a second merge has nothing to do"
    assert commands(after) >= NAMES


def test_what_a_person_adds_to_our_entry_stays_when_it_goes() -> None:
    after, made = merged("{}", OURS)
    value = json.loads(after)
    value["hooks"]["PreToolUse"][0]["hooks"].append({"type": "command", "command": "theirs"})
    value["hooks"]["UserPromptSubmit"][0]["hooks"][0]["timeout"] = 99
    back, count = unmerged(json.dumps(value), NAMES, made)
    assert count == len(OURS)
    assert json.loads(back) == {
        "hooks": {"PreToolUse": [{"matcher": "Read", "hooks": [{"type": "command", "command": "theirs"}]}]}
    }


def test_a_command_that_a_person_changed_is_theirs() -> None:
    after, made = merged("{}", OURS[:1])
    theirs = after.replace("ours one", "ours one, quietly")
    assert unmerged(theirs, NAMES, made) == (theirs, 0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "line 1"),
        ("{", "line 1"),
        ('{\n  // mine\n  "a": 1\n}', "line 2"),
        ('{"a": 1,}', "line 1"),
        ("[]", "no JSON object"),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"hooks": []}', '"hooks" is not'),
        ('{"hooks": {"Stop": {}}}', '"Stop"'),
        ('{"hooks": {"Stop": ["x"]}}', '"Stop"'),
        ('{"hooks": {"Stop": [{"hooks": ["x"]}]}}', '"Stop"'),
        ('{"a": NaN}', "NaN"),
        ("[" * 100_000, ""),
        ("\ufeff{}", "BOM"),
    ],
)
def test_what_is_no_settings_file_is_refused_with_the_reason(text: str, word: str) -> None:
    with pytest.raises(NotSettings) as refusal:
        merged(text, OURS)
    assert word in str(refusal.value)
