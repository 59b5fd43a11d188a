"""`Session`: one method per endpoint, and the bulk reads."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, TypeAlias, TypeVar, cast
from uuid import UUID

from futureagi_async._bulk import finding, stream, waiting
from futureagi_async._bulk.fanout import BulkOptions
from futureagi_async._bulk.outages import OutageGate
from futureagi_async._bulk.outcomes import collect_outcomes, open_outcomes
from futureagi_async._bulk.stream import CallStream
from futureagi_async._http.budgets import MinuteBudget
from futureagi_async._http.clock import Clock, SystemClock
from futureagi_async._http.listing import read_list
from futureagi_async._http.pages import FilterCheck, read_columns, read_page, restore_call
from futureagi_async._http.requester import Requester, RequestOptions
from futureagi_async._sansio import decoding, requests
from futureagi_async._sansio.covering.pages import PageRequest
from futureagi_async._sansio.decoding import discovery
from futureagi_async._sansio.decoding.discovery import Shape
from futureagi_async._sansio.filtering import check_filters_applied
from futureagi_async._sansio.replies import Decoded, Reply
from futureagi_async._sansio.settings import Origin, Proxy, read_keys, read_origin, read_proxy
from futureagi_async.budgets import RequestBudget
from futureagi_async.events import Observer
from futureagi_async.filters import FilterLike
from futureagi_async.models import (
    AgentDefinition,
    AgentVersion,
    CallExecution,
    CallPage,
    ExecutionKPIs,
    ExecutionState,
    FetchResult,
    GroupPage,
    Outcome,
    RunTest,
    TestExecution,
    TestExecutionPage,
)
from futureagi_async.models.values import EMPTY
from futureagi_async.options import (
    MAX_PAGE_SIZE,
    Consistency,
    OnError,
    Priority,
    RetryPolicy,
    Timeouts,
    check_count,
    check_deadline,
    check_kind,
    check_kind_or_none,
    check_max_outage,
    check_observers,
    check_wait_seconds,
    check_word,
)
from futureagi_async.source_names import AllSources, SourceKind, SourceName
from futureagi_async.sources import (
    CallSource,
    TestExecutionCalls,
    check_changed_since,
    check_id,
    check_one_state,
    check_search,
    check_sources,
)
from futureagi_async.words import ExecutionStatus, warn_if_unknown

if TYPE_CHECKING:
    from ssl import SSLContext

    from futureagi_async._http.transport import Connector

Validate: TypeAlias = Literal["lazy", "eager"]
SimulationType: TypeAlias = Literal["agent_definition", "prompt"]
AgentType: TypeAlias = Literal["voice", "text"]

DEFAULT_MAX_RESPONSE_BYTES = 64 * 1024 * 1024
MAX_OUTAGE_SECONDS = 60.0
MAX_OUTAGE_OF_A_WAIT_SECONDS = 900.0

T = TypeVar("T")
ReadOne: TypeAlias = Callable[[RequestOptions, str], Awaitable[T]]


class Session:
    """A client of the simulate API with its own connection pool: ``async with Session() as session:``.

    You can create a session anywhere; it needs no event loop. Open it once, and use it only in the event loop
    that opened it. Many tasks can share one session. The constructor raises `ValueError` for missing or
    malformed keys, and for an ``http://`` base URL on another machine.

    Args:
        api_key: Sent as ``X-Api-Key``. Default: ``FI_API_KEY`` from the environment.
        secret_key: Sent as ``X-Secret-Key``. Default: ``FI_SECRET_KEY`` from the environment.
        base_url: Default: ``FI_BASE_URL`` from the environment, else ``https://api.futureagi.com``.
        max_in_flight: Maximum number of concurrent requests. No timeout includes the wait for a free slot.
        timeouts: Limits in seconds for each request.
        retry: How often failed requests are sent again, and after which pauses.
        max_requests_per_minute: Maximum number of requests in any minute. A tenth of them may be sent at
            once; the session spreads the others evenly.
        budget: Use this in place of ``max_requests_per_minute`` if several sessions share one limit. The
            session asks it before each request. A `MinuteBudget` works within one process, any other
            `RequestBudget` across processes.
        max_response_bytes: Maximum size of a decompressed response. ``max_in_flight`` responses of this size
            are the upper bound of the memory for responses.
        proxy: URL of an HTTP proxy.
        ssl_context: For private certificate authorities or client certificates.
        connector: An aiohttp connector to use in place of the session's own pool. The session does not
            close it.
        trust_env: Use the proxy of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``,
            ``NO_PROXY``), as curl does. Netrc is never read, because its ``Authorization`` header would
            make the server refuse the keys.
        observers: Called with each `futureagi_async.events.Event`.
        allow_insecure: Allow ``http://`` to other machines. This exposes the keys to the network.
        validate: ``"lazy"`` checks the transcript, the evaluations and other nested parts of a record when
            you first read them. ``"eager"`` checks them when the record is decoded.
        strict: Raise `DecodingError` if a value has a type that the API documents do not allow. By default
            such a field is ``None``, and ``misfits`` has the value that the server sent; see
            `CallExecution.misfits`.
        clock: Source of time and randomness, for tests.
    """

    def __init__(
        self,
        api_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        *,
        max_in_flight: int = 16,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        max_requests_per_minute: int | None = None,
        budget: RequestBudget | None = None,
        max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES,
        proxy: str | None = None,
        ssl_context: "SSLContext | None" = None,
        connector: "Connector | None" = None,
        trust_env: bool = False,
        observers: Sequence[Observer] = (),
        allow_insecure: bool = False,
        validate: Validate = "lazy",
        strict: bool = False,
        clock: Clock | None = None,
    ) -> None:
        try:
            keys = read_keys(api_key, secret_key, os.environ)
            origin = read_origin(base_url, os.environ, allow_insecure=allow_insecure)
            through = choose_proxy(proxy, origin, trust_env=trust_env)
        finally:
            del api_key, secret_key, proxy  # some tracebacks show a frame's variables
        check_count("max_in_flight", max_in_flight)
        check_count("max_response_bytes", max_response_bytes)
        clock = clock or SystemClock()
        self._budget = _choose_budget(budget, max_requests_per_minute, clock)
        self._timeouts = check_kind("timeouts", timeouts, Timeouts)
        self._retry = check_kind("retry", retry, RetryPolicy)
        self._priority: Priority | None = None
        self._origin = origin
        self._max_response_bytes = max_response_bytes
        self._checks = decoding.Checks(
            eager=check_word("validate", validate, Validate) == "eager",
            strict=check_kind("strict", strict, bool),
        )
        # Imported here, aiohttp costs nothing where no session is made: two thirds of what the import took.
        from ssl import SSLContext

        from futureagi_async._http.transport import Connector, Transport

        transport = Transport(
            origin,
            keys,
            connections=max_in_flight,
            max_response_bytes=max_response_bytes,
            proxy=through,
            ssl_context=check_kind_or_none("ssl_context", ssl_context, SSLContext),
            connector=check_kind_or_none("connector", connector, Connector),
        )
        self._requester = Requester(
            transport,
            keys,
            max_in_flight=max_in_flight,
            budget=self._budget,
            clock=clock,
            observers=check_observers(observers),
        )

    async def __aenter__(self) -> Self:
        await self._requester.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __enter__(self) -> NoReturn:
        raise TypeError("Use 'async with Session() as session:' in place of 'with'.")

    def __exit__(self, *_: object) -> None:
        pass

    async def close(self) -> None:
        """Cancel pending requests, wait until they end, and close the pool. A second call does nothing."""
        await self._requester.close()

    @property
    def max_in_flight(self) -> int:
        """Maximum number of concurrent requests."""
        return self._requester.max_in_flight

    @property
    def max_requests_per_minute(self) -> int | None:
        """Maximum number of requests in any minute; ``None`` without a limit or with another budget."""
        return self._budget.requests_per_minute if isinstance(self._budget, MinuteBudget) else None

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        priority: Priority | None = None,
    ) -> "Session":
        """Return a view of this session with other timeouts, retries or priority. It shares the pool.

        Args:
            timeouts: For example ``Timeouts(deadline=2)`` for a request that a user waits for.
            retry: How often failed requests are sent again, and after which pauses.
            priority: Which requests get the next free slot: ``"interactive"`` ones go before ``"bulk"`` ones.
                By default, methods that read one item are interactive, and methods that read many (streams,
                exports, ``fetch_...``) are bulk. So an export delays a request handler by at most one slot.
        """
        view = type(self).__new__(type(self))
        vars(view).update(vars(self))
        view._timeouts = check_kind_or_none("timeouts", timeouts, Timeouts) or self._timeouts  # noqa: SLF001
        view._retry = check_kind_or_none("retry", retry, RetryPolicy) or self._retry  # noqa: SLF001
        if priority is not None:
            view._priority = check_word("priority", priority, Priority)  # noqa: SLF001
        return view

    async def get_call_execution(self, call_execution_id: str | UUID) -> CallExecution:
        """Return one call in full detail, transcript included.

        Raises `NotFoundError` for an unknown call. A snapshot has an id of its own, which this endpoint does
        not know: pass ``call.call_execution_id`` instead.

        Source: ``GET /simulate/call-executions/{call_execution_id}/``.
        """
        key = check_id(call_execution_id, "call_execution_id")
        return await self._read_call(self._options("interactive"), key)

    async def get_kpis(self, test_execution_id: str | UUID, *, check: bool = False) -> ExecutionKPIs:
        """Return the KPIs (key figures) of a test execution.

        An evaluation can overwrite a figure of the server: the average of an evaluation named ``Score`` is
        sent as ``avg_score``, and the response does not show it. With ``check=True`` the session also reads
        the names of the evaluations, by one small page of calls. It moves the figures that an evaluation may
        have overwritten to ``collisions``.

        Raises `NotFoundError` for an unknown test execution.
        Source: ``GET /simulate/test-executions/{test_execution_id}/kpis/``.
        """
        key = check_id(test_execution_id, "test_execution_id")
        return await self._read_kpis(self._options("interactive"), key, check=check)

    async def list_run_tests(
        self, search: str | None = None, simulation_type: SimulationType | None = None
    ) -> tuple[RunTest, ...]:
        """Return the run tests of the workspace that the keys belong to, newest first.

        The session reads all pages, one after another, and returns each run test once. It does not verify
        that the list is complete, as it does for lists of calls: a run test that is created or deleted during
        the read may be missing or present.

        Args:
            search: Return only run tests whose name, or whose agent's name, contains this text. Case is
                ignored.
            simulation_type: Return only run tests of an ``"agent_definition"``, or only those of a
                ``"prompt"``.

        Source: ``GET /simulate/run-tests/``.
        """
        if simulation_type is not None:
            check_word("simulation_type", simulation_type, SimulationType)
        return await self._list(
            discovery.RUN_TEST,
            requests.RUN_TESTS,
            search=check_search(search),
            simulation_type=simulation_type,
        )

    async def list_test_executions(
        self, run_test_id: str | UUID, status: str | None = None, search: str | None = None
    ) -> tuple[TestExecution, ...]:
        """Return the executions of a run test, newest first.

        Completeness is not verified; see `list_run_tests`.

        Raises `NotFoundError` for an unknown run test.

        Args:
            run_test_id: The id of the run test.
            status: Return only executions in this one state: an `ExecutionStatus` value, in any case.
            search: Return only executions where the name of the run test, of its agent or of a scenario
                contains this text.

        Source: ``GET /simulate/run-tests/{run_test_id}/executions/``.
        """
        known = {"run_test_id": check_id(run_test_id, "run_test_id")}
        word = check_one_state(status)
        if word is not None:
            word = word.lower()  # the server compares it exactly
            warn_if_unknown("status", word, ExecutionStatus, effect="it may find no execution")
        return await self._list(
            discovery.TEST_EXECUTION,
            requests.RUN_TEST_EXECUTIONS,
            known,
            status=word,
            search=check_search(search),
        )

    async def list_agent_definitions(
        self, search: str | None = None, agent_type: AgentType | None = None
    ) -> tuple[AgentDefinition, ...]:
        """Return the agents of the workspace, newest first.

        Completeness is not verified; see `list_run_tests`.

        Args:
            search: Return only agents whose name contains this text. Case is ignored.
            agent_type: Return only voice agents (``"voice"``) or only chat agents (``"text"``).

        Source: ``GET /simulate/agent-definitions/``.
        """
        if agent_type is not None:
            check_word("agent_type", agent_type, AgentType)
        return await self._list(
            discovery.AGENT_DEFINITION,
            requests.AGENT_DEFINITIONS,
            search=check_search(search),
            agent_type=agent_type,
        )

    async def list_agent_versions(self, agent_id: str | UUID) -> tuple[AgentVersion, ...]:
        """Return the versions of an agent, newest first.

        Completeness is not verified; see `list_run_tests`.

        Raises `NotFoundError` for an unknown agent.
        Source: ``GET /simulate/agent-definitions/{agent_id}/versions/``.
        """
        known = {"agent_id": check_id(agent_id, "agent_id")}
        return await self._list(discovery.AGENT_VERSION, requests.AGENT_VERSIONS, known)

    async def all_sources(
        self,
        kinds: Iterable[SourceKind] = ("run_tests", "agent_versions"),
        *,
        since: datetime | timedelta | None = None,
    ) -> tuple[CallSource, ...]:
        """Return every run test and every agent version of the workspace, as sources to read.

        ``await session.fetch_calls(await session.all_sources())`` reads all calls of the workspace. The list
        of a run test has the calls of all its executions; the list of an agent version has its evaluated
        calls. Completeness of the returned tuple is not verified; see `list_run_tests`.

        Args:
            kinds: ``"run_tests"``, ``"agent_versions"`` or both. The result has this order, newest first
                within each kind.
            since: Return only run tests whose last execution is later than this. A `datetime` is a moment; a
                `timedelta` counts back from now. Of the agents, it keeps the versions of those that these
                run tests use now. (The server does not report when a version was last run.)
        """
        wanted = AllSources(kinds, since)
        return await finding.find_all(self._lister, wanted, datetime.now(UTC), self.max_in_flight)

    async def find_sources(
        self, names: Iterable[CallSource | SourceName] | CallSource | SourceName
    ) -> tuple[CallSource, ...]:
        """Look up names of run tests and agents, and return the sources in the order given, each once.

        `RunTestNamed`, `AgentVersionNamed`, `LatestExecution` and `AllSources` need a lookup, for example
        ``AgentVersionNamed("Support bot", "latest")``. Ids and sources need no request.

        Raises `NameLookupError`, with the candidates, if no item has a name or several items have it.
        """
        given = (names,) if isinstance(names, CallSource | SourceName) else tuple(names)
        return await finding.find_sources(self._lister, given, datetime.now(UTC), self.max_in_flight)

    async def get_page(self, source: CallSource, *, page: int = 1, limit: int = 100) -> CallPage:
        """Return one page of a list of calls.

        Records that can't be decoded are in ``failures``. Raises `NotFoundError` for an unknown list; for
        agent versions also for a page after the last one ("Invalid page."). Raises `FilterIgnoredError` if
        the server skipped a filter and sent unfiltered rows.
        """
        check_sources([source])
        return await self._read_page(source, page, limit)

    async def get_test_execution(
        self,
        test_execution_id: str | UUID,
        *,
        search: str | None = None,
        filters: Iterable[FilterLike] = (),
        page: int = 1,
        limit: int = 100,
    ) -> TestExecutionPage:
        """Return a test execution with one page of its calls. The server sends no transcripts here.

        Raises `NotFoundError` for an unknown test execution, and `FilterIgnoredError` if the server
        skipped a filter.

        Source: ``GET /simulate/test-executions/{test_execution_id}/``.
        """
        source = TestExecutionCalls(test_execution_id, search=search, filters=filters)
        return cast(TestExecutionPage, await self._read_page(source, page, limit))

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

        ``row_groups`` are column ids. The served API accepts only dataset columns
        (``scenario_<scenario id>_dataset_<column id>``); it answers 500 to other columns. It groups the rows
        of all test executions, and ignores ``filters``.

        Source: ``GET /simulate/test-executions/{test_execution_id}/``.
        """
        asking = partial(
            requests.groups_request, row_groups=row_groups, group_keys=group_keys, page=page, limit=limit
        )
        source = TestExecutionCalls(test_execution_id, search=search, filters=filters)
        request = asking(source)  # or what is wrong about it, before anything is sent
        options = self._options("interactive")
        filter_check = self._filter_check(options)
        if (resolved := await filter_check.resolve(source)) != source:
            source, request = resolved, asking(resolved)

        async def decode(reply: Reply) -> GroupPage:
            groups = decoding.decode_groups(
                reply.body, request.endpoint, page=page, limit=limit, checks=self._checks
            )
            check_filters_applied(source, groups.error_messages)
            return groups

        groups = (await self._requester.call(request, decode, options)).value
        await filter_check.check_columns(source, groups.column_order)
        return groups

    def stream_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int = 100,
        ordered: bool = False,
        on_error: OnError = "raise",
        consistency: Consistency = "complete",
        updates: bool = False,
        deadline: float | None = None,
        max_outage: float = MAX_OUTAGE_SECONDS,
        changed_since: Mapping[CallSource, datetime] | None = None,
        resume: Iterable[bytes] = (),
    ) -> AbstractAsyncContextManager[CallStream]:
        """Stream the calls of all sources: ``async with session.stream_calls(...) as stream``.

        ``async for call in stream`` yields calls while further pages are being read. Reading pauses while
        your code is busy. If you leave the block early, the remaining requests are cancelled. Each call is
        delivered once per source. ``stream.report`` says of each source whether it is provably complete.

        Args:
            sources: The lists to read. A source that is given twice is read twice.
            page_size: Approximate number of rows per request; pages overlap slightly.
            ordered: Sort by source, then newest first, then by id. The stream yields nothing until everything
                was read; the records wait in a temporary file.
            on_error: ``"raise"`` stops at the first failed page or record. ``"collect"`` continues, and puts
                the failures in the report. If the server refuses the keys, both stop.
            consistency: ``"complete"`` reads until the list is provably covered. ``"fast"`` reads each page
                once, and reports ``incomplete`` for every list of more than one page.
            updates: Yield a call again if a newer version of it was read.
            deadline: Seconds after which reading stops. The report then says ``incomplete``.
            max_outage: How many seconds to wait for a server that stopped answering. During the outage the
                stream sends a probe from time to time; at the end it raises the last error. 0 does not wait.
            changed_since: For some of the sources: read only what changed since this moment, for example
                the ``complete_as_of`` of an earlier report. Such a read can't detect deleted calls. It also
                misses calls that entered an agent version's list or a filtered list with an older change.
            resume: The checkpoints of the `Step` objects of an earlier stream over the same sources, in their
                order. The read continues after them, and does not deliver those steps again.
        """
        checked = check_sources(sources)
        check_count("page_size", page_size, at_most=MAX_PAGE_SIZE)
        options = BulkOptions(
            page_size=page_size,
            on_error=check_word("on_error", on_error, OnError),
            consistency=check_word("consistency", consistency, Consistency),
            ordered=ordered,
            updates=updates,
            deadline_seconds=check_deadline(deadline),
            changed_since=check_changed_since(changed_since),
            max_in_flight=self._requester.max_in_flight,
            max_body_bytes=self._max_response_bytes,
        )
        reading = self._options("bulk")
        opened = stream.open_stream(
            checked,
            partial(read_page, self._requester, reading, self._filter_check(reading), checks=self._checks),
            partial(restore_call, checks=self._checks),
            options,
            tuple(resume) if isinstance(resume, Iterator) else resume,
            self._outage_gate(max_outage),
            self._requester,
        )
        return _OpenedByWith(opened, "async with session.stream_calls(...) as stream")

    async def fetch_calls(
        self,
        sources: Iterable[CallSource] | CallSource,
        *,
        page_size: int = 100,
        ordered: bool = False,
        on_error: OnError = "raise",
        consistency: Consistency = "complete",
        deadline: float | None = None,
        max_outage: float = MAX_OUTAGE_SECONDS,
        changed_since: Mapping[CallSource, datetime] | None = None,
    ) -> FetchResult:
        """Return all calls of all sources in one list, with the report; see `stream_calls`.

        If a call changed during the read, you get its newest version.
        """
        async with self.stream_calls(
            sources,
            page_size=page_size,
            ordered=ordered,
            on_error=on_error,
            consistency=consistency,
            deadline=deadline,
            max_outage=max_outage,
            changed_since=changed_since,
        ) as stream:
            return await stream.collect()

    async def fetch_call_executions(
        self, ids: Iterable[str | UUID], *, max_outage: float = MAX_OUTAGE_SECONDS
    ) -> list[Outcome[CallExecution]]:
        """Return the full details of many calls: one `Outcome` for each id, in the order given.

        If the server stops answering, the read waits for up to ``max_outage`` seconds, and then requests the
        ids without a response again. ``max_outage=0`` does not wait; it gives up after 100 failed ids in a
        row. After giving up, the outcomes of all remaining ids are errors, too.
        """
        checked = self._check_ids(ids, "call_execution_id")
        async with self._open_outcomes(checked, self._read_call, max_outage) as outcomes:
            return await collect_outcomes(checked, outcomes)

    def stream_call_executions(
        self, ids: Iterable[str | UUID], *, max_outage: float = MAX_OUTAGE_SECONDS
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Stream the full details of many calls, in an ``async with`` block.

        In ``async with session.stream_call_executions(ids) as stream``, ``async for outcome in stream``
        yields one `Outcome` for each distinct id, as it arrives. At most ``max_in_flight`` ids are in flight.
        Otherwise this works as `fetch_call_executions`.
        """
        checked = self._check_ids(ids, "call_execution_id")
        opened = self._open_outcomes(checked, self._read_call, max_outage)
        return _OpenedByWith(opened, "async with session.stream_call_executions(...) as stream")

    async def fetch_kpis(
        self,
        test_execution_ids: Iterable[str | UUID],
        *,
        check: bool = False,
        max_outage: float = MAX_OUTAGE_SECONDS,
    ) -> list[Outcome[ExecutionKPIs]]:
        """Return the KPIs of many test executions: one `Outcome` for each id, in the order given.

        ``check`` works as in `get_kpis`, with a second request for each id. ``max_outage`` works as in
        `fetch_call_executions`.
        """
        checked = self._check_ids(test_execution_ids, "test_execution_id")
        read_one = partial(self._read_kpis, check=check)
        async with self._open_outcomes(checked, read_one, max_outage) as outcomes:
            return await collect_outcomes(checked, outcomes)

    async def wait_for_execution(
        self,
        test_execution_id: str | UUID,
        timeout: float | None = 3600,  # noqa: ASYNC109 - in the session's clock, with the last state in its error
        poll: float = 5.0,
        *,
        max_outage: float = MAX_OUTAGE_OF_A_WAIT_SECONDS,
    ) -> ExecutionState:
        """Wait until a test execution is final, and return its state; ``status`` says how it ended.

        A test execution is final if it is completed, failed or cancelled, no call is in progress, and no
        evaluation is pending. The session reads the whole list of its calls to verify this. A failed or
        cancelled test execution may leave calls and evaluations unfinished for ever: it is final when nothing
        has changed for a minute.

        Most checks cost one small request. The first ones come every ``poll`` seconds. While nothing changes,
        the pause grows up to a minute. Checks use at most half of ``max_requests_per_minute``. Observers get
        an `events.ExecutionChecked` for each check.

        Raises `WaitTimeoutError`, which has the last state. Raises `NotFoundError` for an unknown test
        execution, and for one that is deleted during the wait.

        Args:
            test_execution_id: The id of the test execution.
            timeout: Seconds; 0 checks once, ``None`` waits without a limit.
            poll: The shortest pause between two checks, in seconds.
            max_outage: How many seconds to wait for a server that stopped answering.
        """
        source = TestExecutionCalls(test_execution_id)
        options = self._wait_options(timeout, poll, max_outage)
        self._requester.check_usable()
        return await waiting.wait_until_final(source, self._watch_reads(source), options, self._requester)

    def watch_calls(
        self,
        source: CallSource,
        poll: float = 5.0,
        timeout: float | None = None,
        *,
        max_outage: float = MAX_OUTAGE_OF_A_WAIT_SECONDS,
    ) -> AbstractAsyncContextManager[AsyncIterator[CallExecution]]:
        """Stream each call once it is final: ``async with session.watch_calls(source) as stream``.

        ``async for call in stream`` yields each call of the list once, when it is completed, failed or
        cancelled and none of its evaluations is pending. Calls that are already final come first. The stream
        of a test execution ends when the test execution is final; see `wait_for_execution`. Other streams end
        when every call is final. Snapshots are not delivered, nor are calls that a failed or cancelled test
        execution leaves unfinished. No request is sent while your code is busy.

        Raises `WaitTimeoutError` after ``timeout`` seconds; by default there is no limit. Otherwise this
        works as `wait_for_execution`.
        """
        (checked,) = check_sources([source])
        options = self._wait_options(timeout, poll, max_outage)
        opened = waiting.open_watch(checked, self._watch_reads(checked), options, self._requester)
        return _OpenedByWith(opened, "async with session.watch_calls(...) as stream")

    def _wait_options(self, timeout: float | None, poll: float, max_outage: float) -> waiting.WaitOptions:
        return waiting.WaitOptions(
            timeout=None if timeout is None else check_wait_seconds("timeout", timeout, may_be_zero=True),
            poll=check_wait_seconds("poll", poll),
            max_outage=check_max_outage(max_outage),
            max_requests_per_minute=self.max_requests_per_minute,
        )

    def _watch_reads(self, source: CallSource) -> waiting.WatchReads:
        reading = self._options("bulk")
        filter_check = self._filter_check(reading)

        async def fetch_page(request: PageRequest, seconds: float) -> Decoded[CallPage]:
            options = reading.within(seconds)
            return await read_page(self._requester, options, filter_check, source, request, self._checks)

        async def fetch_call(call_execution_id: str, seconds: float) -> Decoded[CallExecution]:
            return await self._request_call(reading.within(seconds), call_execution_id)

        def open_stream(max_outage: float) -> AbstractAsyncContextManager[CallStream]:
            return self.stream_calls(source, max_outage=max_outage)

        return waiting.WatchReads(fetch_page=fetch_page, fetch_call=fetch_call, open_stream=open_stream)

    async def _read_call(self, options: RequestOptions, call_execution_id: str) -> CallExecution:
        return (await self._request_call(options, call_execution_id)).value

    async def _request_call(self, options: RequestOptions, call_execution_id: str) -> Decoded[CallExecution]:
        request = requests.call_request(call_execution_id)

        async def decode(reply: Reply) -> CallExecution:
            return decoding.decode_call(reply.body, request.endpoint, self._checks)

        return await self._requester.call(request, decode, options)

    async def _read_kpis(
        self, options: RequestOptions, test_execution_id: str, *, check: bool
    ) -> ExecutionKPIs:
        request = requests.kpis_request(test_execution_id)

        async def decode(reply: Reply) -> ExecutionKPIs:
            return decoding.decode_kpis(reply.body, request.endpoint, self._checks)

        kpis = (await self._requester.call(request, decode, options)).value
        if not check:
            return kpis
        conclude = partial(decoding.mark_collisions, kpis)
        return await read_columns(self._requester, test_execution_id, options, conclude)

    async def _read_page(self, source: CallSource, page: int, limit: int) -> CallPage:
        options, request = self._options("interactive"), PageRequest(page, limit)
        filter_check = self._filter_check(options)
        read = await read_page(self._requester, options, filter_check, source, request, self._checks)
        return read.value

    def _open_outcomes(
        self, ids: Sequence[str], read_one: ReadOne[T], max_outage: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[T]]]:
        options = self._options("bulk")
        return open_outcomes(
            ids,
            partial(read_one, options),
            partial(read_one, options.once()),
            self._outage_gate(max_outage),
            max_in_flight=self._requester.max_in_flight,
        )

    def _outage_gate(self, max_outage: float) -> OutageGate:
        return OutageGate(check_max_outage(max_outage), self._requester)

    def _filter_check(self, options: RequestOptions) -> FilterCheck:
        return FilterCheck(self._requester, options)

    async def _list(
        self, shape: Shape[T], template: str, known: Mapping[str, str] = EMPTY, **chosen: str | None
    ) -> tuple[T, ...]:
        options = self._options("interactive")
        return await read_list(
            self._requester, shape, template, known, chosen, options, strict=self._checks.strict
        )

    @property
    def _lister(self) -> "Session":
        """The view for reads of many items: "bulk", unless `with_options` set a priority."""
        return self if self._priority else self.with_options(priority="bulk")

    def _options(self, usual: Priority) -> RequestOptions:
        """Return the options of a request: ``usual`` is its priority if `with_options` set no other."""
        urgent = (self._priority or usual) == "interactive"
        return RequestOptions(self._timeouts, self._retry, urgent=urgent)

    def _check_ids(self, ids: Iterable[str | UUID], name: str) -> list[str]:
        if isinstance(ids, str | UUID):
            raise TypeError(f"Pass several ids, such as [{name}].")
        self._requester.check_usable()
        return [check_id(value, name) for value in ids]

    def __repr__(self) -> str:
        return f"<Session {vars(self).get('_origin', 'not made')}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A session can't be pickled; open one in each process.")


class _OpenedByWith(AbstractAsyncContextManager[T]):
    """An async context manager that explains its use if the ``async with`` is missing."""

    def __init__(self, opened: AbstractAsyncContextManager[T], usage: str) -> None:
        self._opened = opened
        self._usage = usage

    async def __aenter__(self) -> T:
        return await self._opened.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._opened.__aexit__(kind, error, traceback)

    def __aiter__(self) -> NoReturn:
        self._explain()

    def __await__(self) -> NoReturn:
        self._explain()

    def __iter__(self) -> NoReturn:
        self._explain()

    def _explain(self) -> NoReturn:
        raise TypeError(f"Use '{self._usage}:', and 'async for call in stream:' in that block.")


def _choose_budget(
    budget: RequestBudget | None, max_requests_per_minute: int | None, clock: Clock
) -> RequestBudget | None:
    """Return the budget to ask: the given one, or a new one for this session if there is a limit."""
    if budget is not None and max_requests_per_minute is not None:
        raise ValueError("Pass budget or max_requests_per_minute, not both: the budget sets the limit.")
    if max_requests_per_minute is not None:
        check_count("max_requests_per_minute", max_requests_per_minute)
        return MinuteBudget(max_requests_per_minute, clock=clock)
    if isinstance(budget, type) or not isinstance(budget, RequestBudget | None):
        raise TypeError(
            "budget must have the methods lease, give_back and pause of a RequestBudget; "
            f"{type(budget).__name__} has not."
        )
    return budget


def choose_proxy(proxy: str | None, origin: Origin, *, trust_env: bool) -> Proxy | None:
    """Return the proxy to use: the given one, or, with ``trust_env``, the environment's."""
    if proxy is None:
        return read_proxy(origin, os.environ) if trust_env else None
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a str, not {type(proxy).__name__}.")
    try:
        return Proxy(proxy)
    finally:
        del proxy  # some tracebacks show a frame's variables
