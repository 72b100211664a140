"""Read `.env` files: where they are, whose they are, and what a file that came with a checkout may say.

A `.env` may add (a model, its key, a limit) and never redirect: what steers programs, libraries or keys is taken from
the real environment and the person's config.toml alone.
"""

from __future__ import annotations

import logging
import os
import re
from io import StringIO
from pathlib import Path
from typing import Final

from fleet_rlm.config.ownership import mend, why_not_trusted
from fleet_rlm.config.problem import Problem
from fleet_rlm.config.settings_table import SETTINGS

MAX_FILE_BYTES: Final = 256 * 1024

_SAYABLE: Final = frozenset(name for setting in SETTINGS if setting.env_file for name in setting.variables)
_REFUSED: Final = frozenset(name for setting in SETTINGS if not setting.env_file for name in setting.variables)
_OF_PROVIDERS = re.compile(
    r"(?!(PYTHON|LD_|DYLD_|GIT_|SSH_|SSL|MODAL_|FLEET_RLM_|DSPY_|XDG_))"
    r"[A-Z][A-Z0-9_]*_(API_KEY|KEY|KEY_ID|ACCESS_KEY|TOKEN|SECRET|API_VERSION|REGION|REGION_NAME|PROJECT|PROJECT_ID"
    r"|LOCATION|ORGANIZATION|ORG_ID)"
)
"""Keys, and what providers want beside them; these reach libraries and tools through the process' environment."""
ADDRESS = re.compile(r"[A-Z][A-Z0-9_]*_(API_BASE|BASE_URL|API_BASE_URL)")
"""A provider's address, as its own tools read it: used only with a key from the same file, and never exported."""
_STEERS = re.compile(
    r"(?i).*_PROXY|SSL.*|OPENSSL.*|.*_CA_BUNDLE|.*_CERT(_FILE|_DIR|IFICATE)?|SSLKEYLOGFILE|FLEET_RLM_.*|MODAL_.*|LITELLM_.*"
    r"|DSPY_.*|PYTHON.*|LD_.*|DYLD_.*|PATH|HOME|SHELL|EDITOR|VISUAL|PAGER|BROWSER|BASH_ENV|TMPDIR|XDG_.*|GIT_.*"
    r"|AWS_ENDPOINT_URL.*|AWS_(CONFIG|SHARED_CREDENTIALS)_FILE|GOOGLE_APPLICATION_CREDENTIALS|HF_ENDPOINT"
)
"""Variables that programs and libraries obey; a `.env` may not set them, and that is told."""
_STOPS = re.compile(r"(?i).*_PROXY|SSL_CERT.*|.*_CA_BUNDLE|FLEET_RLM_(ISOLATION|HOME)|MODAL_(SERVER|CONFIG|PROFILE).*")
"""Variables that redirect keys or documents, or weaken protection: with one in a `.env` no run starts."""


def places(cwd: Path, problems: list[Problem]) -> tuple[Path, ...]:
    """Return the paths of possible `.env` files: the working folder, then beside the nearest `pyproject.toml` above."""
    found = [cwd / ".env"]
    for folder in (cwd, *cwd.parents):
        marker = folder / "pyproject.toml"
        if not os.path.isfile(marker):  # noqa: PTH113 - Path's raises where a folder can't be entered
            continue
        try:
            why = why_not_trusted(marker)
        except OSError:
            why = "it can't be looked at"
        if not why:
            found.append(folder / ".env")
        elif folder != cwd and (folder / ".env").exists():
            problems.append(Problem(f"{folder / '.env'} was not read: of {marker}, {why}.", mend(marker)))
        break
    return tuple(dict.fromkeys(found))


def read(path: Path, problems: list[Problem]) -> dict[str, str] | None:
    """The lines of one `.env`; None when there is none or it is not read, which `problems` then says."""
    try:
        if not path.is_file():  # a folder, a pipe: nothing that can be read at once
            return None
        if why := why_not_trusted(path):
            problems.append(Problem(f"{path} was not read: {why}.", mend(path)))
            return None
        if path.stat().st_size > MAX_FILE_BYTES:
            problems.append(Problem(f"{path} was not read: it is larger than {MAX_FILE_BYTES >> 10} KiB."))
            return None
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        problems.append(Problem(f"{path} can't be read: {error.strerror}."))
        return None
    except UnicodeDecodeError:
        problems.append(Problem(f"{path} was not read: it is not UTF-8 text.", "Save it as UTF-8."))
        return None
    return _parse(path, text, problems)


def may_say(name: str, value: str) -> bool:
    """True if a `.env` may set this variable to this value."""
    if name in _SAYABLE:
        return True
    if name in _REFUSED or not (found := _OF_PROVIDERS.fullmatch(name)):
        return False
    # Libraries build host names of regions and locations: `evil.example/#` would send the key there.
    return found[2].endswith(("KEY", "KEY_ID", "TOKEN", "SECRET")) or re.fullmatch(r"[\w.-]+", value) is not None


def refusal(name: str, path: Path) -> Problem | None:
    """The problem with a variable that a `.env` may not set; None where nothing would obey it anyway."""
    if name not in _REFUSED and not _STEERS.fullmatch(name):
        return None
    stops = name in _REFUSED or _STOPS.fullmatch(name) is not None
    return Problem(
        f"{path} sets {name}, which only the real environment may set: a .env may not change where keys and documents "
        "go, nor how code is isolated or programs behave.",
        f"Set {name} in the environment (export {name}=…), or take the line out of {path}.",
        stops=stops,
    )


def _parse(path: Path, text: str, problems: list[Problem]) -> dict[str, str]:
    from dotenv import dotenv_values
    from dotenv.variables import parse_variables

    heard = _Heard()
    logger = logging.getLogger("dotenv.main")
    logger.addHandler(heard)  # its warnings would otherwise be printed into whatever is on the screen
    try:
        # Not dotenv's own interpolation: `${OPENAI_API_KEY}` would carry the environment's key into an address.
        raw = dotenv_values(stream=StringIO(text), interpolate=False)
    finally:
        logger.removeHandler(heard)
    problems.extend(Problem(f"{path}: {words}.", "Lines look like NAME=value.") for words in heard.words)
    values: dict[str, str] = {}
    for name, value in raw.items():
        if value and (whole := "".join(atom.resolve(values) for atom in parse_variables(value))):
            values[name] = whole
    return values


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())
