from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.documents.decode import REPLACE, Decoder, Encoding, NotText, decode, detect, known_codec, utf8
from fleet_rlm.documents.document_work import DocumentError
from fleet_rlm.documents.load import document_of

GERMAN = "Die Größe der Fässer überraschte Jürgen; er maß sie „zweimal“ – für 5 €. " * 20
FRENCH = "Où est passé l’été ? À côté du café, répondit-elle, là où la mère rêve. " * 20
RUSSIAN = "Склад в порту закрыт до утра, сказала она и пошла домой по набережной. " * 20
JAPANESE = "倉庫は朝まで閉まっていると彼女は言い、港の道を歩いて家に帰った。" * 30


def encoding_of(data: bytes, *, thorough: bool = False) -> Encoding:
    return detect(lambda count, offset: data[offset : offset + count], len(data), Path("some.txt"), thorough=thorough)


@pytest.mark.parametrize("text", ["", "plain\n", GERMAN, RUSSIAN, JAPANESE])
def test_utf8_is_seen_as_utf8(text: str) -> None:
    assert encoding_of(text.encode()) == Encoding()


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_byte_order_mark_decides_and_is_no_text(codec: str) -> None:
    data = f"\ufeff{GERMAN}".encode(codec)
    found = encoding_of(data)
    assert (found.codec, found.guessed) == (codec, False)
    assert decode(data[found.bom :], found.codec) == (GERMAN, 0)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_a_mark_is_recognised(codec: str) -> None:
    assert encoding_of(GERMAN.encode(codec)) == Encoding(codec, guessed=True)


@pytest.mark.parametrize(
    ("text", "codec"),
    [(GERMAN, "cp1252"), (FRENCH, "cp1252"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE, "shift_jis")],
)
def test_older_encodings_are_guessed_and_give_the_same_text(text: str, codec: str) -> None:
    data = text.encode(codec)
    found = encoding_of(data)
    assert found.guessed
    assert decode(data, found.codec) == (text, 0)
    assert f"decoded as {found.codec} (a guess" in (found.notice("old.txt") or "")


def test_latin_1_is_read_as_its_superset_cp1252() -> None:
    assert (
        encoding_of(GERMAN.replace("„", "").replace("“", "").replace("–", "").replace("€", "").encode("latin-1")).codec
        == "cp1252"
    )


def test_an_old_encoding_that_shows_late_is_found_when_looking_thoroughly() -> None:
    data = b"plain line of text\n" * 40_000 + GERMAN.encode("cp1252") + b"plain line of text\n" * 40_000
    assert encoding_of(data, thorough=True).codec == "cp1252"


def test_a_few_broken_bytes_do_not_turn_utf8_into_something_else() -> None:
    data = GERMAN.encode() + b"\xff\xfe broken \xc3" + GERMAN.encode()
    assert encoding_of(data) == Encoding()
    text, invalid = decode(data, "utf-8")
    assert invalid == 3
    assert text.count("\ufffd") == 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"PK\x03\x04\x14\0\6\0word/document.xml", "Word"),
        (b"PK\x03\x04\x14\0\6\0readme.txt", "zip"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip"),
        (b"SQLite format 3\0" + bytes(80), "SQLite"),
        (b"\x7fELF\2\1\1" + bytes(9), "ELF"),
        (bytes(range(256)) * 8, "binary data"),
        (bytes(4096), "zero bytes"),
        (("Größe Übermaß ".encode("latin-1") + b"\0") * 40, "binary data"),
    ],
)
def test_what_is_not_text_is_refused_by_its_kind_with_what_to_do(data: bytes, kind: str) -> None:
    with pytest.raises(NotText, match=kind) as refusal:
        encoding_of(data)
    assert "some.txt" in str(refusal.value)


def test_words_that_begin_like_a_program_are_text() -> None:
    for start in (b"MZ is the code of Mozambique.\n", b"BZh? asked the clerk.\n", b"ID3 is a decision tree.\n"):
        assert encoding_of(start * 50) == Encoding()


def test_a_log_with_a_few_zeros_where_the_machine_went_down_is_text() -> None:
    assert encoding_of(b"09:00 all well\n" * 200 + bytes(64) + b"09:20 back\n" * 200) == Encoding()


@given(st.binary(max_size=400), st.sampled_from(["utf-8", "utf-16-le", "utf-32-be", "cp1252", "shift_jis"]), st.data())
def test_decoding_in_pieces_equals_decoding_at_once_and_leaves_no_surrogate(
    data: bytes, codec: str, cuts: st.DataObject
) -> None:
    text, invalid = decode(data, codec)
    text.encode()
    assert (invalid > 0) == (REPLACE in _handlers_used(data, codec))
    decoder = Decoder(codec)
    pieces, place = [], 0
    while place < len(data):
        size = cuts.draw(st.integers(1, 50))
        pieces.append(decoder(data[place : place + size]))
        place += size
    assert "".join([*pieces, decoder(b"", final=True)]) == text
    assert decoder.replaced == invalid


def _handlers_used(data: bytes, codec: str) -> set[str]:
    try:
        data.decode(codec)
    except UnicodeDecodeError:
        return {REPLACE}
    return set()


