"""The five endpoints: one method each, for whoever can send requests."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self, TypeVar, cast
from uuid import UUID

from futureagi_async._checks import check_sources
from futureagi_async._pages import check_filters_applied, read_page
from futureagi_async._reading import PageRead
from futureagi_async._requester import Manner, Requester
from futureagi_async._sansio import decoding, endpoints
from futureagi_async._sansio.covering.lists import Ask
from futureagi_async._sansio.endpoints import Request
from futureagi_async._sansio.replies import Reply
from futureagi_async.filters import FilterLike
from futureagi_async.models import CallExecution, CallPage, ExecutionKPIs, GroupPage, TestExecutionPage
from futureagi_async.options import Priority, RetryPolicy, Timeouts
from futureagi_async.sources import CallSource, TestExecutionCalls, check_id

T = TypeVar("T")


class EndpointReads:
    """Reads of one thing each."""

    _requester: Requester
    _timeouts: Timeouts
    _retry: RetryPolicy
    _priority: Priority | None
    _eager: bool

    async def get_call_execution(self, call_execution_id: str | UUID) -> CallExecution:
        """Return one call in full detail, transcript included.

        Raises `NotFoundError` for an unknown call; a snapshot's id is not a call's id, use
        ``call.call_execution_id``. Source: ``GET /simulate/call-executions/{call_execution_id}/``.
        """
        request = endpoints.call_request(check_id(call_execution_id, "call_execution_id"))
        return await self._value(
            request, lambda reply: decoding.decode_call(reply.body, request.endpoint, eager=self._eager)
        )

    async def get_kpis(self, test_execution_id: str | UUID) -> ExecutionKPIs:
        """Return a test execution's key figures.

        Raises `NotFoundError` for an unknown test execution.
        Source: ``GET /simulate/test-executions/{test_execution_id}/kpis/``.
        """
        request = endpoints.kpis_request(check_id(test_execution_id, "test_execution_id"))
        return await self._value(request, lambda reply: decoding.decode_kpis(reply.body, request.endpoint))

    async def get_page(self, source: CallSource, *, page: int = 1, limit: int = 100) -> CallPage:
        """Return one page of a list of calls.

        Records that do not decode are in ``failures``. Raises `NotFoundError` for an unknown list,
        and for version lists also past the last page ("Invalid page."); `FilterIgnoredError` where
        the server skipped a filter and sent unfiltered rows.
        """
        check_sources([source])
        return (await self._read_page(source, Ask(page, limit))).page

    async def get_test_execution(
        self,
        test_execution_id: str | UUID,
        *,
        search: str | None = None,
        filters: Iterable[FilterLike] = (),
        page: int = 1,
        limit: int = 100,
    ) -> TestExecutionPage:
        """Return a test execution with one page of its calls (transcripts are withheld there).

        Raises `NotFoundError` for an unknown test execution, `FilterIgnoredError` where the server
        skipped a filter. Source: ``GET /simulate/test-executions/{test_execution_id}/``.
        """
        source = TestExecutionCalls(test_execution_id, search=search, filters=filters)
        return cast(TestExecutionPage, (await self._read_page(source, Ask(page, limit))).page)

    async def get_groups(
        self,
        test_execution_id: str | UUID,
        *,
        row_groups: Sequence[str],
        group_keys: Sequence[str] = (),
        search: str | None = None,
        filters: Iterable[FilterLike] = (),
        page: int = 1,
        limit: int = 100,
    ) -> GroupPage:
        """Return grouped rows of a test execution.

        ``row_groups`` are column ids. The served API answers 500 to all but dataset columns
        (``scenario_<scenario id>_dataset_<column id>``), groups those over all test executions, and
        ignores ``filters`` then. Source: ``GET /simulate/test-executions/{test_execution_id}/``.
        """
        source = TestExecutionCalls(test_execution_id, search=search, filters=filters)
        request = endpoints.groups_request(
            source, row_groups=row_groups, group_keys=group_keys, page=page, limit=limit
        )

        def decode(reply: Reply) -> GroupPage:
            groups = decoding.decode_groups(reply.body, request.endpoint, page=page, limit=limit)
            check_filters_applied(source, groups.error_messages)
            return groups

        return await self._value(request, decode)

    async def _value(self, request: Request, decode: Callable[[Reply], T]) -> T:
        return (await self._requester.call(request, decode, self._manner)).value

    async def _read_page(self, source: CallSource, ask: Ask) -> PageRead:
        return await read_page(self._requester, source, ask, self._manner, eager=self._eager)

    @property
    def _manner(self) -> Manner:
        return Manner(self._timeouts, self._retry, urgent=self._priority != "bulk")

    def _view(self) -> Self:
        """Return another of the same kind, on the same pool and limits."""
        view = type(self).__new__(type(self))
        vars(view).update(vars(self))
        return view

    def _in_bulk(self) -> Self:
        """Return the view that reads many things: behind those who read one, unless it was told otherwise."""
        if self._priority is not None:
            return self
        view = self._view()
        view._priority = "bulk"  # noqa: SLF001 - of the same class
        return view
