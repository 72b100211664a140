"""Jupyter notebooks: every cell in order, with what it printed; pictures are left out."""

from __future__ import annotations

from typing import Any

import msgspec

from fleet_rlm.documents.document_work import Cancelled, printable
from fleet_rlm.documents.formats.extract import Extracted
from fleet_rlm.documents.formats.html import text_of
from fleet_rlm.documents.formats.recognise import Unextractable


def read(data: bytes, name: str, cancelled: Cancelled) -> Extracted:  # noqa: ARG001 - over in no time
    """Each cell after a line such as `[cell 3: code]`, its output after `[output]`."""
    notebook = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    if not isinstance(notebook, dict):
        raise Unextractable(f"{printable(name)} is no notebook: its JSON is not an object.")
    sheets = notebook.get("worksheets") or [notebook]  # up to version 3 there were sheets
    cells = [cell for sheet in sheets for cell in sheet.get("cells") or ()]
    if not cells:
        raise Unextractable(f"{printable(name)} is a notebook without cells.")
    parts: list[str] = []
    pictures = 0
    for number, cell in enumerate(cells, 1):
        parts.append(f"[cell {number}: {cell.get('cell_type', 'code')}]")
        parts.append(_joined(cell.get("source", cell.get("input", ""))))
        for output in cell.get("outputs") or ():
            text, is_picture = _shown(output)
            pictures += is_picture
            if text.strip():
                parts += ["[output]", text]
        parts.append("")
    notices = (f"{printable(name)}: {pictures} picture{'s' * (pictures != 1)} left out",) if pictures else ()
    return Extracted("\n".join(parts), notices)


def _shown(output: dict[str, Any]) -> tuple[str, bool]:  # as notebooks have it
    """Return the text of an output, and True if it is a picture."""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', 'error')}: {output.get('evalue', '')}", False
    data = output.get("data", output)
    kinds = ("text/plain", "text/markdown", "text/latex", "application/json")
    text = _joined(output.get("text") or next((data[kind] for kind in kinds if data.get(kind)), ""))
    if not text and (page := data.get("text/html")):
        text = text_of(_joined(page)).rstrip("\n")
    return text, any(str(kind).startswith("image/") or kind in ("png", "jpeg", "svg") for kind in data)


def _joined(text: object) -> str:
    return ("".join(map(str, text)) if isinstance(text, list) else str(text)).rstrip("\n")
