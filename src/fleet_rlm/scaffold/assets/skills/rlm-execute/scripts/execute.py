"""Run files of Python one after the other in fleet-rlm's local sandbox, with documents as variables.

    python execute.py CODE.py [CODE.py …] [--document NAME=PATH …]

Exit status: 0 when all ran, 1 when one raised an error, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description="Run Python in fleet-rlm's local sandbox.")
    parser.add_argument("code", nargs="+", type=Path)
    parser.add_argument("--document", action="append", default=[], metavar="NAME=PATH")
    given = parser.parse_args()
    try:
        from fleet_rlm import LocalInterpreter
    except ImportError:
        parser.error("this Python does not have fleet_rlm: use the one of the environment where it is installed")
    variables = {}
    for pair in given.document:
        name, equals, path = pair.partition("=")
        if not equals or not name.isidentifier():
            parser.error(f"--document {pair}: write it like log=server.log")
        variables[name] = text_of(parser, Path(path))
    sources = [(path, text_of(parser, path)) for path in given.code]
    with LocalInterpreter() as sandbox:
        for path, source in sources:
            try:
                said = sandbox.execute(source, variables)
            except Exception as error:
                sys.stderr.write(f"{path}: {error}\n")
                return 1
            variables = {}
            if said is not None:
                sys.stdout.write(str(said).rstrip("\n") + "\n")
    return 0


def text_of(parser: argparse.ArgumentParser, path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        parser.error(f"{path} can't be read: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main())
