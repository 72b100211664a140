"""What the documents say is there: commands with their options, messages, links, pictures, variables."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

from fleet_rlm.config import SETTINGS
from fleet_rlm.sandbox.modal.modal_failures import PHRASES
from quoted_commands import complaint, quoted

PROJECT = Path(__file__).parent.parent
SOURCE = PROJECT / "src" / "fleet_rlm"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "themes/*.md", "rlm_content/*.md", ".github/**/*.md")
    for path in PROJECT.glob(pattern)
)
TROUBLE = PROJECT / "docs" / "troubleshooting.md"
VARIABLE = re.compile(r"\b(?:DSPY|FLEET_RLM|MODAL|LITELLM|UPSTREAM)_[A-Z][A-Z_]*[A-Z]\b")


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_a_page_quotes_exists_with_its_options(page: Path) -> None:
    wrong = {command: found for command in quoted(page.read_text("utf-8")) if (found := complaint(command))}
    assert not wrong


def test_every_command_that_the_notebook_and_programs_quote_exists() -> None:
    notebook = nbformat.read(PROJECT / "notebooks" / "rlm-with-fleet-rlm.ipynb", as_version=4)
    words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    words += "\n" + "\n".join(
        ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for path in PROJECT.glob("examples/*.py")
    )
    assert not {command: found for command in quoted(words) if (found := complaint(command))}


@pytest.mark.parametrize(
    "command",
    [
        *("fleet-rlm nonsense", "fleet-rlm run --nonsense", "fleet-rlm runs nonsense", "fleet-rlm-tui --nonsense"),
        *("make nonsense", "fleet-rlm run Q --docs PATH [--nonsense N]", "fleet-rlm runs list --nonsense"),
    ],
)
def test_a_command_that_does_not_exist_would_be_found(command: str) -> None:
    (read,) = quoted(f"```\n$ {command}\n```\n")
    assert complaint(read)


def test_commands_are_found_wherever_they_stand() -> None:
    text = (
        "Run `fleet-rlm doctor` or:\n```\n.venv/bin/fleet-rlm run Q --docs P\n          [--json]\nuv sync && uv run "
        "fleet-rlm-tui\nmake test\n```\n"
    )
    assert list(quoted(text)) == ["fleet-rlm run Q --docs P [--json]", "fleet-rlm-tui", "make test", "fleet-rlm doctor"]


def _said(piece: ast.expr) -> str:
    """A piece of a joined string: its text, a phrase of the table, or a mark for what differs."""
    if isinstance(piece, ast.FormattedValue) and ast.unparse(piece.value).startswith("PHRASES["):
        return PHRASES[ast.literal_eval(ast.unparse(piece.value)[len("PHRASES[") : -1])]
    return str(piece.value) if isinstance(piece, ast.Constant) else "\0"


@cache
def spoken() -> str:
    """Every text that stands in the source, pieces that Python joins put together, with a mark for what differs."""
    said = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                said.append("".join(map(_said, node.values)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    return "\n".join(said)


def test_every_message_in_troubleshooting_is_one_that_the_program_prints() -> None:
    headings = re.findall(r"^### (.*)$", TROUBLE.read_text("utf-8"), re.MULTILINE)
    assert len(headings) >= 30
    for heading in headings:
        met = re.fullmatch(r"`([^`]+)`", heading)
        assert met, f"{heading} is no message in backticks"
        parts = [part.strip() for part in met[1].split("…") if part.strip()]
        assert any(len(part) >= 11 for part in parts), f"{heading} hardly says anything"
        missing = [part for part in parts if part not in spoken()]
        assert not missing, f"{heading}: the program never says {missing}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} leads nowhere"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_variables_that_a_page_names_are_read_somewhere(page: Path) -> None:
    read = "\n".join(path.read_text("utf-8") for path in (*SOURCE.rglob("*.py"), PROJECT / "config" / "config.yaml"))
    read += " ".join(name for setting in SETTINGS for name in setting.variables)  # some names are put together
    ours = {name for name in VARIABLE.findall(page.read_text("utf-8")) if f"{name}" not in read}
    assert not {name for name in ours if not name.startswith("MODAL_")}, ours


def test_every_page_of_the_docs_is_in_the_index() -> None:
    index = (PROJECT / "docs" / "README.md").read_text("utf-8")
    assert not [page.name for page in PROJECT.glob("docs/*.md") if page.name != "README.md" and page.name not in index]


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_that_a_guide_to_the_source_names_exist(page: str) -> None:
    names = re.findall(r"`([\w.-][\w./-]*(?:/|\.py|\.md|\.json))`", (PROJECT / page).read_text("utf-8"))
    # A row of a table names files in a room.
    below = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*")}
    ends = {"/".join(path.split("/")[start:]) for path in below for start in range(path.count("/") + 1)}
    assert len(names) > 20
    assert not [name for name in names if not (PROJECT / name).exists() and name.rstrip("/") not in ends]
