"""The tasks of `fleet_rlm.tasks` as DSPy signatures, for a `dspy.RLM` of one's own.

`dspy.RLM(ExtractAPIEndpoints, tools=[…])`: the same fields, types and instructions that `fleet-rlm run --task` uses.
Importing this module imports dspy.
"""

from __future__ import annotations

import dspy

from fleet_rlm import tasks
from fleet_rlm.engine.prepare import signature_notation


def _of(name: str) -> type[dspy.Signature]:
    task = tasks.get(name)
    signature = signature_notation.build(task.signature, task.instructions, task.fields)
    signature.__name__ = signature.__qualname__ = task.class_name
    signature.__module__ = __name__
    return signature


AnswerQuestion = _of("ask")
AnswerByComputing = _of("basic")
SumUpBriefly = _of("brief")
SummarizeLongDocument = _of("summarize")
AnalyzeLongDocument = _of("long-context")
ExtractArchitecture = _of("architecture")
ExtractAPIEndpoints = _of("api-endpoints")
FindErrorPatterns = _of("error-patterns")
ExtractWithCustomTool = _of("custom-tool")
ExtractFromLogs = _of("logs")

__all__ = [
    "AnalyzeLongDocument",
    "AnswerByComputing",
    "AnswerQuestion",
    "ExtractAPIEndpoints",
    "ExtractArchitecture",
    "ExtractFromLogs",
    "ExtractWithCustomTool",
    "FindErrorPatterns",
    "SumUpBriefly",
    "SummarizeLongDocument",
]
