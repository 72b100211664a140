"""Which models a run asks, with which key, at which address: a key goes only where it was configured to go.

A generic key (`DSPY_LLM_API_KEY`) belongs to the model and the address that it was configured with. Every other
provider gets its own variable's key, or none. An address from a less trusted source never gets a more trusted
source's key.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from fleet_rlm.config.problem import Problem
from fleet_rlm.config.providers import PROVIDER_KEYS, SUGGESTED, addresses_of, keys_of, malformed, provider_of
from fleet_rlm.config.setting_sources import Settings, Trust, Value
from fleet_rlm.config.settings_table import BY_KEY, OFFLINE, Parsed

DEFAULT_MAX_TOKENS: Final = 8192
"""The longest answer where nobody says one and the model's own limit is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One model and how to reach it."""

    model: str
    """LiteLLM's notation, such as `openai/gpt-5-mini`, or `offline`."""
    source: str
    """The source of the choice, for a person: `--model`, `DSPY_LM_MODEL in the environment`, `nothing configured`."""
    api_key: str | None = field(default=None, repr=False)
    """None: there is none, or the provider's client finds its own."""
    key_source: str = ""
    api_base: str | None = None
    max_tokens: int | None = None
    """Longest answer, in tokens; None: nobody said, so the model's own limit counts."""
    temperature: float | None = None
    reasoning_effort: str | None = None
    context_window: int | None = None
    """In tokens, where the person set it."""
    price_in: float | None = None
    """US dollars per million input tokens."""
    price_out: float | None = None
    problem: Problem | None = None
    """The reason why this model can't be asked; None if it can."""

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
        """The reason why a run can't start with these models; None if it can."""
        return self.planner.problem or self.sub.problem


def model_choice(settings: Settings, model: str | None = None, sub_model: str | None = None) -> ModelChoice:
    """Choose the models of a run: as asked, else as configured, else `offline`. Never raises; see `problem`."""
    settings = settings.asking({"model.name": (model or "").strip(), "model.sub": (sub_model or "").strip()})
    named = settings.value("model.name")
    planner = _Role(settings, "").config(named)
    sub_named = settings.value("model.sub")
    if planner.offline and (sub_named is None or sub_named.trust is not Trust.OPTION):
        return ModelChoice(planner, planner)
    sub_role = _Role(settings, "sub_", planner, named)
    if sub_named is None and not sub_role.differs:
        return ModelChoice(planner, planner)
    return ModelChoice(planner, sub_role.config(sub_named or named))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A key, and what decides where it would be sent; None: the provider's own address."""

    key: Value
    leads: Value | None


