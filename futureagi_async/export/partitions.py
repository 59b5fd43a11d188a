"""Hive folders that a directory's parts lie in, so that query engines read only those that they need.

No name of a folder is that of a column: so files hold all their columns, whoever reads them, and readers that
know Hive's layout add the folders as further ones.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any, Final

PARTITIONS: Final = ("source", "date")
NO_DATE: Final = "__HIVE_DEFAULT_PARTITION__"
"""What Hive calls the folder of null."""

_LEVEL: Final = {
    "source_type": r"[a-z_]+",
    "source_id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "date": rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|{NO_DATE})",
}
FOLDERS: Final = "({source_type}/{source_id}|{date})".format(
    **{name: f"{name}={pattern}" for name, pattern in _LEVEL.items()}
)
"""A pattern of all that `folder_of_source` and `folder_of_day` return."""
FOLDER_NAME: Final = re.compile("|".join(f"{name}={pattern}" for name, pattern in _LEVEL.items()))
"""One level of it."""
_DAY_0: Final = date(1970, 1, 1).toordinal()
_ID_KEYS: Final = ("version_id", "run_test_id", "test_execution_id")


def folder_of_source(source: Mapping[str, Any]) -> str:
    """Return the folder of a list's calls; that of an agent version has the version's id."""
    id_ = next(source[key] for key in _ID_KEYS if key in source)
    return f"source_type={source['kind']}/source_id={id_}"


def folder_of_day(day: int | None) -> str:
    """Return the folder of a day, counted from 1970-01-01 in UTC."""
    return f"date={NO_DATE if day is None else date.fromordinal(_DAY_0 + day).isoformat()}"


def in_folder(name: str, folder: str) -> str:
    """Return the name of a part in a folder of the folder that it would be in otherwise."""
    path = PurePosixPath(name)
    return str(path.parent / folder / path.name)


def folders_above(names: Iterable[str]) -> list[str]:
    """Return all folders that files with such names lie in, each after those that it is in itself."""
    parents = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return sorted(parents - {"."})
