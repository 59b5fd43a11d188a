"""Which lists the commands read: by addresses, and by sets in a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async.cli import run
from futureagi_async.testing import StandInServer
from tests.test_cli_support import ids_in, use_keys


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
        assert "holds several sets, choose one: nightly, weekly." in capsys.readouterr().err
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
