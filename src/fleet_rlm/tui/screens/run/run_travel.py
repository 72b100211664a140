"""Moving about in a run: iterations, events, errors, bookmarks, playing a record. Live or not, it is the same."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from textual import work
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from fleet_rlm import spec
from fleet_rlm.tui.run_view.playhead import INSTANT, Direction, Playhead, Rewind
from fleet_rlm.tui.run_view.run_words import speed

PLAY_SECONDS = 0.04
MOST_REMEMBERED = 100


class RunTravel(Screen[None]):
    """Actions that move the playhead. What they are called and when they make sense says `run_keys`."""

    playhead: Playhead
    clock: Callable[[], float]
    _playing: Timer | None = None

    class Folded(Message):
        """From the thread that folds an earlier moment."""

        def __init__(self, rewind: Rewind) -> None:
            super().__init__()
            self.rewind = rewind

    @abstractmethod
    def draw(self) -> None:
        """Draw the present moment."""

    @abstractmethod
    def remembered_bookmarks(self) -> dict[str, list[int]]:
        """Return the bookmarks that were kept for records, by run id."""

    @abstractmethod
    def remember_bookmarks(self, bookmarks: dict[str, list[int]]) -> None:
        """Keep the bookmarks of records, by run id."""

    # One way to move

    def go(self, at: int) -> None:
        """Look at the run after `at` events."""
        self._fold(self.playhead.seek(at))

    def _fold(self, rewind: Rewind | None) -> None:
        if rewind is None:
            self.draw()
        else:
            self._fold_in_thread(rewind)

    @work(thread=True, group="rewind")
    def _fold_in_thread(self, rewind: Rewind) -> None:
        rewind.fold()
        if not rewind.cancelled:
            self.post_message(self.Folded(rewind))

    def work_failed(self, group: str, words: str) -> None:  # noqa: ARG002 - the app tells the words
        """Go back to the newest moment: the earlier one can't be folded."""
        if group == "rewind":
            self.stop_playing()
            self.playhead.follow()
            self.draw()

    def on_run_travel_folded(self, message: Folded) -> None:
        message.stop()
        if self.playhead.adopt(message.rewind):
            self.draw()

    # Playing

    def action_pause(self) -> None:
        playhead = self.playhead
        if playhead.live:
            going = playhead.edge.gate is not None or playhead.edge.pause_requested
            playhead.source.send(spec.Continue() if going else spec.Pause())
        elif playhead.playing:
            self.stop_playing()
        else:
            self._fold(playhead.play(self.clock()))
            if self._playing is None:
                self._playing = self.set_interval(PLAY_SECONDS, self._play_on)
        self.draw()

    def stop_playing(self) -> None:
        self.playhead.pause()
        if self._playing is not None:
            self._playing.stop()
            self._playing = None

    def _play_on(self) -> None:
        moved = self.playhead.tick(self.clock())
        if not self.playhead.playing:
            self.stop_playing()
        if moved or self.playhead.playing:
            self.draw()

    def action_faster(self) -> None:
        self.playhead.faster()
        self._say_speed()

    def action_slower(self) -> None:
        self.playhead.slower()
        self._say_speed()

    def _say_speed(self) -> None:
        self.draw()
        if not self.playhead.playing:
            words = "Instantly" if self.playhead.speed == INSTANT else f"At {speed(self.playhead.speed)}"
            self.notify(f"{words}: space plays.", timeout=2)

    # Stepping

    def action_iteration_back(self) -> None:
        self.stop_playing()
        self.go(self.playhead.iteration_after(-1))

    def action_iteration_on(self) -> None:
        self.stop_playing()
        self.go(self.playhead.iteration_after(1))

    def action_iteration(self, number: int) -> None:
        """Go to an iteration's end; of the newest, to now."""
        iterations = self.playhead.edge.iterations
        found = next((iteration for iteration in iterations if iteration.number == number), None)
        if found is not None:
            self.stop_playing()
            self.go(self.playhead.end_of(found))

    def action_event_back(self) -> None:
        self.stop_playing()
        self.go(self.playhead.position - 1)

    def action_event_on(self) -> None:
        self.stop_playing()
        self.go(self.playhead.position + 1)

    def action_start(self) -> None:
        self.stop_playing()
        self.go(1 if self.playhead.events else 0)

    def action_end(self) -> None:
        self.stop_playing()
        self.playhead.follow()
        self.draw()

    def action_error_on(self) -> None:
        self._to_error(1)

    def action_error_back(self) -> None:
        self._to_error(-1)

    def _to_error(self, direction: Direction) -> None:
        at = self.playhead.error_after(direction)
        if at is None:
            words = "later" if direction == 1 else "earlier"
            self.notify(f"There is no {words} error." if self.playhead.errors else "There is no error in this run.")
            return
        self.stop_playing()
        self.go(at)

    # Bookmarks

    def action_bookmark(self) -> None:
        playhead = self.playhead
        if playhead.live and playhead.following:
            playhead.source.send(spec.Note(bookmark=True))
            self.notify("The bookmark is set; the record keeps it.")
            return
        kept = playhead.add_bookmark(playhead.position)
        if playhead.edge.started is not None:
            remembered = self.remembered_bookmarks()
            remembered.pop(playhead.edge.started.run_id, None)
            remembered[playhead.edge.started.run_id] = list(playhead.bookmarks)
            while len(remembered) > MOST_REMEMBERED:
                del remembered[next(iter(remembered))]
            self.remember_bookmarks(remembered)
        self.notify("The bookmark is set: ' goes to it." if kept else "The bookmark is removed.")
        self.draw()

    def action_bookmark_on(self) -> None:
        playhead = self.playhead
        if not playhead.bookmarks:
            self.notify("There is no bookmark: m sets one.")
            return
        at = playhead.bookmark_after(1)
        self.stop_playing()
        self.go(playhead.bookmarks[0] if at is None else at)
