"""Wrong arguments are a `ValueError` or a `TypeError` that names them, before any request."""

from collections.abc import Awaitable, Callable, Iterator
from math import inf, nan
from typing import Any

import pytest

from futureagi_async import (
    AgentVersionCalls,
    RetryPolicy,
    RunTestCalls,
    Session,
    TestExecutionCalls,
    Timeouts,
    column,
)
from futureagi_async.testing import StandInServer
from tests.support.sessions import UNKNOWN_ID, make_session, open_session

SOURCE = RunTestCalls(UNKNOWN_ID)
WRONG_IDS: list[tuple[object, type[Exception]]] = [
    ("", ValueError),
    ("../kpis", ValueError),
    ("..", ValueError),
    ("a?x=1", ValueError),
    (UNKNOWN_ID + "/kpis", ValueError),
    (UNKNOWN_ID + "\n", ValueError),
    (UNKNOWN_ID.replace("-", ""), ValueError),
    (f"{{{UNKNOWN_ID}}}", ValueError),
    (UNKNOWN_ID.replace("0", "٠"), ValueError),  # noqa: RUF001 - digits of another script
    (7, TypeError),
    (None, TypeError),
    (UNKNOWN_ID.encode(), TypeError),
    ([UNKNOWN_ID], TypeError),
]
WRONG_NUMBERS: list[tuple[object, type[Exception]]] = [
    (0, ValueError),
    (-1, ValueError),
    (10**12, ValueError),
    (True, TypeError),
    ("1", TypeError),
    (1.5, TypeError),
    (None, TypeError),
]
WRONG_SECONDS: list[tuple[object, type[Exception]]] = [
    (0, ValueError),
    (-1, ValueError),
    (nan, ValueError),
    (True, TypeError),
    ("60", TypeError),
]
Asking = Callable[[Session, Any], Awaitable[object]]


@pytest.fixture(scope="module")
def server() -> Iterator[StandInServer]:
    """Run one stand-in for all these tests: none of them may reach it."""
    with StandInServer(demo=False) as running:
        yield running
        assert running.requests == []


async def stream(session: Session, **options: Any) -> None:
    """Read a list call by call."""
    async with session.stream_calls([SOURCE], **options) as calls:
        async for _ in calls:
            pass


async def stream_details(session: Session, value: Any) -> None:
    """Stream the details of two calls."""
    async with session.stream_call_executions([UNKNOWN_ID, value]) as outcomes:
        async for _ in outcomes:
            pass


TAKES_ID: dict[str, tuple[str, Asking]] = {
    "get_call_execution": ("call_execution_id", lambda s, v: s.get_call_execution(v)),
    "get_kpis": ("test_execution_id", lambda s, v: s.get_kpis(v)),
    "get_test_execution": ("test_execution_id", lambda s, v: s.get_test_execution(v)),
    "get_groups": ("test_execution_id", lambda s, v: s.get_groups(v, row_groups=["scenario"])),
    "fetch_call_executions": ("call_execution_id", lambda s, v: s.fetch_call_executions([UNKNOWN_ID, v])),
    "stream_call_executions": ("call_execution_id", stream_details),
    "fetch_kpis": ("test_execution_id", lambda s, v: s.fetch_kpis([UNKNOWN_ID, v])),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("value", "kind"), WRONG_IDS, ids=repr)
@pytest.mark.parametrize("method", TAKES_ID)
async def test_wrong_ids(server: StandInServer, method: str, value: object, kind: type[Exception]) -> None:
    """Only a UUID or its text in the usual form is one; nothing may lead to another address."""
    name, asking = TAKES_ID[method]
    async with open_session(server) as session:
        with pytest.raises(kind, match=name):
            await asking(session, value)


SOURCES: dict[str, Callable[[Any], object]] = {
    "run_test_id": RunTestCalls,
    "agent_id": lambda value: AgentVersionCalls(value, UNKNOWN_ID),
    "version_id": lambda value: AgentVersionCalls(UNKNOWN_ID, value),
    "test_execution_id": TestExecutionCalls,
}


@pytest.mark.parametrize(("value", "kind"), WRONG_IDS, ids=repr)
@pytest.mark.parametrize("name", SOURCES)
def test_wrong_ids_of_sources(name: str, value: object, kind: type[Exception]) -> None:
    """A source is checked when it is made, without any session."""
    with pytest.raises(kind, match=name):
        SOURCES[name](value)


