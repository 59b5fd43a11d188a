"""Promises of SECURITY.md that no other file tests: injection, limits, and whom an answer can lead astray."""

import json
import re
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from futureagi_async import RunTestCalls, Session, TestExecutionCalls, column
from futureagi_async.testing import StandInServer
from tests.servers import FOREVER, UNKNOWN_ID, FakeClock, RawServer, answer, open_session, respond

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
HEADER_INJECTIONS = {
    "CR LF": "key\r\nX-Admin: 1",
    "LF": "key\nX-Admin: 1",
    "CR": "key\rX-Admin: 1",
    "NUL": "key\x00",
    "a tab": "key\t1",
    "a blank": "key 1",
    "a blank at the end": "key ",
    "an escape": "\x1b[31mkey",
    "DEL": "key\x7f",
    "no ASCII": "kéy",
    "nothing": "",
    "too much": "k" * 513,
}
PATH_INJECTIONS = [
    "../kpis",
    "..",
    ".",
    "a/../../admin",
    "a?x=1",
    "a#f",
    "a\nb",
    "",
    "/",
    "//host.invalid/",
    "%2e%2e%2fadmin",
    "a%2fb",
    "a;b",
    "a\\..\\b",
    "http://host.invalid/",
    f"{UNKNOWN_ID}/../{UNKNOWN_ID}",
    f"{UNKNOWN_ID}\x00",
    f"{UNKNOWN_ID}?x=1",
]
QUERIES = [
    "a&page=9",
    "a=b&limit=1",
    "a#b",
    "a?b",
    "%2f%00",
    "a+b c",
    "a\r\nX-Admin: 1",
    "Grüße 你好 🙂",
    "'; DROP TABLE x; --",
    '"}],"x":[{"',
    "../../",
]


@pytest.mark.parametrize("place", ["api_key", "secret_key"])
@pytest.mark.parametrize("kind", HEADER_INJECTIONS)
def test_keys_can_not_add_a_header(place: str, kind: str) -> None:
    """What can't be one header value is refused when the session is made, without quoting it."""
    keys = {"api_key": "good", "secret_key": "good"} | {place: HEADER_INJECTIONS[kind]}
    with pytest.raises(ValueError, match=place) as caught:
        Session(**keys)
    assert repr(keys[place]) not in repr(caught.value)


@pytest.mark.parametrize("wrong", PATH_INJECTIONS)
async def test_ids_can_not_lead_to_another_path(wrong: str) -> None:
    """Only UUIDs are ids; nothing is sent."""
    async with RawServer(answer()) as server, open_session(server) as session:
        with pytest.raises(ValueError, match="call_execution_id"):
            await session.get_call_execution(wrong)
        with pytest.raises(ValueError, match="run_test_id"):
            RunTestCalls(wrong)
    assert server.requests == []


@pytest.mark.parametrize("text", QUERIES)
async def test_texts_stay_in_their_parameter(text: str) -> None:
    """Whatever is searched for or filtered by arrives as it is, and changes no other parameter."""
    page = b'{"count": 0, "results": []}'
    sources = [
        RunTestCalls(UNKNOWN_ID, search=text),
        TestExecutionCalls(UNKNOWN_ID, filters=[column("agent_definition").equals(text)]),
    ]
    async with RawServer(answer(page)) as server, open_session(server) as session:
        for source in sources:
            await session.get_page(source, page=1, limit=7)
    assert len(server.requests) == 2
    for request, source in zip(server.requests, sources, strict=True):
        line, *headers = request.decode("ascii").split("\r\n")
        assert not [header for header in headers if header.lower().startswith("x-admin")]
        target = urlsplit(line.split(" ")[1])
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        assert target.path.startswith("/simulate/")
        assert (query["page"], query["limit"]) == ("1", "7")
        if isinstance(source, RunTestCalls):
            assert query["search"] == text
        else:
            (condition,) = json.loads(query["filters"])
            assert condition["filter_config"]["filter_value"] in (text, [text])


@pytest.mark.parametrize("digits", [5_000, 100_000])
async def test_huge_numbers_cost_nothing(digits: int) -> None:
    """Python takes seconds to read a number of so many digits; a figure of that size is no figure."""
    body = b'{"total_calls": ' + b"9" * digits + b"}"
    async with RawServer(answer(body)) as server, open_session(server, clock=FakeClock()) as session:
        began = time.perf_counter()
        kpis = await session.get_kpis(UNKNOWN_ID)
    assert kpis.total_calls is None
    assert "total_calls" in kpis.misfits
    assert time.perf_counter() - began < 1


async def test_an_answer_names_no_address_to_ask(futureagi_server: StandInServer) -> None:
    """Addresses in records and pages are data: reading a list asks the list, and nothing else."""
    async with RawServer(answer()) as trap:
        row = {"id": "a", "timestamp": "2026-02-01T10:00:00Z", "recording_url": f"{trap.base_url}/a.wav"}
        page = {"count": 1, "next": f"{trap.base_url}/?page=2", "previous": trap.base_url, "results": [row]}
        respond(futureagi_server, "run-tests", page, times=FOREVER)
        async with open_session(futureagi_server, clock=FakeClock()) as session:
            result = await session.fetch_calls([RunTestCalls(UNKNOWN_ID)])
        assert result.calls[0].audio_url == f"{trap.base_url}/a.wav"
        assert trap.connections == 0


def test_the_policy_names_files_that_test_it() -> None:
    """Each promise names the tests that hold it to its word, and they are there."""
    text = (ROOT / "SECURITY.md").read_text()
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", text))
    assert len(named) >= 6
    assert not [name for name in named if not (ROOT / name).exists()]
