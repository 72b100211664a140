"""What is configured, where each value came from, and what is wrong with it.

A value is taken from the first of these that says something: an option of this start, the real environment, the
person's `config.toml`, a `.env` file (the one in the working folder before the one beside the nearest `pyproject.toml`
above it), the default. A lower source may add, and never redirect what a higher one has set up. Faults never raise:
they are listed as problems in words that name the variable and what to write instead.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Final

from fleet_rlm.config import env_file, folders
from fleet_rlm.config.modal_login import has_own_token
from fleet_rlm.config.ownership import mend, why_not_trusted
from fleet_rlm.config.problem import Problem
from fleet_rlm.config.settings_table import BY_KEY, SETTINGS, NotAValue, Parsed, Setting

THE_ENVIRONMENT = "the environment"


class Trust(IntEnum):
    """The kinds of sources of a value; a smaller number is trusted more and wins."""

    OPTION = 0
    ENVIRONMENT = 1
    CONFIG_FILE = 2
    ENV_FILE = 3


@dataclass(frozen=True, slots=True)
class Value:
    """A configured value and where it was found."""

    text: str = field(repr=False)
    variable: str
    """Its name there, such as `DSPY_LM_MODEL`, `model.name` or `--model`."""
    source: str
    """`the environment`, the path of a file, or empty for an option."""
    trust: Trust
    raw: object = field(default=None, repr=False)
    """The value from config.toml or an option, where it is not a text."""

    @property
    def where(self) -> str:
        """The value's place in words, such as `DSPY_LM_MODEL in the environment` or `--model`."""
        return f"{self.variable} in {self.source}" if self.source else self.variable


@dataclass(frozen=True)
class Settings:
    """Everything that is configured, from `load`."""

    asked: Mapping[str, Parsed] = field(repr=False)
    """The values of this start's options, by the settings' keys."""
    real: Mapping[str, str] = field(repr=False)
    """The real environment."""
    from_files: Mapping[str, str] = field(repr=False)
    """The variables that `.env` files set, and may set."""
    sources: Mapping[str, str]
    """The `.env` file that a variable came from."""
    env_files: tuple[Path, ...]
    """The `.env` files that were read, the one that wins first."""
    env_searched: tuple[Path, ...]
    """The paths where a `.env` file was looked for."""
    file: Path
    """`config.toml`; need not exist."""
    table: Mapping[str, Mapping[str, object]] = field(repr=False)
    """Its sections `[model]`, `[run]` and `[modal]`."""
    file_problems: tuple[Problem, ...]

    def asking(self, asked: Mapping[str, Parsed | None]) -> Settings:
        """The same, with what options say; None and empty text say nothing."""
        said = {key: value for key, value in asked.items() if value is not None and value not in ("", ())}
        return replace(self, asked={**self.asked, **said})

    def at(self, trust: Trust, key: str) -> Value | None:
        """Return a setting's value from one source; None where it has none."""
        setting = BY_KEY[key]
        match trust:
            case Trust.OPTION:
                value = self.asked.get(key)
                return None if value is None else Value(_as_text(value), setting.options[0], "", trust, value)
            case Trust.CONFIG_FILE:
                value_there = self.table.get(setting.section, {}).get(setting.name) if setting.in_file else None
                if value_there is None or not str(value_there).strip():
                    return None
                return Value(_as_text(value_there), key, str(self.file), trust, value_there)
            case _:
                found = (self.variable(name, trust) for name in setting.variables)
                return next((value for value in found if value is not None), None)

    def variable(self, name: str, trust: Trust) -> Value | None:
        """Return a variable's value from the environment or the `.env` files."""
        if trust == Trust.ENVIRONMENT:
            text = self.real.get(name, "").strip()
            return Value(text, name, THE_ENVIRONMENT, trust) if text else None
        hidden = name in self.real and not self.real[name].strip()  # set to nothing: the person wants none
        text = "" if hidden else self.from_files.get(name, "").strip()
        return Value(text, name, self.sources[name], trust) if text else None

    def value(self, key: str) -> Value | None:
        """Return a setting's value from the most trusted source that has one."""
        return next((value for trust in Trust if (value := self.at(trust, key)) is not None), None)

    def get(self, key: str) -> Parsed | None:
        """The value of a setting; None when nobody says one, or it can't be used (see `problems`)."""
        value = self.value(key)
        if value is None:
            return None
        try:
            return _parsed(BY_KEY[key], value)
        except NotAValue:
            return None

    def text(self, key: str) -> str | None:
        value = self.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        value = self.get(key)
        return value if isinstance(value, int | float) else None

    def whole(self, key: str) -> int | None:
        value = self.get(key)
        return value if isinstance(value, int) else None

    def names(self, key: str) -> tuple[str, ...]:
        value = self.get(key)
        return value if isinstance(value, tuple) else ()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with files and with values that would be used."""
        return (*self.file_problems, *self._unusable())

    @property
    def stopping(self) -> Problem | None:
        """The first problem because of which no run starts."""
        return next((problem for problem in self.problems if problem.stops), None)

    def _unusable(self) -> Iterator[Problem]:
        for setting in SETTINGS:
            value = self.value(setting.key)
            if value is None:
                continue
            try:
                _parsed(setting, value)
            except NotAValue as error:
                example = f"Write {value.variable}={setting.example}, or leave it out." if setting.example else ""
                yield Problem(f"{value.where} is {error}.", example, stops=True)

    @property
    def environment(self) -> Mapping[str, str]:
        """The real environment, completed from `.env` files."""
        return {**self.from_files, **self.real}

    def export(self) -> None:
        """Put what `.env` files may say into this process's environment, where model clients look for their keys."""
        for name, value in self.from_files.items():
            if not env_file.ADDRESS.fullmatch(name):
                os.environ.setdefault(name, value)

    @property
    def env_file(self) -> Path:
        """The `.env` file for a missing line: the one that was read, else the first that was looked for."""
        return (self.env_files or self.env_searched)[0]

    @property
    def isolation(self) -> str | None:
        """Isolation modes to try, in order, with commas between; None for the sandbox's own order."""
        return self.text("run.isolation")


