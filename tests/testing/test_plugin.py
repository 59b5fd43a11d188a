"""The pytest plugin in a project that is not ours: the examples of the docs, and what it costs the others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import blocks, holds_tests

SETTINGS = """
[tool.pytest.ini_options]
addopts = ["--strict-markers", "--strict-config"]
filterwarnings = ["error"]
"""
UNCONCERNED = """
import sys

def test_something_else():
    heavy = {"aiohttp", "attrs", "msgspec", "futureagi_async.session", "futureagi_async.testing._standin"}
    assert not heavy & sys.modules.keys()
"""
PARALLEL = """
import urllib.request

def test_first(futureagi_server):
    futureagi_server.fail(status=503, times=50)
    assert not futureagi_server.requests

def test_second(futureagi_server, tmp_path):
    request = urllib.request.Request(
        f"{futureagi_server.base_url}/simulate/test-executions/{futureagi_server.test_execution_ids[0]}/kpis/",
        headers={"X-Api-Key": futureagi_server.api_key, "X-Secret-Key": futureagi_server.secret_key},
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
"""


def run_project(directory: Path, files: dict[str, str], *options: str, **variables: str) -> str:
    """Write a project of test files, run pytest in it as its owner would, and return what it prints."""
    (directory / "pyproject.toml").write_text(SETTINGS)
    for name, text in files.items():
        (directory / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-v", *options]
    run = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_examples_of_tests_pass(tmp_path: Path) -> None:
    """Each test shown in the docs passes in a project that has nothing but that file."""
    examples = [block.values[0] for block in blocks("python") if holds_tests(block.values[0])]
    printed = run_project(tmp_path, {f"test_{n}.py": text for n, text in enumerate(examples)})
    expected = sum(len(re.findall(r"^def test_", text, re.MULTILINE)) for text in examples)
    assert expected > 5
    assert f"{expected} passed" in printed


@pytest.mark.slow
def test_each_test_has_a_server_of_its_own(tmp_path: Path) -> None:
    """Faults and requests of one test do not reach the next."""
    assert "2 passed" in run_project(tmp_path, {"test_servers.py": PARALLEL})


def test_other_projects_do_not_pay_for_it(tmp_path: Path) -> None:
    """A test run that never asks for the server does not load it, nor any library that it needs.

    Other plugins are left out: anyio's loads attrs where trio is installed.
    """
    ours = ("-p", "futureagi_async.testing.plugin")
    files = {"test_unconcerned.py": UNCONCERNED}
    assert "1 passed" in run_project(tmp_path, files, *ours, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")


@pytest.mark.slow
def test_the_fixture_explains_itself(tmp_path: Path) -> None:
    """``pytest --fixtures`` says what the fixture gives."""
    command = [sys.executable, "-m", "pytest", "--fixtures", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert re.search(r"^futureagi_server .*\n\s+A running StandInServer", run.stdout, re.MULTILINE)
