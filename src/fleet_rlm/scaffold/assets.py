"""The skills, agents, team and hooks that ship with the package, and where each of their files goes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["skill", "agent", "team", "hook"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ASSETS = Path(__file__).with_name("assets")
FOLDERS: dict[Kind, str] = {"skill": "skills", "agent": "agents", "team": "skills", "hook": "hooks/fleet-rlm"}
"""Where each kind goes. A team can't be written beforehand (it is state of a running session), so it is a skill."""


@dataclass(frozen=True)
class On:
    """When Claude Code runs a hook: an event, and the tools that it is about (None: the event knows no tool)."""

    event: str
    matcher: str | None


EVENTS: dict[str, tuple[On, ...]] = {
    "document-process": (On("UserPromptSubmit", None),),
    "large-file": (On("PreToolUse", "Read"),),
    "llm-query-error": (On("PostToolUse", "Bash"), On("PostToolUseFailure", "Bash")),
    "modal-error": (On("PostToolUse", "Bash"), On("PostToolUseFailure", "Bash")),
}


@dataclass(frozen=True)
class Asset:
    """One thing that can be installed."""

    kind: Kind
    name: str
    description: str
    files: dict[str, bytes]
    """Path in the target folder, with forward slashes, to what stands in it."""

    @property
    def call(self) -> str:
        """How a person calls it."""
        if self.kind == "agent":
            return f"@agent-{self.name}"
        if self.kind == "hook":
            return "on " + ", ".join(on.event for on in EVENTS[self.name])
        return f"/{self.name}"


def assets(kinds: tuple[Kind, ...] = KINDS) -> list[Asset]:
    """All that ships, of these kinds, by kind and name."""
    return [asset for kind in kinds for asset in _of(kind)]


def _of(kind: Kind) -> Iterator[Asset]:
    if kind in ("skill", "team"):
        for folder in sorted((ASSETS / f"{kind}s").iterdir()):
            files = {
                f"{FOLDERS[kind]}/{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and "__pycache__" not in path.parts
            }
            yield Asset(kind, folder.name, _described((folder / "SKILL.md").read_text("utf-8")), files)
    elif kind == "agent":
        for path in sorted((ASSETS / "agents").glob("*.md")):
            yield Asset(
                kind,
                path.stem,
                _described(path.read_text("utf-8")),
                {f"{FOLDERS[kind]}/{path.name}": path.read_bytes()},
            )
    else:
        for name in EVENTS:
            path = ASSETS / "hooks" / f"{name.replace('-', '_')}.py"
            first = path.read_text("utf-8").split('"""', 2)[1].strip().partition("\n")[0]
            yield Asset(kind, name, first, {f"{FOLDERS[kind]}/{name}.py": path.read_bytes()})


def _described(text: str) -> str:
    """The description in an asset's frontmatter, which is on one line (a test holds them to it)."""
    found = re.search(r"^description: (.+)$", text, re.M)
    return found[1].strip().strip("\"'") if found else ""
