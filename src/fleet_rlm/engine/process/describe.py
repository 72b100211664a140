"""Answer a screen's questions before a run, without importing dspy unless a signature or tools are asked for.

The question is a JSON object; every key is optional, and the answer has a part for each:

- `signature` (with `instructions`): its fields with their types, or `error` and `hint`; DSPy's notation or
  `module:Class`, whose module is looked for in `cwd` too;
- `tools`: the name and description of each, or `error` and `hint`;
- `cwd`, `model`, `sub_model`: always answered under `models`: the models that a run would use, and what is missing;
- always `modal`: whether a token is configured, and what is missing (`ready`, `words`, `hint`);
- `isolation: true`: each mode of local isolation, tried on this machine now (some tens of milliseconds each).
"""

from __future__ import annotations

import msgspec

from fleet_rlm import config
from fleet_rlm.config.modal_login import modal_login
from fleet_rlm.engine.run_errors import SetupError
from fleet_rlm.events import Json
from fleet_rlm.sandbox.host import artefact
from fleet_rlm.sandbox.host.transport import Limits, TransportError
from fleet_rlm.sandbox.local import DEFAULT_ORDER, launch


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The question, as decoded from JSON."""

    signature: str | None = None
    tools: tuple[str, ...] = ()
    instructions: str = ""
    cwd: str = "."
    model: str | None = None
    sub_model: str | None = None
    isolation: bool = False


def describe(question: str) -> bytes:
    """Return the answer as one JSON object. A question that can't be read is answered with `error`."""
    try:
        asked = msgspec.json.decode(question, type=Question)
    except msgspec.DecodeError as error:
        return msgspec.json.encode({"error": f"the question can't be read: {error}", "hint": ""})
    answer: dict[str, Json] = {"models": _models(asked), "modal": _modal(asked)}
    if asked.signature is not None:
        answer["signature"] = _signature(asked.signature, asked.instructions, asked.cwd)
    if asked.tools:
        answer["tools"] = _tools(asked)
    if asked.isolation:
        answer["isolation"] = [_isolation(mode) for mode in DEFAULT_ORDER]
    return msgspec.json.encode(answer)


def _signature(text: str, instructions: str, cwd: str) -> Json:
    from fleet_rlm.engine.prepare import (  # imports dspy: half a second that other questions don't cost
        own_code,
        signature_notation,
    )

    try:
        signature = own_code.signature_of(text, instructions, cwd)
        signature_notation.check(signature, text)
        return signature_notation.fields_of(signature)
    except SetupError as error:
        return {"error": error.message, "hint": error.hint}


def _tools(asked: Question) -> Json:
    from fleet_rlm.engine.prepare import own_code

    try:
        found = own_code.tools(asked.tools, asked.cwd)
    except SetupError as error:
        return {"error": error.message, "hint": error.hint}
    return {"found": [{"name": tool.name, "description": tool.record.description} for tool in found]}


def _models(asked: Question) -> Json:
    choice = config.model_choice(config.load(asked.cwd), asked.model, asked.sub_model)

    def one(model: config.ModelConfig) -> Json:
        problem = {"error": model.problem.message, "hint": model.problem.hint} if model.problem else None
        return {"model": model.model, "source": model.source, "offline": model.offline, "problem": problem}

    return {"planner": one(choice.planner), "sub": one(choice.sub), "ready": choice.problem is None}


def _modal(asked: Question) -> Json:
    login = modal_login(config.load(asked.cwd).environment)
    if login.problem is not None:
        return {"ready": False, "words": login.problem.message, "hint": login.problem.hint}
    return {"ready": True, "words": f"by {login.source}", "hint": ""}


def _isolation(mode: str) -> Json:
    """Start an empty program in this mode and return the proofs of isolation."""
    try:
        with launch(artefact.program(""), limits=Limits(), modes=(mode,)) as process:
            report = process.report
    except (TransportError, OSError) as error:
        return {"mode": mode, "ready": False, "words": str(error)}
    return {
        "mode": mode,
        "ready": True,
        "words": report.words,
        "proven": report.proven,
        "not_protected": report.not_protected,
    }
