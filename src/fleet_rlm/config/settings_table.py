"""Every setting, declared once: name, values, help, environment variables, command-line options.

From this table come the options of `fleet-rlm run` and of `fleet-rlm-tui`, what config.toml and `.env` may say, the
further settings of New run, `fleet-rlm config show`, `.env.example` and the table in docs/settings.md. To add a
setting, add it here, read it with `Settings.get(key)` where it acts, and run `python scripts/write_settings.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

OFFLINE: Final = "offline"
"""The name of the built-in offline model, as a value of `--model`."""
OFFLINE_MODEL: Final = "offline/extractive"
"""The built-in model's name in a record, and for `dspy.LM`."""

Kind = Literal["text", "whole", "number", "switch", "names", "address", "choice", "secret"]
Parsed = str | int | float | bool | tuple[str, ...]

MODELS, TUNING, BUDGETS, SANDBOX = "Models and tools", "Model settings", "Budgets (0: no limit)", "Sandbox"
SCREEN, ACCOUNT = "Screen (fleet-rlm-tui)", "Modal's account"
GROUPS: Final = (MODELS, TUNING, BUDGETS, SANDBOX, SCREEN, ACCOUNT)


class NotAValue(ValueError):
    """A text or a value of config.toml that a setting does not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting."""

    key: str
    """Section and name in config.toml (`run.max_tokens`); a variable's name for one that config.toml can't say."""
    group: str
    help: str
    """A sentence for `--help`, docs and `.env.example`."""
    kind: Kind = "text"
    variables: tuple[str, ...] = ()
    """Environment variables; the first that says something counts."""
    options: tuple[str, ...] = ()
    """Command-line options; that of a secret takes the name of the variable that holds it."""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    """A number must be greater than this."""
    choices: tuple[str, ...] = ()
    unit: str = ""
    """What a number counts, such as `SECONDS`; names the value in help."""
    default: str = ""
    """In words."""
    example: str = ""
    """A value for `.env.example`."""
    label: str = ""
    """Its name in New run; empty: it has a row of its own there, or none."""
    env_file: bool = True
    """False: a `.env` may not say it, because it could weaken or redirect what the person has set up."""

    @property
    def in_file(self) -> bool:
        """True if config.toml may hold this setting."""
        return "." in self.key

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def parameter(self) -> str:
        """Its name as a Python parameter."""
        return self.key.replace(".", "_").lower()

    @property
    def metavar(self) -> str:
        """The word that help writes in place of a value."""
        if self.kind == "secret":
            return "VARIABLE"
        usual = {"whole": "N", "number": "N", "address": "URL", "choice": "|".join(self.choices)}
        return self.unit or usual.get(self.kind, "NAME")

    @property
    def words(self) -> str:
        """The help of its option, with a default that is short enough to be read there."""
        more = " May be repeated." if self.kind == "names" else ""
        usual = f" ({self.default})" if self.default and len(self.default) <= 16 and self.group != BUDGETS else ""
        return f"{self.help.removesuffix('.')}{usual}.{more}"

    @property
    def ways(self) -> tuple[str, ...]:
        """Everything that can say it, the one that wins first; config.toml comes between variables and `.env`."""
        return (*self.options[:1], *self.variables, *((self.key,) if self.in_file else ()))

    @property
    def takes(self) -> str:
        """The values that it takes, in words that fit after "not" and "must be"."""
        match self.kind:
            case "whole" | "number":
                what = "a whole number" if self.kind == "whole" else "a number"
                if self.above is not None:
                    bounds = f" above {self.above:g}"
                elif self.high is not None:
                    bounds = f" from {self.low or 0:,g} to {self.high:,.0f}"
                else:
                    bounds = f" from {self.low or 0:g} on"
                return f"{what}{bounds}{' (0: no limit)' if self.group == BUDGETS and self.low == 0 else ''}"
            case "switch":
                return "true or false"
            case "names":
                return f'a list of names, such as ["{self.example or "name"}"]'
            case "address":
                return "an address that begins with http:// or https://"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case _:
                return "text in quotes"

    def read(self, text: str) -> Parsed:
        """The value of a text from an option, a variable or a form. Raises `NotAValue`."""
        text = text.strip()
        match self.kind:
            case "whole" | "number":
                try:
                    plain = text.replace("_", "").replace(",", "") if self.kind == "whole" else text
                    return self._within(int(plain) if self.kind == "whole" else float(text.lstrip("$")))
                except ValueError as error:
                    raise NotAValue(f"{text[:40]!r}, not {self.takes}") from error
            case "switch":
                if text.lower() not in ("true", "false"):
                    raise NotAValue(f"{text[:40]!r}, not {self.takes}")
                return text.lower() == "true"
            case "names":
                return tuple(dict.fromkeys(one for one in text.replace(",", " ").split() if one))
            case "address":
                if not text.lower().startswith(("http://", "https://")):
                    raise NotAValue("no address: it must begin with http:// or https://")
                return text
            case "choice":
                if text.lower() not in self.choices:
                    raise NotAValue(f"{text[:40]!r}. There are: {', '.join(self.choices)}")
                return text.lower()
            case _:
                return text

    def accepts(self, value: object) -> bool:
        """True if config.toml may hold this value."""
        match self.kind:
            case "whole" | "number":
                types = int if self.kind == "whole" else (int, float)
                if isinstance(value, bool) or not isinstance(value, types):
                    return False
            case "switch":
                return isinstance(value, bool)
            case "names":
                return isinstance(value, list) and all(isinstance(one, str) for one in value)
            case _:
                if not isinstance(value, str):
                    return False
        try:
            self.read(str(value))
        except NotAValue:
            return False
        return True

    def _within(self, value: float) -> int | float:
        """The number; raises `ValueError` when it is out of range."""
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if not math.isfinite(value) or not low <= value <= high or (self.above is not None and value <= self.above):
            raise ValueError(value)
        return value


EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")
MAX_OUTPUT: Final = 10_000_000
LONGEST: Final = 86_400
_LM, _SUB, _FLEET = "DSPY_LM_", "DSPY_SUB_LM_", "FLEET_RLM_"


def _of_models(name: str, words: str, **more: object) -> tuple[Setting, Setting]:
    """The same setting of the planner and of the sub-model, which takes the planner's where it is the same model."""
    common = {"group": TUNING, **more}
    option, label = str(common.pop("option")), str(common.pop("label"))
    planner = Setting(
        key=f"model.{name}", help=f"{words}.", variables=(f"{_LM}{name.upper()}",), options=(f"--{option}",),
        label=label, **common,  # type: ignore[arg-type]  # keyword arguments of several types in one dict
    )  # fmt: skip
    sub = Setting(
        key=f"model.sub_{name}", help=f"Sub-model: {words[0].lower()}{words[1:]}.",
        variables=(f"{_SUB}{name.upper()}",), options=(f"--sub-{option}",), label=f"sub {label}",
        **{**common, "default": "the planner's, where it is the same model"},  # type: ignore[arg-type]  # keyword arguments of several types in one dict
    )  # fmt: skip
    return planner, sub


_PAIRS = (
    _of_models("temperature", "Sampling temperature", option="temperature", label="temp", kind="number", low=0,
               high=2, default="the provider's", example="1.0"),
    _of_models("reasoning_effort", f"How much a reasoning model thinks: {', '.join(EFFORTS)}",
               option="reasoning-effort", label="effort", kind="choice", choices=EFFORTS, unit="EFFORT",
               default="the provider's", example="low"),
    _of_models("context_window", "Tokens of the context window, where none is known", option="context-window",
               label="window", kind="whole", low=256, high=100_000_000, unit="TOKENS", default="the known size",
               example="32768"),
    _of_models("price_in", "Dollars per million input tokens, where no price is known", option="price-in",
               label="price in", kind="number", low=0, unit="USD", default="the known price", example="0.25"),
    _of_models("price_out", "Dollars per million output tokens, where no price is known", option="price-out",
               label="price out", kind="number", low=0, unit="USD", default="the known price", example="2.00"),
)  # fmt: skip


def _timeout(name: str, words: str, label: str, default: str, example: str) -> Setting:
    dashed = name.replace("_", "-")
    return Setting(
        key=f"model.{name}", group=TUNING, help=words, kind="number", above=0, unit="SECONDS", label=label,
        variables=(f"{_FLEET}{name.upper()}",), options=(f"--{dashed}",), default=default, example=example,
    )  # fmt: skip


