"""dspy's chat adapter with tolerant readers: any form of planner reply, and fields in JSON, XML or other headers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.adapters.utils import apply_output_field_defaults, parse_value

from fleet_rlm import replies
from fleet_rlm.engine.models.prompt_cache import EXTRACTION, header

OUTPUTS = "Your output fields are:"
LAST_REQUEST = "No further step is run: write no code. Instead of `reasoning` and `code`, give the final outputs now."
WHERE_CODE_RUNS = "The code is the next step in the Python REPL environment."


class Verbatim(str):
    """Code without its fence. dspy strips nothing from it, even when the code itself contains fences."""

    left_out = ""
    """The part of the reply that did not run, in words for the planner."""

    def strip(self, _chars: str | None = None, /) -> Verbatim:
        return self

    def __contains__(self, part: object) -> bool:
        return part != "```" and isinstance(part, str) and super().__contains__(part)

    @classmethod
    def of(cls, reply: replies.Reply) -> Verbatim:
        code = cls(reply.code)
        code.left_out = reply.left_out
        return code


class FieldsAdapter(dspy.ChatAdapter):
    """Asks as dspy's ChatAdapter does, and reads the fields also from JSON, XML and differently written headers.

    A reply that can't be read even so is asked for once more as JSON, by dspy itself.
    """

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Return the fields' values. Raises `AdapterParseError`."""
        try:
            parsed: dict[str, Any] = super().parse(signature, completion)
        except dspy.AdapterParseError as error:
            for texts in replies.fields(completion, tuple(signature.output_fields)):
                if (values := _typed(signature, texts)) is not None:
                    return values
            raise error from None
        return parsed


def _typed(signature: type[dspy.Signature], texts: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        values = {name: parse_value(text, signature.output_fields[name].annotation) for name, text in texts.items()}
        values = apply_output_field_defaults(signature, values)
    except (ValueError, TypeError, RecursionError):
        return None
    return values if values.keys() == signature.output_fields.keys() else None


class ExtractionAdapter(FieldsAdapter):
    """Asks for the outputs at the end of the planner's own prompt, which providers have in their cache by then."""

    def __init__(self, planner: type[dspy.Signature], demos: list[dict[str, Any]]) -> None:
        """`planner` and `demos` are what the planner was asked with last."""
        super().__init__()
        self._planner, self._demos = planner, demos

    def format(
        self, signature: type[dspy.Signature], _demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the planner's messages, byte for byte up to the end of the history, then the request."""
        outputs = functools.reduce(lambda left, name: left.delete(name), signature.input_fields, signature)
        described = "".join(self.format_system_message(outputs).partition(OUTPUTS)[1:])
        request = f"{LAST_REQUEST}\n{described}\n\n{self.user_message_output_requirements(outputs)}"
        messages: list[dict[str, Any]] = super().format(self._planner, self._demos, {**inputs, EXTRACTION: request})
        return messages

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Return a message of the planner's, without its own last field where the extraction's stands."""
        end = f"{header(EXTRACTION)}\n{inputs[EXTRACTION]}" if main_request else suffix
        content: str = super().format_user_message_content(signature, inputs, prefix, end)
        return content


class PlannerAdapter(dspy.ChatAdapter):
    """Asks as dspy's ChatAdapter does, and reads reasoning and code from any form of reply."""

    def __init__(self) -> None:
        super().__init__(use_json_adapter_fallback=False)

    def user_message_output_requirements(self, signature: type[dspy.Signature]) -> str:
        """Return the reminder of the format, and where the code runs: the instructions are the extraction's too."""
        return f"{super().user_message_output_requirements(signature)} {WHERE_CODE_RUNS}"

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Return reasoning and unfenced code. Raises `AdapterParseError`, caused by `replies.Unreadable`."""
        try:
            reply = replies.read(completion)
        except replies.Unreadable as error:
            raise dspy.AdapterParseError("PlannerAdapter", signature, completion, str(error)) from error
        return {"reasoning": reply.reasoning, "code": Verbatim.of(reply)}

    def _call_postprocess(
        self,
        processed_signature: type[dspy.Signature],
        original_signature: type[dspy.Signature],
        outputs: Sequence[Any],
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        texts = [_calls_as_text(output) for output in outputs]
        parsed: list[dict[str, Any]] = super()._call_postprocess(
            processed_signature, original_signature, texts, lm, lm_kwargs
        )
        return parsed


def _calls_as_text(output: Any) -> Any:
    """Turn a reply that only calls a tool (none was offered) into the text that `replies` reads."""
    if not isinstance(output, Mapping) or (output.get("text") or "").strip() or not output.get("tool_calls"):
        return output
    return {**output, "text": json.dumps({"tool_calls": output["tool_calls"]}, default=vars), "tool_calls": None}
