"""Bulk reads are tried in both dialects of the server, always."""

from collections.abc import Iterator

import pytest

from futureagi_async.testing import StandInServer


@pytest.fixture(params=["served", "documented"])
def server(request: pytest.FixtureRequest) -> Iterator[StandInServer]:
    """Run a stand-in with the sample data, once in each dialect."""
    with StandInServer(dialect=request.param) as running:
        yield running
