"""Every Python example of the README and the docs runs, against the stand-in."""

import asyncio
import re
from pathlib import Path

import pytest

from futureagi_async.testing import StandInServer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.findall(page.read_text()), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(
    example: str,
    futureagi_server: StandInServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An example runs as it stands, with ids of the stand-in's data for the names it leaves open."""
    server = futureagi_server
    monkeypatch.setenv("FI_API_KEY", server.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", server.secret_key)
    monkeypatch.setenv("FI_BASE_URL", server.base_url)
    agent_id, version_id = server.agent_versions[0]
    names = {
        "run_test_id": server.run_test_ids[0],
        "agent_id": agent_id,
        "version_id": version_id,
        "test_execution_id": server.test_execution_ids[0],
        "call_execution_id": server.version_rows(agent_id, version_id)[0],
    }
    exec(compile(example, "example", "exec"), names)
    if "asyncio.run" in example:
        assert capsys.readouterr().out
    else:
        asyncio.run(names["read_all"](server))  # type: ignore[operator]


def test_links_lead_somewhere() -> None:
    """Links between the pages point to files that exist."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_opens_with_exactly_two_commands() -> None:
    """The first code block of the README holds the demo and the tests, and nothing else."""
    first = re.search(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert first is not None
    demo, tests = first[1].splitlines()
    assert "export --demo" in demo
    assert tests.endswith("-m pytest")
