"""What a model call costs: as its provider says, else by the price that the person set, else by the catalogue's."""

from __future__ import annotations

from dataclasses import dataclass

from dspy import lm15
from dspy.clients.call_result import usage_dict
from dspy.clients.costs import estimate_cost

from fleet_rlm import events as ev
from fleet_rlm.engine.models.model_facts import estimated_tokens, facts_of
from fleet_rlm.engine.models.model_form import prompt_tokens
from fleet_rlm.engine.models.model_settings import ModelSettings

MILLION = 1_000_000
Served = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token."""

    input: float
    output: float

    def of(self, usage: ev.Usage) -> float:
        return usage.input * self.input + usage.output * self.output


def price_of(settings: ModelSettings) -> Price | None:
    """A model's price, None when it is not known."""
    if settings.offline:
        return Price(0.0, 0.0)
    if settings.price_in is not None or settings.price_out is not None:
        return Price((settings.price_in or 0.0) / MILLION, (settings.price_out or 0.0) / MILLION)
    entry = facts_of(settings.model).entry
    rates = [rate for way in ("input", "output") if isinstance(rate := entry.get(f"{way}_cost_per_token"), int | float)]
    return Price(float(rates[0]), float(rates[1])) if len(rates) == 2 else None


def usage_of(request: lm15.Request, response: lm15.Response, provider: str | None) -> ev.Usage:
    """The tokens of an answer, as counted by the provider; estimated from the texts where it says nothing sensible."""
    counted = usage_dict(response, provider)
    read, written = counted.get("prompt_tokens"), counted.get("completion_tokens")
    thinking = "".join(part.text or "" for part in response.message.parts if part.type == "thinking")
    says_text = bool(response.text or thinking)
    if read and (written or not says_text):
        details = counted.get("prompt_tokens_details") or {}
        return ev.Usage(input=read, output=written or 0, cached=min(details.get("cached_tokens") or 0, read))
    output = written or estimated_tokens(thinking) + estimated_tokens(response.text or "")
    return ev.Usage(input=read or prompt_tokens(request), output=output, estimated=True)


def cost_of(
    request: lm15.Request, response: lm15.Response, usage: ev.Usage, settings: ModelSettings, served: Served
) -> float | None:
    """What an answer cost in US dollars, None when no price is known; `served` is the provider and its model's name."""
    if settings.offline:
        return 0.0
    if (said := _said_cost(response)) is not None:
        return said
    price = price_of(settings)
    if settings.price_in is None and settings.price_out is None and not usage.estimated:
        provider, model = served
        cost, _ = estimate_cost(response, provider=provider, requested_model=model, request=request)
        if cost is not None:
            return float(cost)
    return price.of(usage) if price is not None else None


def _said_cost(response: lm15.Response) -> float | None:
    """The cost that the provider reports beside its counts (OpenRouter, Perplexity, LiteLLM's proxy, DeepInfra)."""
    usage = (response.provider_data or {}).get("usage")
    if not isinstance(usage, dict):
        return None
    for name in ("cost", "total_cost", "estimated_cost", "cost_usd"):
        value = usage.get(name)
        if isinstance(value, dict):
            value = value.get("total_cost")
        try:
            cost = float(value) if value is not None and not isinstance(value, bool) else -1.0
        except (TypeError, ValueError):
            continue
        if 0 <= cost < float("inf"):
            return cost
    return None
