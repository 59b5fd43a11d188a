"""What every test shares: one event loop backend, and a stand-in server in both dialects."""

import gc
from collections.abc import Iterator

import pytest

from futureagi_async.testing import StandInServer


def pytest_collection_finish() -> None:
    """Let the garbage collector look at what tests make, not at the modules and tests, which stay."""
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str:
    """The only backend: aiohttp needs asyncio."""
    return "asyncio"


@pytest.fixture(params=["served", "documented"])
def server(request: pytest.FixtureRequest) -> Iterator[StandInServer]:
    """Run a stand-in with the sample data, once in each dialect."""
    with StandInServer(dialect=request.param) as running:
        yield running


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in with sample data."""
    with StandInServer() as running:
        yield running