NOTHING: Final = Settings({}, {}, {}, {}, (), (), Path("config.toml"), {}, ())
"""Settings of nobody: every value is the default."""


def load(
    cwd: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    asked: Mapping[str, Parsed | None] | None = None,
) -> Settings:
    """Read the environment, the `.env` files that belong to `cwd`, and config.toml. Takes about a millisecond."""
    real = os.environ if environ is None else environ
    problems: list[Problem] = []
    searched = env_file.places(_absolute(cwd or "."), problems)
    read: list[Path] = []
    from_files: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in searched:
        values = env_file.read(path, problems)
        if values is None:
            continue
        read.append(path)
        for name, value in values.items():
            if name in from_files:
                continue
            if env_file.may_say(name, value) or env_file.ADDRESS.fullmatch(name):
                from_files[name], sources[name] = value, str(path)
            elif name not in real and (told := env_file.refusal(name, path)):
                problems.append(told)
    _keep_own_account(real, from_files, sources, problems)
    file = folders.config_file()
    settings = Settings({}, real, from_files, sources, tuple(read), searched, file, _read_table(file, problems), ())
    settings = replace(settings, file_problems=tuple(problems))
    return settings.asking(asked or {})


def _keep_own_account(
    real: Mapping[str, str], from_files: dict[str, str], sources: dict[str, str], problems: list[Problem]
) -> None:
    """A `.env` does not take a person who is logged in at Modal to another account."""
    account = ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_ENVIRONMENT")
    names = [name for name in account if name in from_files and name not in real]
    if not names or (own := has_own_token(real)) is None:
        return
    for name in names:
        source = sources.pop(name)
        del from_files[name]
        problems.append(
            Problem(
                f"{name} in {source} is not used: the token in {own} counts.",
                f"Take the line out of {source}, or set {name} in the environment.",
            )
        )


def _parsed(setting: Setting, value: Value) -> Parsed:
    """Raises `NotAValue`."""
    if isinstance(value.raw, tuple | list):
        return tuple(dict.fromkeys(text for one in value.raw if (text := str(one).strip())))
    if isinstance(value.raw, bool):
        return value.raw
    return setting.read(value.text)


def _as_text(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value).strip()


def _absolute(folder: str | os.PathLike[str]) -> Path:
    try:
        return Path(folder).absolute()
    except FileNotFoundError:  # this process' own folder was removed
        return Path(os.environ.get("PWD") or "/", folder)


def _read_table(path: Path, problems: list[Problem]) -> dict[str, dict[str, object]]:
    try:
        if why := why_not_trusted(path):
            problems.append(Problem(f"{path} was not read: {why}.", mend(path)))
            return {}
        with path.open("rb") as file:
            raw = file.read(env_file.MAX_FILE_BYTES + 1)
        content = tomllib.loads(raw.decode()) if len(raw) <= env_file.MAX_FILE_BYTES else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        problems.append(Problem(f"{path} can't be read: {error.strerror}."))
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(Problem(f"{path} is not TOML: {error}.", stops=True))
        return {}
    known: dict[str, dict[str, Setting]] = {}
    for setting in SETTINGS:
        if setting.in_file:
            known.setdefault(setting.section, {})[setting.name] = setting
    table: dict[str, dict[str, object]] = {}
    for section, names in known.items():
        values = content.get(section, {})
        if not isinstance(values, dict):
            hint = f"Write [{section}] on a line of its own."
            problems.append(Problem(f"{path}: {section} must be a section.", hint, stops=True))
            continue
        table[section] = {}
        for name, value in values.items():
            if name not in names:
                problems.append(Problem(f"{path}: [{section}] knows no {name!r}.", f"There are: {', '.join(names)}."))
            elif not names[name].accepts(value):
                words = f"{path}: {section}.{name} must be {names[name].takes}, not {value!r}."
                problems.append(Problem(words, stops=True))
            else:
                table[section][name] = value
    return table
