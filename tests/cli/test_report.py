"""The command `report` in processes of its own: what it reads, what it writes, what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from futureagi_async.testing import StandInServer
from tests.support.commands import environment, names_in, run_command
from tests.support.reports import Page


@pytest.fixture
def served() -> Iterator[StandInServer]:
    """Run a stand-in for commands in processes of their own."""
    with StandInServer() as running:
        yield running


def page_at(path: Path) -> Page:
    """Take a page apart."""
    return Page(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_demo_compares_two_versions(tmp_path: Path) -> None:
    """Without keys and arguments."""
    done = run_command("report", "--demo", variables=environment(), folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done
    assert done.stderr == "Wrote report.html: 61 calls, complete.\n"
    page = page_at(tmp_path / "report.html")
    assert " against " in page.text
    assert "transcript" in {str(each.get("class")) for each in page.all("ol")}
    assert names_in(tmp_path) == {"report.html"}


@pytest.mark.slow
def test_lists_and_exports_are_reported_on(served: StandInServer, tmp_path: Path) -> None:
    """By name, by id, and from files without any key; transcripts are read unless they are left out."""
    variables = environment(served)
    done = run_command(
        "report",
        "Refund chats",
        "-o",
        "chats.html",
        "--title",
        "Week 48",
        variables=variables,
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    page = page_at(tmp_path / "chats.html")
    assert "Week 48" in page.text
    assert page.all("ol")
    exported = run_command(
        *("export", "-q", "--run-test", served.run_test_ids[2], "-o", "calls"),
        variables=variables,
        folder=tmp_path,
    )
    assert exported.returncode == 0
    asked = len(served.requests)
    done = run_command(
        *("report", "calls", "--against", "calls", "-o", "files.html", "--no-transcripts", "--png", "slides"),
        variables=environment(),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert len(served.requests) == asked
    page = page_at(tmp_path / "files.html")
    assert "calls against calls" in page.text
    assert "differs significantly" in page.text
    assert not page.all("ol")
    images = {path.name for path in (tmp_path / "slides").iterdir()}
    assert images == {f"{figure['id']}.png" for figure in page.all("figure")}


@pytest.mark.slow
def test_an_incomplete_read_exits_with_3(served: StandInServer, tmp_path: Path) -> None:
    """The page is written all the same, and says so."""
    served.poison(served.run_test_rows(served.run_test_ids[1])[5])
    done = run_command("report", "Refund chats", variables=environment(served), folder=tmp_path)
    assert done.returncode == 3
    assert done.stderr.endswith("incomplete.\n")
    assert "Some calls are missing" in page_at(tmp_path / "report.html").text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name the run to report on."),
        (["x", "-o", "no/report.html"], "--output must name a file in a directory that exists"),
        (["x", "-o", "."], "--output must name a file"),
        (["x", "--png", "file"], "--png must name a directory"),
        (["nothing/"], "A: nothing/ has no finished export"),
        (["x", "--against", "nothing/"], "--against: "),
    ],
)
def test_wrong_arguments_are_usage_errors(
    served: StandInServer, tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Before any request, and before anything is written."""
    (tmp_path / "file").touch()
    done = run_command("report", *arguments, variables=environment(served), folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not served.requests
    assert names_in(tmp_path) == {"file"}
