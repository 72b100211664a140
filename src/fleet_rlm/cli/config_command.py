"""`fleet-rlm config`: every setting with its value and where it came from. No secret is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import typer

from fleet_rlm import config, sandbox_choice
from fleet_rlm.cli import printing
from fleet_rlm.cli.plain_help import App
from fleet_rlm.cli.printing import AsJson
from fleet_rlm.cli.secret_commands import configured_name
from fleet_rlm.config import modal_login
from fleet_rlm.config.settings_table import BUDGETS, SETTINGS, Parsed, Setting
from fleet_rlm.events import Json
from fleet_rlm.run_options import by_group, with_options
from fleet_rlm.runs import redact

app = App(name="config", help="What is configured, and where it came from.", no_args_is_help=True)

OPTION, DEFAULT = "option", "default"
_VALUE_CHARS = 200
_HIDDEN = "•" * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
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
@with_options(by_group())
def show(asked: Mapping[str, Parsed | None], as_json: AsJson = False) -> None:
    """Show every setting with its value and source: an option given here, the environment, config.toml, a .env file,
    or the default; the first of these that says something wins.

    Exit status: 0, or 2 when something that is configured can't be used.
    """
    settings = config.load(asked=asked)
    chosen = config.model_choice(settings)
    shown = [*(_shown(settings, chosen, setting) for setting in SETTINGS), *_folders()]
    problems = list(dict.fromkeys([*settings.problems, *filter(None, [chosen.problem, _unusable(settings)])]))
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
    raise typer.Exit(printing.USAGE if problems else printing.OK)


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


def _say(shown: list[ShownSetting]) -> None:
    wide = max(len(setting.name) for setting in shown)
    values = [setting.value[:_VALUE_CHARS] or "-" for setting in shown]
    column = min(40, max(map(len, values)))
    for setting, value in zip(shown, values, strict=True):
        source = setting.source if setting.source in (OPTION, DEFAULT) else f"{setting.source}: {setting.where}"
        printing.say(f"{setting.name:<{wide}}  {value:<{column}}  {source}")


def _shown(settings: config.Settings, chosen: config.ModelChoice, setting: Setting) -> ShownSetting:
    """One setting as it counts."""
    ways = setting.ways
    value = settings.value(setting.key)
    if setting.key == "model.api_key":
        provider = config.PROVIDER_KEYS.get(chosen.planner.provider, ())
        ways = (*ways, *provider)
        own = (settings.variable(name, trust) for name in provider for trust in config.Trust)
        value = value or next((one for one in own if one is not None), None)
    if setting.key.startswith("MODAL_TOKEN") and value is None:
        login = modal_login.modal_login(settings.environment)
        if login.ready:
            return ShownSetting(name=setting.key, value=_HIDDEN, source="config file", where=login.source, ways=ways,
                                secret=True)  # fmt: skip
    secret = setting.kind == "secret"
    if value is None:
        default = configured_name(settings) if setting.key == "FLEET_RLM_SECRET_NAME" else setting.default
        return ShownSetting(name=setting.key, value=default, source=DEFAULT, ways=ways, secret=secret)
    text = without_password(value.text)
    if secret and value.trust is not config.Trust.OPTION:  # an option names the variable that holds it
        text = masked(value.text)
    if setting.group == BUDGETS and settings.get(setting.key) == 0:
        text = "no limit"
    source = ("option", "environment", "config file", ".env")[value.trust]
    where = value.where if value.trust is config.Trust.ENV_FILE else value.variable
    return ShownSetting(name=setting.key, value=text, source=source, where=where, ways=ways, secret=secret)


def without_password(text: str) -> str:
    for password in redact.secrets_in({"ADDRESS": text}):
        text = text.replace(password, _HIDDEN)
    return text


def _folders() -> Iterator[ShownSetting]:
    home = config.home()
    ways = ("FLEET_RLM_HOME",)
    for name, folder in (("folder.runs", config.runs_dir()), ("folder.themes", config.themes_dir())):
        source = "environment" if home else DEFAULT
        yield ShownSetting(name=name, value=str(folder), source=source, where=ways[0] if home else "", ways=ways)


def _unusable(settings: config.Settings) -> config.Problem | None:
    try:
        choice, _ = sandbox_choice.choose(settings)
    except sandbox_choice.Unusable as error:
        return error.problem
    return sandbox_choice.settle(choice, settings).problem
