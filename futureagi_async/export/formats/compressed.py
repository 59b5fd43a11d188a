"""Compression of whole files: ``.gz`` from the standard library, ``.zst`` from 3.14 on too."""

import gzip
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, Final, cast

from futureagi_async.errors import ExportError

COMPRESSIONS: Final = (".gz", ".zst")

_GZIP_LEVEL = 6  # of the tool itself; Python's 9 takes twice the time for a hundredth of the size


def compressed(file: BinaryIO, ending: str) -> BinaryIO:
    """Return a file that compresses into ``file``; closing it finishes the stream and leaves ``file`` open.

    The same bytes written give the same bytes out: no name and no time is put into the header. Raises
    `ModuleNotFoundError` where zstd is not installed.
    """
    if ending == ".gz":
        made = gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0)
        return cast(BinaryIO, made)
    if ending == ".zst":
        return cast(BinaryIO, _zstd().ZstdFile(file, "wb"))
    raise ValueError(f"ending must be one of {', '.join(map(repr, COMPRESSIONS))}, not {ending!r}.")


def check_compression(ending: str) -> None:
    """Raise `ExportError` where the library that an ending needs is not installed."""
    try:
        if ending == ".zst":
            _zstd()
    except ImportError as error:
        raise ExportError(f"{ending} needs backports.zstd: pip install 'futureagi-async[zstd]'.") from error


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file for reading what was written into it, by its ending."""
    ending = path.suffix.lower()
    if ending == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if ending == ".zst":
        return cast(BinaryIO, _zstd().open(path, "rb"))
    return path.open("rb")


def decompression_faults(path: Path) -> tuple[type[Exception], ...]:
    """Return what reading a file raises whose compression is broken, besides `OSError`."""
    return (EOFError, _zstd().ZstdError) if path.suffix.lower() == ".zst" else (EOFError, zlib.error)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
