"""What every endpoint needs: the data, the dialect, and reading a page of a list in statements."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from attrs import frozen

from futureagi_async.testing._standin.data.records import Row

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.records import World
    from futureagi_async.testing._standin.wire.dialect import Dialect

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
