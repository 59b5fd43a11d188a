"""Hive folders for the part files of a directory, so that query engines read only the files they need.

Folder names differ from column names. So every reader finds all columns in the files, and readers that know
the Hive layout add the folders as more columns.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any, Final

PARTITIONS: Final = ("source", "date")
NO_DATE: Final = "__HIVE_DEFAULT_PARTITION__"
"""Hive's name for the folder of null values."""

_LEVEL: Final = {
    "source_type": r"[a-z_]+",
    "source_id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "date": rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|{NO_DATE})",
}
FOLDERS: Final = "({source_type}/{source_id}|{date})".format(
    **{name: f"{name}={pattern}" for name, pattern in _LEVEL.items()}
)
"""A pattern for the results of `folder_of_source` and `folder_of_day`."""
FOLDER_NAME: Final = re.compile("|".join(f"{name}={pattern}" for name, pattern in _LEVEL.items()))
"""A pattern for one level of folders."""
_DAY_0: Final = date(1970, 1, 1).toordinal()
_ID_KEYS: Final = ("version_id", "run_test_id", "test_execution_id")


def folder_of_source(source: Mapping[str, Any]) -> str:
    """Return the folder for the calls of a list. For an agent version, it has the id of the version."""
    id_ = next(source[key] for key in _ID_KEYS if key in source)
    return f"source_type={source['kind']}/source_id={id_}"


def folder_of_day(day: int | None) -> str:
    """Return the folder of a day, given as days since 1970-01-01 in UTC."""
    return f"date={NO_DATE if day is None else date.fromordinal(_DAY_0 + day).isoformat()}"


def in_folder(name: str, folder: str) -> str:
    """Return the name of a part file moved into a subfolder of its folder."""
    path = PurePosixPath(name)
    return str(path.parent / folder / path.name)


def folders_above(names: Iterable[str]) -> list[str]:
    """Return all folders of the given names, parents first."""
    parents = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    return sorted(parents - {"."})
