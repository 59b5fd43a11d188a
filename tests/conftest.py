"""What every test shares: one event loop backend."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The only backend: aiohttp needs asyncio."""
    return "asyncio"
