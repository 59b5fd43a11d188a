"""What an incremental export builds on: an earlier export's manifest."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import attrs

from futureagi_async.errors import ExportError
from futureagi_async.export.manifest import Manifest, read_manifest
from futureagi_async.export.staging.parameters import fingerprint, identify
from futureagi_async.export.targets import MANIFEST
from futureagi_async.sources import CallSource

CANNOT_SEE = (
    "Calls that were deleted since are not noticed, nor are calls that entered a version list, or a list "
    "filtered by status, search or filters, with an older time of change."
)
"""What no incremental export can know: the server tells only when a call was changed last."""


@attrs.define(frozen=True)
class Base:
    """The earlier export, and since when changes of each source are to be read."""

    digest: str
    changed_since: Mapping[CallSource, datetime]
    """Sources that the earlier export did not hold, or not completely, are missing here: read in full."""


def read_base(path: Path, sources: Sequence[CallSource]) -> Base:
    """Read an earlier export's manifest, or that of its directory; raises `ExportError` where it is none."""
    manifest = read_manifest(path / MANIFEST if path.is_dir() else path)
    if manifest is None:
        raise ExportError(f"Can't read {path}: there is no manifest of an earlier export.")
    return match_sources(manifest, sources)


def match_sources(manifest: Manifest, sources: Sequence[CallSource]) -> Base:
    """Find the sources that the earlier export held completely."""
    known = {
        fingerprint(entry.source): entry.complete_as_of
        for entry in manifest.sources
        if entry.verdict == "complete" and entry.complete_as_of is not None
    }
    moments = {source: known.get(fingerprint(identify(source))) for source in sources}
    found = {source: moment for source, moment in moments.items() if moment is not None}
    return Base(manifest.digest, found)
