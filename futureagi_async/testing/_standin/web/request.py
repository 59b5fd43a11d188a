"""One request while it is answered: its parameters, and its statements, which read the data."""

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

Condition = Callable[[Row], bool]


@frozen
class Selection:
    """The rows of a list that a condition wants, or all; conditions with equal names are taken for equal."""

    listing: Listing
    wanted: Condition | None = None
    name: Hashable = None


class RequestContext:
    """A request's parameters, the data, and the virtual time that passes while it is answered.

    `pairs` is the query in its order, `query` its last values. `url` is the address the request seemed
    to have to the server: scheme and `Host` header are what it goes by.
    """

    def __init__(
        self,
        *,
        path: str,
        query_string: str,
        host: str,
        world: World,
        dialect: Dialect,
        clock: VirtualClock,
        catch_up: Callable[[], None],
    ) -> None:
        self.pairs = parse_qsl(query_string, keep_blank_values=True)
        self.query = dict(self.pairs)
        self.url = f"http://{host}{path}"
        self.world = world
        self.dialect = dialect
        self._clock = clock
        self._catch_up = catch_up
        self._spent = 0.0
        self._until_statement = clock.request_seconds / 2
        self._between_statements = 0.0

    def plan_statements(self, listing: Listing, count: int) -> None:
        """Say how many statements will follow: the list's share of the time passes between them."""
        between = self._clock.request_seconds * listing.gap_share
        self._until_statement = (self._clock.request_seconds - between) / 2
        self._between_statements = between / (count - 1)

    def run_statement(self) -> None:
        """Let time pass and the data change up to now; whatever is read next is read at one moment."""
        self._spend(self._until_statement)
        self._until_statement = self._between_statements
        self._catch_up()

    def count(self, selection: Selection) -> int:
        """Count the places, as one statement."""
        self.run_statement()
        return len(selection.listing.entries(self.world.rows, selection.wanted, selection.name))

    def select(self, selection: Selection, offset: int, limit: int) -> list[Row]:
        """Read the rows at `offset`, as one statement."""
        self.run_statement()
        listing, rows = selection.listing, self.world.rows
        entries = listing.entries(rows, selection.wanted, selection.name)
        serials = listing.select(entries, offset, limit, seed=self.world.seed, name=selection.name)
        return [rows[serial] for serial in serials]

    def finish(self) -> None:
        """Let the rest of the request's time pass."""
        self._spend(self._clock.request_seconds - self._spent)

    def _spend(self, seconds: float) -> None:
        if seconds > 0:
            self._clock.advance(seconds)
            self._spent += seconds
