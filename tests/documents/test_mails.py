"""E-mail: every part that says something is kept, and no header or boundary costs more than its length."""

from __future__ import annotations

import base64
import contextlib
import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents.office_files import docx, paragraph
from fleet_rlm.documents.formats import Extracted, Unextractable, extract

HEADERS = "From: Dara <dara@marlow.example>\nTo: gwen@marlow.example\nSubject: Cranes\nMIME-Version: 1.0\n"


def mail(source: str | bytes, kind: str = "mail") -> Extracted:
    return extract(kind, source if isinstance(source, bytes) else source.encode(), "m.eml")


def parts(kind: str, *each: str, boundary: str = "B") -> str:
    """A multipart body of parts that are written as they are."""
    lines = "".join(f"--{boundary}\n{part}\n" for part in each)
    return f"Content-Type: multipart/{kind}; boundary={boundary}\n\n{lines}--{boundary}--\n"


def plain(text: str) -> str:
    return f"Content-Type: text/plain; charset=utf-8\n\n{text}"


def html(text: str) -> str:
    return f"Content-Type: text/html; charset=utf-8\n\n{text}"


@pytest.mark.parametrize("order", [1, -1], ids=["plain first", "html first"])
@pytest.mark.parametrize(
    ("text", "page", "kept", "lost"),
    [
        ("The crane is yours.", "<p>The <b>crane</b> is yours.</p>", ["The crane is yours."], ["**", "the same as"]),
        (" \n\t", "<p>The invoice is 4711 EUR.</p>", ["4711"], ["the same as"]),
        ("This mail needs a reader of HTML.", "<p>Pay 4711 EUR by Friday.</p>", ["4711", "needs a reader"], []),
        ("Read it on the web: https://x.example/1", "<p>Pay 4711 EUR.</p>", ["4711"], []),
        ("The whole story, code 9999, in 3 parts.", "<p>View this in a browser</p>", ["9999", "View this"], []),
        ("Only plain words.", "<html><head><title></title></head></html>", ["Only plain words."], ["the same as"]),
    ],
    ids=["the same", "blank plain", "a placeholder", "an address", "a poor page", "an empty page"],
)
def test_of_alternatives_the_one_that_says_all_is_read_or_all_that_say_something_new(
    text: str, page: str, kept: list[str], lost: list[str], order: int
) -> None:
    found = mail(HEADERS + parts("alternative", *[plain(text), html(page)][::order])).text
    for words in kept:
        assert words in found
    for words in lost:
        assert words not in found


def test_an_invitation_keeps_its_words_and_its_calendar_entry() -> None:
    entry = "Content-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\nDTSTART:20310307T120000\nEND:VCALENDAR"
    found = mail(HEADERS + parts("alternative", plain("Meeting at noon"), html("<p>Meeting at noon</p>"), entry)).text
    assert found.count("Meeting at noon") == 1
    assert found.index("Meeting at noon") < found.index("DTSTART:20310307T120000")


