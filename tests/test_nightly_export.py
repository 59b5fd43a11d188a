"""The page on nightly exports: its script, its set of sources and its query work as they stand."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async import load_sources
from futureagi_async.testing import StandInServer
from tests.test_cli_support import environment

PAGE = (Path(__file__).parents[1] / "docs" / "nightly-export.md").read_text()


def block(language: str, holding: str) -> str:
    """Return the page's only block in a language that holds a text."""
    (found,) = (
        text
        for text in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        if holding in text
    )
    return found


def test_the_set_of_sources_is_one(tmp_path: Path) -> None:
    """The example is read as it stands."""
    path = tmp_path / "sources.toml"
    path.write_text(block("toml", "[nightly]"))
    assert len(load_sources(path, "nightly")) == 5


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[StandInServer, Path, dict[str, str]]]:
    """Set the script up as the page says, on a stand-in."""
    exports = tmp_path / "exports"
    exports.mkdir()
    programs = tmp_path / "bin"
    programs.mkdir()
    script, command = programs / "nightly-export", programs / "futureagi-async"
    script.write_text(block("sh", "set -eu"))
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m futureagi_async "$@"\n')
    for program in (script, command):
        program.chmod(0o755)
    with StandInServer() as server:
        text = f'[nightly]\nrun_tests = ["{server.run_test_ids[2]}"]\n'
        (exports / "sources.toml").write_text(text)
        variables = environment(server, EXPORTS=str(exports))
        yield server, exports, variables | {"PATH": f"{programs}:{variables['PATH']}"}


def run_night(night: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nightly-export", night], env=variables, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
def test_the_script_exports_night_after_night(
    place: tuple[StandInServer, Path, dict[str, str]],
) -> None:
    """The first night holds everything, the next what changed; a failure has its exit code, and is mended."""
    server, exports, variables = place
    first = run_night("2026-01-30", variables)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    server.fail(status=400, times=100)
    assert run_night("2026-01-31", variables).returncode == 1
    server.clear_faults()
    second = run_night("2026-01-31", variables)
    assert second.returncode == 0, second.stderr
    month = run_night("2026-02-01", variables)
    assert month.returncode == 0, month.stderr
    manifests = [json.loads((exports / night / "manifest.json").read_text()) for night in nights(exports)]
    assert [manifest["since"] is None for manifest in manifests] == [True, False, True]
    assert manifests[0]["records"] == manifests[2]["records"] == 16 > manifests[1]["records"]
    part = exports / "2026-01-30" / "calls-00000.jsonl"
    part.write_text("")
    spoilt = run_night("2026-01-30", variables)
    assert spoilt.returncode == 1
    assert "calls-00000.jsonl" in spoilt.stderr


def nights(exports: Path) -> list[str]:
    return sorted(path.name for path in exports.iterdir() if path.is_dir())


def test_the_query_finds_the_newest_state_of_each_call(
    place: tuple[StandInServer, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over two exports of the same calls, each comes once."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    _, exports, variables = place
    for night in ("2026-01-30", "2026-01-31"):
        command = ["futureagi-async", "export", "--sources", "sources.toml", "-o", night, "-q"]
        subprocess.run([*command, "--format", "parquet"], env=variables, cwd=exports, check=True, timeout=30)
    monkeypatch.chdir(exports)
    assert duckdb.sql(block("sql", "QUALIFY")).count("*").fetchall() == [(16,)]
