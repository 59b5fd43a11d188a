"""Wrong arguments of exports: one clear error each, before anything happens."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from futureagi_async import (
    ExportError,
    RunTestCalls,
    Session,
)
from futureagi_async.export import export_calls
from futureagi_async.testing import StandInServer
from tests.exporting import names_in


def open_session(server: StandInServer, *, api_key: str | None = None) -> Session:
    return Session(api_key or server.api_key, server.secret_key, server.base_url)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("target", "format_", "named"),
    [
        ("calls.jsonl", "xml", "format must be one of 'jsonl', 'csv', 'parquet', not 'xml'"),
        ("calls.jsonl", "parquet", r"ends in \.jsonl, which is not format 'parquet'"),
        ("calls.csv.gz", "jsonl", r"ends in \.csv, which is not format 'jsonl'"),
        ("calls.parquet.gz", None, "compressed inside"),
        ("", None, "target must be a file or a directory"),
    ],
)
async def test_what_can_not_be_is_refused_before_any_request(
    served: StandInServer, tmp_path: Path, target: str, format_: str | None, named: str
) -> None:
    """An unknown format or ending is an error that names what there is."""
    async with open_session(served) as session:
        place = tmp_path / target if target else ""
        with pytest.raises(ValueError, match=named):
            await export_calls(session, RunTestCalls(uuid4()), place, format=format_)
    assert not served.requests
    assert not names_in(tmp_path)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"part_rows": 0}, ValueError, "part_rows must be at least 1"),
        ({"part_rows": "many"}, TypeError, "part_rows must be an int"),
        ({"page_size": True}, TypeError, "page_size must be an int"),
        ({"page_size": 10**7}, ValueError, "page_size must be from 1 to 1,000,000"),
        ({"sources": ["a run test"]}, TypeError, "A source is RunTestCalls, .*, not str"),
        ({"sources": 5}, TypeError, "sources must be a list of RunTestCalls, .*, not int"),
        ({"normalised": True, "target": "c.csv"}, ValueError, "normalised is for format 'jsonl'"),
        ({"recordings": ""}, ValueError, "recordings must be a path"),
        ({"max_outage": -1}, ValueError, "max_outage must be 0 seconds or more"),
        ({"max_outage": "long"}, TypeError, "max_outage must be a number of seconds"),
        ({"since": "nowhere.json"}, ExportError, "no manifest of an earlier export"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_happens(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, Any],
    error: type[Exception],
    named: str,
) -> None:
    """Each wrong argument is one clear error; nothing was asked for and nothing written."""
    monkeypatch.chdir(tmp_path)
    order: dict[str, Any] = {"sources": [RunTestCalls(uuid4())], "target": "c.jsonl", **wrong}
    async with open_session(served) as session:
        with pytest.raises(error, match=named):
            await export_calls(session, order.pop("sources"), order.pop("target"), **order)
    assert not served.requests
    assert not names_in(tmp_path)