REPORTS = {
    "delivery-status": ("Reporting-MTA: dns; mx.example\n\nDiagnostic-Code: smtp; 550 no\n such user",
                        ["mx.example", "Diagnostic-Code: smtp; 550 no such user"]),
    "disposition-notification": ("Reporting-UA: reader 7\nDisposition: manual-action; displayed",
                                 ["Reporting-UA: reader 7", "Disposition: manual-action; displayed"]),
    "feedback-report": ("Feedback-Type: abuse\nSource-IP: 192.0.2.1", ["Feedback-Type: abuse", "Source-IP: 192.0.2.1"]),
    "external-body; access-type=URL; URL=\"https://x.example/a\"": ("Content-Type: text/plain", ["https://x.example/a"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_is_kept_with_the_message_that_it_is_about(kind: str) -> None:
    report, expected = REPORTS[kind]
    about = "Content-Type: message/rfc822\n\nFrom: old@x.example\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\n\nwhat was sent"
    found = mail(
        HEADERS
        + parts("report", plain("It could not be delivered."), f"Content-Type: message/{kind}\n\n{report}", about)
    ).text
    for words in (
        "It could not be delivered.",
        *expected,
        "[attached message: Grüße]",
        "From: old@x.example",
        "was sent",
    ):
        assert words in found


def test_headers_that_a_report_repeats_are_decoded() -> None:
    about = "Content-Type: text/rfc822-headers\n\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\nX-Depot: Kelso"
    found = mail(HEADERS + parts("report", plain("no"), about)).text
    assert "Subject: Grüße\nX-Depot: Kelso" in found


def test_a_list_s_footer_and_what_stands_around_the_parts_are_kept() -> None:
    inner = parts("alternative", plain("hello"), html("<p>hello</p>"), boundary="C")
    footer = "Content-Type: text/plain\nContent-Disposition: inline\n\n____\nUnsubscribe: 4711"
    source = (HEADERS + parts("mixed", inner, footer) + "after the last part\n").replace(
        "boundary=B\n\n", "boundary=B\n\nbefore the first part\n"
    )
    found = mail(source).text
    order = [found.index(words) for words in ("before the first", "hello", "Unsubscribe: 4711", "after the last")]
    assert order == sorted(order)
    assert found.count("hello") == 1
    assert (
        "MIME format"
        not in mail(source.replace("before the first part", "This is a multi-part message in MIME format.")).text
    )


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.docx", docx(paragraph("The crane stays.")), "The crane stays."),
        ("page.html", b"<p>one<p>two", "one\n\ntwo"),
        ("log.gz", gzip.compress(b"a rotated log"), "a rotated log"),
        ("inner.eml", b"From: a@b\nSubject: inner\n\ninner words", "inner words"),
        ("old.txt", "Größe für Jürgen".encode("cp1252"), "Größe für Jürgen"),
        ("a.rtf", rb"{\rtf1 Gr\'fc\'dfe}", "Grüße"),
    ],
    ids=["Word", "page", "packed", "mail", "old text", "RTF"],
)
def test_what_is_attached_is_read_in_its_format(name: str, data: bytes, words: str) -> None:
    attached = (
        f"Content-Type: application/octet-stream; name={name}\nContent-Disposition: attachment\n"
        f"Content-Transfer-Encoding: base64\n\n{base64.encodebytes(data).decode()}"
    )
    found = mail(HEADERS + parts("mixed", plain("see there"), attached))
    assert f"[attachment {name}]\n" in found.text
    assert words in found.text
    assert "see there" in found.text


def test_what_is_attached_and_cannot_be_read_is_named_and_told() -> None:
    kind = "application/pkcs7-signature"
    attached = f"Content-Type: {kind}; name=smime.p7s\nContent-Transfer-Encoding: base64\n\nMIAGCSqGSIb3DQ=="
    found = mail(HEADERS + parts("signed", plain("signed words"), attached))
    assert f"[attachment smime.p7s: {kind}, 10 bytes, not read]" in found.text
    assert found.notices == ("m.eml: the attachment smime.p7s was not read",)


def test_messages_in_messages_are_read_as_deep_as_people_forward_them_and_then_it_is_said() -> None:
    source = "From: a@b\nSubject: innermost\n\nthe innermost words"
    for depth in range(12):
        source = f"From: a@b\nSubject: level {depth}\nContent-Type: message/rfc822\n\n{source}"
    found = mail(source)
    assert "level 5" in found.text
    assert found.notices == ("m.eml: messages that are nested too deeply were not read",)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\n\n", b"\0\0\0\0", b"\xef\xbb\xbf\r\n"])
def test_what_stands_before_the_headers_does_not_hide_them(mark: bytes) -> None:
    found = mail(mark + HEADERS.encode() + b"\nhello").text
    assert found.startswith("From: Dara <dara@marlow.example>")
    assert "Subject: Cranes" in found


@pytest.mark.parametrize("codec", ["utf-16", "utf-8-sig"])
def test_a_mail_that_an_editor_saved_in_another_encoding_is_read(codec: str) -> None:
    found = mail("From: Jürgen <j@x.example>\nSubject: Größe\n\nGrüße".encode(codec)).text
    assert found == "From: Jürgen <j@x.example>\nSubject: Größe\n\nGrüße"


@pytest.mark.parametrize(
    ("codec", "words"),
    [("cp1252", "Größe für Jürgen"), ("cp1251", "Склад в порту"), ("utf-8", "Größe"), ("shift_jis", "日本語の本")],
)
def test_raw_letters_in_headers_are_in_the_encoding_of_the_body(codec: str, words: str) -> None:
    source = f"From: {words} <a@b>\nSubject: {words}\nContent-Type: text/plain; charset={codec}\n\n{words}"
    assert mail(source.encode(codec)).text == f"From: {words} <a@b>\nSubject: {words}\n\n{words}"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße"), ("=?iso-8859-1?q?J=FCrgen?= wrote", "Jürgen wrote"),
        ("=?gb2312?B?1tDOxA==?=", "中文"), ("=?bogus?q?J=FCrgen?=", "Jürgen"),
        ("=?utf-8?q?never ends", "=?utf-8?q?never ends"),
        ("folded\n over\n\tlines", "folded over lines"), ("=?utf-8?q?line=0Abreak?=", "line break"),
    ],
)  # fmt: skip
def test_encoded_words_are_decoded(header: str, words: str) -> None:
    assert f"Subject: {words}\n" in mail(f"From: a@b\nSubject: {header}\n\nbody").text


