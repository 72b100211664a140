"""Text out of PDF, Word, HTML, e-mail and notebooks."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from documents.office_files import docx, mail, notebook, paragraph, pdf, table
from fleet_rlm.documents import reading_process
from fleet_rlm.documents.document_work import DocumentError, Stopped
from fleet_rlm.documents.formats import Unextractable, extract, recognise
from fleet_rlm.documents.index import LineIndex
from fleet_rlm.documents.load import load, load_all
from fleet_rlm.documents.reading_process import open_extracted
from fleet_rlm.documents.select import select

INSERTED, DELETED = "<w:ins>{}</w:ins>", "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>{}"


def files(folder: Path) -> dict[str, bytes]:
    """One of each format, written into a folder."""
    made = {
        "report.pdf": pdf(["The crane was inspected.", "It may lift 40 t."]),
        "minutes.docx": docx(paragraph("Decision D-41", "Heading1") + paragraph("The crane stays.")),
        "page.html": b"<html><head><title>Depots</title></head><body><h1>Kelso</h1><p>Crane: 60 t</p></body></html>",
        "handover.eml": mail("Crane", "The crane is yours now.").as_bytes(),
        "list.mbox": b"From dara Fri Mar  7 16:48:00 2031\n" + mail("Crane", "First.").as_bytes() + b"\n",
        "crane.ipynb": notebook({"cell_type": "code", "source": ["print('crane')"], "outputs": []}),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return made


def test_each_format_is_recognised_and_read_with_the_hash_of_its_file(tmp_path: Path) -> None:
    made = files(tmp_path)
    selection = select([tmp_path])
    assert {file.name: file.format for file in selection.files} == {
        "report.pdf": "pdf", "minutes.docx": "docx", "page.html": "html", "handover.eml": "mail",
        "list.mbox": "mbox", "crane.ipynb": "notebook",
    }  # fmt: skip
    loaded = load_all(selection.files)
    assert len(loaded.documents) == len(made)
    for document in loaded.documents:
        assert document.sha256 == hashlib.sha256(made[document.name]).hexdigest()
        assert document.bytes == len(made[document.name])
        assert document.chars == len(document.text)
        assert "rane" in document.text or document.name == "list.mbox"
    (told,) = loaded.notices
    assert told.startswith("the text was taken out of a")
    assert "a PDF" in told


def test_a_pdf_is_read_page_by_page() -> None:
    text = extract("pdf", pdf(["The crane (60 t) was inspected.", "Größe: 12 m"]), "r.pdf").text
    assert text == "[page 1 of 2]\nThe crane (60 t) was inspected.\n\n[page 2 of 2]\nGröße: 12 m\n"


def test_pages_without_text_are_counted_and_a_scan_is_refused() -> None:
    assert extract("pdf", pdf(["text", "", ""]), "r.pdf").notices == ("r.pdf: 2 of 3 pages hold no text (images?)",)
    with pytest.raises(Unextractable, match="its 2 pages are images, most likely scans") as error:
        extract("pdf", pdf(["", ""]), "r.pdf")
    assert "ocrmypdf" in error.value.hint


def test_an_encrypted_or_broken_pdf_is_refused_in_clear_words() -> None:
    with pytest.raises(Unextractable, match="encrypted with a password"):
        extract("pdf", pdf(["secret"], encrypted=True), "r.pdf")
    for data in (b"%PDF-1.7 ...", pdf(["text"])[:90], b"%PDF-" + bytes(range(256)) * 40):
        with pytest.raises(Unextractable, match=r"r\.pdf"):
            extract("pdf", data, "r.pdf")


def test_a_word_document_keeps_its_structure_and_has_its_changes_accepted() -> None:
    body = (
        paragraph("Operations", "Heading1")
        + paragraph("Who came", "Heading2")
        + table(["No.", "Who"], ["A-117", "Tomasz &amp; Ines"])
        + paragraph("inserted", inside=INSERTED)
        + paragraph("kept", inside=DELETED)
    )
    text = extract("docx", docx(body), "m.docx").text
    assert text.splitlines()[0] == "# Operations"
    assert "## Who came" in text
    assert "| No. | Who |\n| --- | --- |\n| A-117 | Tomasz & Ines |" in text
    assert "inserted" in text
    assert "gone" not in text


@pytest.mark.parametrize(
    "data",
    [b"PK\x03\x04 nonsense word/", docx("<w:p>")[:200], docx("<w:p>&undefined;</w:p>")],
    ids=["nonsense", "cut short", "bad XML"],
)
def test_a_broken_word_document_is_refused(data: bytes) -> None:
    with pytest.raises(Unextractable, match="could not be read as a Word document"):
        extract("docx", data, "m.docx")


def test_xml_that_multiplies_itself_is_refused_without_harm() -> None:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "lol">{entities}]>'
    data = docx("")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w") as after:
        for name in before.namelist():
            content = before.read(name).decode()
            after.writestr(name, bomb + content.replace("<w:body>", "<w:body><w:p><w:r><w:t>&a11;</w:t></w:r></w:p>"))
    with pytest.raises(Unextractable):
        extract("docx", out.getvalue(), "m.docx")


def test_a_page_loses_its_tags_scripts_and_styles_and_keeps_what_a_reader_sees() -> None:
    page = """<!doctype html><html><head><title>Depots &amp; cranes</title><style>p{color:red}</style></head><body>
    <script>alert("no")</script><h2>Kelso_Road</h2><p>Crane:&nbsp;<b>60&nbsp;t</b>, see <a href="https://x.example/a">there</a>.</p>
    <!-- no --><ul><li>one</li><li>two</li></ul><table><tr><th>Code</th></tr><tr><td>KEL</td></tr></table>
    <pre>a   b\n  c</pre><img src="data:image/png;base64,AAAA" alt="a crane"></body></html>"""
    text = extract("html", page.encode(), "p.html").text
    assert text.startswith("Depots & cranes\n")
    for words in ("## Kelso_Road", "[there](https://x.example/a)", "- one", "| KEL |", "a   b\n  c", "a crane"):
        assert words in text
    for words in ("alert", "color", "base64", "<", "-->"):
        assert words not in text


def test_a_page_is_decoded_as_it_says() -> None:
    page = '<html><head><meta charset="iso-8859-2"></head><body>Łódź</body></html>'
    assert "Łódź" in extract("html", page.encode("iso-8859-2"), "p.html").text


def test_a_page_nested_without_end_is_read() -> None:
    assert extract("html", b"<div>" * 5_000 + b"x", "p.html").text == "x\n"
    assert extract("html", b"<ul><li>" * 2_000 + b"x", "p.html").text.endswith("- x\n")


def test_a_mail_shows_headers_text_and_what_is_attached() -> None:
    message = mail("Größe", "Plain words.", "<p><b>Plain</b> words.</p>")
    message.add_attachment(b"kettle,12\n", maintype="text", subtype="csv", filename="list.csv")
    message.add_attachment(pdf(["A crane."]), maintype="application", subtype="pdf", filename="crane.pdf")
    message.add_attachment(b"\x89PNG\r\n\x1a\n" + bytes(99), maintype="image", subtype="png", filename="a.png")
    message.add_attachment(mail("Inner", "Inner words."))
    found = extract("mail", message.as_bytes(), "m.eml")
    for words in (
        "From: Dara Quill <dara@marlow.example>", "Subject: Größe", "Plain words.", "[attachment list.csv]\nkettle,12",
        "A crane.", "[attachment a.png: image/png, 107 bytes, not read]", "[attached message: Inner]", "Inner words.",
    ):  # fmt: skip
        assert words in found.text
    assert "**" not in found.text
    assert found.notices == ("m.eml: the attachment a.png was not read",)


def test_a_mail_of_html_alone_is_read_as_text_and_a_broken_one_as_far_as_it_goes() -> None:
    assert "**60** t" in extract("mail", mail("s", "", "<p><b>60</b> t</p>").as_bytes(), "m.eml").text
    broken = b"From: =?bogus?q?x?=\nTo: <<>>\nContent-Type: text/plain; charset=nonsense\n\nStill \xe9 here"
    assert "Still é here" in extract("mail", broken, "m.eml").text


def test_a_mailbox_numbers_its_messages_and_takes_no_line_of_a_text_for_one() -> None:
    one = mail("One", "First.\n\n>From here on it rains.").as_bytes()
    box = b"".join(
        b"From x Fri Mar  7 16:48:00 2031\n" + data + b"\n" for data in (one, mail("Two", "Second.").as_bytes())
    )
    text = extract("mbox", box, "b.mbox").text
    assert text.count("[message ") == 2
    assert "[message 2 of 2]\nFrom: Dara" in text
    assert "\nFrom here on it rains." in text
    with pytest.raises(Unextractable, match="no line begins"):
        extract("mbox", b"hello", "b.mbox")


def test_a_notebook_shows_its_cells_and_what_they_printed() -> None:
    data = notebook(
        {"cell_type": "markdown", "source": "# Cranes"},
        {
            "cell_type": "code",
            "source": ["x = 60\n", "print(x)"],
            "outputs": [
                {"output_type": "stream", "text": ["60\n"]},
                {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'crane'", "traceback": []},
            ],
        },
    )
    found = extract("notebook", data, "n.ipynb")
    assert found.text.startswith("[cell 1: markdown]\n# Cranes\n\n[cell 2: code]\nx = 60\nprint(x)\n[output]\n60\n")
    assert "KeyError: 'crane'" in found.text
    assert "AAAA" not in found.text
    assert found.notices == ("n.ipynb: 1 picture left out",)
    for broken in (b"[]", b"{", notebook()):
        with pytest.raises(Unextractable):
            extract("notebook", broken, "n.ipynb")


def test_text_that_merely_looks_like_a_format_stays_text(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("<!doctype html><p>tags</p>")
    assert load(tmp_path / "page.txt").text == "<!doctype html><p>tags</p>"
    assert load_all(select([tmp_path / "page.txt"]).files).documents[0].format == ""
    assert recognise("a.md", b"%PD") == ""


def test_what_cannot_be_read_is_left_out_where_there_are_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.pdf").write_bytes(pdf(["secret"], encrypted=True))
    (tmp_path / "c.pdf").write_bytes(b"%PDF-1.7 ...")
    loaded = load_all(select([tmp_path]).files)
    assert [document.name for document in loaded.documents] == ["a.txt"]
    assert [notice[:15] for notice in loaded.notices] == ["left out: b.pdf", "left out: c.pdf"]
    with pytest.raises(Unextractable, match="encrypted"):
        load_all(select([tmp_path / "b.pdf"]).files)
    with pytest.raises(Unextractable, match="encrypted"):
        load_all(select([tmp_path / "b.pdf", tmp_path / "c.pdf"]).files)


def test_a_screen_gets_the_text_that_the_run_got_and_finds_lines_in_it(tmp_path: Path) -> None:
    files(tmp_path)
    for file in select([tmp_path]).files:
        document = load(file.path, kind=file.format)
        text = open_extracted(file.path, file.name, kind=file.format)
        assert text.read(text.size, 0).decode() == document.text
        index = LineIndex(text)
        assert index.build()
        assert index.lines == len(document.text.splitlines())


def test_a_screen_is_told_what_the_reader_was_told_and_can_stop_waiting(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_bytes(pdf(["secret"], encrypted=True))
    with pytest.raises(DocumentError, match=r"b\.pdf is encrypted"):
        open_extracted(tmp_path / "b.pdf", "b.pdf", kind="pdf")
    with pytest.raises(Stopped):
        open_extracted(tmp_path / "b.pdf", "b.pdf", kind="pdf", cancelled=lambda: True)
    with pytest.raises(DocumentError, match="No such file"):
        open_extracted(tmp_path / "gone.pdf", "gone.pdf", kind="pdf")


def test_a_reader_that_dies_is_started_again_and_one_that_dies_of_a_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(pdf([name]))
    assert open_extracted(tmp_path / "a.pdf", "a.pdf", kind="pdf").size
    first = reading_process._reader._process
    assert first is not None
    first.kill()
    first.wait()
    text = open_extracted(tmp_path / "b.pdf", "b.pdf", kind="pdf")
    assert b"b.pdf" in text.read(text.size, 0)
    assert reading_process._reader._process is not first
    reading_process._reader.end()
    monkeypatch.setattr(reading_process.sys, "executable", "/bin/false")
    with pytest.raises(Unextractable, match="came to grief"):
        open_extracted(tmp_path / "a.pdf", "a.pdf", kind="pdf")


def test_what_is_open_already_is_not_extracted_again(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_bytes(pdf(["text"]))
    text = open_extracted(tmp_path / "b.pdf", "b.pdf", kind="pdf")
    assert open_extracted(tmp_path / "b.pdf", "b.pdf", kind="pdf") is text
