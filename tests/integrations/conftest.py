"""What the services under test read from."""

import pytest

from futureagi_async.testing import StandInServer


@pytest.fixture
def upstream(futureagi_server: StandInServer, monkeypatch: pytest.MonkeyPatch) -> StandInServer:
    """Run a stand-in, and let the environment point to it."""
    monkeypatch.setenv("FI_API_KEY", futureagi_server.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", futureagi_server.secret_key)
    monkeypatch.setenv("FI_BASE_URL", futureagi_server.base_url)
    return futureagi_server
