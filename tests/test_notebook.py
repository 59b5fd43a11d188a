"""The notebook of the docs runs from its first cell to its last, in a kernel as Jupyter starts it."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from futureagi_async.testing import StandInServer

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebook.ipynb"


@pytest.mark.slow
@pytest.mark.timeout(180)  # a kernel and matplotlib begin in it
def test_the_notebook_runs(served: StandInServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the stand-in, every cell ends without an error; there are tables, and two plots."""
    monkeypatch.setenv("FI_BASE_URL", served.base_url)
    monkeypatch.setenv("FI_API_KEY", served.api_key)
    monkeypatch.setenv("FI_SECRET_KEY", served.secret_key)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs: list[Any] = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    data = [output["data"] for output in outputs if "data" in output]
    assert sum("image/png" in each for each in data) == 2
    assert sum("<table" in each.get("text/html", "") for each in data) >= 5
    shown = "".join(each.get("text/html", "") for each in data)
    assert "complete" in shown
    for key in (served.api_key, served.secret_key):
        assert key not in str(notebook)
