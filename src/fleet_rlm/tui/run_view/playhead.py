"""The playhead: where a person is in a run, and how they move in it.

A playhead keeps all events that came from a source, the state at their end (the *edge*), and the state that screens
draw (the *view*). The view either is the edge, or it is a state folded up to an earlier event: looking at an earlier
iteration of a live run, scrubbing and replaying are one mechanism. Times are seconds; `at` counts events.

Nothing here knows a screen, reads a clock or starts a thread: the caller brings the time, and runs `Rewind.fold` where
it disturbs nobody.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

from fleet_rlm import events as ev
from fleet_rlm.state import IterationState, RunState, fold
from fleet_rlm.tui.sources.event_source import RunSource

DRAIN = 2000
"""Events taken from a source, or folded forward, at once: some milliseconds of work."""
SPEEDS: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
INSTANT = float("inf")

AnyEvent = ev.AnyEvent | ev.Unknown
Direction = Literal[-1, 1]


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a run that panes draw, and the time at which they draw it."""

    state: RunState
    now: float
    """Run time, in seconds: that of the view, ticking while the run or the replay moves."""
    generation: int
    """Another number means another state object: nothing that was drawn holds any more."""
    moving: bool
    """True while `now` goes on by itself."""


class Rewind:
    """A view to be folded afresh. `fold` may run in a thread; `Playhead.adopt` takes the result."""

    def __init__(self, events: list[AnyEvent], at: int) -> None:
        self._events = events
        self.at = at
        self.state: RunState | None = None
        self.cancelled = False

    def fold(self) -> None:
        """Fold; gives up soon after `cancelled` was set, leaving `state` None."""
        state = RunState()
        for start in range(0, self.at, DRAIN):
            if self.cancelled:
                return
            for event in self._events[start : min(start + DRAIN, self.at)]:
                fold(state, event)
        self.state = state


