"""Where things are kept, what is configured, where each value came from, and what is missing.

A value is looked for in the real environment, then in `.env` files (the one in the working folder before the one
beside the nearest `pyproject.toml` above it), then in `config.toml`, then there is a default. Faults never raise: they
are listed in `Settings.problems` in words that name the variable and what to write instead.

Folders are the platform's own, or all under `FLEET_RLM_HOME` (a variable of the real environment: every process of a
run must agree on it).
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fleet_rlm import config_table

OFFLINE: Final = "offline"
"""The name of the built-in model without weights."""
DEFAULT_MAX_TOKENS: Final = 8192
MAX_FILE_BYTES: Final = 256 * 1024

PROVIDER_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "google": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "together_ai": ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
    "fireworks_ai": ("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY"),
    "cohere": ("COHERE_API_KEY",),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "cerebras": ("CEREBRAS_API_KEY",),
}
"""Providers that can't do without a key, and the variables in which their own tools look for it."""

_KEY_VARIABLES = ("DSPY_LLM_API_KEY", "DSPY_LM_API_KEY")


def home() -> Path | None:
    """The one folder for everything, when `FLEET_RLM_HOME` is set."""
    value = os.environ.get("FLEET_RLM_HOME", "").strip()
    return Path(os.path.expanduser(value)).absolute() if value else None  # noqa: PTH111 - Path's own raises without a home


def runs_dir() -> Path:
    """Where runs are recorded: `$FLEET_RLM_HOME/runs`, else in the platform's folder for a person's data."""
    return _folder("data") / "runs"


def config_file() -> Path:
    """The person's settings; need not exist."""
    return _folder("config") / "config.toml"


def themes_dir() -> Path:
    """The person's own themes; need not exist."""
    return _folder("config") / "themes"


def state_file() -> Path:
    """What is remembered between starts (last choices); need not exist, and nothing depends on it."""
    return _folder("state") / "state.json"


def _folder(what: str) -> Path:
    own = home()
    if own is not None:
        return own
    import platformdirs  # only needed where FLEET_RLM_HOME is not set

    folders = platformdirs.PlatformDirs("fleet-rlm", appauthor=False)
    try:
        return Path(getattr(folders, f"user_{what}_dir"))
    except RuntimeError:  # nobody's home is known: no HOME, and the user is in no list
        return homeless()


def homeless() -> Path:
    """Where things are kept for a user without a home, when `FLEET_RLM_HOME` is not set."""
    import tempfile

    return Path(tempfile.gettempdir()) / f"fleet-rlm-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Value:
    """A configured value and where it was found."""

    text: str = field(repr=False)
    variable: str
    """Its name there, such as `DSPY_LM_MODEL` or `model.name`."""
    source: str
    """`the environment`, or the path of a file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something configured that can't be used, or missing."""

    message: str
    hint: str = ""
    """What to write, and where."""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured, from `load`."""

    environment: Mapping[str, str] = field(repr=False)
    """The real environment, completed from `.env` files."""
    from_files: Mapping[str, str] = field(repr=False)
    """What only `.env` files say."""
    sources: Mapping[str, str]
    """Which file a variable came from, where it was one."""
    env_files: tuple[Path, ...]
    """The `.env` files that were read, the one that wins first."""
    env_searched: tuple[Path, ...]
    """Where a `.env` file was looked for."""
    file: Path
    """`config.toml`; need not exist."""
    table: Mapping[str, Mapping[str, object]]
    """Its sections `[model]`, `[run]` and `[modal]`."""
    problems: tuple[Problem, ...]

    def find(self, *variables: str, key: str | None = None) -> Value | None:
        """The first of these variables that says something, else `section.name` of config.toml."""
        for variable in variables:
            if text := self.environment.get(variable, "").strip():
                return Value(text, variable, self.sources.get(variable, "the environment"))
        if key is not None:
            section, _, name = key.partition(".")
            value = self.table.get(section, {}).get(name)
            if value is not None and str(value).strip():
                return Value(str(value).strip(), key, str(self.file))
        return None

    def export(self) -> None:
        """Put what `.env` files say into this process's environment, where model clients look for their keys."""
        for name, value in self.from_files.items():
            os.environ.setdefault(name, value)

    @property
    def env_file(self) -> Path:
        """Where a line belongs that is missing: the file that was read, else the first that was looked for."""
        return (self.env_files or self.env_searched)[0]

    @property
    def isolation(self) -> str | None:
        """Isolation modes to try, in order, with commas between; None for the sandbox's own order."""
        value = self.find("FLEET_RLM_ISOLATION", key="run.isolation")
        return value.text if value else None

    @property
    def run_defaults(self) -> RunDefaults:
        """Limits that the person prefers, from the environment or `[run]` in config.toml; None where neither says."""
        limits = {name: self._limit(name) for name in config_table.RUN_VARIABLES}
        counts = {name: int(value) for name, value in limits.items() if value is not None}
        return RunDefaults(
            max_iterations=counts.get("max_iterations"),
            max_llm_calls=counts.get("max_llm_calls"),
            max_tokens=counts.get("max_tokens"),
            max_seconds=limits["max_seconds"],
            max_cost_usd=limits["max_cost_usd"],
            concurrency=counts.get("concurrency"),
        )

    def _limit(self, name: str) -> int | float | None:
        value = self.find(config_table.RUN_VARIABLES[name], key=f"run.{name}")
        return config_table.number(name, value.text) if value else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDefaults:
    """What a run may spend unless it is told otherwise; None: the task decides."""

    max_iterations: int | None = None
    max_llm_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    max_cost_usd: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model and how to reach it."""

    model: str
    """LiteLLM's notation, such as `openai/gpt-5-mini`, or `offline`."""
    source: str
    """Where the choice came from, for a person: `--model`, `DSPY_LM_MODEL in the environment`, `nothing configured`."""
    api_key: str | None = field(default=None, repr=False)
    """None: there is none, or the provider's client finds its own."""
    key_source: str = ""
    api_base: str | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS
    """Longest answer, in tokens."""
    problem: Problem | None = None
    """Why this model can't be asked."""

    @property
    def offline(self) -> bool:
        return self.model == OFFLINE

    @property
    def provider(self) -> str:
        return provider_of(self.model)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The planner and the model of sub-LLM calls."""

    planner: ModelConfig
    sub: ModelConfig

    @property
    def offline(self) -> bool:
        return self.planner.offline

    @property
    def problem(self) -> Problem | None:
        """Why a run can't start with these."""
        return self.planner.problem or self.sub.problem


