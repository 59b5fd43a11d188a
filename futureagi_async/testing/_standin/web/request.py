"""One request under way: what was asked, and the moments at which the answer looks at the data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from attrs import frozen

from futureagi_async.testing._standin.data.records import Row

if TYPE_CHECKING:
    from futureagi_async.testing._standin.clock import VirtualClock
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.records import World
    from futureagi_async.testing._standin.wire.dialect import Dialect


class Visit:
    """A request's question, with a handle on the time that passes while it is answered.

    `pairs` is the query in its order, `query` its last values. `url` is the address the request seemed
    to have to the server: scheme and `Host` header are what it goes by.
    """

    def __init__(
        self,
        *,
        path: str,
        query_string: str,
        host: str,
        clock: VirtualClock,
        catch_up: Callable[[], None],
    ) -> None:
        self.pairs = parse_qsl(query_string, keep_blank_values=True)
        self.query = dict(self.pairs)
        self.url = f"http://{host}{path}"
        self._clock = clock
        self._catch_up = catch_up
        self._spent = 0.0
        self._until_look = clock.request_seconds / 2
        self._between_looks = 0.0

    def plan(self, listing: Listing, *, statements: int) -> None:
        """Say how many statements will follow: the list's share of the time passes between them."""
        between = self._clock.request_seconds * listing.gap_share
        self._until_look = (self._clock.request_seconds - between) / 2
        self._between_looks = between / (statements - 1)

    def look(self) -> None:
        """Let time pass and the data change up to now; call it before each statement."""
        self._spend(self._until_look)
        self._until_look = self._between_looks
        self._catch_up()

    def finish(self) -> None:
        """Let the rest of the request's time pass."""
        self._spend(self._clock.request_seconds - self._spent)

    def _spend(self, seconds: float) -> None:
        if seconds > 0:
            self._clock.advance(seconds)
            self._spent += seconds


Condition = Callable[[Row], bool]


@frozen
class Backend:
    """The data and the dialect it is told in."""

    world: World
    dialect: Dialect

    def count(self, listing: Listing, wanted: Condition | None, name: Hashable) -> int:
        """Count the places, as one statement."""
        return len(listing.entries(self.world.rows, wanted, name))

    def select(
        self, listing: Listing, offset: int, limit: int, wanted: Condition | None, name: Hashable
    ) -> list[Row]:
        """Read the rows at `offset`, as one statement."""
        entries = listing.entries(self.world.rows, wanted, name)
        serials = listing.select(entries, offset, limit, seed=self.world.seed, name=name)
        return [self.world.rows[serial] for serial in serials]
