"""``Session(validate="eager")``: nested parts are checked with their record."""

import json
from typing import Any, Literal

import pytest

from futureagi_async import DecodingError, RunTestCalls
from futureagi_async.testing import StandInServer
from tests.servers import open_session

BAD = {"id": "a", "transcript": ["hello"]}
GOOD = {"id": "b", "transcript": [{"role": "user", "content": "hello"}]}


def _respond(server: StandInServer, body: Any) -> None:
    server.respond("/simulate/", body=json.dumps(body).encode())


@pytest.mark.anyio
async def test_a_malformed_part_fails_its_record_at_once(futureagi_server: StandInServer) -> None:
    """With eager checks the record is among the failures, with the path; its neighbour is there."""
    _respond(futureagi_server, {"count": 2, "next": None, "results": [BAD, GOOD]})
    async with open_session(futureagi_server, validate="eager") as session:
        page = await session.get_page(RunTestCalls(futureagi_server.run_test_ids[0]))
    assert [call.id for call in page.calls] == ["b"]
    assert page.failures[0].error.json_path == "$.results[0].transcript[0]"


@pytest.mark.anyio
async def test_lazily_it_fails_when_it_is_read(futureagi_server: StandInServer) -> None:
    """By default the record arrives, and its malformed part raises when it is read."""
    _respond(futureagi_server, {"count": 2, "next": None, "results": [BAD, GOOD]})
    async with open_session(futureagi_server) as session:
        page = await session.get_page(RunTestCalls(futureagi_server.run_test_ids[0]))
    assert [call.id for call in page.calls] == ["a", "b"]
    with pytest.raises(DecodingError, match="transcript"):
        _ = page.calls[0].transcript


@pytest.mark.anyio
@pytest.mark.parametrize("validate", ["lazy", "eager"])
async def test_a_detail_is_checked_likewise(
    futureagi_server: StandInServer, validate: Literal["lazy", "eager"]
) -> None:
    """A detail with a malformed part raises at once where checks are eager, else on access."""
    _respond(futureagi_server, BAD)
    async with open_session(futureagi_server, validate=validate) as session:
        if validate == "eager":
            with pytest.raises(DecodingError, match="transcript"):
                await session.get_call_execution(futureagi_server.run_test_ids[0])
            return
        call = await session.get_call_execution(futureagi_server.run_test_ids[0])
    with pytest.raises(DecodingError, match="transcript"):
        _ = call.transcript


@pytest.mark.anyio
async def test_both_ways_give_equal_calls(server: StandInServer) -> None:
    """Eager and lazy calls of a page are equal in every field, in both dialects."""
    source = RunTestCalls(server.run_test_ids[0])
    async with open_session(server) as lazy, open_session(server, validate="eager") as eager:
        pages = [await session.get_page(source, limit=1_000) for session in (lazy, eager)]
    one, other = ({call.id: call for call in page.calls} for page in pages)
    assert one == other
    assert not pages[1].failures
