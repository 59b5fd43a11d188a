"""The vendor server's recorded answers, where they lie beside the checkout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "recordings"


class Recording:
    """One HTTP exchange."""

    def __init__(self, path: Path) -> None:
        data: dict[str, Any] = json.loads(path.read_text())
        self.endpoint = path.parent.name
        self.case = path.stem
        self.path: str = data["request"]["path"]
        self.query: dict[str, str] = dict(data["request"].get("query_params", ()))
        self.method: str = data["request"]["method"]
        self.status: int = data["status"]
        self.headers: dict[str, str] = {name.lower(): value for name, value in data["headers"]}
        self.json: Any = data["body"]
        body = data["body"]
        self.body = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()

    def __repr__(self) -> str:
        return f"{self.endpoint}/{self.case}"


def recordings(*endpoints: str, that: Callable[[Recording], object] = lambda _: True) -> list[Any]:
    """Return the recordings as test parameters; one skipped parameter where there are none."""
    found = [
        recording
        for path in sorted(FOLDER.glob("*/*.json"))
        if not endpoints or path.parent.name in endpoints
        if that(recording := Recording(path))
    ]
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="no recordings beside this checkout"))]
    return [pytest.param(recording, id=repr(recording)) for recording in found]
