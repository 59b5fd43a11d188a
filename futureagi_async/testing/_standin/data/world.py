"""Everything the server holds, and the one way in which a row may change."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.records import (
    AgentVersion,
    Call,
    Family,
    Row,
    RunTest,
    TestExecution,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.rows import State


class World:
    """The data of one server. `lock` must be held by whoever reads or changes it across threads."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lock = threading.RLock()
        self.rows: list[Row] = []
        self.calls: dict[str, Call] = {}
        self.run_tests: dict[str, RunTest] = {}
        self.versions: dict[tuple[str, str], AgentVersion] = {}
        self.executions: dict[str, TestExecution] = {}
        self.families: dict[str, Family] = {}
        self._made = 0

    def next_number(self) -> int:
        """Return a number no other thing of this world was made from."""
        self._made += 1
        return self._made

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Take new rows in, and put them on their lists."""
        by_listing: dict[Listing, list[Row]] = {}
        for row in rows:
            row.serial = len(self.rows)
            self.rows.append(row)
            if isinstance(row, Call):
                self.calls[row.id] = row
                for listing in row.listings:
                    by_listing.setdefault(listing, []).append(row)
            else:
                row.call.snapshots.append(row)
                by_listing.setdefault(row.call.run_test.listing, []).append(row)
        for listing, members in by_listing.items():
            listing.add_all(members)

    def change(self, call: Call, at: float, *, key_us: int | None = None, state: State | None = None) -> None:
        """Give a call another key or state, visible from the virtual moment `at` on.

        A call that ceases to exist takes its snapshots with it.
        """
        for listing in call.listings:
            listing.lift(call)
        if key_us is not None:
            call.key_us = key_us
        if state is not None and state != call.state:
            call.state = state
            call.timeline.append((at, state))
        call.revision += 1
        call.facts = None
        call.fragments.clear()
        for listing in call.listings:
            listing.settle(call)
        if not call.state.exists:
            self._drop_snapshots(call, at)

    def _drop_snapshots(self, call: Call, at: float) -> None:
        listing = call.run_test.listing
        for snapshot in call.snapshots:
            listing.lift(snapshot)
            snapshot.state = snapshot.state._replace(exists=False)
            snapshot.timeline.append((at, snapshot.state))
            listing.settle(snapshot)

    def listing(self, name: str | tuple[str, str]) -> Listing:
        """Return the list of a run test or test execution id, or of an (agent id, version id) pair."""
        if isinstance(name, tuple):
            return self.versions[name].listing
        owner = self.run_tests.get(name) or self.executions[name]
        return owner.listing