class Playhead:
    """The person's place in a run, and how they move in it (see the module). Everything runs on one thread."""

    def __init__(self, source: RunSource) -> None:
        self.source = source
        self.events: list[AnyEvent] = []
        self.edge = RunState()
        self.view = self.edge
        self.at = 0
        """Events folded into the view."""
        self.target: int | None = None
        """Where the view is to be while a rewind is under way."""
        self.generation = 0
        self.playing = False
        self.speed = 1.0
        self.errors: list[int] = []
        """Counts of events after which something had just gone wrong, ascending."""
        self.bookmarks: list[int] = []
        self._times: list[float] = []
        self._zero: float | None = None
        self._clock = 0.0
        self._rewind: Rewind | None = None

    @property
    def following(self) -> bool:
        """True while the view is the edge: what comes is shown at once."""
        return self.view is self.edge and self.target is None

    @property
    def live(self) -> bool:
        """True while an engine of ours may still be told something."""
        return self.source.mode == "live" and self.source.end is None and not self.edge.is_over

    @property
    def growing(self) -> bool:
        """True while events may still come from a run that goes on."""
        return self.source.mode != "replay" and self.source.end is None and not self.edge.is_over

    @property
    def position(self) -> int:
        """The number of events folded into the view, or into the view that a rewind is folding."""
        return self.target if self.target is not None else len(self.events) if self.following else self.at

    # What comes

    def take(self, clock: float) -> list[AnyEvent]:
        """Fold what came from the source, at most `DRAIN` events; they are returned. `clock` is a monotonic clock's."""
        fresh = self.source.drain(DRAIN)
        for event in fresh:
            self.events.append(event)
            self._times.append(max(event.t, self._times[-1] if self._times else 0.0))
            fold(self.edge, event)
            self._note(event)
        if fresh:
            zero = clock - self._times[-1]
            self._zero = zero if self._zero is None else min(self._zero, zero)
        return fresh

    def moment(self, clock: float) -> Moment:
        """Return what panes draw now."""
        if self.following:
            moving = self.growing
            now = self.edge.t
            if moving and self._zero is not None:
                now = max(now, clock - self._zero)
            return Moment(self.edge, now, self.generation, moving)
        now = max(self.view.t, self._clock) if self.playing else self.view.t
        return Moment(self.view, now, self.generation, self.playing)

    def edge_now(self, clock: float) -> float:
        """Run time at the edge, in seconds, wherever the view is."""
        if self.growing and self._zero is not None:
            return max(self.edge.t, clock - self._zero)
        return self.edge.t

    # Moving

    def seek(self, at: int) -> Rewind | None:
        """Show the run after `at` events. Returns a rewind for the caller to fold where it can't be shown at once.

        A rewind that is under way is cancelled: the last request counts.
        """
        at = max(0, min(at, len(self.events)))
        self._cancel_rewind()
        if at == len(self.events):
            self.follow()
            return None
        if self.view is not self.edge and self.at <= at <= self.at + DRAIN:
            self._forward(at)
            return None
        return self._start_rewind(at)

    def _start_rewind(self, at: int) -> Rewind:
        self._cancel_rewind()
        self.target, self._rewind = at, Rewind(self.events, at)
        return self._rewind

    def _cancel_rewind(self) -> None:
        if self._rewind is not None:
            self._rewind.cancelled = True
        self.target = self._rewind = None

    def adopt(self, rewind: Rewind) -> bool:
        """Show a finished rewind; False when another was requested meanwhile."""
        if rewind is not self._rewind or rewind.state is None:
            return False
        self.view, self.at = rewind.state, rewind.at
        self.generation += 1
        self.target = self._rewind = None
        self._clock = self.view.t
        return True

    def follow(self) -> None:
        """Go to the edge and stay there."""
        self._cancel_rewind()
        self.playing = False
        if self.view is not self.edge:
            self.view = self.edge
            self.generation += 1
        self.at = len(self.events)

    def play(self, clock: float) -> Rewind | None:
        """Go on at recorded speed from the view; from the start when the view is at the end."""
        self._clock, self._ticked = self.view.t, clock
        self.playing = True
        if self.position < len(self.events):
            return None
        self._clock = 0.0
        return self._start_rewind(0)

    _ticked = 0.0

    def pause(self) -> None:
        self.playing = False

    def faster(self) -> None:
        faster = [speed for speed in SPEEDS if speed > self.speed]
        self.speed = faster[0] if faster else INSTANT

    def slower(self) -> None:
        slower = [speed for speed in SPEEDS if speed < self.speed]
        self.speed = slower[-1] if slower else SPEEDS[0]

    def tick(self, clock: float) -> bool:
        """Let a replay play on; True when the view moved. At most `DRAIN` events at once."""
        if not self.playing or self.target is not None:
            self._ticked = clock
            return False
        passed, self._ticked = max(0.0, clock - self._ticked), clock
        start = self.at
        if self.speed == INSTANT:
            to = self.at + DRAIN
        else:
            self._clock += passed * self.speed
            to = min(bisect_right(self._times, self._clock), self.at + DRAIN)
            if to == self.at + DRAIN:
                self._clock = min(self._clock, self._times[to - 1]) if to <= len(self._times) else self._clock
        if to >= len(self.events):
            self._forward(len(self.events))
            self.playing = False
            self.follow()
            return True
        if to > self.at:
            self._forward(to)
        return self.at != start

    def _forward(self, to: int) -> None:
        for event in self.events[self.at : to]:
            fold(self.view, event)
        self.at = max(self.at, to)
        if not self.playing:
            self._clock = self.view.t

    # Where to move

    def end_of(self, iteration: IterationState) -> int:
        """Return the number of events up to an iteration's last, which is counted."""
        place = self.edge.iterations.index(iteration)
        if place + 1 < len(self.edge.iterations):
            return self._count_at(self.edge.iterations[place + 1].first_seq - 1)
        return len(self.events)

    def iteration_after(self, direction: Direction) -> int:
        """Return where the next (1) or previous (-1) iteration ends; the start or the edge past the last."""
        here = self.position
        ends = [self.end_of(iteration) for iteration in self.edge.iterations]
        if direction == 1:
            return next((end for end in ends if end > here), len(self.events))
        # Within an iteration, the one before it is what ended last.
        return next((end for end in reversed(ends) if end < here), 0)

    def iteration_at(self, at: int) -> int | None:
        """The number of the iteration that was the newest after `at` events."""
        if not 0 < at <= len(self.events):
            return None
        seq = self.events[at - 1].seq
        place = bisect_right(self.edge.iterations, seq, key=lambda iteration: iteration.first_seq)
        return self.edge.iterations[place - 1].number if place else None

    def error_after(self, direction: Direction) -> int | None:
        return _neighbour(self.errors, self.position, direction)

    def bookmark_after(self, direction: Direction) -> int | None:
        return _neighbour(self.bookmarks, self.position, direction)

    def add_bookmark(self, at: int) -> bool:
        """Set a bookmark after `at` events; one that is there is removed, and False returned."""
        place = bisect_left(self.bookmarks, at)
        if place < len(self.bookmarks) and self.bookmarks[place] == at:
            del self.bookmarks[place]
            return False
        self.bookmarks.insert(place, at)
        return True

    def _count_at(self, seq: int) -> int:
        return bisect_right(self.events, seq, key=lambda event: event.seq)

    def _note(self, event: AnyEvent) -> None:
        count = len(self.events)
        match event:
            case (
                ev.ExecutionFinished(error=ev.Failure())
                | ev.PlannerFinished(error=ev.Failure())
                | ev.CallFinished(error=ev.Failure())
                | ev.RunFinished(error=ev.Failure())
                | ev.SandboxLost()
            ):
                self.errors.append(count)
            case ev.Operator(action="bookmark"):
                self.add_bookmark(count)
            case _:
                pass


def _neighbour(places: list[int], here: int, direction: Direction) -> int | None:
    if direction == 1:
        place = bisect_right(places, here)
        return places[place] if place < len(places) else None
    place = bisect_left(places, here)
    return places[place - 1] if place else None
