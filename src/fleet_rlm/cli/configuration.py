"""`fleet-rlm config`: every setting with its value and where it came from. No secret is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from fleet_rlm import config, config_table, modal_login, sandbox_choice
from fleet_rlm.cli import printing
from fleet_rlm.cli import run_options as options
from fleet_rlm.cli import sandbox_options as place
from fleet_rlm.cli.secrets import configured_name
from fleet_rlm.events import Json
from fleet_rlm.runs import redact
from fleet_rlm.spec import DEFAULT_CONCURRENCY, ModalOptions

app = typer.Typer(name="config", help="What is configured, and where it came from.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

OPTION, DEFAULT = "option", "default"
_VALUE_CHARS = 200
_HIDDEN = "•" * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be configured."""

    name: str
    """Its section and name in config.toml, where it has them."""
    value: str
    """For a person; a secret's is masked. Empty: nothing."""
    source: str
    """`option`, `environment`, `.env`, `config file` or `default`."""
    where: str = ""
    """The option, the variable, or the name in config.toml that says it; for a file, its path too."""
    ways: tuple[str, ...] = ()
    """What can say it, the one that wins first."""
    secret: bool = False

    @property
    def json(self) -> dict[str, Json]:
        return {
            "name": self.name,
            "value": self.value or None,
            "source": self.source,
            "where": self.where or None,
            "ways": list(self.ways),
            "secret": self.secret,
        }


@app.command()
def show(
    model: options.Model = None,
    sub_model: options.SubModel = None,
    sandbox: place.Sandbox = None,
    max_iterations: options.MaxIterations = None,
    max_llm_calls: options.MaxLlmCalls = None,
    max_tokens: options.MaxTokens = None,
    timeout: options.Timeout = None,
    max_cost: options.MaxCost = None,
    concurrency: options.Concurrency = None,
    as_json: AsJson = False,
) -> None:
    """Show every setting with its value and source: an option given here, the environment, a .env file, config.toml,
    or the default; the first of these that says something wins.

    Exit status: 0, or 1 when something that is configured can't be used.
    """
    limits: dict[str, float | None] = {
        "max_iterations": max_iterations,
        "max_llm_calls": max_llm_calls,
        "max_tokens": max_tokens,
        "max_seconds": timeout,
        "max_cost_usd": max_cost,
        "concurrency": concurrency,
    }
    settings = config.load()
    chosen = config.model_choice(settings, model, sub_model)
    shown = [
        *_models(settings, chosen, model, sub_model),
        *_places(settings, sandbox),
        *_limits(settings, limits),
        *_modal(settings),
        *_folders(),
    ]
    problems = [*settings.problems, *filter(None, [chosen.problem, _unusable(settings, sandbox)])]
    if as_json:
        printing.say_json(
            {
                "settings": [setting.json for setting in shown],
                "env_files": [str(path) for path in settings.env_files],
                "config_file": str(settings.file),
                "problems": [{"message": problem.message, "hint": problem.hint} for problem in problems],
            }
        )
    else:
        _say(shown)
        read = ", ".join(map(str, settings.env_files)) or f"none ({', '.join(map(str, settings.env_searched))})"
        printing.tell(f"\n.env files read: {read}")
        printing.tell(f"config.toml: {settings.file}{'' if settings.file.exists() else ' (there is none)'}")
        for problem in problems:
            printing.tell(f"Problem: {problem}")
    raise typer.Exit(printing.FAILED if problems else printing.OK)


@app.command()
def path(as_json: AsJson = False) -> None:
    """Print where config.toml is; with --json, where everything is kept and looked for."""
    settings = config.load()
    if as_json:
        printing.say_json(
            {
                "config_file": str(settings.file),
                "exists": settings.file.exists(),
                "env_files": [str(one) for one in settings.env_files],
                "env_searched": [str(one) for one in settings.env_searched],
                "runs": str(config.runs_dir()),
                "themes": str(config.themes_dir()),
            }
        )
    else:
        printing.say(str(settings.file))


def masked(secret: str) -> str:
    """Enough to tell two keys apart by their kind, and nothing that helps to guess one."""
    return (secret[:3] if len(secret) >= 20 else "") + _HIDDEN


def _say(shown: list[Setting]) -> None:
    wide = max(len(setting.name) for setting in shown)
    values = [setting.value[:_VALUE_CHARS] or "-" for setting in shown]
    column = min(40, max(map(len, values)))
    for setting, value in zip(shown, values, strict=True):
        source = setting.source if setting.source in (OPTION, DEFAULT) else f"{setting.source}: {setting.where}"
        printing.say(f"{setting.name:<{wide}}  {value:<{column}}  {source}")


def _found(
    settings: config.Settings, name: str, variables: tuple[str, ...], default: str = "", *, secret: bool = False
) -> Setting:
    """A setting that `Settings.find` knows."""
    key = name if name.partition(".")[2] in config_table.TABLE.get(name.partition(".")[0], {}) else None
    value = settings.find(*variables, key=key)
    ways = (*variables, *([key] if key else []))
    if value is None:
        return Setting(name=name, value=default, source=DEFAULT, ways=ways, secret=secret)
    source, where = _source(settings, value)
    text = masked(value.text) if secret else without_password(value.text)
    return Setting(name=name, value=text, source=source, where=where, ways=ways, secret=secret)


