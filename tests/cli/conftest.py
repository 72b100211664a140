"""A shell for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.shell import Shell


@pytest.fixture
def fleet(tmp_path: Path) -> Shell:
    return Shell(tmp_path)
