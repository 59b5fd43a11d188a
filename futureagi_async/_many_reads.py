"""Reads of many things by their ids: one outcome an id."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar
from uuid import UUID

from futureagi_async._each import FetchOne, fetch_each, open_outcomes
from futureagi_async._endpoint_reads import EndpointReads
from futureagi_async.models import CallExecution, ExecutionKPIs, Outcome
from futureagi_async.sources import check_id

T = TypeVar("T")


class ManyReads(EndpointReads):
    """Reads of many things, ``max_in_flight`` at once."""

    async def fetch_call_executions(self, ids: Iterable[str | UUID]) -> list[Outcome[CallExecution]]:
        """Return the full details of many calls: one `Outcome` an id, in the order given.

        Once 100 ids in a row reached nobody, the rest is not asked for: those outcomes are errors, too.
        """
        return await self._fetch_each(ids, "call_execution_id", self._in_bulk().get_call_execution)

    def stream_call_executions(
        self, ids: Iterable[str | UUID]
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Read the full details of many calls: ``async with session.stream_call_executions(ids) as each``.

        ``async for outcome in each`` gives one `Outcome` for each different id as it arrives. No more than
        ``max_in_flight`` are asked for and not yet done with. Otherwise as `fetch_call_executions`.
        """
        return open_outcomes(
            self._checked(ids, "call_execution_id"),
            self._in_bulk().get_call_execution,
            max_in_flight=self._requester.max_in_flight,
        )

    async def fetch_kpis(self, test_execution_ids: Iterable[str | UUID]) -> list[Outcome[ExecutionKPIs]]:
        """Return the key figures of many test executions: one `Outcome` an id, in the order given."""
        return await self._fetch_each(test_execution_ids, "test_execution_id", self._in_bulk().get_kpis)

    async def _fetch_each(
        self, ids: Iterable[str | UUID], name: str, fetch_one: FetchOne[T]
    ) -> list[Outcome[T]]:
        checked = self._checked(ids, name)
        return await fetch_each(checked, fetch_one, max_in_flight=self._requester.max_in_flight)

    def _checked(self, ids: Iterable[str | UUID], name: str) -> list[str]:
        if isinstance(ids, str | UUID):
            raise TypeError(f"Pass several ids, such as [{name}].")
        self._requester.check_usable()
        return [check_id(value, name) for value in ids]
