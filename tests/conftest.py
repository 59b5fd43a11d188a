"""What every test shares: one event loop backend, and a stand-in server in both dialects."""

import gc
from collections.abc import Iterator

import hypothesis  # noqa: F401 - its plugin imports it at the latest at the end, and fails on what is frozen then
import pytest

from futureagi_async.testing import StandInServer
from tests.support.slow import slow


def pytest_collection() -> None:
    """Look for no garbage while tests are collected, which takes a third of the time: all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage while tests run: what was not closed warns."""
    gc.enable()


@pytest.fixture
def anyio_backend() -> str:
    """The only backend: aiohttp needs asyncio."""
    return "asyncio"


@pytest.fixture(params=["served", *slow("documented")])
def server(request: pytest.FixtureRequest) -> Iterator[StandInServer]:
    """Run a stand-in with the sample data; in the dialect of the documents, too, if slow tests run."""
    with StandInServer(dialect=request.param) as running:
        yield running


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in with sample data."""
    with StandInServer() as running:
        yield running
