"""What users may import: listed, documented, and nothing else."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import futureagi_async

REFERENCE = Path(__file__).parents[1] / "docs" / "reference.md"
ELSEWHERE = ("analysis", "blocking", "events", "export", "testing", "integrations.fastapi")
"""Modules whose names the reference may also describe."""


def documented() -> set[str]:
    """Return the names that the reference describes: those its headings hold in backticks."""
    if not REFERENCE.exists():
        pytest.skip("there is no reference yet")
    headings = re.findall(r"^#{2,}(.*)$", REFERENCE.read_text(), re.MULTILINE)
    found = {name for heading in headings for name in re.findall(r"`([A-Za-z_]\w*)(?:\(.*?\))?`", heading)}
    assert found, "no heading of the reference names anything in backticks"
    return found


def public_names(module: str) -> set[str]:
    """Return the names of one of our modules that users may import."""
    try:
        imported = importlib.import_module(f"futureagi_async.{module}")
    except ModuleNotFoundError:
        return set()
    return {name for name in getattr(imported, "__all__", dir(imported)) if not name.startswith("_")}


def test_every_export_is_documented() -> None:
    """Each name that can be imported from the package has a heading in the reference."""
    missing = set(futureagi_async.__all__) - {"__version__"} - documented()
    assert not missing


def test_every_documented_name_is_exported() -> None:
    """Each name that a heading describes can be imported from the package or one of its open modules."""
    elsewhere = set().union(*map(public_names, ELSEWHERE))
    unknown = documented() - set(futureagi_async.__all__) - elsewhere
    assert not unknown


def test_every_name_of_the_analysis_is_documented() -> None:
    """Each name of `futureagi_async.analysis` has a heading in the reference, and its docstring is shown."""
    assert public_names("analysis") <= documented()
    shown = (REFERENCE.parent / "api.md").read_text()
    analysis = importlib.import_module("futureagi_async.analysis")
    classes = [
        name for name in analysis.__all__ if callable(getattr(analysis, name)) and name != "Completeness"
    ]
    assert len(classes) > 20
    assert not [name for name in classes if not re.search(rf":: {name}\b", shown)]


def test_the_list_is_sorted_and_unique() -> None:
    """The list of exports is in order and holds no name twice."""
    assert list(futureagi_async.__all__) == sorted(set(futureagi_async.__all__))


@pytest.mark.parametrize("name", futureagi_async.__all__)
def test_exports_can_be_imported(name: str) -> None:
    """Each name in the list is there, and none but the version is private."""
    assert hasattr(futureagi_async, name)
    assert name == "__version__" or not name.startswith("_")


def test_nothing_else_is_imported_by_the_package() -> None:
    """Public names that the package holds besides its list are its own modules."""
    names = {name for name in vars(futureagi_async) if not name.startswith("_")}
    others = names - {*futureagi_async.__all__, "TYPE_CHECKING"}
    assert all(inspect.ismodule(getattr(futureagi_async, name)) for name in others), others


def exported(kind: Any) -> list[str]:
    """Return the exported names whose values are of a kind."""
    return [name for name in futureagi_async.__all__ if kind(getattr(futureagi_async, name))]


@pytest.mark.parametrize("name", exported(lambda value: inspect.isclass(value) or inspect.isfunction(value)))
def test_exports_have_docstrings(name: str) -> None:
    """Each exported class and function says, in a docstring of its own, what the caller gets."""
    value = getattr(futureagi_async, name)
    docstring = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert docstring
    assert re.match(r"\S[^\n]*[.:;]", docstring)


@pytest.mark.parametrize("name", exported(inspect.isclass))
def test_public_methods_have_docstrings(name: str) -> None:
    """Each public method and property of an exported class has a docstring."""
    kind = getattr(futureagi_async, name)
    members = {
        member: value
        for member, value in vars(kind).items()
        if not member.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod))
    }
    assert not [member for member, value in members.items() if not value.__doc__]


def test_the_version_is_a_version() -> None:
    """The version is the one the build reads, in the usual form."""
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z.]+\d+)?", futureagi_async.__version__)


def test_names_are_looked_up_when_they_are_used() -> None:
    """Importing the package loads nothing; a name loads what it needs; a wrong one is told."""
    program = """
import sys, futureagi_async
assert "Session" in dir(futureagi_async)
assert "futureagi_async.session" not in sys.modules
assert futureagi_async.Session is futureagi_async.session.Session
assert "futureagi_async.export" not in sys.modules
try:
    futureagi_async.Sessions
except AttributeError as error:
    assert "'Sessions'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_http_client_is_loaded_with_the_first_session() -> None:
    """Importing all names loads no aiohttp; making a session does, not its first request."""
    program = """
import sys
from futureagi_async import *
assert "aiohttp" not in sys.modules
Session("api-key", "secret-key")
assert "aiohttp" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


RUNS = 3
HEAVY = (
    "numpy",
    "scipy",
    "statsmodels",
    "pyarrow",
    "rich",
    "cyclopts",
    "fastapi",
    "opentelemetry",
    "pytest",
    "hypothesis",
    "aiohttp.web",
)
REPORT = """
import json, sys
events = []
sys.addaudithook(lambda event, args: events.append(event))
from futureagi_async import Session, export_calls
noisy = [event for event in events if event.startswith(("socket.", "subprocess.", "os.exec", "os.fork"))]
json.dump({"modules": list(sys.modules), "noisy": noisy}, sys.stdout)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python afresh, with warnings as errors."""
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=50)


def test_import_is_light_and_quiet() -> None:
    """The import loads no optional library, opens no socket, starts no process, and prints nothing."""
    finished = run("-c", REPORT)
    report = json.loads(finished.stdout)
    loaded = [
        name for name in report["modules"] if any(f"{name}.".startswith(f"{heavy}.") for heavy in HEAVY)
    ]
    assert not loaded
    assert not report["noisy"]
    assert "futureagi_async.session" in report["modules"]
    assert not finished.stderr


def seconds_to_run(statement: str) -> float:
    """Measure one import's CPU in a fresh interpreter, with all it pulls in."""
    program = f"import time; began = time.process_time(); {statement}; print(time.process_time() - began)"
    return float(run("-c", program).stdout)


@pytest.mark.timeout(120)
@pytest.mark.slow
def test_import_takes_at_most_half_as_long_again_as_aiohttp() -> None:
    """The quickest of some imports takes at most 1.5 times aiohttp's: against accidents, bytecode or none."""
    theirs, ours = [], []
    for _ in range(RUNS):
        theirs.append(seconds_to_run("import aiohttp"))
        ours.append(seconds_to_run("from futureagi_async import Session"))
    assert min(ours) <= 1.5 * min(theirs), (ours, theirs)