@dataclass(frozen=True, slots=True)
class _Role:
    """The planner (`prefix` is empty) or the sub-model (`sub_`), whose own settings count before the planner's."""

    settings: Settings
    prefix: str
    planner: ModelConfig | None = None
    planner_named: Value | None = None

    @property
    def differs(self) -> bool:
        """True if a setting applies to the sub-model alone."""
        return any(self.settings.value(key) for key in BY_KEY if key.startswith("model.sub_"))

    def config(self, named: Value | None) -> ModelConfig:
        if named is None or named.text.lower() == OFFLINE:
            return ModelConfig(model=OFFLINE, source=named.where if named else "nothing configured")
        name = named.text
        key, base, problem = self._key_and_address(name, named)
        model = ModelConfig(
            model=name,
            source=named.where,
            api_key=key.text if key else None,
            key_source=key.where if key else "",
            api_base=base.text if base else None,
            max_tokens=_whole(self._tuned("max_tokens", name, always=True)),
            temperature=_float(self._tuned("temperature", name)),
            reasoning_effort=_text(self._tuned("reasoning_effort", name)),
            context_window=_whole(self._tuned("context_window", name)),
            price_in=_float(self._tuned("price_in", name)),
            price_out=_float(self._tuned("price_out", name)),
        )
        return replace(model, problem=self.settings.stopping or _name_problem(named) or problem)

    def _tuned(self, what: str, name: str, *, always: bool = False) -> Parsed | None:
        """The sub-model's own value, else the planner's where it is the same model (or `always`)."""
        own = self.settings.get(f"model.{self.prefix}{what}")
        if own is None and self.planner is not None and (always or name == self.planner.model):
            return self.settings.get(f"model.{what}")
        return own

    def _key_and_address(self, name: str, named: Value) -> tuple[Value | None, Value | None, Problem | None]:
        provider = provider_of(name)
        base = self._address(provider)
        candidates = list(self._keys(provider, base, named))
        if candidates and not (said := candidates[0].key).text:
            variable = said.variable.split()[-1]
            problem = Problem(f"{said.variable}: there is no such variable.", f"Set it: export {variable}=…")
            return None, base, problem
        key = next((one.key for one in candidates if one.key.text and self._may_go(one)), None)
        if key is not None:
            return key, base, None
        if base is not None:
            return None, base, _redirected(candidates[0].key, base) if candidates else None
        if provider in PROVIDER_KEYS:
            kept_keys = [one.key for one in candidates]
            generic = "DSPY_SUB_LM_API_KEY" if self.prefix else "DSPY_LLM_API_KEY" if self._generic(provider) else ""
            return None, None, _missing_key(self.settings, named, provider, kept_keys, generic)
        return None, None, None

    def _may_go(self, candidate: _Candidate) -> bool:
        """True if a key may go to the model's address: no less trusted source has chosen model or address."""
        key, leads = candidate.key, candidate.leads
        if leads is None or leads.trust <= key.trust:
            return True
        # config.toml names a model and its address, and the key stands in the environment: both are the person's.
        person = (Trust.ENVIRONMENT, Trust.CONFIG_FILE)
        return (key.trust, leads.trust) == person and self.settings.at(Trust.ENVIRONMENT, "model.name") is None

    def _address(self, provider: str) -> Value | None:
        """The address that is configured for this model; None: the provider's own."""
        own = self.settings.value(f"model.{self.prefix}api_base")
        if own is not None and (self.prefix or self._generic(provider, own)):
            return own
        if self.planner is not None and provider == self.planner.provider:
            return _Role(self.settings, "")._address(provider)
        # In the real environment the provider's client reads these itself; of a `.env` it must hear them from here.
        names = addresses_of(provider)
        if any(self.settings.variable(name, Trust.ENVIRONMENT) for name in names):
            return None
        found = (self.settings.variable(name, Trust.ENV_FILE) for name in names)
        return next((value for value in found if value is not None), None)

    def _keys(self, provider: str, base: Value | None, named: Value) -> Iterator[_Candidate]:
        """Every key that this model might be asked with, the preferred one first."""
        own_address = bool(self.prefix) and self.settings.value("model.sub_api_base") is not None
        if self.prefix:
            yield from (_Candidate(key, base or named) for key, _ in self._said("model.sub_api_key"))
        if self.planner is None or (provider == self.planner.provider and not own_address):
            for key, by_option in self._said("model.api_key"):
                if by_option or self._generic(provider, key):
                    yield _Candidate(key, base or self.planner_named or named)
        if not own_address:  # a provider's own key goes to the provider's own address whoever chose the model
            for variable in keys_of(provider):
                for trust in (Trust.ENVIRONMENT, Trust.ENV_FILE):
                    if value := self.settings.variable(variable, trust):
                        yield _Candidate(value, base)

    def _said(self, setting: str) -> Iterator[tuple[Value, bool]]:
        """The keys that each source says, and whether an option names the variable that holds it."""
        for trust in Trust:
            value = self.settings.at(trust, setting)
            if value is None:
                continue
            if trust is not Trust.OPTION:
                yield value, False
                continue
            held = (self.settings.variable(value.text, where) for where in (Trust.ENVIRONMENT, Trust.ENV_FILE))
            missing = replace(value, text="", variable=f"{value.variable} {value.text}")
            yield next((one for one in held if one is not None), missing), True

    def _generic(self, provider: str, value: Value | None = None) -> bool:
        """True if a generic key or address belongs to this provider, judged by the model named beside it."""
        if value is not None and value.trust is Trust.OPTION:
            return True
        beside = self.settings.at(value.trust, "model.name") if value else None
        owner = beside or next(
            (
                found
                for trust in (Trust.ENVIRONMENT, Trust.CONFIG_FILE, Trust.ENV_FILE)
                if (found := self.settings.at(trust, "model.name"))
                and (value is None or trust <= max(value.trust, Trust.CONFIG_FILE))
            ),
            None,
        )
        return owner is None or owner.text.lower() == OFFLINE or provider_of(owner.text) == provider


def _redirected(key: Value, base: Value) -> Problem:
    return Problem(
        f"The key {key.where} is not sent to the address that {base.where} names: {base.source} is trusted less.",
        f"Set {base.variable} where the key is set ({key.source or 'the command line'}), or write the key of that "
        f"address into {base.source}: DSPY_LLM_API_KEY=its-key (none, if it needs none).",
        stops=True,
    )


def _missing_key(settings: Settings, named: Value, provider: str, kept: list[Value], generic: str) -> Problem:
    known = [*([generic] if generic else []), *PROVIDER_KEYS[provider]]
    if kept:
        return Problem(
            f"The key {kept[0].where} is not sent to {provider}: {named.where} chose {named.text}, and is trusted "
            "less than the key's source.",
            f"Set {BY_KEY['model.name'].variables[0]} where the key is set, use --model {named.text}, "
            f"or set {PROVIDER_KEYS[provider][0]}.",
        )
    if settings.env_files:
        where = f"the environment and {' and '.join(map(str, settings.env_files))} were read"
    else:
        where = f"the environment was read, and there is no {' and '.join(map(str, settings.env_searched))}"
    return Problem(
        f"{named.text} (from {named.where}) needs a key: {' or '.join(known)} is not set; {where}.",
        f"Add this line to {settings.env_file}: {known[0]}=your-key   (or use --model offline, which needs none)",
    )


def _name_problem(named: Value) -> Problem | None:
    right = malformed(named.text)
    if not right or provider_of(named.text) in _registered():
        return None
    return Problem(
        f"{named.text[:80]!r} ({named.where}) is no model's name: names are provider/model.",
        f"Did you mean {right}? Others: {', '.join(list(SUGGESTED.values())[:3])}, offline.",
    )


def _registered() -> set[str]:
    """Providers that this program has added to dspy's."""
    dspy = sys.modules.get("dspy.lm15")
    if dspy is None:
        return set()
    return {name for one in dspy.registered_providers() for name in (one.definition.id, *one.definition.aliases)}


def _whole(value: Parsed | None) -> int | None:
    return value if isinstance(value, int) else None


def _float(value: Parsed | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _text(value: Parsed | None) -> str | None:
    return value if isinstance(value, str) else None