def load(cwd: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, the `.env` files that belong to `cwd`, and config.toml. Takes about a millisecond."""
    real = os.environ if environ is None else environ
    problems: list[Problem] = []
    searched = _env_places(_absolute(cwd or "."))
    read: list[Path] = []
    from_files: dict[str, str] = {}
    sources: dict[str, str] = {}
    for path in searched:
        values = _read_env(path, problems)
        if values is None:
            continue
        read.append(path)
        for name, value in values.items():
            if name not in from_files and name not in real:
                from_files[name], sources[name] = value, str(path)
    file = config_file()
    settings = Settings(
        environment={**real, **from_files},
        from_files=from_files,
        sources=sources,
        env_files=tuple(read),
        env_searched=searched,
        file=file,
        table=_read_table(file, problems),
        problems=tuple(problems),
    )
    wrong = [problem for name in config_table.RUN_VARIABLES if (problem := _wrong_limit(settings, name))]
    return replace(settings, problems=(*settings.problems, *wrong)) if wrong else settings


def _wrong_limit(settings: Settings, name: str) -> Problem | None:
    """A variable for a limit that holds something else."""
    value = settings.find(config_table.RUN_VARIABLES[name])
    if value is None or config_table.number(name, value.text) is not None:
        return None
    takes = config_table.TABLE["run"][name][1]
    return Problem(
        f"{value.variable} in {value.source} is {value.text[:40]!r}, not {takes}; it is not used.",
        f"Write {value.variable}=20, or leave it out.",
    )


def model_choice(settings: Settings, model: str | None = None, sub_model: str | None = None) -> ModelChoice:
    """Which models a run uses: as asked, else as configured, else `offline`. Never raises; see `problem`."""
    configured = settings.find("DSPY_LM_MODEL", key="model.name")
    if model:
        planner = _model(settings, model.strip(), "--model", configured)
    elif configured:
        planner = _model(settings, configured.text, f"{configured.variable} in {configured.source}", configured)
    else:
        planner = ModelConfig(model=OFFLINE, source="nothing configured")
    sub = settings.find("DSPY_SUB_LM_MODEL", key="model.sub")
    if sub_model:
        return ModelChoice(planner, _model(settings, sub_model.strip(), "--sub-model", configured))
    if sub and not planner.offline:
        return ModelChoice(planner, _model(settings, sub.text, f"{sub.variable} in {sub.source}", configured))
    return ModelChoice(planner, planner)


def provider_of(model: str) -> str:
    """`openai` of `openai/gpt-5-mini`; guessed for names without a provider that leave no doubt, else empty."""
    provider, slash, _ = model.partition("/")
    if slash:
        return provider.lower()
    guesses = {
        "gpt-": "openai",
        "o1": "openai",
        "o3": "openai",
        "o4": "openai",
        "claude": "anthropic",
        "gemini": "gemini",
    }
    return next((name for start, name in guesses.items() if model.lower().startswith(start)), "")


def _model(settings: Settings, name: str, source: str, configured: Value | None) -> ModelConfig:
    if name.lower() == OFFLINE:
        return ModelConfig(model=OFFLINE, source=source)
    provider = provider_of(name)
    # A key and an address that stand beside DSPY_LM_MODEL are that provider's: they go to no other one.
    ours = configured is None or configured.text == OFFLINE or provider_of(configured.text) == provider
    own = settings.find(*PROVIDER_KEYS.get(provider, ()))
    key = (settings.find(*_KEY_VARIABLES) if ours else None) or own
    base = settings.find("DSPY_LM_API_BASE", key="model.api_base") if ours else None
    max_tokens, problem = _max_tokens(settings)
    if base is not None and not base.text.lower().startswith(("http://", "https://")):
        problem = problem or Problem(
            f"{base.variable} in {base.source} is no address: it must begin with http:// or https://.",
            f"Write {base.variable}=http://127.0.0.1:8000/v1, for example.",
        )
    if any(c.isspace() for c in name) or not name.isprintable():
        problem = problem or Problem(f"{name!r} is no model's name ({source}).", "Write it like openai/gpt-5-mini.")
    if key is None and base is None and provider in PROVIDER_KEYS:
        problem = problem or _missing_key(settings, name, provider, source, ours)
    return ModelConfig(
        model=name,
        source=source,
        api_key=key.text if key else None,
        key_source=f"{key.variable} in {key.source}" if key else "",
        api_base=base.text if base else None,
        max_tokens=max_tokens,
        problem=problem,
    )


def _missing_key(settings: Settings, name: str, provider: str, source: str, ours: bool) -> Problem:
    variables = (_KEY_VARIABLES[0] if ours else "", *PROVIDER_KEYS[provider])
    known = [variable for variable in variables if variable]
    if settings.env_files:
        looked = " and ".join(map(str, settings.env_files))
        where = f"the environment and {looked} were read"
    else:
        looked = " and ".join(map(str, settings.env_searched))
        where = f"the environment was read, and there is no {looked}"
    return Problem(
        f"{name} (from {source}) needs a key: {' or '.join(known)} is not set; {where}.",
        f"Add this line to {settings.env_file}: {known[0]}=your-key   (or use --model offline, which needs none)",
    )


def _max_tokens(settings: Settings) -> tuple[int, Problem | None]:
    value = settings.find("DSPY_LM_MAX_TOKENS", key="model.max_tokens")
    if value is None:
        return DEFAULT_MAX_TOKENS, None
    try:
        number = int(value.text)
    except ValueError:
        number = 0
    if 1 <= number <= 10_000_000:
        return number, None
    return DEFAULT_MAX_TOKENS, Problem(
        f"{value.variable} in {value.source} is {value.text[:40]!r}, not a whole number from 1 to 10,000,000.",
        f"Write {value.variable}={DEFAULT_MAX_TOKENS}, or leave it out.",
    )


def _absolute(folder: str | os.PathLike[str]) -> Path:
    try:
        return Path(folder).absolute()
    except FileNotFoundError:  # this process' own folder was removed
        return Path(os.environ.get("PWD") or "/", folder)


def _env_places(cwd: Path) -> tuple[Path, ...]:
    places = [cwd / ".env"]
    for folder in (cwd, *cwd.parents):
        if os.path.isfile(folder / "pyproject.toml"):  # noqa: PTH113 - Path's raises where a folder can't be entered
            places.append(folder / ".env")
            break
    return tuple(dict.fromkeys(places))


def _read_env(path: Path, problems: list[Problem]) -> dict[str, str] | None:
    try:
        if not path.is_file():  # a folder, a pipe: nothing that can be read at once
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
    from io import StringIO

    from dotenv import dotenv_values

    heard = _Heard()
    logger = logging.getLogger("dotenv.main")
    logger.addHandler(heard)  # its warnings would otherwise be printed into whatever is on the screen
    try:
        values = dotenv_values(stream=StringIO(text))
    finally:
        logger.removeHandler(heard)
    problems.extend(Problem(f"{path}: {words}.", "Lines look like NAME=value.") for words in heard.words)
    return {name: value for name, value in values.items() if value}


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


def _read_table(path: Path, problems: list[Problem]) -> dict[str, dict[str, object]]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
        content = tomllib.loads(raw.decode()) if len(raw) <= MAX_FILE_BYTES else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        problems.append(Problem(f"{path} can't be read: {error.strerror}."))
        return {}
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(Problem(f"{path} is not TOML: {error}."))
        return {}
    table: dict[str, dict[str, object]] = {}
    for section, known in config_table.TABLE.items():
        values = content.get(section, {})
        if not isinstance(values, dict):
            problems.append(
                Problem(f"{path}: {section} must be a section.", f"Write [{section}] on a line of its own.")
            )
            continue
        table[section] = {}
        for name, value in values.items():
            if name not in known:
                names = ", ".join(known)
                problems.append(Problem(f"{path}: [{section}] knows no {name!r}.", f"There are: {names}."))
            elif not known[name][0](value):
                problems.append(Problem(f"{path}: {section}.{name} must be {known[name][1]}, not {value!r}."))
            else:
                table[section][name] = value
    return table
