"""The public API as users type it: checked by mypy and pyright, never run."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from ssl import SSLContext
from typing import Any, Literal, assert_type
from uuid import UUID

from futureagi_async import (
    AgentDefinition,
    AgentVersion,
    AgentVersionCalls,
    AgentVersionNamed,
    AllSources,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CallExecution,
    CallPage,
    CallSource,
    CallsTable,
    CallStatus,
    CallStream,
    Column,
    ColumnFilter,
    DecodingError,
    EvalOutput,
    ExecutionKPIs,
    ExecutionState,
    ExecutionStatus,
    ExportError,
    ExportReport,
    FetchReport,
    FetchResult,
    Filter,
    FilterIgnoredError,
    FutureAGIError,
    GroupPage,
    InternalServerError,
    JsonValue,
    LatestExecution,
    Lease,
    MinuteBudget,
    NotFoundError,
    Outcome,
    PermissionDeniedError,
    RateLimitError,
    RecordFailure,
    RedirectError,
    RequestBudget,
    ResponseTooLargeError,
    RetryPolicy,
    RunTest,
    RunTestCalls,
    RunTestNamed,
    Scenario,
    Session,
    SessionMisuseError,
    Share,
    ShareReceipt,
    SourceName,
    SourceReport,
    SourceSync,
    SyncError,
    SyncReport,
    TestExecution,
    TestExecutionCalls,
    TestExecutionPage,
    Timeouts,
    TLSError,
    TranscriptTurn,
    WaitTimeoutError,
    __version__,
    blocking,
    column,
    commit_shares,
    export_share,
    fetch_table,
    load_source_names,
    plan_shares,
    read_export,
    source_from_dict,
    stream_tables,
    sync_calls,
)
from futureagi_async.analysis import (
    Comparison,
    Interval,
    Rule,
    ScenarioSummary,
    Summary,
    check,
    compare,
    summarise,
)
from futureagi_async.events import Event, OutageEnded, RequestFailed, ResponseReceived, VerdictReached

RAW_FILTER: dict[str, object] = {
    "column_id": "status",
    "filter_config": {"filter_type": "text", "filter_op": "equals", "filter_value": "completed"},
}


def sessions(context: SSLContext, observe: "Observe") -> None:
    """Build sessions with every option, and views of them."""
    assert_type(Session(), Session)
    session = Session(
        "key",
        "secret",
        "https://api.example",
        max_in_flight=4,
        timeouts=Timeouts(connect=5, read=30.0, attempt=60, deadline=120),
        retry=RetryPolicy(attempts=2, base_delay=0.1, max_delay=5, max_retry_after=60),
        max_requests_per_minute=600,
        max_response_bytes=1 << 20,
        proxy="http://proxy.example:3128",
        ssl_context=context,
        connector=None,
        trust_env=True,
        observers=[observe, print],
        allow_insecure=False,
        strict=True,
    )
    budget: RequestBudget = MinuteBudget(600, shared=True)
    assert_type(Session(budget=budget).max_requests_per_minute, int | None)
    assert_type(Lease(granted=0, wait_seconds=1.5).wait_seconds, float)
    Session(budget=600)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(session.with_options(timeouts=Timeouts(), retry=RetryPolicy()), Session)
    assert_type((Timeouts().read, RetryPolicy().attempts), tuple[float, int])
    Session(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Session(max_in_flight="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class Observe:
    """An observer that is an object."""

    def __call__(self, event: Event) -> None:
        """Take events apart by their classes."""
        if isinstance(event, ResponseReceived):
            assert_type(event.seconds, float)
            assert_type(event.request_id, str | None)
        elif isinstance(event, VerdictReached):
            assert_type(event.source, CallSource)
            assert_type(event.verdict, Literal["complete", "incomplete"])
        elif isinstance(event, OutageEnded):
            assert_type((event.answered, event.seconds), tuple[bool, float])
        elif isinstance(event, RequestFailed):
            assert_type(event.status, int | None)


def sources(id_: UUID) -> list[CallSource]:
    """Name lists by text and by UUID."""
    run = RunTestCalls(id_, search="a", status=CallStatus.COMPLETED)
    assert_type((run.run_test_id, run.status), tuple[str, str | None])
    version = AgentVersionCalls("a", id_)
    assert_type(version.version_id, str)
    execution = TestExecutionCalls(id_, search=None, filters=[column("a").between(5, 9.5), RAW_FILTER])
    assert_type(execution.filters, tuple[Filter, ...])
    assert_type(run.kind, Literal["run_test"])
    assert_type((version.ids, execution.label), tuple[dict[str, str], str])
    assert_type(execution.to_dict(), dict[str, object])
    RunTestCalls(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RunTestCalls("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    return [run, version, execution]


def filters(day: datetime, id_: UUID) -> list[Filter]:
    """Build one filter of each kind."""
    score = column("overall_score")
    assert_type(score, ColumnFilter)
    assert_type(score.equals(5), Filter)
    created, status = column("created_at"), column("status")
    return [
        *(score.not_equals(5), score.not_between(1, 2), score.less_than(9), score.less_than_or_equal(9)),
        *(score.greater_than(1), score.greater_than_or_equal(1.5), column(id_).equals(True)),
        *(created.between(day, "2026-01-01T00:00:00Z"), column("call_execution_id").is_in([id_, "a"])),
        *(status.not_in(("failed",)), status.contains("x"), status.not_contains("x")),
    ]


async def single_requests(session: Session, id_: UUID, source: CallSource) -> None:
    """Ask every endpoint once."""
    async with session as opened:
        assert_type(opened, Session)
    assert_type(await session.get_call_execution(id_), CallExecution)
    assert_type(await session.get_call_execution("a"), CallExecution)
    assert_type(await session.get_kpis(id_, check=True), ExecutionKPIs)
    assert_type(await session.get_page(source), CallPage)
    assert_type(await session.get_page(source, page=2, limit=50), CallPage)
    execution = await session.get_test_execution(id_, search="a", filters=[RAW_FILTER], page=1, limit=10)
    assert_type(execution, TestExecutionPage)
    by_scenario = await session.get_groups(
        id_,
        row_groups=["a"],
        group_keys=("b",),
        search="c",
        filters=filters(datetime.min, id_),
        page=1,
        limit=10,
    )
    assert_type(by_scenario, GroupPage)
    assert_type(await session.close(), None)
    await session.get_page(id_)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await session.get_groups(id_)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def bulk_reads(session: Session, source: CallSource, ids: list[UUID]) -> None:
    """Read many lists and ids at once."""
    async with session.stream_calls(
        [source], page_size=50, ordered=True, deadline=60, max_outage=30
    ) as stream:
        assert_type(stream, CallStream)
        async for call in stream:
            assert_type(call, CallExecution)
        assert_type(stream.pages(), AsyncIterator[CallPage])
        async for page in stream.pages():
            assert_type(page, CallPage)
        assert_type(await stream.collect(), FetchResult)
    assert_type(stream.report, FetchReport)
    result = await session.fetch_calls(source, on_error="collect", consistency="fast")
    assert_type(result, FetchResult)
    assert_type(result.calls, list[CallExecution])
    assert_type(result.report, FetchReport)
    details = await session.fetch_call_executions(ids, max_outage=0)
    assert_type(details, list[Outcome[CallExecution]])
    async with session.stream_call_executions(ids) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome[CallExecution])
    assert_type(details[0].id, str)
    assert_type(details[0].value, CallExecution | None)
    assert_type(details[0].error, FutureAGIError | None)
    assert_type(details[0].unwrap(), CallExecution)
    kpis = await session.fetch_kpis(["a", ids[0]], check=True, max_outage=0.5)
    assert_type(kpis[0].unwrap(), ExecutionKPIs)
    session.stream_calls(source, on_error="ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await session.fetch_calls(source, consistency="none")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def reports(report: FetchReport) -> None:
    """Read what a bulk read says about itself."""
    assert_type((report.complete, report.received), tuple[bool, int])
    assert_type(report.sources, tuple[SourceReport, ...])
    for source in report:
        assert_type(source, SourceReport)
        assert_type(source.source, CallSource)
        assert_type(source.verdict, Literal["complete", "incomplete"])
        assert_type(source.reason, str)
        assert_type(source.expected, int | None)
        for number in (source.received, source.duplicates, source.requests, source.retries, source.misfits):
            assert_type(number, int)
        assert_type(source.complete_as_of, datetime | None)
        assert_type(source.failures, tuple[FutureAGIError, ...])
    report.sources = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def calls(call: CallExecution) -> None:
    """Read the fields of a call."""
    assert_type((call.id, call.call_execution_id), tuple[str, str])
    assert_type(call.source, CallSource | None)
    for text in (call.status, call.customer_name, call.original_call_execution_id):
        assert_type(text, str | None)
    for moment in (call.timestamp, call.created_at, call.start_time, call.snapshot_timestamp):
        assert_type(moment, datetime | None)
    for number in (
        call.duration,
        call.overall_score,
        call.response_time,
        call.avg_latency_ms,
        call.total_cost,
    ):
        assert_type(number, float | None)
    assert_type(call.scenario, Scenario | None)
    assert_type(call.is_snapshot, bool | None)
    assert_type(call.misfits, Mapping[str, JsonValue])
    assert_type(call.as_sent(include_provider_data=True), bytes)
    assert_type(call.transcript, tuple[TranscriptTurn, ...] | None)
    assert_type(call.eval_outputs, Mapping[str, EvalOutput] | None)
    for mapping in (call.eval_metrics, call.recordings, call.tool_outputs):
        assert_type(mapping, Mapping[str, JsonValue] | None)
    assert_type(call.scenario_columns, Mapping[str, JsonValue] | list[JsonValue] | None)
    assert_type(call.recording_urls, Mapping[str, str])
    assert_type(call.rerun_snapshots, tuple[CallExecution, ...] | None)
    assert_type(call.extra, Mapping[str, JsonValue])
    assert_type(call.raw, bytes)
    if call.status == CallStatus.COMPLETED:
        CallExecution(id="a", status=CallStatus.FAILED, transcript=())
    CallExecution("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    call.extra["a"] = 1  # type: ignore[index]  # pyright: ignore[reportIndexIssue]


def parts(turn: TranscriptTurn, output: EvalOutput, scenario: Scenario, shown: Column) -> None:
    """Read the nested values of a call."""
    assert_type((turn.role, turn.content), tuple[str | None, str | None])
    assert_type((turn.start_seconds, turn.end_seconds), tuple[float | None, float | None])
    assert_type(turn.extra, Mapping[str, JsonValue])
    assert_type(output.id, str)
    assert_type((output.name, output.type), tuple[str | None, str | None])
    assert_type(output.value, JsonValue)
    assert_type(output.error, bool | str | None)
    assert_type((output.skipped, output.pending), tuple[bool | None, bool])
    assert_type(output.choices, tuple[str, ...])
    assert_type((scenario.id, scenario.name), tuple[str | None, str | None])
    assert_type((shown.id, shown.visible), tuple[str, bool | None])
    assert_type(shown.eval_config, Mapping[str, JsonValue] | None)


def pages(page: CallPage, execution: TestExecutionPage, groups: GroupPage, kpis: ExecutionKPIs) -> None:
    """Read pages and key figures."""
    assert_type((page.count, page.total_pages, page.current_page), tuple[int, int, int])
    assert_type(page.has_next, bool)
    assert_type(page.calls, tuple[CallExecution, ...])
    assert_type(page.elapsed, float | None)
    assert_type(page.failures, tuple[RecordFailure, ...])
    assert_type(page.failures[0].error, DecodingError)
    assert_type(page.failures[0].raw, bytes)
    assert_type(execution.status, str | None)
    assert_type(execution.column_order, tuple[Column, ...])
    assert_type(execution.error_messages, tuple[str, ...])
    assert_type(groups.groups, tuple[Mapping[str, JsonValue], ...])
    assert_type(kpis.total_calls, int | None)
    assert_type(kpis.avg_score, float | None)
    assert_type(kpis.is_inbound, bool | None)
    assert_type(kpis.eval_averages, Mapping[str, float])
    assert_type(kpis.choice_counts, Mapping[str, Mapping[str, int]])
    assert_type(kpis.collisions, Mapping[str, JsonValue])
    for misfits in (kpis.misfits, page.misfits, execution.misfits, groups.misfits):
        assert_type(misfits, Mapping[str, JsonValue])
    as_page: CallPage = execution
    del as_page


async def failures(session: Session) -> str:
    """Catch errors from the most special to the most general."""
    try:
        await session.get_call_execution("a")
    except (BadRequestError, AuthenticationError, PermissionDeniedError, NotFoundError) as error:
        assert_type(error.body, str | None)
    except (RateLimitError, RedirectError, InternalServerError) as error:
        assert_type((error.retry_after, error.retryable), tuple[float | None, bool])
    except APIStatusError as error:
        assert_type(error.status, int | None)
    except (APITimeoutError, ResponseTooLargeError, TLSError, APIConnectionError) as error:
        assert_type((error.attempts, error.elapsed), tuple[int, float | None])
    except DecodingError as error:
        assert_type((error.endpoint, error.json_path), tuple[str | None, str | None])
    except FilterIgnoredError as error:
        assert_type(error.error_messages, tuple[str, ...])
    except (SessionMisuseError, ExportError, SyncError) as error:
        assert_type(error.message, str)
    except FutureAGIError as error:
        assert_type((error.method, error.request_id), tuple[str | None, str | None])
    version: str = __version__
    return version


async def databases(session: Session, run_test_id: UUID) -> None:
    """A database that is brought up to date."""
    report = await sync_calls(session, RunTestCalls(run_test_id), "calls.duckdb", full_every=None)
    assert_type(report, SyncReport)
    assert_type((report.complete, report.inserted, report.number), tuple[bool, int, int])
    for each in report.sources:
        assert_type(each, SourceSync)
        assert_type((each.mode, each.complete_as_of), tuple[Literal["full", "changes"], datetime | None])
        assert_type(each.read, SourceReport)
    assert_type(report.no_longer_named, tuple[CallSource, ...])
    await sync_calls(session, [RunTestCalls(run_test_id)], "delta://lake", full_every=timedelta(days=7))


def words(status: ExecutionStatus) -> str:
    """Use the documented words as text."""
    return status


async def waiting(session: Session, test_execution_id: UUID) -> None:
    """States, and calls when they are final."""
    try:
        state = await session.wait_for_execution(test_execution_id, timeout=60, poll=5)
        assert_type(state, ExecutionState)
        assert_type((state.status, state.is_final, state.elapsed), tuple[str | None, bool, float])
    except WaitTimeoutError as error:
        assert_type(error.state, ExecutionState | None)
    async with session.watch_calls(TestExecutionCalls(test_execution_id), timeout=None) as finished:
        async for call in finished:
            assert_type(call, CallExecution)


async def discovery(session: Session, run_test_id: UUID) -> None:
    """Lists of what there is, and names."""
    runs = await session.list_run_tests(search="x", simulation_type="prompt")
    assert_type(runs, tuple[RunTest, ...])
    assert_type(runs[0].calls(search="x", status="failed"), RunTestCalls)
    executions = await session.list_test_executions(run_test_id, status="failed", search="x")
    assert_type(executions, tuple[TestExecution, ...])
    assert_type(executions[0].calls(filters=[column("status").equals("failed")]), TestExecutionCalls)
    assert_type(await session.list_agent_definitions(agent_type="voice"), tuple[AgentDefinition, ...])
    versions = await session.list_agent_versions(run_test_id)
    assert_type(versions, tuple[AgentVersion, ...])
    assert_type(versions[0].calls(), AgentVersionCalls)
    names: list[SourceName] = [
        RunTestNamed("x", status="failed"),
        AgentVersionNamed("x", "latest"),
        LatestExecution("x"),
        AllSources(["run_tests"], timedelta(days=30)),
    ]
    assert_type(await session.find_sources(names), tuple[CallSource, ...])
    assert_type(await session.find_sources(load_source_names("s.toml")), tuple[CallSource, ...])
    assert_type(await session.all_sources(since=datetime(2026, 1, 31, tzinfo=UTC)), tuple[CallSource, ...])


async def answers(session: Session, run_test_id: UUID) -> None:
    """Summaries, comparisons and rules."""
    result = await session.fetch_calls(RunTestCalls(run_test_id))
    summary = summarise(result, label="x")
    assert_type(summary, Summary)
    assert_type(summary.measures["overall_score"].mean, float | None)
    assert_type(summary.evaluations["x"].pass_rate, float | None)
    assert_type(summary.evaluations["x"].choices["y"].share, float | None)
    assert_type(summarise(result.calls, report=result.report).scenarios, tuple[ScenarioSummary, ...])
    comparison = compare("last-week", summary, seed=1, resamples=1000)
    assert_type(comparison, Comparison)
    for difference in comparison.differences:
        assert_type(difference.interval, Interval | None)
    rules: list[Rule | str] = [Rule.parse("overall_score.mean >= 7"), "status.failed <= 0"]
    assert_type(check(summary, rules, summary, min_calls=5, significant=True).passed, bool)


async def tables(session: Session, sources: list[CallSource]) -> None:
    """Tables, plain JSON and reads without async."""
    table = await fetch_table(session, sources, columns=["id"], transcripts=True, on_error="collect")
    assert_type(table, CallsTable)
    assert_type(table.report, FetchReport | None)
    assert_type(table.transcript_failures, tuple[FutureAGIError, ...])
    async with stream_tables(session, sources[0], batch_rows=100, updates=True) as stream:
        async for part in stream:
            assert_type(part, CallsTable)
        assert_type(stream.report, FetchReport)
    assert_type(read_export("out", columns=["id"]), CallsTable)
    shares = await plan_shares(session, sources, 100, staging="staging", counts={sources[0]: 5})
    assert_type(shares, tuple[Share, ...])
    receipt = await export_share(session, shares[0], "staging")
    assert_type(receipt, ShareReceipt)
    assert_type(receipt.fetch, FetchReport)
    assert_type(await commit_shares([receipt, shares[1].failed("gone")], "staging", "out"), ExportReport)
    call = CallExecution.from_json(b"{}", sources[0])
    assert_type(call, CallExecution)
    assert_type(CallsTable.from_calls([call]), CallsTable)
    assert_type(call.to_dict(include_provider_data=True), dict[str, Any])
    assert_type(call.to_json(), bytes)
    assert_type(source_from_dict(sources[0].to_dict()), CallSource)
    assert_type(blocking.fetch_table(sources, columns=["id"]), CallsTable)
    assert_type(blocking.list_run_tests(search="x"), tuple[RunTest, ...])
    assert_type(blocking.run(Session.list_agent_definitions), tuple[AgentDefinition, ...])