def _source(settings: config.Settings, value: config.Value) -> tuple[str, str]:
    if value.source == str(settings.file):
        return "config file", value.variable
    if value.variable in settings.sources:
        return ".env", f"{value.variable} in {value.source}"
    return "environment", value.variable


def without_password(text: str) -> str:
    for password in redact.secrets_in({"ADDRESS": text}):
        text = text.replace(password, _HIDDEN)
    return text


def _by_option(setting: Setting, option: str, value: object) -> Setting:
    """The setting as an option that was given here has it; unchanged without one."""
    ways = (option, *setting.ways)
    if value is None:
        return replace(setting, ways=ways)
    return replace(setting, value=str(value), source=OPTION, where=option, ways=ways)


def _models(
    settings: config.Settings, chosen: config.ModelChoice, model: str | None, sub_model: str | None
) -> Iterator[Setting]:
    yield _by_option(_found(settings, "model.name", ("DSPY_LM_MODEL",), config.OFFLINE), "--model", model)
    sub = _found(settings, "model.sub", ("DSPY_SUB_LM_MODEL",), "the same")
    yield _by_option(sub, "--sub-model", sub_model)
    provider = config.PROVIDER_KEYS.get(chosen.planner.provider, ())
    yield _found(settings, "model.api_key", ("DSPY_LLM_API_KEY", "DSPY_LM_API_KEY", *provider), secret=True)
    yield _found(settings, "model.api_base", ("DSPY_LM_API_BASE",), "the provider's")
    yield _found(settings, "model.max_tokens", ("DSPY_LM_MAX_TOKENS",), str(config.DEFAULT_MAX_TOKENS))


def _places(settings: config.Settings, sandbox: str | None) -> Iterator[Setting]:
    yield _by_option(_found(settings, "run.sandbox", ("FLEET_RLM_SANDBOX",), "local"), "--sandbox", sandbox)
    yield _found(settings, "run.isolation", ("FLEET_RLM_ISOLATION",), "the strongest that works here")


def _limits(settings: config.Settings, given: dict[str, float | None]) -> Iterator[Setting]:
    for name, value in given.items():
        default = str(DEFAULT_CONCURRENCY) if name == "concurrency" else "the task's"
        found = _found(settings, f"run.{name}", (config_table.RUN_VARIABLES[name],), default)
        option = {"max_seconds": "--timeout", "max_cost_usd": "--max-cost"}.get(name, f"--{name.replace('_', '-')}")
        shown = None if value is None else f"{value:g}" if value else "no limit"
        yield _by_option(found, option, shown)


def _modal(settings: config.Settings) -> Iterator[Setting]:
    default = ModalOptions()
    usual: dict[str, str] = {
        "app": default.app,
        "python_version": default.python_version,
        "network": "false",
        "timeout": f"{default.timeout:g}",
    }
    options_of = {"volume": "--volume-name", "secrets": "--secret-name", "packages": "--image-package"}
    options_of |= {"cpu": "--cpu", "memory": "--memory", "timeout": "--sandbox-timeout"}
    for name in config_table.TABLE["modal"]:
        said = settings.table.get("modal", {}).get(name)
        key = f"modal.{name}"
        ways = (*([options_of[name]] if name in options_of else []), key)
        if said is None:
            yield Setting(name=key, value=usual.get(name, ""), source=DEFAULT, ways=ways)
            continue
        value = ", ".join(map(str, said)) if isinstance(said, list) else str(said)
        value = value.lower() if isinstance(said, bool) else value
        yield Setting(name=key, value=value, source="config file", where=key, ways=ways)
    yield _found(settings, "FLEET_RLM_SECRET_NAME", ("FLEET_RLM_SECRET_NAME",), configured_name(settings))
    for variable in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        found = _found(settings, variable, (variable,), secret=True)
        login = modal_login.modal_login(settings.environment)
        if found.source == DEFAULT and login.ready:
            found = Setting(
                name=variable, value=_HIDDEN, source="config file", where=login.source, ways=found.ways, secret=True
            )
        yield found


def _folders() -> Iterator[Setting]:
    home = config.home()
    ways = ("FLEET_RLM_HOME",)
    for name, folder in (("folder.runs", config.runs_dir()), ("folder.themes", config.themes_dir())):
        source = "environment" if home else DEFAULT
        yield Setting(name=name, value=str(folder), source=source, where=ways[0] if home else "", ways=ways)


def _unusable(settings: config.Settings, sandbox: str | None) -> config.Problem | None:
    try:
        choice, _ = sandbox_choice.choose(settings, sandbox_choice.SandboxRequest(sandbox=sandbox))
    except sandbox_choice.Unusable as error:
        return config.Problem(str(error), error.hint)
    return sandbox_choice.settle(choice, settings).problem
