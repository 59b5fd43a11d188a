"""What every test shares: one event loop backend, and a stand-in server in both dialects."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from futureagi_async.testing import StandInServer
from tests.support.slow import slow

# Without a stopwatch: a loaded machine is no failure.
settings.register_profile(
    "slow", max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("suite", settings.get_profile("slow"), max_examples=20)
settings.load_profile("suite")

VARIANTS = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count the variants of tests."""
    config.stash[VARIANTS] = Counter()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave the variants behind the first ones of ``quick`` to ``nox -s slow``."""
    quick = item.get_closest_marker("quick")
    if quick is None or item.get_closest_marker("slow") is not None:
        return
    variants = item.config.stash[VARIANTS]
    test = item.nodeid.partition("[")[0]
    variants[test] += 1
    if variants[test] > quick.args[0]:
        item.add_marker("slow")


def pytest_collection() -> None:
    """Look for no garbage while tests are collected, which takes a third of the time: all of it stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Look for garbage while tests run, as what was not closed warns, but not among the tests themselves."""
    _see_generators()
    gc.freeze()
    gc.enable()


@given(st.none())
def _see_generators(_: None) -> None:
    """Let hypothesis find the random generators that there are: it can't among what is frozen."""


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
