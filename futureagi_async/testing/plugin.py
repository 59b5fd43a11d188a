"""The pytest plugin: a running stand-in server for each test that uses the fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from futureagi_async.testing import StandInServer


@pytest.fixture
def futureagi_server() -> Iterator[StandInServer]:
    """A running StandInServer with the served dialect and the sample data. It stops after the test."""
    from futureagi_async.testing import (
        StandInServer,
    )  # every pytest run loads this file: import the server only when a test needs it

    with StandInServer() as server:
        yield server
