"""Where a text that a model saw stands: in files of every format, as the run recorded them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from documents.office_files import docx, paragraph, pdf
from fleet_rlm import events as ev
from fleet_rlm.engine.prepare.run_inputs import Wanted, bind, read_documents
from fleet_rlm.spec import RunSpec
from fleet_rlm.tui.run_view.provenance import Entry, Provenance, Seen, difference

SENTENCE = "The inspector found the brake of the northern crane worn, and it was replaced at once."


def entries(*paths: Path | str) -> tuple[Entry, ...]:
    """What the Document pane has of a run on these."""
    spec = RunSpec(question="Why?", documents=tuple(map(str, paths)))
    wanted = Wanted({"context": "dict[str, str]", "question": "str"}, "context", "question", True)
    bound = bind(spec, wanted, read_documents(spec))
    sent = ev.decode(ev.encode(ev.RunStarted(
        format=ev.FORMAT, version=ev.VERSION, run_id="r", started_at="2026-03-02T10:42:00Z",
        task=ev.Task(name="ask", signature="c, q -> a"), inputs=bound.records, models=ev.Models(planner="m", sub="m"),
        sandbox=ev.Sandbox(backend="local", isolation=""), budgets=ev.BudgetLimits(max_iterations=1),
    )))  # fmt: skip
    assert isinstance(sent, ev.RunStarted)
    return tuple(Entry(ref.name, ref) for ref in sent.inputs[0].documents)


def test_a_text_is_found_in_pdfs_word_documents_and_archives(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(["Nothing of interest.", SENTENCE]))
    (tmp_path / "b.docx").write_bytes(docx(paragraph("Crane", "Heading1") + paragraph(SENTENCE.upper())))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
        packed.writestr("deep/c.txt", SENTENCE.swapcase())
        packed.writestr("deep/d.txt", "Nothing of interest.")
    opened = entries(tmp_path)
    provenance = Provenance(opened)
    assert provenance.build()
    for text, name in ((SENTENCE, "a.pdf"), (SENTENCE.upper(), "b.docx"), (SENTENCE.swapcase(), "c.zip/deep/c.txt")):
        ((place, span),) = provenance.locate(f"Quote from this: {text}")
        assert opened[place].name == name
        assert opened[place].open().text(span.start, span.end) == text
    coverage = provenance.coverage()
    provenance.mark(coverage, [(SENTENCE, Seen.SENT)])
    assert coverage.share(0, Seen.SENT) > 0.4
    assert coverage.share(3, Seen.SENT) == 0


def test_a_document_that_was_changed_since_the_run_is_said_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf([SENTENCE]))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
        packed.writestr("c.txt", SENTENCE)
    opened = entries(tmp_path)
    assert [difference(entry, entry.open()) for entry in opened] == ["", ""]
    (tmp_path / "a.pdf").write_bytes(pdf([SENTENCE, "and more"]))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as packed:
        packed.writestr("c.txt", SENTENCE.lower())
        packed.writestr("d.txt", "more")
    assert difference(opened[0], opened[0].open()).startswith("changed since the run: ")
    assert difference(opened[1], opened[1].open()) == "changed since the run: same size, other text"


def test_what_ships_is_found_in_this_installation() -> None:
    opened = entries("bundled:week-ten")
    assert all(entry.reference is not None and entry.reference.path.startswith("bundled:") for entry in opened)
    provenance = Provenance(opened)
    assert provenance.build()
    ((place, _),) = provenance.locate("The school in Nairn wants to know why its booking was refused.")
    assert opened[place].name == "handover.eml"
    assert [difference(entry, entry.open()) for entry in opened] == [""] * len(opened)
