"""Arguments and settings that can't be meant: one line, exit code 2, no request, no file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.test_cli_support import forget_keys, names_in, use_keys


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInServer]:
    """Run a stand-in that commands in this process read from."""
    with StandInServer() as running:
        use_keys(monkeypatch, running)
        yield running


ID = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
WRONG = {
    "no output": (
        ["--run-test", ID],
        "--output (-o) is required, and says where to write. For example: futureagi-",
    ),
    "no path": (["--run-test", ID, "-o"], "-o needs a value behind it. See futureagi-async export --help."),
    "an option for a path": (["--run-test", ID, "-o", "--quiet"], "-o needs a path behind it, not '--quiet'"),
    "another file": (["--run-test", ID, "-o", "c.json"], "--output must end in .jsonl or .csv"),
    "a bucket": (["--run-test", ID, "-o", "s3://b/out"], "--output must be on this machine"),
    "a bucket for audio": (
        ["--run-test", ID, "-o", "o", "--recordings", "s3://b"],
        "--recordings must be on",
    ),
    "an address of a manifest": (
        ["--run-test", ID, "-o", "out", "--since-manifest", "s3://b/m.json"],
        "--since-manifest must be on",
    ),
    "quiet and verbose": (["--run-test", ID, "-o", "out", "-q", "-v"], "--quiet and --verbose exclude"),
    "two things on stdout": (["--run-test", ID, "-o", "-", "--json"], "and so does -o -: leave one out."),
    "parquet on stdout": (["--run-test", ID, "-o", "-", "--format", "parquet"], "needs a file"),
    "something more": (["--run-test", ID, "-o", "c.jsonl", "d.jsonl"], "Not expected: d.jsonl. See"),
    "a flag with a value": (["--run-test", ID, "-o", "c.jsonl", "-q=x"], "-q takes no value, not 'x'."),
    "another format": (["--run-test", ID, "-o", "c.jsonl", "--format", "csv"], "ends in .jsonl"),
    "no format": (["--run-test", ID, "-o", "out", "--format", "xml"], '"jsonl", "csv", "parquet"'),
    "parts of none": (["--run-test", ID, "-o", "out", "--part-rows", "0"], "--part-rows"),
    "no list": (["-o", "c.jsonl"], "--test-execution, --url or --sources, or try --demo"),
    "no address": (
        ["--url", "https://x.example/?key=k", "-o", "c.jsonl"],
        "--url names no list of calls",
    ),
    "a bad address in a file": (["--url", "@bad.txt", "-o", "c.jsonl"], "bad.txt, line 2: --url must begin"),
    "no set": (["--set", "nightly", "-o", "c.jsonl"], "--set chooses a set of a file"),
    "another set": (
        ["--sources", "s.toml", "--set", "b", "-o", "c.jsonl"],
        "s.toml holds no set 'b'; it holds a",
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
    "since of nothing": (["--run-test", ID, "--since", "30d", "-o", "c.jsonl"], "it needs --all"),
    "no time": (["--all", "--since", "soon", "-o", "c.jsonl"], "error: --since must be how long ago"),
    "no version": (["--agent-version", ID, "-o", "c.jsonl"], "AGENT:VERSION"),
    "no version id": (["--agent-version", f"{ID}:", "-o", "c.jsonl"], "version must be a name or an id"),
    "no file": (["--run-test", "@missing.txt", "-o", "c.jsonl"], "can't read missing.txt: No such file"),
    "a bad line": (
        ["--run-test", "@bad.txt", "-o", "c.jsonl"],
        "bad.txt, line 3: --run-test must be a UUID",
    ),
    "only comments": (["--run-test", "@empty.txt", "-o", "c.jsonl"], "No list to read"),
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
