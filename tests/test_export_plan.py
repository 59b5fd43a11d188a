"""What an export would cost: near the truth, for one small request a source."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from futureagi_async import (
    AgentVersionCalls,
    AuthenticationError,
    CallPage,
    NotFoundError,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    TLSError,
)
from futureagi_async.export import export_calls, plan_export
from futureagi_async.export.plan import SAMPLE_ROWS, estimate
from futureagi_async.testing import StandInServer
from tests.exporting import pages_asked
from tests.faults.quiet import raw_server
from tests.servers import answer, open_session, tls_contexts


@pytest.mark.anyio
async def test_a_plan_is_near_the_truth(server: StandInServer, tmp_path: Path) -> None:
    """Records, requests and bytes are about what the export then reads; a plan costs a request a source."""
    sources = [
        RunTestCalls(server.add_run_test(1_500, slim=True)),
        RunTestCalls(server.run_test_ids[1]),
        AgentVersionCalls(*server.agent_versions[0]),
        TestExecutionCalls(server.test_execution_ids[2]),
    ]
    async with open_session(server) as session:
        plan = await plan_export(session, sources, transcripts=True)
        assert len(server.requests) == len(sources)
        assert {request.query["limit"] for request in server.requests} == {str(SAMPLE_ROWS)}
        server.clear_requests()
        report = await export_calls(session, sources, tmp_path / "c.jsonl", transcripts=True)
    assert [each.source for each in plan.sources] == sources
    assert plan.known
    assert plan.records == sum(source.expected or 0 for source in report.fetch)
    assert sum(each.requests for each in plan.sources) == pytest.approx(pages_asked(server), rel=0.5)
    details = sum(each.detail_requests for each in plan.sources)
    assert details == pytest.approx(report.transcripts_fetched, rel=0.5, abs=5)
    assert plan.requests == details + sum(each.requests for each in plan.sources)
    assert plan.bytes == pytest.approx(report.bytes, rel=0.6)
    assert plan.seconds > 0


@pytest.mark.anyio
async def test_a_list_that_can_not_be_read_is_in_the_plan(served: StandInServer) -> None:
    """Its error is told, and the others are planned."""
    sources = [RunTestCalls(uuid4()), RunTestCalls(served.run_test_ids[0])]
    async with open_session(served) as session:
        plan = await plan_export(session, sources)
    assert isinstance(plan.sources[0].error, NotFoundError)
    assert plan.sources[1].records > 0
    assert not plan.known


@pytest.mark.anyio
async def test_refused_keys_end_a_plan(served: StandInServer) -> None:
    """One refusal says all: the other lists are not asked for."""
    sources = [RunTestCalls(served.run_test_ids[0])] * 20
    async with Session("wrong", served.secret_key, served.base_url) as session:
        with pytest.raises(AuthenticationError):
            await plan_export(session, sources)
    assert len(served.requests) < len(sources)


@pytest.mark.anyio
async def test_a_server_that_can_not_be_trusted_ends_a_plan() -> None:
    """A certificate that nobody knows is the server's, not one list's."""
    tls, _ = tls_contexts()
    async with raw_server(answer(), tls=tls) as untrusted, open_session(untrusted) as session:
        with pytest.raises(TLSError):
            await plan_export(session, [RunTestCalls(uuid4())] * 20)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "error"), [({"page_size": 0}, ValueError), ({"sources": ["x"]}, TypeError)]
)
async def test_wrong_arguments_are_refused(
    served: StandInServer, wrong: dict[str, Any], error: type[Exception]
) -> None:
    """The same arguments are wrong for a plan as for an export."""
    arguments = {"sources": [RunTestCalls(uuid4())], **wrong}
    async with open_session(served) as session:
        with pytest.raises(error):
            await plan_export(session, arguments.pop("sources"), **arguments)
    assert not served.requests


@pytest.mark.anyio
async def test_limits_of_the_session_stretch_a_plan(served: StandInServer) -> None:
    """A plan for few requests a minute takes the minutes that they need."""
    sources = [RunTestCalls(served.add_run_test(1_500, slim=True))]
    async with open_session(served, max_requests_per_minute=10) as session:
        plan = await plan_export(session, sources, page_size=10)
    assert plan.seconds == pytest.approx((plan.requests - 10) * 6)


def test_short_lists_take_two_or_three_requests() -> None:
    """Lists that are read whole cost as many requests as the cover makes; empty ones do not divide by 0."""
    source = RunTestCalls(uuid4())

    def plan(count: int) -> int:
        page = CallPage(count=count, has_next=False, total_pages=1, current_page=1, calls=())
        return estimate(source, page, 0.1, page_size=100, transcripts=True).requests

    assert plan(400) == 3
    assert plan(0) <= 2
    assert plan(10_000) == pytest.approx(112, abs=5)
