"""The server's data: builders to make more of it, and what a perfect reader would get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from futureagi_async.testing._standin.data.builders import Plan, build

if TYPE_CHECKING:
    from futureagi_async.testing._standin.data.listing import Listing
    from futureagi_async.testing._standin.data.records import Family, Kind, World

ListName = str | tuple[str, str]
"""A run test's or a test execution's id, or an `(agent_id, version_id)` pair."""


class DataMethods:
    """Builders and oracles. All of them may be called while the server runs, from any thread."""

    _world: World

    def _catch_up(self) -> None:
        """Let the data become what it is now: nothing to do where it does not move."""

    def add_run_test(
        self,
        calls: int = 3000,
        *,
        kind: Kind = "voice",
        tie_size: int = 1,
        slim: bool = False,
        snapshots: int = 0,
        deleted: int = 0,
    ) -> str:
        """Make a run test with calls of every status, in a test execution of its own; return its id.

        Args:
            calls: how many calls take a place in the list.
            kind: whether they were spoken or written.
            tie_size: how many neighbours share one sort key.
            slim: whether rows have few small fields, for tests that are about their number.
            snapshots: how many rerun snapshots come on top.
            deleted: how many of the calls are soft-deleted: counted, at the front, and never delivered.

        """
        return self._build(
            Plan(calls=calls, kind=kind, tie_size=tie_size, slim=slim, snapshots=snapshots, deleted=deleted)
        ).run_test.id

    def add_test_execution(
        self,
        calls: int = 3000,
        *,
        kind: Kind = "voice",
        tie_size: int = 1,
        slim: bool = False,
        snapshots: int = 0,
        deleted: int = 0,
    ) -> str:
        """Make a test execution (and the run test it belongs to); return its id.

        The arguments are those of `add_run_test`, but soft-deleted calls are not in this list at all.
        """
        return self._build(
            Plan(calls=calls, kind=kind, tie_size=tie_size, slim=slim, snapshots=snapshots, deleted=deleted)
        ).execution.id

    def add_agent_version(
        self,
        calls: int = 3000,
        *,
        kind: Kind = "voice",
        tie_size: int = 1,
        slim: bool = False,
        deleted: int = 0,
    ) -> tuple[str, str]:
        """Make an agent version whose calls are all completed and evaluated; return agent and version id."""
        plan = Plan(calls=calls, kind=kind, tie_size=tie_size, slim=slim, deleted=deleted, mixed=False)
        version = self._build(plan).versions[0]
        return version.agent.id, version.id

    def run_test_rows(self, run_test_id: str) -> list[str]:
        """Return the ids, calls and snapshots, that the list delivers now, newest first."""
        return self._rows(run_test_id)

    def version_rows(self, agent_id: str, version_id: str) -> list[str]:
        """Return the call ids that the list of an agent version delivers now, newest first."""
        return self._rows((agent_id, version_id))

    def test_execution_rows(self, test_execution_id: str) -> list[str]:
        """Return the call ids that the list of a test execution delivers now, newest first."""
        return self._rows(test_execution_id)

    def call_execution_ids(self) -> list[str]:
        """Return the ids of all calls that have a detail now."""
        with self._world.lock:
            self._catch_up()
            calls = self._world.calls.values()
            return [call.id for call in calls if call.state.exists and not call.state.deleted]

    def _rows(self, name: ListName) -> list[str]:
        with self._world.lock:
            self._catch_up()
            listing, rows = self._find(name), self._world.rows
            placed = [rows[serial] for _, serial in listing.entries(rows)]
            return [row.id for row in placed if listing.rule.delivers(row.state)]

    def _build(self, plan: Plan) -> Family:
        with self._world.lock:
            return build(self._world, plan)

    def _find(self, name: ListName) -> Listing:
        try:
            return self._world.listing(name)
        except KeyError:
            raise ValueError(f"the server has no list {name!r}") from None
