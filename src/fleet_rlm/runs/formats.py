"""Recognise other tools' records of runs by how they begin."""

from __future__ import annotations

import re

_FORMATS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("an rlms log", re.compile(rb'\s*\{\s*"type"\s*:\s*"metadata"\s*,.*?"root_model"\s*:', re.DOTALL)),
    ("an ATIF trajectory", re.compile(rb'\s*\{.{0,4096}?"schema_version"\s*:\s*"ATIF-', re.DOTALL)),
    ("a mini-swe-agent trajectory", re.compile(rb'\s*\{.*?"(?:mini_version|trajectory_format)"\s*:', re.DOTALL)),
    (
        "a dspy.RLM trajectory",
        re.compile(rb'\s*[\[{](?:(?!"kind").)*?\{\s*"(?:reasoning|code)"\s*:.*?"output"\s*:', re.DOTALL),
    ),
)
_COMPRESSED = re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|PK\x03\x04")
_RUN = re.compile(rb'\s*\{\s*"kind"\s*:')


def is_compressed(head: bytes) -> bool:
    """True if a file that begins so is packed by gzip, bzip2, xz, zstd or zip."""
    return _COMPRESSED.match(head) is not None


def name_format(head: bytes) -> str | None:
    """Name the format of a file that begins so; None when it is a run, or nothing known."""
    if _RUN.match(head):
        return None
    return next((name for name, pattern in _FORMATS if pattern.match(head)), None)
