"""Model providers: whose name is in a model's name, which variables hold its key, and names that can't be right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fleet_rlm.config.settings_table import OFFLINE

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

SUGGESTED: Final[Mapping[str, str]] = {
    "openai": "openai/gpt-5-mini",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "openrouter": "openrouter/openai/gpt-5-mini",
    "groq": "groq/llama-3.3-70b-versatile",
    "mistral": "mistral/mistral-large-latest",
    "deepseek": "deepseek/deepseek-chat",
    "xai": "xai/grok-4",
    "together_ai": "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks_ai": "fireworks_ai/accounts/fireworks/models/llama-v3p3-70b-instruct",
    "cohere": "cohere/command-a-03-2025",
    "perplexity": "perplexity/sonar",
    "cerebras": "cerebras/llama-3.3-70b",
}
"""A model of each provider to begin with."""

# fmt: off
_OTHERS: Final = frozenset((
    "a2a", "a2a_agent", "ai21", "ai21_chat", "aiml", "aiohttp_openai", "amazon_nova", "anthropic_text", "azure_ai",
    "azure_text", "baseten", "bedrock", "bedrock_mantle", "bytez", "chatgpt", "chutes", "clarifai", "cloudflare",
    "codestral", "cohere_chat", "cometapi", "compactifai", "cursor", "custom", "custom_openai", "dashscope",
    "databricks", "datarobot", "deepinfra", "docker_model_runner", "empower", "featherless_ai", "friendliai",
    "galadriel", "gdc", "gigachat", "github", "github_copilot", "gradient_ai", "helicone", "heroku", "hosted_vllm",
    "huggingface", "hyperbolic", "inception", "lambda_ai", "lemonade", "litellm_proxy", "llamafile", "lm_studio",
    "maritalk", "meta", "meta_llama", "minimax", "modelscope", "moonshot", "morph", "nano-gpt", "nebius", "nlp_cloud",
    "novita", "nscale", "nvidia_nim", "oci", "ollama", "ollama_chat", "oobabooga", "openai_like", "ovhcloud",
    "petals", "poe", "predibase", "publicai", "qwencloud", "replicate", "sagemaker", "sagemaker_chat",
    "sagemaker_nova", "sambanova", "sap", "scaleway", "snowflake", "synthetic", "tencent",
    "text-completion-codestral", "text-completion-openai", "triton", "v0", "vercel_ai_gateway", "vertex_ai",
    "vertex_ai_beta", "vllm", "volcengine", "wandb", "watsonx", "watsonx_text", "xiaomi_mimo", "xinference", "zai",
    "azure_responses", "openai_responses", "bedrock_converse", "responses",
))
# fmt: on
"""Further providers that LiteLLM or dspy know."""
_COMMON: Final = (
    "ollama_chat",
    "ollama",
    "hosted_vllm",
    "lm_studio",
    "bedrock",
    "vertex_ai",
    "azure_ai",
    "litellm_proxy",
)
"""Further provider names that a mistyped one is compared with."""
_GUESSES: Final = {"gpt-": "openai", "claude-": "anthropic", "gemini-": "gemini"}
_BRANDS: Final = {"gpt": "openai", "chatgpt": "openai", "claude": "anthropic", "google": "gemini", "grok": "xai"}


def provider_of(model: str) -> str:
    """`openai` of `openai/gpt-5-mini`; guessed for names without a provider that leave no doubt, else empty."""
    provider, slash, _ = model.partition("/")
    if slash:
        return provider.lower()
    lower = model.lower()
    if re.fullmatch(r"o[134](-[\w.-]+)?", lower):
        return "openai"
    return next((name for start, name in _GUESSES.items() if lower.startswith(start)), "")


def keys_of(provider: str) -> tuple[str, ...]:
    """The variables in which a provider's key is looked for."""
    plain = re.sub(r"\W", "_", provider).upper()
    return PROVIDER_KEYS.get(provider, (f"{plain}_API_KEY",) if plain else ())


def addresses_of(provider: str) -> tuple[str, ...]:
    """The variables in which a provider's tools look for another address than its own."""
    plain = re.sub(r"\W", "_", provider).upper()
    return tuple(f"{plain}_{end}" for end in ("API_BASE", "BASE_URL", "API_BASE_URL")) if plain else ()


def malformed(model: str) -> str:
    """The closest right form of a model's name that can't be right; empty when nothing is wrong with it."""
    import difflib  # only a wrong name needs it

    name = model.strip("\"'` \t")
    if name != model or any(c.isspace() for c in name) or not name.isprintable() or "://" in name:
        spaced = re.sub(r"\s+", "-", re.sub(r"^\w+://[^/]*/?", "", name))
        bare = "".join(filter(str.isprintable, spaced)) or "gpt-5-mini"
        owner = provider_of(bare)
        return malformed(bare) or (bare if "/" in bare or bare == OFFLINE else f"{owner or 'openai'}/{bare}")
    provider, slash, rest = name.partition("/")
    if slash:
        if provider and rest and provider.lower() in _known() and not rest.startswith("/"):
            return "" if provider == provider.lower() else f"{provider.lower()}/{rest}"
        if not provider or not rest.strip("/"):
            return malformed(provider or rest.strip("/")) or (provider or rest.strip("/"))
        close = difflib.get_close_matches(provider.lower(), [*PROVIDER_KEYS, *_BRANDS, *_COMMON], 1, 0.75)
        found = _BRANDS.get(close[0], close[0]) if close else "openai"
        return f"{found}/{rest.lstrip('/')}" if close else f"openai/{name}"
    if provider_of(name) or name.lower() == OFFLINE:
        return ""
    lower = name.lower()
    if ":" in name and (head := lower.partition(":")[0]) in _known():
        return f"{head}/{name.partition(':')[2]}" if name.partition(":")[2] else malformed(head)
    if difflib.SequenceMatcher(None, lower, OFFLINE).ratio() > 0.8:
        return OFFLINE
    if lower in SUGGESTED:
        return SUGGESTED[lower]
    brand = next((own for start, own in _BRANDS.items() if lower.startswith(start)), "")
    if brand:
        return SUGGESTED[brand] if lower in _BRANDS else f"{brand}/{re.sub(r'^(gpt)(?=[0-9])', r'gpt-', lower)}"
    close = difflib.get_close_matches(lower, list(SUGGESTED), 1, 0.75)
    return SUGGESTED[close[0]] if close else f"ollama_chat/{name}" if ":" in name else f"openai/{name}"


def _known() -> frozenset[str]:
    return _OTHERS | frozenset(PROVIDER_KEYS)
