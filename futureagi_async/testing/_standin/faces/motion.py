"""The server's motion: lists that change while they are read, and the truth about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.listing import alive_sometime, alive_throughout
from futureagi_async.testing._standin.faces.data import DataMethods, ListName
from futureagi_async.testing._standin.motion import Mover

if TYPE_CHECKING:
    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.motion import Motion, Schedule


class MotionMethods(DataMethods):
    """Motion and truth. A list is named by its id, or by `(agent_id, version_id)`."""

    clock: VirtualClock
    _schedule: Schedule
    _movers: list[Mover]

    def move(self, list_name: ListName, motion: Motion) -> None:
        """Set a list in motion, from now on.

        Its changes are driven by the virtual clock alone, which the requests served move on, so equal
        requests meet equal data. They happen before and between the statements of a request. A call that
        changes does so in all its lists. Several motions of one list add up.

        Raises:
            ValueError: the server was made without `request_seconds`, so that its clock is not virtual.

        """
        if not self.clock.is_virtual:
            raise ValueError("move() needs a virtual clock: StandInServer(request_seconds=0.05)")
        with self._world.lock:
            self._catch_up()
            listing = self._find(list_name)
            listing.gap_share = motion.gap_share
            mover = Mover(self._world, self._schedule, self.clock, listing, motion)
            mover.start(self.clock.monotonic())
            self._movers.append(mover)

    def stop_motion(self) -> None:
        """Let no further change begin; those that wait for their commit still become visible."""
        with self._world.lock:
            self._catch_up()
            for mover in self._movers:
                mover.stop()
            self._movers.clear()

    def alive_throughout(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list delivered at every moment from `start` to `end`, both included.

        The moments are readings of `clock.monotonic()`, such as `started` and `ended` of the entries of
        `requests`. `status` narrows the list as the parameter or filter of that name does.
        """
        with self._world.lock:
            return alive_throughout(self._past(list_name, end), start, end, status)

    def present_from(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that were in a list at `start` and never left it until `end`.

        That is `alive_throughout` in the words of the weaker promise, the one for version lists and
        filtered ones: `start` is where the whole reading began, `end` is what it is complete as of.
        """
        return self.alive_throughout(list_name, start, end, status=status)

    def alive_sometime(
        self, list_name: ListName, start: float, end: float, *, status: str | None = None
    ) -> set[str]:
        """Return the ids that a list delivered at some moment from `start` to `end`.

        A reader must not have any other.
        """
        with self._world.lock:
            return alive_sometime(self._past(list_name, end), start, end, status)

    def _past(self, list_name: ListName, end: float) -> Listing:
        self._catch_up()
        if end > self.clock.monotonic():
            raise ValueError("that moment has not come yet")
        return self._find(list_name)

    def _catch_up(self) -> None:
        """Let the data become what it is at the clock's time."""
        if self.clock.is_virtual:
            self._schedule.run_until(self.clock.monotonic())
