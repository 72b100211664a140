"""The helpers that generated code may call, in every place."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.sandbox.host.execution import CodeFailed, instructions
from fleet_rlm.sandbox.host.interpreter import Interpreter
from fleet_rlm.sandbox.host.outcomes import Variables
from fleet_rlm.sandbox.host.transport import Transport
from fleet_rlm.sandbox.inside import passages, toolbox
from fleet_rlm.sandbox.local.local_interpreter import LocalInterpreter

from .places import SMALL, Witness

NAMES = tuple(toolbox.install(None))
LOG = """\
2026-03-01 12:00:01 INFO start
2026-03-01 12:59:59 ERROR no route
  at harbour.py:7
2026-03-01 13:00:00 INFO end
"""
GUIDE = "Intro.\n\n# One\nfirst\n```sh\n# no heading\n```\n## Two ##\nsecond\n"


@pytest.fixture
def kept(transport_factory: Callable[[], Transport], witness: Witness) -> Iterator[Interpreter]:
    """A place with a volume."""
    interpreter = Interpreter(transport_factory, limits=SMALL, observer=witness, volume="volume")
    yield interpreter
    interpreter.shutdown()


def said(place: Interpreter, code: str) -> str:
    return str(place.execute(code))


def test_every_helper_is_there_in_every_place_and_none_is_a_variable(place: Interpreter, witness: Witness) -> None:
    assert said(place, f"all(callable(getattr(__builtins__, name)) for name in {NAMES!r})") == "True"
    assert said(place, "[name for name in globals() if 'toolbox' in name or 'volume' in name]") == "[]"
    reports = [report for (report,) in witness.of("variables") if isinstance(report, Variables)]
    assert reports
    assert all(not (report.added or report.changed or report.removed) for report in reports)
    assert witness.of("input") == []


def test_a_step_may_take_a_name_of_theirs_for_itself_and_is_told_that_it_lasts_one_step(place: Interpreter) -> None:
    told = "[peek means the helper again from the next step on: keep yours under another name]"
    assert said(place, "def peek(x): return 'mine'\npeek('text')") == f"'mine'\n{told}"
    assert said(place, "peek('text', 1, 2)") == "'ex'"
    assert said(place, "peek = 1\ndel peek\npeek('text', 1, 2)") == "'ex'"


def test_buffers_last_from_step_to_step(place: Interpreter) -> None:
    place.execute("add_buffer('notes', {'at': 1})\nadd_buffer('other', 2)")
    assert said(place, "add_buffer('notes', 'two'), get_buffer('notes'), get_buffer('none')") == (
        "(2, [{'at': 1}, 'two'], [])"
    )
    assert said(place, "clear_buffer('notes')\nget_buffer('notes'), get_buffer('other')") == "([], [2])"
    assert said(place, "clear_buffer()\nget_buffer('other')") == "[]"


def test_helpers_are_there_again_after_the_process_died(place: Interpreter) -> None:
    place.execute("add_buffer('x', 1)")
    with pytest.raises(CodeFailed, match="StateLost"):
        place.execute("import os; os._exit(3)")
    assert said(place, "peek('text', 0, 2), get_buffer('x')") == "('te', [])"


def test_an_operator_may_use_them_before_any_cell_ran(place: Interpreter) -> None:
    assert place.evaluate("peek('text', 0, 1)").value == "'t'"


def test_what_is_kept_in_a_volume_can_be_loaded(kept: Interpreter) -> None:
    assert said(kept, "save_to_volume('notes/a.txt', 'Grüße\\r\\n')").endswith("/volume/notes/a.txt'")
    kept.execute("save_to_volume('b.json', {'found': [1, None]})\nsave_to_volume('c', b'raw')")
    loaded = said(kept, "load_from_volume('notes/a.txt'), load_from_volume('b.json'), load_from_volume('c')")
    text, found, raw = ast.literal_eval(loaded)
    assert (text, json.loads(found), raw) == ("Grüße\r\n", {"found": [1, None]}, "raw")


@pytest.mark.parametrize(
    "path", ["../out.txt", "/etc/passwd", "a/../../out.txt", ".", "", "link/out.txt", "a\x00b"], ids=repr
)
def test_no_path_leaves_the_volume(kept: Interpreter, path: str) -> None:
    kept.execute("import os\nos.makedirs('volume', exist_ok=True)\nos.symlink('..', 'volume/link')")
    for call in (f"save_to_volume({path!r}, 'x')", f"load_from_volume({path!r})"):
        with pytest.raises(CodeFailed, match=r"no file of the volume|null byte"):
            kept.execute(call)
    assert said(kept, "os.path.exists('out.txt')") == "False"


def test_a_file_that_is_not_in_the_volume_is_answered_with_those_that_are(kept: Interpreter) -> None:
    with pytest.raises(CodeFailed, match="it is empty"):
        kept.execute("load_from_volume('a')")
    kept.execute("save_to_volume('notes/b', 'x')")
    with pytest.raises(CodeFailed, match="no 'a' in the volume; it holds notes/b"):
        kept.execute("load_from_volume('a')")


def test_without_a_volume_the_error_says_how_to_get_one(place: Interpreter) -> None:
    for call in ("save_to_volume('a', 'x')", "load_from_volume('a')"):
        with pytest.raises(CodeFailed, match="--sandbox modal --volume-name NAME"):
            place.execute(call)


def test_the_planner_is_told_of_every_helper_that_works() -> None:
    told = instructions(None)
    assert all(f"{name}(" in told for name in NAMES if "volume" not in name)
    assert "volume" not in told
    assert "save_to_volume(path, content)" in instructions(None, "/data")
    assert "at /data" in instructions(None, "/data")
    assert "peek(" in LocalInterpreter.execution_instructions


def test_peek_takes_a_place_from_either_end_and_several_documents() -> None:
    assert toolbox.peek("abcdef", 2, 3) == "cde"
    assert toolbox.peek("abcdef", -2) == "ef"
    assert toolbox.peek("abc", -20, 1) == "a"
    assert toolbox.peek({"a.txt": "one", "b.txt": "two"}, 1, 1) == (
        "--- a.txt (3 characters)\nn\n--- b.txt (3 characters)\nw"
    )
    with pytest.raises(TypeError, match="this is int"):
        toolbox.peek(5)  # type: ignore[arg-type]


def test_grep_gives_whole_lines_with_their_surroundings() -> None:
    text = "one\nTwo\nthree\ntwo again"
    assert toolbox.grep(text, "two") == ["Two", "two again"]
    assert toolbox.grep(text, "two", ignore_case=False) == ["two again"]
    assert toolbox.grep(text, "^Two$", context=1) == ["one\nTwo\nthree"]
    assert toolbox.grep(text, "[") == []
    assert toolbox.grep("a[1\nb", "a[1") == ["a[1"]
    assert toolbox.grep({"x": "two", "y": "none"}, "two") == ["x: two"]
    assert toolbox.grep(text, "") == text.split("\n")


@given(st.text(alphabet="ab\n", max_size=60), st.sampled_from(["a", "^a", "b$", "a+", "b?"]))
def test_grep_finds_exactly_the_lines_in_which_the_pattern_is(text: str, pattern: str) -> None:
    import re

    assert toolbox.grep(text, pattern) == [line for line in text.split("\n") if re.search(pattern, line)]


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 40), st.integers(0, 39))
def test_pieces_by_size_hold_all_of_the_text_and_are_no_longer(text: str, size: int, overlap: int) -> None:
    if overlap >= size:
        with pytest.raises(ValueError, match="overlap"):
            toolbox.chunk_by_size(text, size, overlap)
        return
    pieces = toolbox.chunk_by_size(text, size, overlap)
    assert all(0 < len(piece) <= size for piece in pieces)
    at = 0
    for piece in pieces:
        begin = text.index(piece, max(0, at - overlap - size))
        assert begin <= at
        at = max(at, at - overlap + len(piece)) if at else len(piece)
    if not overlap:
        assert "".join(pieces) == text


def test_chunks_by_headers_leave_code_alone_and_lose_nothing() -> None:
    assert toolbox.chunk_by_headers(GUIDE) == [
        {"header": "", "content": "Intro.\n\n", "start": 0},
        {"header": "One", "content": "first\n```sh\n# no heading\n```", "start": 8},
        {"header": "Two", "content": "second", "start": 43},
    ]
    assert toolbox.chunk_by_headers("no heading") == [{"header": "", "content": "no heading", "start": 0}]
    assert toolbox.chunk_by_headers({"a": "# X\ny"}) == [{"document": "a", "header": "X", "content": "y", "start": 0}]
    assert [chunk["header"] for chunk in toolbox.chunk_by_headers("1. A\nx\n2. B", r"^\d+\. .*$")] == ["1. A", "2. B"]


def test_chunks_by_time_stamps_are_entries_or_spans_of_time() -> None:
    entries = toolbox.chunk_by_timestamps(LOG)
    assert [entry["timestamp"][-8:] for entry in entries] == ["12:00:01", "12:59:59", "13:00:00"]
    assert entries[1]["content"].endswith("\n  at harbour.py:7")
    hours = toolbox.chunk_by_timestamps({"a": LOG, "b": LOG}, same=13)
    assert [(hour["document"], hour["content"].count("\n")) for hour in hours] == [
        *(("a", 2), ("a", 0), ("b", 2), ("b", 0)),
    ]


def test_chunks_by_json_keys_take_objects_arrays_and_lines() -> None:
    assert toolbox.chunk_by_json_keys('{"a": "x", "b": [1]}') == [
        {"key": "a", "content": "x", "value_type": "str"},
        {"key": "b", "content": "[\n  1\n]", "value_type": "list"},
    ]
    assert [chunk["key"] for chunk in toolbox.chunk_by_json_keys("[1, 2]")] == ["0", "1"]
    assert [chunk["content"] for chunk in toolbox.chunk_by_json_keys('{"n": 1}\n{"n": 2}\n')] == [
        *('{\n  "n": 1\n}', '{\n  "n": 2\n}'),
    ]
    assert toolbox.chunk_by_json_keys("7") == [{"key": "", "content": "7", "value_type": "int"}]
    with pytest.raises(ValueError, match="no JSON and no JSON Lines in a"):
        toolbox.chunk_by_json_keys({"a": "{torn"})


GUIDE_OF_VALVES = """# Guide

