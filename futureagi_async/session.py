"""`Session`: the one entry point. One method per endpoint, and the bulk reads over them."""

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
    """A connection pool to the simulate API; use it as ``async with Session() as session:``.

    Make it anywhere; no event loop is needed. Open it once, and use it in the event loop that opened
    it. Many tasks may share it. Missing or malformed keys, and an ``http://`` base URL of another
    machine, are a `ValueError` before any request.

    Args:
        api_key: Sent as ``X-Api-Key``; default ``FI_API_KEY`` from the environment.
        secret_key: Sent as ``X-Secret-Key``; default ``FI_SECRET_KEY``.
        base_url: Default ``FI_BASE_URL``, else ``https://api.futureagi.com``.
        max_in_flight: Requests under way at once; waiting for a free slot counts towards no timeout.
        timeouts: Limits in seconds for each request.
        retry: How often failed requests are sent again.
        max_requests_per_minute: Never send more than this in any minute: a tenth at once, and then evenly.
        budget: Asked before each request instead, where several sessions share an allowance: a
            `MinuteBudget` in one process, any other `RequestBudget` over many.
        max_response_bytes: Largest decoded answer; also bounds memory, times ``max_in_flight``.
        proxy: URL of an HTTP proxy to use.
        ssl_context: For private certificate authorities or client certificates.
        connector: An aiohttp connector to use in place of an own pool. The session does not close it.
        trust_env: Use the proxy of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``,
            ``NO_PROXY``), as curl does. Netrc is never read, because its ``Authorization`` header would
            make the server refuse the keys.
        observers: Called with each `futureagi_async.events.Event`.
        allow_insecure: Allow ``http://`` to other machines, which shows the keys to the network.
        validate: ``"lazy"`` checks transcript, evaluations and other nested parts when they are first
            read, ``"eager"`` with the record they belong to.
        strict: Raise `DecodingError` for a value of a type that the documents do not allow. By default the
            field is ``None`` and ``misfits`` has what was sent; see `CallExecution.misfits`.
        clock: Time and randomness, for tests.
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
        """Cancel requests under way, wait for them to end, and close the pool; again is harmless."""
        await self._requester.close()

    @property
    def max_in_flight(self) -> int:
        """Requests under way at once, at most."""
        return self._requester.max_in_flight

    @property
    def max_requests_per_minute(self) -> int | None:
        """Requests in any minute, at most; ``None`` for no limit, or where another budget sets it."""
        return self._budget.requests_per_minute if isinstance(self._budget, MinuteBudget) else None

    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        priority: Priority | None = None,
    ) -> "Session":
        """Return a view of this session with other timeouts, retries or priority, on the same pool.

        Args:
            timeouts: For example ``Timeouts(deadline=2)`` for a request that a user waits for.
            retry: How often failed requests are sent again.
            priority: Who gets the next free slot: ``"interactive"`` goes before ``"bulk"``. By default,
                reads of one thing are interactive, and reads of many (streams, exports,
                ``fetch_...``) are bulk. So an export delays a handler by one slot at most.
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

        Raises `NotFoundError` for an unknown call. The id of a snapshot is not the id of a call: use
        ``call.call_execution_id``. Source: ``GET /simulate/call-executions/{call_execution_id}/``.
        """
        key = check_id(call_execution_id, "call_execution_id")
        return await self._read_call(self._options("interactive"), key)

    async def get_kpis(self, test_execution_id: str | UUID, *, check: bool = False) -> ExecutionKPIs:
        """Return a test execution's key figures.

        The server sends the average of an evaluation ``Score`` as ``avg_score``, and nothing in the answer
        shows it. ``check`` also reads the names of the evaluations, with one small page of calls, and moves
        figures that an evaluation may have replaced to ``collisions``.

        Raises `NotFoundError` for an unknown test execution.
        Source: ``GET /simulate/test-executions/{test_execution_id}/kpis/``.
        """
        key = check_id(test_execution_id, "test_execution_id")
        return await self._read_kpis(self._options("interactive"), key, check=check)

    async def list_run_tests(
        self, search: str | None = None, simulation_type: SimulationType | None = None
    ) -> tuple[RunTest, ...]:
        """Return the run tests of the keys' workspace, newest first.

        All pages are read, one after another, and each run test comes once. Unlike a list of calls, this
        small list has no proof: a run test that is created or deleted meanwhile may be in it or not.

        Args:
            search: Only those with this text in their name or their agent's, in any case.
            simulation_type: Only those of an ``"agent_definition"``, or of a ``"prompt"``.

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
        """Return the executions of a run test, newest first; without a proof, as `list_run_tests`.

        Raises `NotFoundError` for an unknown run test.

        Args:
            run_test_id: Whose executions.
            status: Only those in this one state, an `ExecutionStatus` word in any case.
            search: Only those with this text in the name of the run test, its agent or a scenario.

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
        """Return the agents of the keys' workspace, newest first; without a proof, as `list_run_tests`.

        Args:
            search: Only those with this text in their name, in any case.
            agent_type: Only those that talk (``"voice"``) or write (``"text"``).

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
        """Return the versions of an agent, newest first; without a proof, as `list_run_tests`.

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
        """Return every run test and every agent version of the keys' workspace, as sources to read.

        ``await session.fetch_calls(await session.all_sources())`` reads everything there is. The list of a
        run test has the calls of all its executions; the list of an agent version has its evaluated calls.

        Args:
            kinds: ``"run_tests"``, ``"agent_versions"`` or both; in this order, each newest first.
            since: Only run tests that ran later than this moment, or than so long ago, and the versions of
                the agents that those run tests have now. (The server does not say when a version ran.)

        These lists have no proof, see `list_run_tests`.
        """
        wanted = AllSources(kinds, since)
        return await finding.find_all(self._lister, wanted, datetime.now(UTC), self.max_in_flight)

    async def find_sources(
        self, names: Iterable[CallSource | SourceName] | CallSource | SourceName
    ) -> tuple[CallSource, ...]:
        """Look up names of run tests and agents: return the sources they stand for, each once, in order.

        ``RunTestNamed("Checkout flow")``, ``AgentVersionNamed("Support bot", "latest")``,
        ``LatestExecution("Checkout flow")`` and ``AllSources()`` are looked up. Ids and sources cost no
        request.

        Raises `NameLookupError`, with the candidates, if nothing has a name or several things have it.
        """
        given = (names,) if isinstance(names, CallSource | SourceName) else tuple(names)
        return await finding.find_sources(self._lister, given, datetime.now(UTC), self.max_in_flight)

    async def get_page(self, source: CallSource, *, page: int = 1, limit: int = 100) -> CallPage:
        """Return one page of a list of calls.

        Records that do not decode are in ``failures``. Raises `NotFoundError` for an unknown list, and for
        agent versions also past the last page ("Invalid page."). Raises `FilterIgnoredError` if the server
        skipped a filter and sent unfiltered rows.
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
        """Return a test execution with one page of its calls (transcripts are withheld there).

        Raises `NotFoundError` for an unknown test execution, and `FilterIgnoredError` if the server
        skipped a filter. Source: ``GET /simulate/test-executions/{test_execution_id}/``.
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
        (``scenario_<scenario id>_dataset_<column id>``), and answers 500 to others. It groups over all test
        executions, and ignores ``filters``. Source: ``GET /simulate/test-executions/{test_execution_id}/``.
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
        """Read the calls of all sources at once: ``async with session.stream_calls(...) as stream``.

        Calls arrive while pages are read. Reading waits while the caller is busy. Leaving the block early
        cancels the rest. Each call is delivered once per source. ``stream.report`` says of each source
        whether it is provably complete.

        Args:
            sources: What to read; a source given twice is read twice.
            page_size: Rows a request, about; pages overlap a little.
            ordered: Yield by source, then newest first, then by id. Nothing is yielded until everything
                was read; records wait in a temporary file.
            on_error: ``"raise"`` ends at the first failed page or record. ``"collect"`` continues, and
                reports them. Refused keys end the job in either case.
            consistency: ``"complete"`` reads until the list is provably covered. ``"fast"`` reads
                each page once, and says ``incomplete`` of every list that is longer than a page.
            updates: Yield a call again if a newer version of it was read.
            deadline: Seconds after which reading stops. The report then says ``incomplete``.
            max_outage: How many seconds to wait for a server that stopped answering. The read asks from time
                to time whether it is back, and in the end raises the last error. 0 does not wait.
            changed_since: For some of the sources: read only what changed since this moment, for example
                the ``complete_as_of`` of an earlier report. This can't show which calls were deleted, nor
                which calls entered an agent version's list or a filtered list with an older change.
            resume: The checkpoints of the `Step` objects of an earlier stream over the same sources, in their
                order. The read continues from there, and does not deliver those steps again.
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
        """Return all calls of all sources in one list, with their report; see `stream_calls`.

        If a call changed while the list was read, you get its newest version.
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

        If the server stops answering, the read waits for up to ``max_outage`` seconds (0: not at all), and
        then asks again for the ids that got no answer. When the time is up, or after 100 unanswered ids in a
        row with ``max_outage=0``, it stops asking. The outcomes of the other ids are then errors, too.
        """
        checked = self._check_ids(ids, "call_execution_id")
        async with self._open_outcomes(checked, self._read_call, max_outage) as outcomes:
            return await collect_outcomes(checked, outcomes)

    def stream_call_executions(
        self, ids: Iterable[str | UUID], *, max_outage: float = MAX_OUTAGE_SECONDS
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome[CallExecution]]]:
        """Read the full details of many calls: ``async with session.stream_call_executions(ids) as each``.

        ``async for outcome in each`` gives one `Outcome` for each different id as it arrives. At most
        ``max_in_flight`` ids are in flight. Otherwise as `fetch_call_executions`.
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
        """Return the key figures of many test executions: one `Outcome` for each id, in the order given.

        ``check`` works as in `get_kpis`, with a second request for each id, and ``max_outage`` as in
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
        """Return the state of a test execution once it is final; ``status`` says how it ended.

        A test execution is final if it is completed, failed or cancelled, no call is under way, and no
        evaluation is pending. The whole list of its calls is read to make sure. A failed or cancelled one may
        never finish some calls and evaluations: it is final when nothing has changed for a minute.

        Most looks cost one small request. They come every ``poll`` seconds at first, and up to a minute apart
        while nothing changes. They take at most half of ``max_requests_per_minute``. Observers get an
        `events.ExecutionChecked` for each.

        Raises `WaitTimeoutError`, which has the last state, and `NotFoundError` for an unknown test
        execution, also if it is deleted meanwhile.

        Args:
            test_execution_id: Which one.
            timeout: Seconds; 0 looks once, ``None`` waits for ever.
            poll: The shortest pause between two looks, in seconds.
            max_outage: How many seconds to wait for a server that stopped answering.
        """
        source = TestExecutionCalls(test_execution_id)
        options = self._wait_options(timeout, poll, max_outage)
        self._requester.check_usable()
        return await waiting.wait_until_final(source, self._ways_to_look(source), options, self._requester)

    def watch_calls(
        self,
        source: CallSource,
        poll: float = 5.0,
        timeout: float | None = None,
        *,
        max_outage: float = MAX_OUTAGE_OF_A_WAIT_SECONDS,
    ) -> AbstractAsyncContextManager[AsyncIterator[CallExecution]]:
        """Yield each call when it is final: ``async with session.watch_calls(source) as finished``.

        ``async for call in finished`` gives each call of the list once, when it is completed, failed or
        cancelled and none of its evaluations is pending. Calls that are already final come at once. It ends
        with the test execution, see `wait_for_execution`; for other lists, when every call is final. It gives
        no snapshots, and no calls that a failed or cancelled test execution leaves unfinished. No request is
        sent while the caller is busy.

        Raises `WaitTimeoutError` after ``timeout`` seconds, by default never. Otherwise as
        `wait_for_execution`.
        """
        (checked,) = check_sources([source])
        options = self._wait_options(timeout, poll, max_outage)
        opened = waiting.open_watch(checked, self._ways_to_look(checked), options, self._requester)
        return _OpenedByWith(opened, "async with session.watch_calls(...) as stream")

    def _wait_options(self, timeout: float | None, poll: float, max_outage: float) -> waiting.WaitOptions:
        return waiting.WaitOptions(
            timeout=None if timeout is None else check_wait_seconds("timeout", timeout, may_be_zero=True),
            poll=check_wait_seconds("poll", poll),
            max_outage=check_max_outage(max_outage),
            max_requests_per_minute=self.max_requests_per_minute,
        )

    def _ways_to_look(self, source: CallSource) -> waiting.WaysToLook:
        reading = self._options("bulk")
        filter_check = self._filter_check(reading)

        async def fetch_page(request: PageRequest, seconds: float) -> Decoded[CallPage]:
            options = reading.within(seconds)
            return await read_page(self._requester, options, filter_check, source, request, self._checks)

        async def fetch_call(call_execution_id: str, seconds: float) -> Decoded[CallExecution]:
            return await self._request_call(reading.within(seconds), call_execution_id)

        def open_stream(max_outage: float) -> AbstractAsyncContextManager[CallStream]:
            return self.stream_calls(source, max_outage=max_outage)

        return waiting.WaysToLook(fetch_page=fetch_page, fetch_call=fetch_call, open_stream=open_stream)

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
        """The view that looks up many things: behind those who read one, unless it was told otherwise."""
        return self if self._priority else self.with_options(priority="bulk")

    def _options(self, usual: Priority) -> RequestOptions:
        """Return how requests are made that have this priority unless the session was told another."""
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
    """What a block opens and closes; whoever leaves out the ``async with`` is told how it is used."""

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
    """Return the budget to ask: the one given, else, if there is a limit, one of this session's own."""
    if budget is not None and max_requests_per_minute is not None:
        raise ValueError("budget and max_requests_per_minute exclude each other: the budget sets the limit.")
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
    """Return the proxy to use: the one given, else, if trusted, the environment's."""
    if proxy is None:
        return read_proxy(origin, os.environ) if trust_env else None
    if not isinstance(proxy, str):
        raise TypeError(f"proxy must be a str, not {type(proxy).__name__}.")
    try:
        return Proxy(proxy)
    finally:
        del proxy  # some tracebacks show a frame's variables
