"""Every example of the README and the docs runs, against the stand-in; the pages hold together."""

import ast
import asyncio
import builtins
import inspect
import os
import re
import runpy
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import FunctionType
from typing import Any, get_args

import pytest
import trustme

import futureagi_async
import futureagi_async.events
from futureagi_async import ExportProgress, RunTestCalls, Session, TestExecutionCalls, export_calls
from futureagi_async.testing import StandInServer
from tests.support import forking
from tests.support.object_stores import S3Server, s3_server, use_store

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[Any]:
    """Find the code blocks in a language, each with a name that says where it stands."""
    return [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(
            (code for kind, code in FENCE.findall(page.read_text()) if kind == language), 1
        )
    ]


def quick_first(found: list[Any]) -> list[Any]:
    """Leave the sessions of most pages to ``nox -s slow``: each starts commands that take their time."""
    quick = ("README", "install", "tutorial", "index")
    return [
        each if each.id.startswith(quick) else pytest.param(*each.values, id=each.id, marks=pytest.mark.slow)
        for each in found
    ]


def holds_tests(example: str) -> bool:
    """Whether an example consists of tests, which `test_plugin_elsewhere` runs."""
    return re.search(r"^def test_", example, re.MULTILINE) is not None


def needs_engine(example: str) -> bool:
    """Whether an example is a script for an engine, which `test_engines` runs where it is installed."""
    return re.search(r"^(import|from) (dask|pyspark|daft|ray)\b", example, re.MULTILINE) is not None


@pytest.fixture(scope="module")
def running_store() -> Iterator[S3Server]:
    """Run an S3 server with the bucket that examples name."""
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let examples that name a bucket find it."""
    if any("s3://" in str(code) for code in request.node.callspec.params.values()):
        use_store(monkeypatch, request.getfixturevalue("running_store"), tmp_path / "cache")


@pytest.fixture
def environment(
    futureagi_server: StandInServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> StandInServer:
    """Let the environment point to a stand-in, and be in an empty directory."""
    monkeypatch.setenv("FI_API_KEY", futureagi_server.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", futureagi_server.secret_key)
    monkeypatch.setenv("FI_BASE_URL", futureagi_server.base_url)
    monkeypatch.chdir(tmp_path)
    return futureagi_server


def names_for(server: StandInServer, directory: Path) -> dict[str, Any]:
    """Give the names that examples leave open: ids of the stand-in's data, and files."""
    agent_id, version_id = server.agent_versions[0]
    ca_file = directory / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    return {
        "run_test_id": server.run_test_ids[0],
        "agent_id": agent_id,
        "version_id": version_id,
        "test_execution_id": server.test_execution_ids[0],
        "call_execution_id": server.version_rows(agent_id, version_id)[0],
        "ca_file": str(ca_file),
        "__builtins__": builtins,  # libraries in C import by them
    }


@pytest.mark.parametrize("example", blocks("python"))
def test_python_examples_compile(example: str) -> None:
    """Each example is valid Python, also those that other tests run where an engine is installed."""
    assert compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize(
    "example",
    [
        block
        for block in blocks("python")
        if not (holds_tests(block.values[0]) or needs_engine(block.values[0]))
    ],
)
def test_python_examples_run(
    example: str, environment: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An example runs as it stands: a script prints, an application answers."""
    names = names_for(environment, tmp_path)
    ids = {name: value for name, value in names.items() if name.endswith("_id")}
    code = compile(example, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    ran = FunctionType(code, names)()
    if inspect.iscoroutine(ran):  # a notebook's cell
        asyncio.run(ran)
    runs = inspect.iscoroutine(ran) or re.search(r"^(asyncio|anyio)\.run\(|^print\(", example, re.MULTILINE)
    if runs and "print(" in example:
        assert capsys.readouterr().out
    elif "read_all" in names:
        asyncio.run(names["read_all"](environment))
    elif "app" in names:
        ask_every_route(names["app"], ids)


def ask_every_route(app: Any, ids: dict[str, str]) -> None:
    """Ask each GET route of an application once, with an id for each part of its path."""
    from fastapi.testclient import TestClient

    paths = [path.format(**ids) for path, methods in app.openapi()["paths"].items() if "get" in methods]
    assert paths
    with TestClient(app) as client:
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.content


@pytest.fixture
def programs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the command is: as it was installed for the README, as the tests fork it for the docs."""
    if request.node.callspec.id.startswith("README"):
        return Path(sys.executable).parent
    command = tmp_path_factory.mktemp("programs") / "futureagi-async"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(forking.command_line())} "$@"\n')
    command.chmod(0o755)
    return command.parent


