"""The pytest plugin: a running stand-in server for each test that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from futureagi_async.testing import StandInServer


@pytest.fixture
def futureagi_server() -> Iterator[StandInServer]:
    """Start a stand-in server with the served dialect and the sample data; it ends with the test."""
    from futureagi_async.testing import StandInServer  # every pytest run loads this file: keep it light

    with StandInServer() as server:
        yield server