@given(st.text("aé\ud83d\ude80\udfff🚀"))
def test_any_string_becomes_utf8(text: str) -> None:
    decoded = utf8(text).decode()
    assert [c for c in decoded if c in "aé"] == [c for c in text if c in "aé"]
    assert decoded.count("🚀") == text.count("🚀") + text.count("\ud83d\ude80")


def test_an_encoding_that_does_not_exist_is_refused_by_name() -> None:
    for name in ("klingon", "zlib", "a\0b"):
        with pytest.raises(DocumentError, match="no text encoding"):
            known_codec(name)
    assert known_codec("Latin1") == "iso8859-1"


def read(data: bytes) -> tuple[str, tuple[str, ...]]:
    """A file's text, and what is told of it."""
    document = document_of(Path("some.txt"), "some.txt", "", data, "")
    return document.text, document.notices


GUESS = "some.txt: decoded as cp1252 (a guess: it is not UTF-8)"
BY_LINE = "some.txt: its lines that are not UTF-8 are decoded as {} (a guess)"


@pytest.mark.parametrize(
    "text",
    ["é", "café", "5 €\n", "Größe", "“hi” – said\n", "naïve façade, São Paulo\n", "¿Dónde está el niño?\n",
     "Blåbærgrød på øen\n", "Málaga", "plain words, then É", "l’été"],
)  # fmt: skip
def test_a_short_western_text_is_read_as_what_it_is(text: str) -> None:
    assert read(text.encode("cp1252")) == (text, (GUESS,))


def test_a_utf8_text_that_is_cut_within_a_letter_stays_utf8() -> None:
    assert read("Größe: ß".encode()[:-1]) == ("Größe: \ufffd", ("some.txt: 1 invalid byte replaced by U+FFFD",))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("line", "codec"),
    [("Die Größe der Fässer überraschte Jürgen.", "cp1252"), ("Привет мир, как дела сегодня", "cp1251")],
)
@pytest.mark.parametrize(("utf8", "older"), [(1, 1), (50, 1), (1, 50)])
def test_a_log_of_two_encodings_is_decoded_line_by_line(
    line: str, codec: str, utf8: int, older: int, ends: str
) -> None:
    line += ends
    data = line.encode() * utf8 + line.encode(codec) * older + line.encode() * utf8
    assert read(data) == (line * (2 * utf8 + older), (BY_LINE.format(codec),))


@given(st.lists(st.tuples(st.booleans(), st.text("aäßé€ ", max_size=9)), max_size=30), st.data())
def test_lines_are_told_apart_wherever_a_block_ends(lines: list[tuple[bool, str]], cuts: st.DataObject) -> None:
    data = b"".join(line.encode("utf-8" if new else "cp1252") + b"\n" for new, line in lines)
    decoder, pieces, place = Decoder("utf-8-or-cp1252"), [], 0
    while place < len(data):
        size = cuts.draw(st.integers(1, 20))
        pieces.append(decoder(data[place : place + size]))
        place += size
    text = "".join([*pieces, decoder(b"", final=True)])
    assert text == decode(data, "utf-8-or-cp1252")[0]
    for (new, line), found in zip(lines, text.split("\n"), strict=False):
        assert found == line or not new, "valid UTF-8 is never anything else"


@pytest.mark.parametrize("codec", ["utf-8", "cp1252", "utf-16-le"])
@pytest.mark.parametrize("zeros", [64, 4096, 3_000_000])
def test_the_zero_bytes_before_a_rotated_log_are_left_out_and_told(zeros: int, codec: str) -> None:
    text, notices = read(bytes(zeros) + (GERMAN + "\n").encode(codec) * 3)
    assert text == (GERMAN + "\n") * 3
    assert f"the {zeros:,} zero bytes that it begins with are left out" in notices[0]


@pytest.mark.parametrize(
    "data", [b"a small text\0with two\0zeros\n", b"line\n" * 50 + bytes(4096), b"a.txt\0b.txt\0" * 9]
)
def test_other_zero_bytes_in_a_text_are_kept_and_told(data: bytes) -> None:
    text, notices = read(data)
    assert text == data.decode()
    assert notices == (f"some.txt: holds {data.count(0):,} zero bytes",)


@pytest.mark.parametrize("text", ["hello", "Only plain Latin letters are in this.\n", "Grüße an alle\n"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_short_wide_text_without_a_mark_is_recognised(text: str, codec: str) -> None:
    assert read(text.encode(codec))[0] == text


@pytest.mark.parametrize("text", ["the end\r\n\x1a", "8=FIX.4.2\x019=65\x0135=A\x01" * 9, "a\x1fb\x1ec\x1d" * 9])
def test_signs_that_part_or_end_a_text_do_not_make_it_binary(text: str) -> None:
    assert read(text.encode())[0] == text


@pytest.mark.parametrize(("text", "codec"), [("日本語テスト\n", "iso2022_jp"), ("안녕하세요\n", "iso2022_kr")])
def test_encodings_of_seven_bits_are_recognised(text: str, codec: str) -> None:
    assert read(text.encode(codec))[0] == text
