"""The SQL of the page on databases runs as it stands, and answers."""

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from futureagi_async import AgentVersionCalls, RunTestCalls, sync_calls
from futureagi_async.testing import StandInServer
from tests.support.sessions import open_session

PAGE = Path(__file__).parents[2] / "docs" / "database.md"
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
async def connection(served: StandInServer, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Sync the sample data."""
    sources = [
        *map(RunTestCalls, served.run_test_ids),
        *(AgentVersionCalls(*pair) for pair in served.agent_versions),
    ]
    async with open_session(served) as session:
        await sync_calls(session, sources, tmp_path / "calls.duckdb")
    with duckdb.connect(str(tmp_path / "calls.duckdb")) as opened:
        yield opened


@pytest.mark.anyio
async def test_every_question_is_answered(
    served: StandInServer, connection: duckdb.DuckDBPyConnection
) -> None:
    """Each query gives rows with the columns that it names; rates are rates."""
    assert len(QUERIES) == 5
    for query in QUERIES:
        assert connection.execute(query).fetchall(), query
    rates = connection.sql(QUERIES[0]).fetchall()
    versions = {version_id for _, version_id in served.agent_versions}
    assert {version for _, version, *_ in rates} <= versions
    assert all(0 <= rate <= 1 and calls > 0 for *_, calls, rate in rates)


@pytest.mark.anyio
async def test_what_fails_newly_did_pass_before(connection: duckdb.DuckDBPyConnection) -> None:
    """Of a scenario's last two calls, the last one failed and the one before passed."""
    newly = connection.sql(QUERIES[2]).fetchall()
    assert newly
    for scenario, name, _, call_id, _ in newly:
        results = connection.execute(
            """
            SELECT c.id, e.value_text
            FROM calls c JOIN evaluations e ON e.source_id = c.source_id AND e.call_id = c.id
            WHERE c.scenario_name = $scenario AND e.name = $name AND e.type = 'Pass/Fail'
                AND e.value_text IS NOT NULL
                AND c.source_id IN (SELECT source_id FROM calls WHERE id = $call_id)
            ORDER BY c.source_id, coalesce(c.start_time, c.timestamp), c.id
            """,
            {"scenario": scenario, "name": name, "call_id": call_id},
        ).fetchall()
        places = [place for place, (id_, _) in enumerate(results) if id_ == call_id]
        assert any(
            results[place][1] == "Failed" and results[place - 1][1] == "Passed" for place in places if place
        )
