"""The commands with addresses of buckets, from the shell."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async.cli import run as run_here
from futureagi_async.testing import StandInServer
from tests.support.commands import environment, names_in, run_in_shell
from tests.support.object_stores import KEYS, Fault, S3Server, UnreliableStore, s3_server


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    """Run a server for all tests here."""
    with s3_server() as server:
        yield server


def run(
    line: str, folder: Path, store: S3Server, server: StandInServer | None = None
) -> tuple[int, str, str]:
    """Run commands in a shell, and return the exit code, stdout and stderr."""
    variables = environment(server) | store.environment | {"XDG_CACHE_HOME": str(folder / "cache")}
    finished = run_in_shell(line, variables=variables, folder=folder)
    out, said = finished.stdout.decode(), finished.stderr.decode()
    assert all(key not in out + said for key in KEYS.values())
    return finished.returncode, out, said


@pytest.mark.slow
def test_an_export_into_a_bucket(tmp_path: Path, store: S3Server) -> None:
    """It is written, said where, verified, and left alone the second time."""
    line = "run export --demo --format parquet -o s3://lake/calls/"
    code, _, said = run(line, tmp_path, store)
    assert code == 0
    assert re.search(r"Wrote .* to s3://lake/calls/ in 2 files: complete", " ".join(said.split()))
    code, out, _ = run("run verify s3://lake/calls/", tmp_path, store)
    assert code == 0
    assert "s3://lake/calls/: " in out
    assert "all unchanged" in " ".join(out.split())
    code, out, _ = run(f"{line} --quiet --json", tmp_path, store)
    assert code == 0
    summary = json.loads(out)
    assert summary["path"] == "s3://lake/calls/"
    assert summary["manifest"] == "s3://lake/calls/_manifest.json"
    assert all(name.startswith("s3://lake/calls/") for name in summary["files"])
    assert names_in(tmp_path) <= {"cache"}


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (
            "export --demo -o s3://lake/x.csv",
            2,
            "--output must be a prefix if it is in a bucket.* use 's3://lake/x/' with",
        ),
        ("export --demo -o out --work-dir x", 2, "--work-dir is only for targets in buckets"),
        ("export --demo -q -o s3://nowhere/x/", 1, "there is no bucket 'nowhere'. Create it, or correct"),
        ("verify s3://lake/nothing/", 1, ""),
        ("verify s3://key:secret@lake/x/", 2, "PATH must be s3://bucket/prefix/ without keys or parameters"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, store: S3Server, line: str, code: int, said: str) -> None:
    """Each says in the shell's words what to do."""
    found, _, stderr = run(f"run {line}", tmp_path, store)
    assert (found, stderr.count("\n")) == (code, 1 if said else 0)
    assert re.search(said, stderr), stderr
    assert "secret" not in stderr


@pytest.mark.slow
def test_what_is_kept_can_be_elsewhere(tmp_path: Path, store: S3Server) -> None:
    """``--work-dir`` has what is unfinished; the same command goes on there, and leaves nothing."""
    with UnreliableStore(store) as unreliable, StandInServer() as server:
        line = (
            f"AWS_ENDPOINT_URL={unreliable.endpoint} run export --run-test {server.run_test_ids[0]} --json "
            "--quiet -o s3://lake/kept/ --work-dir kept"
        )
        unreliable.fault = lambda request: Fault(403, "AccessDenied") if request.startswith("PUT") else None
        code, _, said = run(line, tmp_path, store, server)
        assert code == 1
        assert re.search(
            r"permission was denied \(403 AccessDenied\).* The records that were read are kept. Run the same",
            said,
        )
        (kept,) = (tmp_path / "kept").iterdir()
        assert {"objects.jsonl", "index.db"} <= names_in(kept)
        unreliable.fault = lambda _: None
        code, out, _ = run(line, tmp_path, store, server)
    assert (code, json.loads(out)["resumed"]) == (0, 1)
    assert "_manifest.json" in store.names("kept/")
    assert names_in(tmp_path / "kept") == set()


@pytest.mark.parametrize(
    "arguments", [["export", "--demo", "-o", "s3://lake/out"], ["verify", "s3://lake/out"]]
)
def test_a_missing_library_is_one_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without obstore, commands say how to install it, and show no traceback."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert run_here(arguments) == 2
    assert capsys.readouterr().err.endswith(
        "error: Object stores need obstore (the extra [cloud]): pip install 'obstore>=0.8'.\n"
    )