## Pumps

The pump P-3 is red.

## Valves

Valve 42420 leaks.

### Repairs

```sh
# no heading
```

Valve 4242 was repaired in May,
and valves of its kind too.
"""


def test_search_ranks_passages_and_says_where_each_stands() -> None:
    hits = passages.search(GUIDE_OF_VALVES, "Which valve 4242 was repaired?")
    best = hits[0]
    assert best["text"].startswith("Valve 4242 was repaired in May,")
    assert (best["document"], best["line"], best["heading"]) == ("", 17, "Guide > Valves > Repairs")
    assert GUIDE_OF_VALVES[best["start"] :].startswith("Valve 4242")
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_search_takes_numbers_and_identifiers_as_whole_words() -> None:
    assert [hit["line"] for hit in passages.search(GUIDE_OF_VALVES, "4242")] == [17]
    assert [hit["text"] for hit in passages.search("P-33 is old\n\nP-3 is new\n\nxP-3", "P-3")] == ["P-3 is new"]


def test_search_finds_inflected_words_and_scripts_without_spaces() -> None:
    assert len(passages.search("It was repaired.\n\nRepairing costs.\n\nnothing", "repair")) == 2
    texts = {"a": "哈洛仓库的代码是1234。", "b": "马洛仓库的代码是7741。"}
    assert passages.search(texts, "马洛仓库")[0]["document"] == "b"


@given(st.text(max_size=3000), st.text(max_size=40))
def test_search_gives_pieces_of_the_text_with_their_lines(text: str, words: str) -> None:
    for hit in passages.search(text, words, most=5):
        assert text[hit["start"] :].startswith(hit["text"])
        assert hit["line"] == text.count("\n", 0, hit["start"]) + 1


def test_search_of_nothing_is_nothing() -> None:
    assert passages.search("", "word") == passages.search("text", "") == passages.search({}, "word") == []
    assert passages.search("text", "text", most=0) == []


def test_a_word_that_stands_alone_still_counts_when_it_is_common() -> None:
    assert passages.search("To be.\n\nNot.", "to be")[0]["text"] == "To be."
