"""What commands are given: lists by address and by sets in a file, wrong usage, and how commands start."""

import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import futureagi_async
from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.support.commands import environment, forget_keys, ids_in, names_in, run_command, use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


def test_addresses_name_lists(served: StandInServer, tmp_path: Path) -> None:
    """Addresses of the API and the dashboard, given or in a file, are read like ids."""
    first, second, third = served.run_test_ids
    execution_id = served.test_execution_ids[1]
    agent_id, version_id = served.agent_versions[0]
    pages = "https://app.futureagi.com/dashboard/simulate"
    urls = tmp_path / "urls.txt"
    urls.write_text(f"{pages}/test/{first}/{execution_id}/call-details#top\n# none\n{pages}/test/{second}\n")
    target = tmp_path / "calls.jsonl"
    lists = ["--url", f"{served.base_url}/simulate/run-tests/{third}/call-executions/?status=completed"]
    lists += ["--url", f"@{urls}"]
    lists += ["--url", f"{pages}/agent-definitions/{agent_id}?version={version_id}"]
    assert run(["export", *lists, "-o", str(target), "-q"]) == 0
    expected = served.test_execution_rows(execution_id) + served.run_test_rows(second)
    expected += served.version_rows(agent_id, version_id)
    queries = [request.query for request in served.requests if third in request.path]
    assert queries
    assert all(query["status"] == "completed" for query in queries)
    assert set(expected) <= set(ids_in(target)) <= {*expected, *served.run_test_rows(third)}


@pytest.mark.parametrize("chosen", [("--set", "nightly"), ()])
def test_a_set_of_a_file_is_read(served: StandInServer, tmp_path: Path, chosen: tuple[str, ...]) -> None:
    """The lists of a set are read, besides those named on the command line, each once."""
    first, second, _ = served.run_test_ids
    file = tmp_path / "sources.toml"
    other = f'[weekly]\nrun_tests = ["{first}"]\n' if chosen else ""
    file.write_text(f'[nightly]\nrun_tests = ["{second}"]\n{other}')
    target = tmp_path / "calls.jsonl"
    execution_id = served.test_execution_ids[2]
    lists = ["--run-test", second, "--test-execution", execution_id, "--sources", str(file), *chosen]
    assert run(["export", *lists, "-o", str(target), "-q"]) == 0
    expected = served.run_test_rows(second) + served.test_execution_rows(execution_id)
    assert sorted(ids_in(target)) == sorted(expected)


