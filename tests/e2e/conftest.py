"""The installed programs, a home of their own, and documents that nobody has seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.terminal import Terminal

BIN = Path(sys.executable).parent

REPORT = """# Harbour report, third quarter

## Cranes

Crane 4 was stopped on 9 August because its brake linings were worn down to two millimetres.
Crane 7 lifted 18,402 containers, more than any other.

## Pilots

The pilots' roster moved to a four-week rhythm in September.
The night allowance for pilots is 61 crowns a watch.

## Weather

The quay was closed for 31 hours because of wind above 22 metres a second.
"""


class Opener(Protocol):
    def __call__(self, *arguments: str, columns: int = 120, lines: int = 40) -> Terminal: ...


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environment(home: Path, tmp_path: Path) -> Mapping[str, str]:
    """A person who has configured nothing."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return {**kept, "FLEET_RLM_HOME": str(home), "HOME": str(tmp_path)}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "harbour report.md"
    path.write_text(REPORT, encoding="utf-8")
    return path


@pytest.fixture
def tui(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Opener]:
    """Open the installed `fleet-rlm-tui` in a terminal of its own."""
    with ExitStack() as stack:

        def open_it(*arguments: str, columns: int = 120, lines: int = 40) -> Terminal:
            command = [str(BIN / "fleet-rlm-tui"), *arguments]
            return stack.enter_context(Terminal(command, columns, lines, environment, tmp_path))

        yield open_it


def only_run(home: Path) -> Path:
    (path,) = (home / "runs").rglob("*.jsonl")
    return path