def _budget(name: str, words: str, options: tuple[str, ...], example: str, **more: object) -> Setting:
    return Setting(
        key=f"run.{name}", group=BUDGETS, help=words, variables=(f"{_FLEET}{name.upper()}",), options=options,
        default="the task's", example=example, **{"kind": "whole", "low": 0, **more},  # type: ignore[arg-type]  # keyword arguments of several types in one dict
    )  # fmt: skip


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(key="model.name", group=MODELS, help="The planner, such as openai/gpt-5-mini, or offline.",
            variables=("DSPY_LM_MODEL",), options=("--model", "-m"), default=OFFLINE, example="openai/gpt-5-mini"),
    Setting(key="model.api_key", group=TUNING, kind="secret", label="key from",
            help="The planner's key; an option names the variable that holds it.",
            variables=("DSPY_LLM_API_KEY", "DSPY_LM_API_KEY"), options=("--key-from",), example="your-key",
            default="the provider's own variable, such as OPENAI_API_KEY"),
    Setting(key="model.api_base", group=TUNING, kind="address", label="address",
            help="Another address than the provider's: a proxy, or a server of your own that speaks OpenAI's protocol.",
            variables=("DSPY_LM_API_BASE",), options=("--api-base",), default="the provider's",
            example="http://127.0.0.1:8000/v1"),
    Setting(key="model.max_tokens", group=TUNING, kind="whole", low=1, high=MAX_OUTPUT, label="answer",
            help="The longest answer of the planner, in tokens.", unit="TOKENS",
            variables=("DSPY_LM_MAX_TOKENS",), options=("--answer-tokens",), default="what the model allows",
            example="8192"),
    *(pair[0] for pair in _PAIRS),
    Setting(key="model.sub", group=MODELS, help="The model of sub-LLM calls.", variables=("DSPY_SUB_LM_MODEL",),
            options=("--sub-model",), default="the planner", example="openai/gpt-5-nano"),
    Setting(key="model.sub_api_key", group=TUNING, kind="secret", label="sub key from",
            help="The sub-model's key; an option names the variable that holds it.",
            variables=("DSPY_SUB_LM_API_KEY",), options=("--sub-key-from",), example="your-other-key",
            default="the planner's for the same provider and address, else the provider's own variable"),
    Setting(key="model.sub_api_base", group=TUNING, kind="address", label="sub address",
            help="The sub-model's address.", variables=("DSPY_SUB_LM_API_BASE",), options=("--sub-api-base",),
            default="the planner's for the same provider, else the provider's", example="http://127.0.0.1:8001/v1"),
    Setting(key="model.sub_max_tokens", group=TUNING, kind="whole", low=1, high=MAX_OUTPUT, label="sub answer",
            help="The longest answer of the sub-model, in tokens.", unit="TOKENS",
            variables=("DSPY_SUB_LM_MAX_TOKENS",), options=("--sub-answer-tokens",), default="the planner's",
            example="2048"),
    *(pair[1] for pair in _PAIRS),
    _timeout("first_token_timeout", "The longest wait for the beginning of an answer.", "first token", "180", "180"),
    _timeout("idle_timeout", "The longest pause within an answer.", "idle", "60", "60"),
    _timeout("answer_timeout", "The longest that a whole answer may take.", "whole answer", "900", "900"),
    _timeout("extraction_timeout", "The longest that the final answer may take once the run's seconds are spent.",
             "extraction", "as long as one answer", "900"),
    Setting(key="model.retries", group=TUNING, kind="whole", low=0, high=100, label="retries",
            help="How often a call is tried again after an error that may pass.", default="3",
            variables=("FLEET_RLM_RETRIES",), options=("--retries",), example="3"),
    Setting(key="run.concurrency", group=MODELS, kind="whole", low=1, high=256, help="Sub-LLM calls at once.",
            variables=("FLEET_RLM_CONCURRENCY",), options=("--concurrency",), default="8", example="8",
            label="at once"),
    _budget("max_iterations", "Turns of the planner.", ("--max-iterations",), "20", low=1),
    _budget("max_llm_calls", "Sub-LLM calls.", ("--max-llm-calls",), "50"),
    _budget("max_tokens", "Tokens of all calls together.", ("--max-tokens",), "2000000"),
    _budget("max_seconds", "Seconds after which the answer is forced from what is known.",
            ("--max-seconds", "--timeout"), "900", kind="number", unit="SECONDS"),
    _budget("max_cost_usd", "US dollars.", ("--max-cost",), "2.50", kind="number", unit="USD"),
    Setting(key="run.sandbox", group=SANDBOX, kind="choice", choices=("local", "modal", "auto"),
            help="Where generated code runs: an isolated process of this machine, Modal's cloud, or Modal where it is "
            "configured, else local.", variables=("FLEET_RLM_SANDBOX",), options=("--sandbox",), default="local",
            example="auto"),
    Setting(key="run.isolation", group=SANDBOX, env_file=False, variables=("FLEET_RLM_ISOLATION",),
            help="Modes of local isolation to try, in order, when it should not be the strongest that works here.",
            default="the strongest that works here", example="namespaces,bubblewrap,landlock"),
    Setting(key="run.on_sandbox_lost", group=SANDBOX, kind="choice", choices=("restart", "fail"),
            help="When the sandbox is lost in mid-run: go on in another one, its state rebuilt (twice in a row at "
            "most), or fail.", variables=("FLEET_RLM_ON_SANDBOX_LOST",), options=("--on-sandbox-lost",),
            default="restart", example="fail", label="lost sandbox"),
    Setting(key="run.on_hang_up", group=SCREEN, kind="choice", choices=("stop", "let-go"),
            help="When the terminal is closed or its connection drops: stop the runs of the screen, or let them go on, "
            "to be followed from their files.", variables=("FLEET_RLM_ON_HANG_UP",), options=("--on-hang-up",),
            default="stop", example="let-go"),
    Setting(key="modal.app", group=SANDBOX, help="Modal: the app that sandboxes belong to.", default="fleet-rlm"),
    Setting(key="modal.image", group=SANDBOX, help="Modal: an image's id or a registry's reference.",
            default="Debian with python_version"),
    Setting(key="modal.python_version", group=SANDBOX, help="Modal: Python's version in the image.", default="3.12"),
    Setting(key="modal.packages", group=SANDBOX, kind="names", options=("--image-package",), example="numpy",
            help="Modal: a package to install into the image."),
    Setting(key="modal.volume", group=SANDBOX, options=("--volume-name",),
            help="Modal: a volume at /data that keeps documents and results."),
    Setting(key="modal.secrets", group=SANDBOX, kind="names", options=("--secret-name",), example="search-key",
            help="Modal: a secret whose values the code may read."),
    Setting(key="modal.network", group=SANDBOX, kind="switch", default="false",
            help="Modal: whether generated code reaches the network."),
    Setting(key="modal.cpu", group=SANDBOX, kind="number", low=0.125, high=64, unit="CORES", options=("--cpu",),
            help="Modal: cores of the sandbox."),
    Setting(key="modal.memory", group=SANDBOX, kind="whole", low=128, high=344_064, unit="MIB", options=("--memory",),
            help="Modal: memory of the sandbox."),
    Setting(key="modal.timeout", group=SANDBOX, kind="number", low=10, high=LONGEST, unit="SECONDS",
            options=("--sandbox-timeout",), help="Modal: longest life of the sandbox.", default="3600"),
    Setting(key="FLEET_RLM_SECRET_NAME", group=ACCOUNT, variables=("FLEET_RLM_SECRET_NAME",), example="LITELLM",
            help="The Modal secret that `fleet-rlm check-secret` checks.", default="LITELLM"),
    Setting(key="MODAL_TOKEN_ID", group=ACCOUNT, kind="secret", variables=("MODAL_TOKEN_ID",), example="ak-…",
            help="Modal's token, when `modal token new` has not written it to ~/.modal.toml."),
    Setting(key="MODAL_TOKEN_SECRET", group=ACCOUNT, kind="secret", variables=("MODAL_TOKEN_SECRET",), example="as-…",
            help="The second half of Modal's token."),
    Setting(key="MODAL_ENVIRONMENT", group=ACCOUNT, variables=("MODAL_ENVIRONMENT",), example="main",
            help="The environment of the Modal workspace.", default="the workspace's own"),
)  # fmt: skip

BY_KEY: Final[Mapping[str, Setting]] = {setting.key: setting for setting in SETTINGS}
