"""Recognises names that are probably wrong targets of an export, and suggests the right ones."""

import os
import re
from difflib import get_close_matches
from pathlib import PurePath
from typing import Final

ENDINGS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
"""The format of a file by the ending of its name. One of `COMPRESSIONS` may follow."""
COMPRESSIONS: Final = (".gz", ".zst")

_NEAREST: Final = {
    f".{ending}": nearest
    for nearest, endings in {
        ".jsonl": "json jsonlines jl ldjson json5 txt text log md yaml yml toml xml html htm pdf dat data "
        "bin",
        ".csv": "tsv tab psv xls xlsx xlsm xlsb ods numbers",
        ".parquet": "pq parq pqt arrow arrows feather ipc orc avro db sqlite sqlite3 duckdb h5 hdf5 "
        "pkl pickle npy npz dta sav rds",
    }.items()
    for ending in endings.split()
}
"""Endings of other data files, and the nearest supported ending."""
_OTHER_COMPRESSIONS: Final = (
    ".bz2",
    ".xz",
    ".lz4",
    ".lzma",
    ".br",
    ".z",
    ".zip",
    ".7z",
    ".rar",
    ".tar",
    ".tgz",
)
_HOW_ALIKE: Final = 0.75  # .jsnl, .cvs and .paquet are typing errors, .d and .old are not

_STORES: Final = ("s3", "gs", "az")
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(.*)", re.DOTALL)
"""At least two characters before the colon: a single one is a Windows drive."""


def check_local(name: str, text: str) -> None:
    """Raise `ValueError` if the argument ``name`` is an address, or can't be a path.

    The error does not repeat an address, because it may hold a password.
    """
    if "\0" in text:
        raise ValueError(f"{name} must not have a NUL character.")
    if (address := _ADDRESS.match(text)) is None:
        return
    scheme, rest = address[1].lower(), address[2]
    if scheme == "file":
        raise ValueError(
            f"{name} must be a path, not an address: leave out file://, as in '/{rest.lstrip('/')}'."
        )
    if scheme in _STORES and not rest.startswith("/"):
        raise ValueError(f"{name} must be a str if it is an address: a Path loses a slash of {scheme}://.")
    here = os.path.join(".", PurePath(rest).name)  # noqa: PTH118 - which pathlib would shorten
    raise ValueError(
        f"{name} must be a path on this machine: {scheme}:// is not supported. Write to '{here}', then copy "
        "the files."
    )


def check_ending(path: PurePath, format_: str | None) -> None:
    """Raise `ValueError` for the name of another data file: it would become a directory."""
    meant = _meant(path.name, f".{format_}" if format_ else None)
    if meant is None:
        return
    raise ValueError(
        f"target must end in .jsonl, .csv (also with .gz or .zst) or .parquet to be a file: use "
        f"'{path.with_name(meant)}' instead of '{path}'. For a directory, add a slash at the end."
    )


def _meant(name: str, ending: str | None) -> str | None:
    """Return the file name that was probably meant; ``None`` if a directory was meant."""
    stem, last = os.path.splitext(name)  # noqa: PTH122 - the same for all versions of Python
    last = last.strip().lower()
    if not last and stem.lower() in ENDINGS:
        return f"calls{stem}"
    if last in COMPRESSIONS or last in _OTHER_COMPRESSIONS:
        return _meant_compressed(stem, last if last in COMPRESSIONS else ".gz", ending)
    if last in _NEAREST:
        return stem + (ending or _NEAREST[last])
    if _known(stem):
        return stem
    if alike := get_close_matches(last, ENDINGS, 1, _HOW_ALIKE):
        return stem + (ending or alike[0])
    return None


def _meant_compressed(inner: str, compression: str, ending: str | None) -> str:
    stem, last = os.path.splitext(inner)  # noqa: PTH122
    last = last.lower()
    if last not in (*ENDINGS, *_NEAREST, *_OTHER_COMPRESSIONS):
        stem, last = inner, ""
    ending = ending or (last if last in ENDINGS else _NEAREST.get(last, ".jsonl"))
    return stem + ending + (compression if ending != ".parquet" else "")


def _known(name: str) -> bool:
    """Whether a name has a supported ending."""
    stem, last = os.path.splitext(name)  # noqa: PTH122
    if last.lower() in COMPRESSIONS:
        last = os.path.splitext(stem)[1]  # noqa: PTH122
    return last.lower() in ENDINGS
