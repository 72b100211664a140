from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_rlm.engine.models.model_facts import ModelFacts, estimated_tokens, facts_of


@pytest.mark.parametrize(
    ("model", "input_limit", "output_limit"),
    [
        ("openai/gpt-4o-mini", 128_000, 16_384),
        ("openai/gpt-5-mini", 272_000, 128_000),
        ("openai/responses/gpt-5-mini", 272_000, 128_000),
        ("gpt-4o", 128_000, 16_384),
        ("litellm_proxy/gpt-4o", 128_000, 16_384),
        ("together_ai/Qwen/Qwen2.5-7B-Instruct-Turbo", 32_768, None),
    ],
)
def test_sizes_come_from_the_catalogue(model: str, input_limit: int, output_limit: int | None) -> None:
    facts = facts_of(model)
    assert (facts.input_limit, facts.output_limit) == (input_limit, output_limit)


@pytest.mark.parametrize("model", ["openai/no-such-model", "ollama_chat/llama3.2", "offline/extractive", ""])
def test_a_model_outside_the_catalogue_has_no_known_facts(model: str) -> None:
    assert facts_of(model) == ModelFacts()


def test_a_price_is_never_taken_from_another_provider() -> None:
    assert "input_cost_per_token" in facts_of("openai/gpt-4o").entry
    assert not facts_of("litellm_proxy/gpt-4o").entry


@pytest.mark.parametrize(
    ("text", "tokens"),  # as OpenAI's tokenizer o200k counts them, or near
    [
        ("The access code of the Marlow depot is seven thousand. " * 40, 400),
        ("lorem ipsum " * 900, 1_800),
        ("def f(x):\n    return {'a': x[0], 'b': (x[1] + 2) ** 3}\n" * 50, 1_500),
        ("这是一个测试文本，我们需要估算令牌数量。" * 50, 750),
    ],
)
def test_tokens_are_estimated_within_a_third(text: str, tokens: int) -> None:
    assert 0.67 * tokens < estimated_tokens(text) < 1.5 * tokens


@given(st.text(max_size=300), st.integers(1, 400))
def test_a_text_repeated_is_about_as_many_times_the_tokens(text: str, times: int) -> None:
    once, many = estimated_tokens(text + "\n"), estimated_tokens((text + "\n") * times)
    assert many <= (once + 1) * times * 1.2 + 10
    assert many >= (once - 1) * times * 0.8 - 10
