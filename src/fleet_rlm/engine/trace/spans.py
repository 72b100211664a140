"""The tree of the dspy calls that are under way, by their call ids."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from dspy.utils.callback import ACTIVE_CALL_ID

from fleet_rlm import events as ev
from fleet_rlm.engine.models.observed_engine import Answered
from fleet_rlm.engine.trace.stored_prompts import Prompt
from fleet_rlm.events import Json

Kind = Literal["rlm", "plan", "predict", "extract", "module", "lm", "execution", "call", "hidden"]
SPAN_CHARS = 12


_OF_THE_CELL = ("iteration", "iteration_span", "origin", "submission", "last_error")


@dataclass(slots=True)
class AgentState:
    """The state of one agent as the observer sees it: the run's own `dspy.RLM` or a sub-agent."""

    root: bool
    span: str
    """Parent span of its iterations: the run's, or the sub-agent call's."""
    iteration: int = 0
    iteration_span: str | None = None
    origin: ev.Origin = "planner"
    """The author of the next cell: the planner, or the person who changed the code."""
    skip_next: bool = False
    """The person skipped the next cell."""
    submission: dict[str, Json] | None = None
    """The outputs that generated code submitted, until dspy accepts or rejects them."""
    last_prompt: tuple[str, Prompt] | None = None
    """The span and the whole text of the newest planner prompt."""
    last_error: ev.Failure | None = None
    """The error of the newest execution; None after a success."""

    @contextlib.contextmanager
    def replaying(self) -> Iterator[AgentState]:
        """Mark code as replayed while earlier cells run again, and restore the state afterwards."""
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
    """The agent itself for an `rlm` node, else the nearest agent above."""
    type: ev.CallType | None = None
    """Set for a `call` node."""
    role: Literal["planner", "extraction", "sub"] | None = None
    """Set for an `lm` node."""
    slot: Slot | None = None
    text: str | None = None
    """The model's raw answer, for a `predict` node."""
    answered: Answered | None = None
    queued_seconds: float = 0.0
    recalled: bool = False
    """True for a `call` node that got a recorded reply."""
    open_planner: str | None = None
    """The planner span that has begun and not ended, for a `predict` node."""
    details: dict[str, str] = field(default_factory=dict)
    prompts: list[str | None] = field(default_factory=list)
    """A batch's prompts, until their calls begin."""

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

    @property
    def cut(self) -> bool:
        """True when the model's answer ended at its limit of tokens."""
        return self.answered is not None and self.answered.truncated

    @property
    def spent(self) -> dict[str, Json]:
        """The `usage` and `cost_usd` fields of the event that reports the model's answer."""
        answered = self.answered
        return {"usage": answered.usage, "cost_usd": answered.cost_usd} if answered else {}


@dataclass(slots=True)
class Slot:
    """A member of a batch, whose call is recorded before its model call begins."""

    span: str
    began: float = field(default_factory=time.monotonic)
    taken: bool = False
    finished: bool = False


CURRENT_SLOT: ContextVar[Slot | None] = ContextVar("fleet_rlm_slot", default=None)
"""The batch member whose call is made in this context."""


class Tree:
    """The calls under way, by dspy's id. Thread-safe by single dict operations."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}

    def push(self, call_id: str, kind: Kind, instance: object) -> Node:
        parent = self.current()
        node = Node(call_id, kind, instance, parent, call_id[:SPAN_CHARS])
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
        """Return whether a call above the current one has ended already."""
        node = self.current()
        return node is not None and any(above.id not in self._nodes for above in node.up())

    def __len__(self) -> int:
        return len(self._nodes)