def test_several_sets_have_to_be_chosen_from(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --set, a file with several sets is a usage error that names them."""
    file = tmp_path / "sources.toml"
    file.write_text(f'[nightly]\nrun_tests = ["{served.run_test_ids[0]}"]\n[weekly]\n')
    for command in (["export", "-o", str(tmp_path / "c.jsonl")], ["plan"]):
        assert run([*command, "--sources", str(file)]) == 2
        assert "has several sets, choose one: nightly, weekly." in capsys.readouterr().err
    assert not served.requests


def test_lists_of_one_run_test_are_told_apart(
    served: StandInServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The summary says of each what was chosen: a state, a text, or neither."""
    run_test_id = served.run_test_ids[0]
    (tmp_path / "s.toml").write_text(
        f'[a]\nrun_tests = ["{run_test_id}", {{ id = "{run_test_id}", status = "failed" }}, '
        f'{{ id = "{run_test_id}", status = "completed", search = "parcel" }}]\n'
    )
    assert run(["export", "--sources", str(tmp_path / "s.toml"), "-o", str(tmp_path / "c.jsonl")]) == 0
    lines = [line.split("  ")[0] for line in capsys.readouterr().err.splitlines() if line.startswith("✓")]
    name = f"✓ run test {run_test_id[:8]}"
    assert lines == [name, f"{name}, failed", f'{name}, completed, "parcel"']


ID = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
_BY_RAY = ["--run-test", ID, "-o", "out", "--max-requests-per-minute", "60", "--ray"]
WRONG = {
    "a misspelt output": (
        ["--run-test", ID, "--outptu", "c.jsonl"],
        "error: Unknown option: --outptu. Did you mean --output? See futureagi-async export --help.",
    ),
    "an unknown option and no output": (["--run-test", ID, "--zzz=1"], "error: Unknown option: --zzz. See "),
    "no output": (
        ["--run-test", ID],
        "--output (-o) is missing: name the file or directory to write. For example: futureagi-",
    ),
    "no path": (["--run-test", ID, "-o"], "-o needs a value. See futureagi-async export --help."),
    "an option for a path": (["--run-test", ID, "-o", "--quiet"], "-o needs a path, not '--quiet'"),
    "another file": (["--run-test", ID, "-o", "c.json"], "--output must end in .jsonl, .csv"),
    "another address": (["--run-test", ID, "-o", "ftp://b/out"], "--output must be a path on this machine"),
    "another address for audio": (
        ["--run-test", ID, "-o", "o", "--recordings", "ftp://b"],
        "--recordings must be a path on this machine",
    ),
    "another address of a manifest": (
        ["--run-test", ID, "-o", "out", "--since-manifest", "ftp://b/m.json"],
        "--since-manifest must be a path on this machine",
    ),
    "ray without a limit": (
        ["--run-test", ID, "-o", "out", "--ray"],
        "--ray needs --max-requests-per-minute",
    ),
    "ray begun anew": (
        [*_BY_RAY, "--restart"],
        "error: --ray can't be used with --restart: leave one out.",
    ),
    "ray and audio": ([*_BY_RAY, "--recordings", "audio"], "--ray can't be used with --recordings"),
    "ray and a proxy": ([*_BY_RAY, "--proxy", "http://p:1"], "--ray can't be used with --proxy"),
    "ray on stdout": ([*_BY_RAY, "-o", "-"], "-o"),
    "two addresses of ray": ([*_BY_RAY, "a:1", "b:1"], "--ray takes one value at most, not 2."),
    "no fetchers": ([*_BY_RAY, "--fetchers", "0"], "--fetchers"),
    "quiet and verbose": (
        ["--run-test", ID, "-o", "out", "-q", "-v"],
        "--quiet can't be used with --verbose",
    ),
    "two things on stdout": (["--run-test", ID, "-o", "-", "--json"], "both print to stdout. Leave one out."),
    "parquet on stdout": (["--run-test", ID, "-o", "-", "--format", "parquet"], "can't be printed to stdout"),
    "something more": (["--run-test", ID, "-o", "c.jsonl", "d.jsonl"], "Unexpected argument: d.jsonl. See"),
    "a flag with a value": (["--run-test", ID, "-o", "c.jsonl", "-q=x"], "-q takes no value, not 'x'."),
    "another format": (["--run-test", ID, "-o", "c.jsonl", "--format", "csv"], "ends in .jsonl"),
    "no format": (["--run-test", ID, "-o", "out", "--format", "xml"], '"jsonl", "csv", "parquet"'),
    "parts of none": (["--run-test", ID, "-o", "out", "--part-rows", "0"], "--part-rows"),
    "no list": (["-o", "c.jsonl"], "--test-execution, --url or --sources, or try --demo"),
    "no address": (
        ["--url", "https://x.example/?key=k", "-o", "c.jsonl"],
        "--url does not name a list of calls",
    ),
    "a bad address in a file": (["--url", "@bad.txt", "-o", "c.jsonl"], "bad.txt, line 2: --url must begin"),
    "no set": (["--set", "nightly", "-o", "c.jsonl"], "--set needs a file"),
    "another set": (
        ["--sources", "s.toml", "--set", "b", "-o", "c.jsonl"],
        "s.toml has no set 'b'; it has a",
    ),
    "a bad set": (
        ["--sources", "s.toml", "-o", "c.jsonl"],
        "s.toml: [a] run_tests, entry 1: run_test must be a UUID",
    ),
    "no sources": (["--sources", "missing.toml", "-o", "c.jsonl"], "can't read missing.toml: No such file"),
    "no id": (["--run-test", ID[:-1], "-o", "c.jsonl"], "error: --run-test must be a UUID"),
    "no name": (["--run-test", " ", "-o", "c.jsonl"], "error: --run-test must be a name or an id"),
    "no execution": (["--test-execution", "abc", "-o", "c.jsonl"], "error: --test-execution must be a UUID"),
    "another latest": (
        ["--test-execution", "newest:abc", "-o", "c.jsonl"],
        "error: --test-execution must be",
    ),
    "no kind": (["--all", "calls", "-o", "c.jsonl"], "--all"),
    "since of nothing": (["--run-test", ID, "--since", "30d", "-o", "c.jsonl"], "--since needs --all"),
    "no time": (
        ["--all", "--since", "soon", "-o", "c.jsonl"],
        "error: --since must be a duration before now",
    ),
    "no version": (["--agent-version", ID, "-o", "c.jsonl"], "AGENT:VERSION"),
    "no version id": (["--agent-version", f"{ID}:", "-o", "c.jsonl"], "version must be a name or an id"),
    "no file": (["--run-test", "@missing.txt", "-o", "c.jsonl"], "can't read missing.txt: No such file"),
    "a bad line": (
        ["--run-test", "@bad.txt", "-o", "c.jsonl"],
        "bad.txt, line 3: --run-test must be a UUID",
    ),
    "only comments": (["--run-test", "@empty.txt", "-o", "c.jsonl"], "There is no list to read"),
    "no text": (["--run-test", "@binary.txt", "-o", "c.jsonl"], "can't read binary.txt"),
    "page size 0": (["--run-test", ID, "-o", "c.jsonl", "--page-size", "0"], "--page-size"),
    "no number": (
        ["--run-test", ID, "-o", "c.jsonl", "--max-in-flight", "many"],
        "--max-in-flight must be a whole number, not 'many'",
    ),
    "status of nothing": (["--test-execution", ID, "-o", "c.jsonl", "--status", "failed"], "--run-test"),
    "search of nothing": (["--agent-version", f"{ID}:{ID}", "-o", "c.jsonl", "--search", "x"], "--search"),
    "two states": (
        ["--run-test", ID, "-o", "c.jsonl", "--status", "failed,queued"],
        "status must be one word",
    ),
    "keys as arguments": (["--run-test", ID, "-o", "c.jsonl", "--api-key", "k"], "Unknown option"),
    "two servers": (["--demo", "--base-url", "http://localhost", "-o", "c.jsonl"], "--demo"),
    "no url": (
        ["--run-test", ID, "--base-url", "ftp://x", "-o", "c.jsonl"],
        "error: --base-url must be an http(s) URL",
    ),
    "plain http": (
        ["--run-test", ID, "--base-url", "http://api.example", "-o", "c.jsonl"],
        "or pass --allow-insecure",
    ),
}


@pytest.mark.quick(20)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_before_any_request(
    served: StandInServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    """What can't be meant exits with 2 and one line that says what to do."""
    arguments, named = WRONG[case]
    monkeypatch.chdir(tmp_path)
    files = {
        "bad.txt": f"# runs\n{ID}\n{ID[:-1]}\n".encode(),
        "empty.txt": b"# none\n\n",
        "binary.txt": b"\xff\xfe\x00",
        "s.toml": f'[a]\nrun_tests = ["{ID[:-1]}"]'.encode(),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert run(["export", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert named in err
    assert not served.requests
    assert names_in(tmp_path) == files.keys()


@pytest.mark.parametrize("given", [(), ("FI_API_KEY",), ("FI_SECRET_KEY",)])
def test_missing_keys_say_how_to_set_them(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, ...],
) -> None:
    """Both variables, where to find the keys, and the way without any are named."""
    forget_keys(monkeypatch)
    for name in given:
        monkeypatch.setenv(name, "something")
    assert run(["export", "--run-test", ID, "-o", str(tmp_path / "c.jsonl")]) == 2
    err = capsys.readouterr().err
    missing = {"FI_API_KEY", "FI_SECRET_KEY"} - set(given)
    assert all(name in err.split(" not set.")[0] for name in missing)
    assert "export FI_API_KEY=... FI_SECRET_KEY=..." in err
    assert "--demo" in err
    assert "something" not in err


START = "from futureagi_async.__main__ import main; sys.exit(main())"
SCRIPT = Path(sys.executable).with_name("futureagi-async")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=20
    )


def test_the_module_runs() -> None:
    """``python -m futureagi_async`` is the command line."""
    finished = run_python("-m", "futureagi_async", "--version")
    assert finished.returncode == 0
    assert finished.stdout == f"futureagi-async {futureagi_async.__version__}\n"


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package is not installed with its script")
def test_the_script_runs() -> None:
    """``futureagi-async`` is the same, and passes the exit code on."""
    finished = subprocess.run(
        [SCRIPT, "call", "no-id"], capture_output=True, text=True, check=False, timeout=20
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: ")


@pytest.mark.parametrize("library", ["cyclopts", "rich"])
def test_missing_libraries_are_named(library: str) -> None:
    """Without an optional library there is one line that says what to install."""
    code = f"import sys; sys.modules[{library!r}] = None; {START}"
    finished = run_python("-c", code)
    assert finished.returncode == 2
    assert not finished.stdout
    assert finished.stderr == (
        f"error: The command line needs {library} (the extra [cli]): pip install 'cyclopts>=5' 'rich>=13.9'\n"
    )


def test_install_lines_name_what_the_extras_name() -> None:
    """Each line on a missing library installs requirements of the extras, from any package index."""
    root = Path(futureagi_async.__file__).parent
    extras = tomllib.loads((root.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {requirement.partition(";")[0] for extra in extras.values() for requirement in extra}
    named = [
        requirement
        for path in root.rglob("*.py")
        for line in re.findall(r"pip install ((?:'[^']+' ?)+)", path.read_text())
        for requirement in re.findall(r"'([^']+)'", line)
    ]
    assert len(named) >= 6
    assert set(named) <= known


@pytest.mark.parametrize(
    ("arguments", "library", "said"),
    [
        (["export", "-o", "x.parquet"], "pyarrow", "Parquet needs pyarrow (the extra [parquet])"),
        (["export", "-o", "s3://lake/x/"], "obstore", "Object stores need obstore (the extra [cloud])"),
        (["sync", "x.duckdb"], "duckdb", "A DuckDB database needs duckdb and pyarrow (the extra [duckdb])"),
        (["sync", "delta://x"], "deltalake", "Delta tables need deltalake and pyarrow (the extra [delta])"),
        (["compare"], "scipy", "The analysis of calls needs more libraries (the extra [analysis])"),
        (
            ["gate", "--min", "a=1"],
            "scipy",
            "The analysis of calls needs more libraries (the extra [analysis])",
        ),
        (["report", "-o", "x.html"], "altair", "A report needs more libraries (the extra [report])"),
    ],
)
def test_missing_libraries_of_a_command_are_usage_errors(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    library: str,
    said: str,
) -> None:
    """All commands name the extra, and exit with 2."""
    monkeypatch.chdir(tmp_path)
    forget_keys(monkeypatch)
    find_module = importlib.util.find_spec
    for place in ("summarising", "report"):
        module = importlib.import_module(f"futureagi_async.analysis.{place}")
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == library else find_module(name))
    for name in [library, *(name for name in sys.modules if name.startswith(f"{library}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    assert run([*arguments, "--demo"]) == 2
    err = capsys.readouterr().err
    assert f"error: {said}: pip install '" in err
    assert not list(tmp_path.iterdir())


def test_ray_is_named_where_it_is_missing() -> None:
    """``--ray`` needs a library that no other option needs."""
    arguments = ["futureagi-async", "export", *_BY_RAY]
    finished = run_python("-c", f"import sys; sys.modules['ray'] = None; sys.argv = {arguments}; {START}")
    assert finished.returncode == 2
    assert finished.stderr == "error: --ray needs Ray (the extra [ray]): pip install 'ray[data]>=2.40'\n"


@pytest.mark.parametrize("library", ["fastapi", "opentelemetry", "ray"])
def test_integrations_say_what_they_need(library: str) -> None:
    """Without its library, importing an integration says how to install it."""
    code = f"import sys; sys.modules[{library!r}] = None; import futureagi_async.integrations.{library}"
    finished = run_python("-c", code)
    assert finished.returncode == 1
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(f"ModuleNotFoundError: futureagi_async.integrations.{library} needs ")
    assert "pip install '" in last


def test_a_broken_installation_is_no_missing_extra() -> None:
    """If a library of the package itself is missing, that is told as Python tells it."""
    code = f"import sys; sys.modules['attrs'] = None; {START}"
    finished = run_python("-c", code)
    assert "ModuleNotFoundError" in finished.stderr
    assert "pip install" not in finished.stderr


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever types the bare name learns the commands and a first thing to try."""
    assert run([]) == 0
    out = capsys.readouterr().out
    for word in (*COMMANDS, "--demo", "FI_API_KEY"):
        assert word in out


COMMANDS = ("call", "completion", "execution", "export", "kpis", "plan", "serve", "verify")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command explains itself, within 80 columns, and mentions no argument for keys."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: futureagi-async {command}")
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "--api-key" not in out


def test_the_help_of_export_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """A stranger learns from the help alone what to type, where keys go, and what the exit codes mean."""
    run(["export", "--help"])
    out = capsys.readouterr().out
    for words in (
        "futureagi-async export --demo -o calls.jsonl",
        "FI_SECRET_KEY",
        "(ps)",
        "3 written, but something is missing",
        "run the same command again: it continues",
        "130",
    ):
        assert words in out


def test_the_list_of_commands_says_what_their_own_help_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command's line in the list, which is printed without importing it, begins its own help."""
    monkeypatch.setenv("COLUMNS", "200")
    run(["--help"])
    listed = dict(re.findall(r"^│ (\w+) +(.*?) +│$", capsys.readouterr().out, re.MULTILINE))
    assert len(listed) == 15
    for name, summary in listed.items():
        run([name, "--help"])
        assert capsys.readouterr().out.splitlines()[2] == summary


_HELP = """
import sys
from futureagi_async.__main__ import main
code = main()
slow = {"aiohttp", "anyio", "asyncio", "msgspec", "cattrs", "pyarrow", "sqlite3", "ssl"} & set(sys.modules)
ours = {name.removeprefix("futureagi_async.") for name in sys.modules if name.startswith("futureagi_async.")}
print(sorted(slow), sorted(name for name in ours if not name.startswith(("cli", "_version", "__main__"))))
print(sorted(ours & {"cli.export", "cli.gate", "cli.call"}))
sys.exit(code)
"""


@pytest.mark.quick(3)
@pytest.mark.parametrize("name", ["", "call", "compare", "export", "gate", "kpis", "ls", "sync", "watch"])
def test_help_waits_for_nothing_but_itself(name: str) -> None:
    """Help, of all or of a command, imports no HTTP client, no other command, and not what commands run."""
    finished = subprocess.run(
        [sys.executable, "-c", _HELP, *filter(None, [name]), "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
    )
    *_, imported, commands = finished.stdout.splitlines()
    assert imported == "[] ['errors']"
    assert commands == str([f"cli.{name}"] if name in {"export", "gate", "call"} else [])


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is a usage error of one line."""
    assert run(["exprot"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: Unknown command")
    assert "export" in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error() -> None:
    """Where the other end of a pipe is closed, the command ends without a traceback."""
    code = f"import os, sys; reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1); {START}"
    finished = run_python("-c", code, "call", "--demo", "--json")
    assert finished.returncode == 1
    assert not finished.stderr


@pytest.mark.parametrize("command", ["export", "plan", "sync"])
def test_an_unknown_status_is_one_warning(served: StandInServer, tmp_path: Path, command: str) -> None:
    """A name is looked up later, in the event loop. Even then the warning has no file or line of Python."""
    place = {"export": ["-o", "calls.jsonl"], "sync": ["calls.duckdb"], "plan": []}[command]
    lists = ("--run-test", "Checkout flow", "--status", "faled")
    done = run_command(command, *place, *lists, variables=environment(served), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "faled" in line and "arning" in line)
    assert line.startswith("warning: status 'faled' is not a documented value")
    assert ".py" not in done.stderr
