"""Exports into Azure's containers, against Azurite: ``nox -s azure`` installs it by npm, and runs this."""

import base64
import hashlib
import hmac
import os
import socket
import subprocess
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from futureagi_async import ExportError, read_export
from futureagi_async.export import verify_export
from futureagi_async.testing import StandInServer
from tests.support.commands import wait_until
from tests.support.exports import all_lists, export, interrupt, pages_asked
from tests.support.sessions import open_session

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif("AZURITE" not in os.environ, reason="AZURITE names no azurite-blob: run nox -s azure"),
]

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Which every Azurite has."""
TARGET = "az://lake/out/"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Run Azurite with one empty container."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = "--blobHost 127.0.0.1 --inMemoryPersistence --skipApiVersionCheck --disableTelemetry --silent"
    command = [os.environ["AZURITE"], "--blobPort", str(port), *options.split()]
    with subprocess.Popen(command) as azurite:
        try:
            wait_until(lambda: is_open(port))
            create_container(f"http://127.0.0.1:{port}/{ACCOUNT}", "lake")
            yield f"http://127.0.0.1:{port}/{ACCOUNT}"
        finally:
            azurite.kill()


def is_open(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def create_container(endpoint: str, name: str) -> None:
    """Create a container, which exports never do, by a request signed with the key."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = f"PUT{chr(10) * 12}{signed}/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    urlopen(Request(f"{endpoint}/{name}?restype=container", headers=headers, method="PUT")).close()


@pytest.fixture(autouse=True)
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this process find Azurite, and keep what is unfinished out of the user's directory."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", endpoint)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def test_exports_go_into_a_container(served: StandInServer, tmp_path: Path) -> None:
    """Interrupted, gone on with, left alone, replaced; the tables are those of a directory."""
    options = {"format": "parquet", "ordered": True}
    async with open_session(served) as session:
        await interrupt(session, all_lists(served), TARGET, part_rows=50, **options)
        assert pages_asked(served)
    report = await export(served, TARGET, **options)
    assert (report.resumed, report.complete, report.path) == (1, True, TARGET)
    assert verify_export(TARGET).ok
    await export(served, tmp_path / "out", **options)
    assert read_export(TARGET).calls.equals(read_export(tmp_path / "out").calls)
    served.clear_requests()
    assert (await export(served, TARGET, **options)).already_finished
    assert not served.requests
    replaced = await export(served, TARGET, **options, resume=False)
    assert not {*replaced.files} & {*report.files}
    assert verify_export(TARGET).problems == ()


async def test_the_second_of_two_writers_loses(served: StandInServer, tmp_path: Path) -> None:
    """What was finished while an export ran is not replaced by it."""
    target = "az://lake/race/"
    async with open_session(served) as session:
        await interrupt(session, all_lists(served), target)
        await export(served, target, work_dir=tmp_path / "other")
        with pytest.raises(ExportError, match=r"Another export replaced .* after this one began"):
            await export(served, target, part_rows=50_000)
    assert verify_export(target).ok


async def test_errors_say_what_to_do(served: StandInServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is not there, a key that is refused, and none at all."""
    with pytest.raises(ExportError, match="there is no container 'nowhere'"):
        await export(served, "az://nowhere/out/")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"c4n4ry" * 9).decode())
    with pytest.raises(ExportError, match=r"\(403 Auth\w+\)") as refused:
        await export(served, TARGET)
    assert os.environ["AZURE_STORAGE_ACCOUNT_KEY"] not in str(refused.value)
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME")
    with pytest.raises(
        ExportError, match=r"no credentials were found. To set them, set AZURE_STORAGE_ACCOUNT_N"
    ):
        await export(served, TARGET)
    assert not served.requests
