"""Word and RTF: text in the places that a converter forgets, and words about what is left out."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.office_files import WORD, docx, paragraph
from fleet_rlm.documents.formats import Extracted, Unextractable, extract
from fleet_rlm.documents.load import load

_MATHS = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
_COMPATIBLE = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_DELETED = "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>{}"
_STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def word(body: str, **parts: str) -> Extracted:
    """A document with further parts in its folder `word`, named `footnotes` for `footnotes.xml`."""
    out = io.BytesIO(docx(body))
    with zipfile.ZipFile(out, "a") as packed:
        for name, content in parts.items():
            packed.writestr(f"word/{name}.xml", content)
        if parts:
            links = "".join(
                f'<Relationship Id="r{n}" Type="{_RELATION}/{name.rstrip("0123456789")}" Target="{name}.xml"/>'
                for n, name in enumerate(parts)
            )
            relations = "http://schemas.openxmlformats.org/package/2006/relationships"
            packed.writestr(
                "word/_rels/document.xml.rels", f'<Relationships xmlns="{relations}">{links}</Relationships>'
            )
    return extract("docx", out.getvalue(), "m.docx")


def formula(inside: str) -> str:
    return f"<w:p><m:oMath {_MATHS}>{inside}</m:oMath></w:p>"


def letter(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def test_page_headers_and_footers_are_read_once() -> None:
    header, footer = (
        f"<w:{kind} {WORD}>{paragraph(text)}</w:{kind}>" for kind, text in (("hdr", "Secret"), ("ftr", "Page 1"))
    )
    found = word(paragraph("The crane stays."), header1=header, header2=header, footer1=footer)
    assert found.text == "[page header] Secret\n\nThe crane stays.\n\n[page footer] Page 1\n"


def test_notes_and_comments_are_read() -> None:
    body = (
        '<w:p><w:r><w:t>Crane</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:endnoteReference w:id="2"/>'
        '</w:r><w:r><w:commentReference w:id="0"/></w:r></w:p>'
    )
    found = word(
        body,
        footnotes=f'<w:footnotes {WORD}><w:footnote w:id="2">{paragraph("It lifts 40 t.")}</w:footnote></w:footnotes>',
        endnotes=f'<w:endnotes {WORD}><w:endnote w:id="2">{paragraph("Since 2031.")}</w:endnote></w:endnotes>',
        comments=f'<w:comments {WORD}><w:comment w:id="0">{paragraph("Really?")}</w:comment></w:comments>',
    ).text
    for words in ("Crane", "It lifts 40 t.", "Since 2031.", "Really?"):
        assert words in found


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (f"<m:f><m:num>{letter('a+b')}</m:num><m:den>{letter('2')}</m:den></m:f>", "(a+b)/2"),
        (f"<m:sSup><m:e>{letter('x')}</m:e><m:sup>{letter('2')}</m:sup></m:sSup>", "x^2"),
        (f"<m:rad><m:deg/><m:e>{letter('y')}</m:e></m:rad>", "√y"),
        (f"<m:d><m:e>{letter('p')}</m:e></m:d>{letter('=q')}", "(p)=q"),
    ],
    ids=["fraction", "power", "root", "brackets"],
)
def test_a_formula_is_read_in_one_line(inside: str, text: str) -> None:
    assert word(paragraph("before") + formula(inside) + paragraph("after")).text == f"before\n\n{text}\n\nafter\n"


_BOX = f"<w:txbxContent>{paragraph('in the box')}</w:txbxContent>"
_NEW = f'<mc:Choice Requires="wps"><w:drawing>{_BOX}</w:drawing></mc:Choice>'
_OLD = f'<w:pict><v:shape xmlns:v="urn:schemas-microsoft-com:vml"><v:textbox>{_BOX}</v:textbox></v:shape></w:pict>'


@pytest.mark.parametrize(
    "box",
    [
        f"<mc:AlternateContent {_COMPATIBLE}>{_NEW}</mc:AlternateContent>",
        f"<mc:AlternateContent {_COMPATIBLE}>{_NEW}<mc:Fallback>{_OLD}</mc:Fallback></mc:AlternateContent>",
        f"<mc:AlternateContent {_COMPATIBLE}>{_NEW}<mc:Fallback><w:pict/></mc:Fallback></mc:AlternateContent>",
        _OLD,
    ],
    ids=["new", "both", "new with an empty old", "old"],
)
def test_a_text_box_is_read_once(box: str) -> None:
    found = word(paragraph("before") + f"<w:p><w:r>{box}</w:r></w:p>").text
    assert found.count("in the box") == 1


@pytest.mark.parametrize(
    "wrapper",
    [
        "<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>",
        '<w:fldSimple w:instr="X">{}</w:fldSimple>', "<w:smartTag>{}</w:smartTag>",
        "<w:customXml>{}</w:customXml>", "<w:moveTo>{}</w:moveTo>", "<w:ins>{}</w:ins>",
        '<w:dir w:val="rtl">{}</w:dir>',
    ],
)  # fmt: skip
def test_text_in_a_wrapper_is_read(wrapper: str) -> None:
    found = word(paragraph("kept", inside=wrapper) + paragraph("too"))
    assert found.text == "kept\n\ntoo\n"


def test_text_that_was_moved_or_deleted_is_where_it_is_now() -> None:
    body = "<w:p><w:moveFrom><w:r><w:t>gone</w:t></w:r></w:moveFrom></w:p>" + paragraph("", inside=_DELETED)
    assert word(body + paragraph("here")).text == "here\n"


def test_signs_and_line_ends_within_a_line_part_words() -> None:
    run = "<w:t>a</w:t><w:cr/><w:t>b</w:t><w:tab/><w:t>c</w:t><w:ptab/><w:t>d</w:t><w:br/><w:t>e</w:t>"
    assert word(f"<w:p><w:r>{run}</w:r></w:p>").text.split() == ["a", "b", "c", "d", "e"]


def test_charts_pictures_and_embedded_files_are_counted() -> None:
    found = word(paragraph("text"), **{"charts/chart1": "<c/>", "embeddings/a": "x"})
    assert found.notices == ("m.docx: left out 1 chart, 1 embedded file",)


def test_a_document_of_the_strict_kind_is_read() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(docx(paragraph("strict")))) as packed, zipfile.ZipFile(out, "w") as made:
        for name in packed.namelist():
            ordinary = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
            made.writestr(name, packed.read(name).replace(ordinary, _STRICT.encode()))
    assert extract("docx", out.getvalue(), "m.docx").text == "strict\n"


@pytest.mark.parametrize("levels", [300, 5_000])
def test_a_document_nested_without_end_is_refused_in_words(levels: int) -> None:
    body = "<w:tbl><w:tr><w:tc>" * levels + paragraph("x") + "</w:tc></w:tr></w:tbl>" * levels
    with pytest.raises(Unextractable, match=r"m\.docx (is nested too deeply|could not be read)"):
        word(body)


# ── RTF ──


def rtf(inside: str | bytes) -> Extracted:
    return extract("rtf", b"{\\rtf1" + (inside if isinstance(inside, bytes) else inside.encode()) + b"}", "m.rtf")


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        (r"\ansi\ansicpg1252 Gr\'fc\'dfe", "Grüße"), (r"\ansi\ansicpg1251 \'cf\'f0\'e8\'e2\'e5\'f2", "Привет"),
        (r"\ansi{\fonttbl{\f0\fcharset204 A;}}\f0 \'cf\'f0", "Пр"), (r"\ansi\ansicpg932 \'93\'fa\'96\'7b", "日本"),
        (r"\mac caf\'8e", "café"), (r"\pc \'81ber", "über"), (r"\ansi\uc1 \u8364?\u-10179?\u-8704?", "€😀"),
        ("\\ansi Größe".encode(), "Größe"), (b"\\ansi\\ansicpg1251 \xcf\xf0\xe8", "При"),
    ],
    ids=["Western", "Cyrillic", "by its font", "Japanese", "Macintosh", "DOS", "Unicode", "raw UTF-8", "raw Cyrillic"],
)  # fmt: skip
def test_letters_are_those_of_the_code_page(inside: str | bytes, text: str) -> None:
    assert rtf(inside).text.strip() == text


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (r" a{\footnote Note 1}b", "a [footnote: Note 1]b"), (r"{\header Secret}Body", "[page header] Secret\nBody"),
        (r"{\footerr Page}Body", "[page footer] Page\nBody"), (r" a{\*\annotation Really?}b", "a [comment: Really?]b"),
        (r" a{\shp{\*\shpinst{\sp{\sn x}{\sv y}}{\shptxt box\par}}}b", "a box b"), (r" a{\upr{b}{\*\ud{c}}}", "ab"),
        (r" a{\object{\*\objdata 0105}{\result shown}}b", "a shown b"), (r" a{\deleted gone}b", "ab"),
        (r" {\mmath{\*\moMath{\msSup{\me{\mr x}}{\msup{\mr 2}}}}}", "x^2"), (r" \trowd a\cell b\cell\row", "a|b|"),
    ],
    ids=["note", "header", "footer", "comment", "box", "Unicode", "object", "deleted", "formula", "table"],
)  # fmt: skip
def test_rtf_keeps_what_its_library_leaves_out(inside: str, words: str) -> None:
    assert rtf(inside).text.split() == words.split()


def test_pictures_are_counted_and_their_bytes_are_no_text() -> None:
    found = rtf(b" a{\\pict\\bin9 {{\\par}\xff\xfe}b{\\*\\shppict{\\pngblip 8950}}c")
    assert (found.text, found.notices) == ("abc", ("m.rtf: 2 pictures left out",))


def test_rtf_that_is_cut_is_read_to_the_cut_and_that_is_said() -> None:
    found = extract("rtf", rb"{\rtf1\ansi the beginning {\b of it", "m.rtf")
    assert found.text == "the beginning of it"
    assert found.notices == ("m.rtf is cut off and was read as far as it goes",)


@given(st.lists(st.sampled_from([
    "{", "}", "\\", "{\\footnote ", "{\\*\\shpinst ", "\\'", "\\'ff", "\\u99999999?", "\\u-1?", "\\bin9",
    "{\\deleted", "\\mac", "words ",
    "{\\pict", "\\ansicpg99999", "\\f7", "\\uc0", "{\\fonttbl{\\f0\\fcharset999 x;}}", "\0", "é",
]), max_size=12))  # fmt: skip
def test_any_order_of_rtf_s_words_is_read_or_refused_in_words(words: list[str]) -> None:
    with contextlib.suppress(Unextractable):
        rtf(" " + "".join(words)).text.encode()


@pytest.mark.parametrize("cut", [0.4, 0.7, 1.0])
def test_a_cut_word_document_is_read_as_far_as_it_goes_and_that_is_said(tmp_path: Path, cut: float) -> None:
    words = [f"Paragraph {n} of {zlib.crc32(b'%d' % n)}." for n in range(2_000)]
    data = docx("".join(map(paragraph, words)))
    (tmp_path / "t.docx").write_bytes(data[: int(data.index(b"PK\x01\x02") * cut)])
    document = load(tmp_path / "t.docx")
    read = [line for line in document.text.split("\n") if line]
    assert read[:-1] == words[: len(read) - 1]
    assert len(words) * cut * 0.8 < len(read) <= len(words)
    assert "t.docx is cut off or damaged and was read as far as it goes" in document.notices[-1]
    assert ("word/document.xml in it is cut off" in document.notices[-1]) == (cut < 1)


def test_a_word_document_that_is_cut_before_its_text_is_refused(tmp_path: Path) -> None:
    data = docx(paragraph("text"))
    (tmp_path / "t.docx").write_bytes(data[: data.index(b"word/document.xml") + 20])
    with pytest.raises(Unextractable, match=r"t\.docx"):
        load(tmp_path / "t.docx")
