"""`python -m fleet_rlm.documents.formats PATH FORMAT MEMBER`: a document's text on standard output.

A process of its own for the screens: extraction may take seconds of pure computing, which would hold up their thread,
and may come to grief over a broken file. A refusal is one JSON object on standard error, and exit status 3.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from fleet_rlm.documents.load import load
from fleet_rlm.documents.work import DocumentError

REFUSED = 3


def main() -> int:
    """Read, write, and say what was in the way."""
    path, kind, member = sys.argv[1:4]
    with contextlib.suppress(OSError):
        os.nice(5)
    try:
        document = load(Path(path), kind=kind, member=member)
    except DocumentError as error:
        json.dump({"message": error.message, "hint": error.hint}, sys.stderr)
        return REFUSED
    sys.stdout.buffer.write(document.text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
