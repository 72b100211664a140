"""Where a person stands in a run: at its edge, at an earlier moment, or on the way as it plays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_rlm import events as ev
from fleet_rlm.state import RunState, state_at
from fleet_rlm.tui.run_view.playhead import INSTANT, Playhead, Rewind
from tests.tui.synthetic import ScriptedSource, many_calls, rich

EVENTS = rich().events


def opened(mode: str = "replay", events: list[ev.AnyEvent | ev.Unknown] = EVENTS) -> Playhead:
    playhead = Playhead(ScriptedSource(events, mode))
    while playhead.take(100.0):
        pass
    return playhead


def arrive(playhead: Playhead, rewind: Rewind | None) -> None:
    if rewind is not None:
        rewind.fold()
        assert playhead.adopt(rewind)


def shape(state: RunState) -> tuple[object, ...]:
    return (
        state.status, state.events, state.last_seq, len(state.output), len(state.calls), sorted(state.variables),
        [(it.number, it.status, it.planner_seconds) for it in state.iterations], state.spent.cost_usd,
    )  # fmt: skip


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(EVENTS)), min_size=1, max_size=6))
def test_every_way_to_a_moment_gives_the_state_of_that_moment(places: list[int]) -> None:
    playhead = opened()
    for at in places:
        arrive(playhead, playhead.seek(at))
        seq = playhead.events[at - 1].seq if at else -1
        assert shape(playhead.view) == shape(state_at(EVENTS, seq))
        assert playhead.position == at


def test_looking_back_leaves_the_edge_as_it_is_and_events_go_on_there() -> None:
    source = ScriptedSource(EVENTS[:60], "live")
    playhead = Playhead(source)
    playhead.take(0.0)
    edge = playhead.edge
    arrive(playhead, playhead.seek(20))
    source.push(*EVENTS[60:80])
    playhead.take(1.0)
    assert playhead.edge is edge
    assert (edge.events, playhead.view.events) == (80, 20)
    assert not playhead.following
    playhead.follow()
    assert playhead.view is edge


def test_a_rewind_is_not_shown_once_another_was_requested() -> None:
    playhead = opened()
    first, second = playhead.seek(10), playhead.seek(20)
    assert first is not None
    assert second is not None
    first.fold()
    assert not playhead.adopt(first)
    arrive(playhead, second)
    assert playhead.at == 20


def test_another_state_has_another_generation_and_going_on_in_the_same_one_has_not() -> None:
    playhead = opened()
    arrive(playhead, playhead.seek(10))
    generation = playhead.generation
    assert playhead.seek(12) is None, "forwards is folded at once"
    assert playhead.generation == generation
    playhead.follow()
    assert playhead.generation != generation


def test_iterations_are_stepped_through_by_their_ends_and_the_last_is_the_edge() -> None:
    playhead = opened()
    seen = []
    for _ in range(7):
        arrive(playhead, playhead.seek(playhead.iteration_after(-1)))
        seen.append(playhead.view.iteration.number if playhead.view.iteration else 0)
    assert seen == [5, 4, 3, 2, 1, 0, 0]
    for number in range(1, 6):
        arrive(playhead, playhead.seek(playhead.iteration_after(1)))
        assert playhead.view.iteration is not None
        assert playhead.view.iteration.number == number
        assert playhead.view.iteration.status in ("ok", "error")
    arrive(playhead, playhead.seek(playhead.iteration_after(1)))
    assert playhead.following


def test_errors_are_found_in_both_directions() -> None:
    playhead = opened()
    kinds = [type(playhead.events[at - 1]) for at in playhead.errors]
    assert kinds == [ev.ExecutionFinished, ev.CallFinished]
    assert playhead.error_after(1) is None
    assert playhead.error_after(-1) == playhead.errors[-1]
    arrive(playhead, playhead.seek(playhead.errors[0]))
    assert playhead.error_after(1) == playhead.errors[1]
    assert playhead.error_after(-1) is None


def test_a_record_plays_at_its_own_speed_and_stops_at_its_end() -> None:
    playhead = opened()
    arrive(playhead, playhead.play(10.0))
    assert playhead.playing
    assert playhead.at == 0
    clock = 10.0
    playhead.tick(clock)
    for _ in range(20):
        clock += 0.1
        playhead.tick(clock)
    assert playhead.view.t == max(event.t for event in EVENTS if event.t <= 2.0)
    assert playhead.moment(clock).now == pytest.approx(2.0)
    playhead.speed = 4.0
    playhead.tick(clock + 1.0)
    assert playhead.moment(clock).now == pytest.approx(6.0)
    playhead.tick(clock + 100.0)
    assert playhead.following
    assert not playhead.playing


def test_speed_goes_from_a_quarter_to_instant() -> None:
    playhead = opened()
    for _ in range(20):
        playhead.slower()
    assert playhead.speed == 0.25
    speeds = []
    for _ in range(12):
        playhead.faster()
        speeds.append(playhead.speed)
    assert speeds == [0.5, 1, 2, 4, 8, 16, 32, 64, INSTANT, INSTANT, INSTANT, INSTANT]
    playhead.slower()
    assert playhead.speed == 64


def test_instant_play_takes_a_few_thousand_events_at_a_time() -> None:
    playhead = opened(events=many_calls(2000).events)
    playhead.speed = INSTANT
    arrive(playhead, playhead.play(0.0))
    ticks = 0
    while playhead.playing:
        playhead.tick(float(ticks))
        ticks += 1
    assert 3 <= ticks <= 6
    assert playhead.following


def test_the_clock_of_a_live_run_goes_on_between_events_and_stops_with_the_run() -> None:
    source = ScriptedSource(EVENTS[:40], "live")
    playhead = Playhead(source)
    playhead.take(1000.0)
    last = playhead.edge.t
    assert playhead.moment(1002.5).now == pytest.approx(last + 2.5)
    source.push(*EVENTS[40:])
    playhead.take(1003.0)
    assert playhead.moment(2000.0).now == playhead.edge.t
    assert not playhead.moment(2000.0).moving


def test_a_bookmark_is_set_gone_to_and_forgotten() -> None:
    playhead = opened()
    assert playhead.add_bookmark(30)
    assert playhead.add_bookmark(10)
    arrive(playhead, playhead.seek(10))
    assert playhead.bookmark_after(1) == 30
    assert not playhead.add_bookmark(10)
    assert playhead.bookmarks == [30]


def test_a_recorded_bookmark_counts() -> None:
    script = rich(until="error")
    script.add(ev.Operator(action="bookmark"))
    assert opened(events=script.events).bookmarks == [len(script.events)]