PAGED: dict[str, Callable[..., Awaitable[object]]] = {
    "get_page": lambda s, **paging: s.get_page(SOURCE, **paging),
    "get_test_execution": lambda s, **paging: s.get_test_execution(UNKNOWN_ID, **paging),
    "get_groups": lambda s, **paging: s.get_groups(UNKNOWN_ID, row_groups=["scenario"], **paging),
}


@pytest.mark.anyio
@pytest.mark.parametrize(("value", "kind"), WRONG_NUMBERS)
@pytest.mark.parametrize("name", ["page", "limit"])
@pytest.mark.parametrize("method", PAGED)
async def test_wrong_pages(
    server: StandInServer, method: str, name: str, value: object, kind: type[Exception]
) -> None:
    """A page and a limit are ints from 1, and not so large that the server overflows."""
    async with open_session(server) as session:
        with pytest.raises(kind, match=f"^{name} must be"):
            await PAGED[method](session, **{name: value})


BULK_READS: dict[str, Callable[..., Awaitable[object]]] = {
    "fetch_calls": lambda s, **options: s.fetch_calls([SOURCE], **options),
    "stream_calls": stream,
}
STREAM_OPTIONS: list[tuple[str, object, type[Exception]]] = [
    *(("page_size", value, kind) for value, kind in WRONG_NUMBERS),
    *(("deadline", value, kind) for value, kind in WRONG_SECONDS),
    *(("on_error", value, ValueError) for value in ("ignore", "", None, True, ["raise"])),
    *(("consistency", value, ValueError) for value in ("slow", "", None, 1, {"fast"})),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value", "kind"), STREAM_OPTIONS)
@pytest.mark.parametrize("method", BULK_READS)
async def test_wrong_options_of_bulk_reads(
    server: StandInServer, method: str, name: str, value: object, kind: type[Exception]
) -> None:
    """Numbers, seconds and words; the message names what was given, or what is meant."""
    async with open_session(server) as session:
        reading = {"fetch_calls": lambda **o: session.fetch_calls([SOURCE], **o), "stream_calls": None}[
            method
        ]
        asking = reading or (lambda **options: stream(session, **options))
        with pytest.raises(kind, match=f"^{name} must be"):
            await asking(**{name: value})


WRONG_SOURCES = ["text", [UNKNOWN_ID], [SOURCE, None], [[SOURCE]], {"run_test_id": SOURCE}, None, 5, [object]]


@pytest.mark.anyio
@pytest.mark.parametrize("sources", WRONG_SOURCES, ids=repr)
async def test_wrong_sources(server: StandInServer, sources: Any) -> None:
    """What is no source, or holds what is none, is a `TypeError`."""
    async with open_session(server) as session:
        with pytest.raises(TypeError):
            await session.fetch_calls(sources)
        with pytest.raises(TypeError):
            session.stream_calls(sources)
        with pytest.raises(TypeError, match="A source is RunTestCalls"):
            await session.get_page(sources)


@pytest.mark.anyio
async def test_no_sources_are_a_complete_empty_report(server: StandInServer) -> None:
    """Nothing to read is read at once, streamed, sorted or fetched."""
    async with open_session(server) as session:
        for sources in ([], (), iter([])):
            result = await session.fetch_calls(sources)
            assert (result.calls, result.report.sources) == ([], ())
            assert result.report.complete
        async with session.stream_calls([], ordered=True) as calls:
            assert [call async for call in calls] == []
            assert calls.report.complete


@pytest.mark.anyio
@pytest.mark.parametrize("ids", [UNKNOWN_ID, "abc", None, 5, UNKNOWN_ID.encode()])
@pytest.mark.parametrize("method", ["fetch_call_executions", "stream_call_executions", "fetch_kpis"])
async def test_one_id_where_several_are_expected(server: StandInServer, method: str, ids: Any) -> None:
    """A text is not taken for a list of its characters."""
    async with open_session(server) as session:
        with pytest.raises(TypeError):
            await getattr(session, method)(ids)


WRONG_GROUPS: list[tuple[str, object, type[Exception]]] = [
    ("row_groups", [], ValueError),
    ("row_groups", "scenario", TypeError),
    ("row_groups", [""], TypeError),
    ("row_groups", [1], TypeError),
    ("row_groups", ["a\0b"], ValueError),
    ("group_keys", "failed", TypeError),
    ("group_keys", [None], TypeError),
    ("search", " ", ValueError),
    ("search", 5, TypeError),
    ("filters", "status", TypeError),
    ("filters", [{"column_id": "status"}], ValueError),
    ("filters", [5], ValueError),
    ("filters", None, TypeError),
    ("filters", {"column_id": "status"}, TypeError),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value", "kind"), WRONG_GROUPS)
async def test_wrong_groups(server: StandInServer, name: str, value: Any, kind: type[Exception]) -> None:
    """Column ids and keys are several texts."""
    options: dict[str, Any] = {"row_groups": ["scenario"], name: value}
    async with open_session(server) as session:
        with pytest.raises(kind, match=name.removesuffix("s")):
            await session.get_groups(UNKNOWN_ID, **options)


@pytest.mark.anyio
@pytest.mark.parametrize("operator", ["in", "starts_with", "greater_than"])
async def test_filters_that_the_server_would_ignore(server: StandInServer, operator: str) -> None:
    """They are refused before they are sent: the answer would hold unfiltered rows."""
    config = {"filter_type": "text", "filter_op": operator, "filter_value": ["x"]}
    async with open_session(server) as session:
        with pytest.raises(ValueError, match=r"scenario"):
            await session.get_test_execution(
                UNKNOWN_ID, filters=[{"column_id": "scenario", "filter_config": config}]
            )


@pytest.mark.anyio
async def test_too_long_an_address(server: StandInServer) -> None:
    """More than the server takes is refused with a way out."""
    ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(2000)]
    async with open_session(server) as session:
        with pytest.raises(ValueError, match="split them over several requests"):
            await session.get_test_execution(UNKNOWN_ID, filters=[column("call_execution_id").is_in(ids)])


WRONG_SETTINGS: list[tuple[str, object, type[Exception]]] = [
    *(("max_in_flight", value, kind) for value, kind in WRONG_NUMBERS if value != 10**12),
    *(("max_response_bytes", value, kind) for value, kind in WRONG_NUMBERS if value != 10**12),
    *(
        ("max_requests_per_minute", value, kind)
        for value, kind in WRONG_NUMBERS
        if value not in (10**12, None)
    ),
    *(("timeouts", value, TypeError) for value in (5, None, {"read": 5}, RetryPolicy())),
    *(("retry", value, TypeError) for value in (3, None, Timeouts())),
    *(("proxy", value, ValueError) for value in ("proxy", "socks5://proxy:1", "http://", "")),
    ("proxy", 3128, TypeError),
    *(("observers", value, TypeError) for value in (None, print, [print, 5], "ab")),
    ("ssl_context", True, TypeError),
    ("connector", "pool", TypeError),
    *(("api_key", value, ValueError) for value in ("", " ", "a b", "a\n", "é", "a" * 513)),
    *(("secret_key", value, ValueError) for value in ("", "a\r\nX: 1", "a\0")),
    *((name, value, TypeError) for name in ("api_key", "secret_key", "base_url") for value in (5, b"bytes")),
    *(
        ("base_url", value, ValueError)
        for value in ("", "api.futureagi.com", "ftp://a", "http://a", "https://", "https://a:99999")
    ),
    *(
        ("base_url", value, ValueError)
        for value in ("https://a?b", "https://u:p@a", "https://a/../b", "https://a b")
    ),
]


@pytest.mark.parametrize(("name", "value", "kind"), WRONG_SETTINGS)
def test_wrong_settings(server: StandInServer, name: str, value: object, kind: type[Exception]) -> None:
    """A session is checked when it is made."""
    settings: dict[str, Any] = {"api_key": "a", "secret_key": "b", "base_url": server.base_url, name: value}
    with pytest.raises(kind, match=name):
        Session(**settings)


@pytest.mark.parametrize("value", [5, 0, "", False])
@pytest.mark.parametrize("name", ["timeouts", "retry"])
def test_wrong_options_of_a_view(server: StandInServer, name: str, value: Any) -> None:
    """As with the session's own; only ``None`` means to leave it as it is."""
    with pytest.raises(TypeError, match=name):
        make_session(server).with_options(**{name: value})


@pytest.mark.parametrize(("value", "kind"), [*WRONG_SECONDS, (inf, ValueError), (None, TypeError)])
@pytest.mark.parametrize("name", ["connect", "read", "attempt", "deadline"])
def test_wrong_timeouts(name: str, value: Any, kind: type[Exception]) -> None:
    """Seconds are a positive number; no limit at all is none."""
    with pytest.raises(kind, match=name):
        Timeouts(**{name: value})