@pytest.mark.parametrize(
    "header",
    ["=?utf-8?q?x?= " * 30_000, "x" * 420_000, "(" * 420_000, "a@b.c, " * 60_000],
    ids=["words", "x", "(", "addresses"],
)
@pytest.mark.parametrize("name", ["Subject", "From", "Content-Type", "Content-Disposition"])
def test_a_header_of_420_kb_is_cut_and_that_is_said(name: str, header: str) -> None:
    found = mail(f"To: c@d\n{name}: {header}\n\nthe body")
    assert found.text.endswith("the body") or "the body" in found.text
    assert len(found.text) < 20_000
    assert found.notices == (
        (f"m.eml: the header {name} is cut after 16,000 characters",) if name in ("Subject", "From") else ()
    )


@pytest.mark.parametrize(
    "body",
    [
        "Content-Type: multipart/mixed\n\nthe words",
        "Content-Type: multipart/mixed; boundary=Z\n\n--B\n\nthe words\n--B--",
        "Content-Type: multipart/mixed; boundary=B\n\n--B\n\nthe words",
        "Content-Transfer-Encoding: bogus\n\nthe words",
        "Content-Type: text/plain; charset=punycode\n\nthe words", "Content-Type: nonsense\n\nthe words",
        "Content-Transfer-Encoding: base64\n\ndGhlIHdvcmRz!!", "Content-Transfer-Encoding: base64\n\ndGhlIHdvcmR",
    ],
    ids=["no boundary", "wrong boundary", "no end", "transfer", "charset", "type", "base64", "cut base64"],
)  # fmt: skip
def test_a_mail_that_breaks_the_rules_is_read_as_far_as_it_goes(body: str) -> None:
    assert "the wor" in mail(HEADERS + body).text


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_a_mailbox_s_messages_are_told_apart_whatever_ends_its_lines(ends: str) -> None:
    one = HEADERS + "\nFirst.\n\n>From here on it rains.\nFrom the depot.\n\n"
    box = f"From x Fri Mar  7 16:48:00 2031\n{one}From y Fri Mar  7 16:49:00 2031\n{HEADERS}\nSecond.\n"
    found = mail(box.replace("\n", ends), "mbox").text
    assert re.findall(r"\[message (\d) of 2\]", found) == ["1", "2"]
    for words in ("First.", "\nFrom here on it rains.", "\nFrom the depot.", "Second."):
        assert words in found


@given(st.lists(st.sampled_from([
    "Content-Type: multipart/mixed; boundary=B\n", "Content-Type: multipart/alternative; boundary=C\n", "--B\n",
    "--B--\n",
    "Content-Type: message/rfc822\n", "Content-Type: text/html\n", "Content-Transfer-Encoding: base64\n", "\n",
    "the words\n",
    "Subject: =?utf-8?b?R3L=?=\n", "Content-Disposition: attachment; filename*0*=x''%ff\n", "From: ((\n",
    " folded\n", "\r",
    "\0",
]), max_size=14))  # fmt: skip
def test_any_order_of_a_mail_s_lines_is_read_or_refused_in_words(lines: list[str]) -> None:
    with contextlib.suppress(Unextractable):
        mail("From: a@b\n" + "".join(lines)).text.encode()