@pytest.mark.slow
@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("session", quick_first(blocks("console")))
def test_console_sessions_happen_as_shown(session: str, tmp_path: Path, programs: Path) -> None:
    """A command succeeds, and prints the lines shown; ``...`` stands for anything within a line."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "COLUMNS": "100", "NO_COLOR": "1"}
    for step in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, *shown = step.splitlines()
        run = subprocess.run(
            ["bash", "-euc", command],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
            check=False,
        )
        assert run.returncode == 0, run.stdout
        for line in shown:
            pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
            assert re.search(pattern, run.stdout), (line, run.stdout)


@pytest.mark.parametrize("queries", [block for block in blocks("sql") if block.id.startswith("exports.md")])
def test_queries_of_an_unfinished_export_answer(
    queries: str, environment: StandInServer, tmp_path: Path
) -> None:
    """What the page asks the index of an interrupted export is answered, as the page says it."""
    run_test_id, execution_id = environment.run_test_ids[0], environment.test_execution_ids[0]
    environment.fail("/simulate/call-executions/", status=400, times=10_000)  # details

    def stop(progress: ExportProgress) -> None:
        if progress.phase == "writing":
            raise InterruptedError

    async def interrupt() -> None:
        async with Session() as session:
            sources = [RunTestCalls(run_test_id), TestExecutionCalls(execution_id)]
            await export_calls(session, sources, tmp_path / "out", transcripts=True, on_progress=stop)

    with pytest.raises(InterruptedError):
        asyncio.run(interrupt())
    with closing(sqlite3.connect(tmp_path / "out" / ".export" / "index.db")) as index:
        lists, calls, failed = (index.execute(query).fetchall() for query in queries.strip()[:-1].split(";"))
    assert [source for source, _, _ in lists] == [0, 1]
    assert sum(records for _, _, records in lists) == len(calls) > 0
    assert set(environment.run_test_rows(run_test_id)) <= {id_ for *_, id_ in calls}
    assert failed
    assert {error for _, error, _ in failed} == {"BadRequestError"}


def test_links_lead_somewhere() -> None:
    """Links between the pages point to files and headings that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            name, _, heading = target.partition("#")
            linked = page.parent / name if name else page
            assert linked.exists(), f"{page.name}: {target}"
            if heading:
                assert heading in anchors(linked), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    """Return the names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_contents() -> None:
    """The start page's contents name each page of the docs once."""
    contents = re.findall(
        r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.MULTILINE | re.DOTALL
    )
    listed = [line for part in contents for line in part.splitlines() if re.fullmatch(r"[\w-]+", line)]
    pages = [page.stem for kind in ("md", "rst", "ipynb") for page in DOCS.glob(f"*.{kind}")]
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_docstrings_of_all_names_are_shown() -> None:
    """The page of docstrings has an entry for each public name but the version and the aliases of types."""
    entries = r"^\.\. auto(?:class|exception|function):: (?:[\w.]+\.)?(\w+)"
    shown = set(re.findall(entries, (DOCS / "api.md").read_text(), re.MULTILINE))
    named = {name: getattr(futureagi_async, name) for name in futureagi_async.__all__}
    expected = {name for name, value in named.items() if inspect.isclass(value) or inspect.isfunction(value)}
    assert len(expected) > 40
    assert expected <= shown


def test_the_readme_opens_with_exactly_two_commands() -> None:
    """The first code block of the README holds the demo and the tests, and nothing else."""
    first = re.search(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert first is not None
    demo, tests = first[1].splitlines()
    assert "export --demo" in demo
    assert tests.endswith("-m pytest")


def test_the_picture_of_the_layers_is_current() -> None:
    """`docs/layers.svg` is what its script draws from today's contracts and files."""
    drawn = runpy.run_path(str(DOCS / "draw_layers.py"))["draw"]()
    assert (DOCS / "layers.svg").read_text() == drawn, "run: python docs/draw_layers.py"


@pytest.mark.parametrize("name", ["moving-list.svg", "cover.svg"])
def test_the_pictures_of_moving_lists_say_what_is_true(name: str) -> None:
    """A read of the stand-in gives what a picture's titles say: what paging loses, the client finds."""
    drawn = runpy.run_path(str(DOCS / "draw_lists.py"))["DRAWN"][name]()
    titles = re.compile(r'class="title"[^>]*>([^<]*)<')
    assert titles.findall((DOCS / "_static" / name).read_text()) == titles.findall(drawn), (
        "run: python docs/draw_lists.py"
    )


def test_every_error_and_event_is_explained() -> None:
    """The page of errors has a row for each exception, the page of events one for each event."""
    errors = (DOCS / "errors.md").read_text()
    for name in futureagi_async.__all__:
        value = getattr(futureagi_async, name)
        if inspect.isclass(value) and issubclass(value, futureagi_async.FutureAGIError):
            assert f"`{name}`" in errors, name
    rows = re.findall(r"^\| (`.*?`) \|", (DOCS / "events.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {
        event.__name__ for event in get_args(futureagi_async.events.Event)
    }


@pytest.mark.parametrize("page", ["errors.md", "incomplete.md"])
def test_messages_are_quoted_as_they_are(page: str) -> None:
    """What a page quotes of a message, the package says; ``...`` and numbers stand for what varies."""
    source = "".join(path.read_text() for path in sorted((ROOT / "futureagi_async").rglob("*.py")))
    said = re.sub(r'"\s*\n\s*f?"', "", source)  # texts that go on in the next line
    said = re.sub(r"\{[^{}]*\}", "...", said)
    quoted = [
        text
        for row in re.findall(r"^\| (`[A-Z.][^|]*?) \|", (DOCS / page).read_text(), re.MULTILINE)
        for text in re.findall(r"`([^`]* [^`]*)`", row)
    ]
    assert len(quoted) > 10
    for text in quoted:
        for part in re.split(r"\.\.\.|\d+|'Nope'|=", text):
            assert part.strip() in said, text
