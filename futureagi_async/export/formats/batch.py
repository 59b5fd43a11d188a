"""What the writers take: some staged records at a time."""

from collections.abc import Callable, Sequence, Set

import attrs

from futureagi_async.models import CallExecution
from futureagi_async.sources import CallSource


@attrs.define(frozen=True)
class Batch:
    """Records in the order in which they are written, not decoded yet."""

    raws: Sequence[bytes]
    """Their JSON: UTF-8, and decoded once before."""
    sources: Sequence[CallSource | None]
    """Where each was read."""
    restore: Callable[[int], CallExecution]
    """Decodes one of them, by its place here."""
    told: Set[int] = frozenset()
    """Those whose transcript a detail told: where it is empty, nothing was said."""

    def calls(self) -> list[CallExecution]:
        """Decode all of them."""
        return list(map(self.restore, range(len(self.raws))))
