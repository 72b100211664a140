"""The tree of what is under way, as dspy's call ids give it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

import dspy
from dspy.utils.callback import ACTIVE_CALL_ID

from fleet_rlm import events as ev
from fleet_rlm.engine.models.observed_engine import Answered
from fleet_rlm.engine.trace.stored_prompts import Prompt
from fleet_rlm.events import Json

Kind = Literal["rlm", "plan", "predict", "extract", "module", "lm", "execution", "call", "hidden"]
SPAN_CHARS = 12


def span_of(call_id: str) -> str:
    return call_id[:SPAN_CHARS]


_OF_THE_CELL = ("iteration", "iteration_span", "origin", "submission", "last_error")


@dataclass(slots=True)
class AgentState:
    """What the observer knows of one Recursive Language Model, the run's own or a sub-agent."""

    root: bool
    span: str
    """What its iterations hang on: the run's span, or the sub-agent call's."""
    iteration: int = 0
    iteration_span: str | None = None
    origin: ev.Origin = "planner"
    """Whose the next code is."""
    skip_next: bool = False
    """The person skipped the next cell."""
    submission: dict[str, Json] | None = None
    """What generated code submitted, until dspy accepts or rejects it."""
    last_prompt: tuple[str, Prompt] | None = None
    """The span and the whole text of the newest planner prompt."""
    history: int = 0
    last_error: ev.Failure | None = None
    """The error of the newest execution, None when it went well."""

    @contextlib.contextmanager
    def replaying(self) -> Iterator[AgentState]:
        """While earlier cells run again: what is told in here of iteration and code is theirs, and forgotten after."""
        kept = {name: getattr(self, name) for name in _OF_THE_CELL}
        self.origin = "replayed"
        try:
            yield self
        finally:
            for name, value in kept.items():
                setattr(self, name, value)


@dataclass(slots=True)
class Node:
    """One dspy call under way."""

    id: str
    kind: Kind
    instance: object
    parent: Node | None
    span: str
    began: float = field(default_factory=time.monotonic)
    agent: AgentState | None = None
    """Of an `rlm` node: itself; of every other: the nearest around it."""
    type: ev.CallType | None = None
    """Of a `call` node."""
    role: Literal["planner", "extraction", "sub"] | None = None
    """Of an `lm` node."""
    slot: Slot | None = None
    text: str | None = None
    """Of a `predict` node: the model's raw answer."""
    answered: Answered | None = None
    queued_seconds: float = 0.0
    recalled: bool = False
    """Of a `call` node: its answer was got before."""
    open_planner: str | None = None
    """Of a `predict` node: the planner span that has begun and not ended."""
    details: dict[str, str] = field(default_factory=dict)
    prompts: list[str | None] = field(default_factory=list)
    """Of a batch: its prompts, until their calls begin."""

    def up(self) -> Iterator[Node]:
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def nearest(self, *kinds: Kind) -> Node | None:
        return next((node for node in self.up() if node.kind in kinds), None)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass(slots=True)
class Slot:
    """A place in a batch whose row exists before its model call does."""

    span: str
    began: float = field(default_factory=time.monotonic)
    taken: bool = False
    finished: bool = False


CURRENT_SLOT: ContextVar[Slot | None] = ContextVar("fleet_rlm_slot", default=None)
"""Set by the bridge around the call of one member of a batch."""


class Tree:
    """The calls under way, by dspy's id. Thread-safe by single dict operations."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def push(self, call_id: str, kind: Kind, instance: object) -> Node:
        parent = self.current()
        node = Node(call_id, kind, instance, parent, span_of(call_id))
        node.agent = parent.agent if parent else None
        self._nodes[call_id] = node
        return node

    def pop(self, call_id: str) -> Node | None:
        return self._nodes.pop(call_id, None)

    def get(self, call_id: str | None) -> Node | None:
        return self._nodes.get(call_id or "")

    def current(self) -> Node | None:
        return self.get(ACTIVE_CALL_ID.get())

    def is_orphan(self) -> bool:
        """Whether what the current call works for is over already."""
        node = self.current()
        return node is not None and any(above.id not in self._nodes for above in node.up())

    def __len__(self) -> int:
        return len(self._nodes)


def is_rlm(instance: object) -> bool:
    return isinstance(instance, dspy.RLM)
