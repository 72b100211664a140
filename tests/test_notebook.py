"""The notebook runs from top to bottom without a screen: as it stands, and in Modal's cloud by changing one cell."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from fleet_rlm.offline import offline_model as offline
from fleet_rlm.runs.verify import verify
from modal_server import ModalServer
from model_server import ModelServer

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "rlm-with-fleet-rlm.ipynb"
SECTIONS = 11
CONFIGURES = ("DSPY_", "MODAL_", "FLEET_")


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: nbformat.NotebookNode, folder: Path, settings: str | None = None) -> nbformat.NotebookNode:
    """The notebook after all of its cells; its settings cell may be another."""
    notebook = copy.deepcopy(notebook)
    if settings is not None:
        cell(notebook, "settings")["source"] = settings
    NotebookClient(notebook, timeout=110, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def cell(notebook: nbformat.NotebookNode, name: str) -> Any:
    return next(one for one in notebook.cells if one["id"] == name)


def said(notebook: nbformat.NotebookNode, name: str = "") -> str:
    """What a cell printed, or all of them."""
    cells = [cell(notebook, name)] if name else [one for one in notebook.cells if one.cell_type == "code"]
    return "".join(output.get("text", "") for one in cells for output in one.outputs)


def headings(notebook: nbformat.NotebookNode) -> list[str]:
    words = "\n".join(one.source for one in notebook.cells if one.cell_type == "markdown")
    return re.findall(r"^## (\d+)\. ", words, re.MULTILINE)


def test_it_has_eleven_sections_and_is_kept_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    assert headings(notebook) == [str(number + 1) for number in range(SECTIONS)]
    code = [one for one in notebook.cells if one.cell_type == "code"]
    assert all(one.outputs == [] and one.execution_count is None for one in code)
    assert set(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["metadata"]) == {"kernelspec", "language_info"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook") / "home"


@pytest.fixture(scope="module")
def as_it_stands(notebook: nbformat.NotebookNode, home: Path) -> nbformat.NotebookNode:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(CONFIGURES) or name.endswith("_API_KEY")]:
            patch.delenv(name)
        patch.setenv("FLEET_RLM_HOME", str(home))
        return executed(notebook, home.parent)


def test_it_runs_from_top_to_bottom_with_nothing_configured(as_it_stands: nbformat.NotebookNode) -> None:
    shown = said(as_it_stands)
    assert "model offline/extractive · sandbox local" in shown
    assert "x is still 42" in shown
    assert "45 minutes" in shown
    assert "18446744073709551615" in shown
    assert "“The access code of the Marlow depot is 7741.”" in shown
    assert "18 codes; 8.1 crowns" in shown
    assert "this sandbox has no volume" in said(as_it_stands, "volume")
    assert "tokens" in said(as_it_stands, "against-a-direct-call")


def test_the_trajectory_is_a_table_and_a_chart_of_a_run_that_opens(
    as_it_stands: nbformat.NotebookNode, home: Path
) -> None:
    steps = re.findall(r"^│ (\d+) +│", said(as_it_stands, "trajectory-table"), re.MULTILINE)
    assert len(steps) >= 3
    chart = said(as_it_stands, "trajectory-chart")
    assert re.findall(r"step (\d+)", chart) == steps
    assert "█" in chart
    path = Path(said(as_it_stands, "open-in-the-tui").removeprefix("fleet-rlm-tui ").strip())
    assert verify(path) is None
    assert path.is_relative_to(home)


def test_one_cell_takes_it_to_modal_and_to_a_model_over_the_network(
    notebook: nbformat.NotebookNode, tmp_path: Path, modal_server: ModalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(lambda asked: offline.answer(asked.system, asked.text)) as server:  # its wits, over the network
        monkeypatch.setenv("DSPY_LM_API_BASE", server.url)
        monkeypatch.setenv("DSPY_LM_MODEL", "openai/configured")
        settings = 'MODEL = "openai/other"\nSANDBOX = "modal"\nVOLUME = "notebook"\n'
        done = executed(notebook, tmp_path, settings)
        assert {asked.model for asked in server.asked} == {"other"}
    assert "model openai/other · sandbox modal" in said(done)
    assert "modal sandbox, started in" in said(done)
    assert "3 chunks were kept" in said(done, "volume")
    assert "“The access code of the Marlow depot is 7741.”" in said(done)
    assert len(modal_server.sandboxes()) >= 8
    assert modal_server.running() == []
