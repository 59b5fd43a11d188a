"""The picture in the architecture page is the code's."""

import re
from pathlib import Path

from tests.test_layers import MODULES, graph

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
OUTSIDE = ("", "__main__", "_version", "testing")
"""What the picture leaves out: the names themselves, and what stands beside the ladder."""


def picture() -> dict[str, int]:
    """Return each name in the picture with its row: a row is names, two spaces, and what they do."""
    drawn = re.search(r"^```\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert drawn is not None
    rows = [re.sub(r"^[\s│├└─▼]+", "", row) for row in drawn[1].splitlines()]
    named = [re.split(r"\s{2,}", row)[0].split(", ") for row in rows]
    return {name: number for number, names in enumerate(named) for name in names if name}


def drawn_as(module: str) -> str:
    """Return the name under which the picture shows a module: its folder, one deeper in the pure floor."""
    first, *rest = module.split(".")
    return rest[0] if first == "_sansio" and rest else first


def test_the_picture_shows_every_module_and_nothing_else() -> None:
    """Each module is in the picture, and each name in it is one."""
    shown = {drawn_as(module) for module in MODULES} - set(OUTSIDE)
    assert shown == picture().keys()


def test_imports_go_down_the_page() -> None:
    """No module imports one that is drawn above it."""
    rows = picture()
    upwards = [
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if {drawn_as(module), drawn_as(target)} <= rows.keys()
        and rows[drawn_as(module)] > rows[drawn_as(target)]
    ]
    assert not upwards


def test_the_picture_is_read_at_all() -> None:
    """The rows are found in their order, whatever leads to them."""
    rows = picture()
    assert rows["cli"] < rows["session"] < rows["_transport"] < rows["_sansio"] < rows["errors"]
    assert rows["events"] == rows["errors"]
