"""Where calls were read -> Arrow columns."""

from collections.abc import Sequence

from futureagi_async.export.formats.arrow_types import Arrow, array, arrow_type
from futureagi_async.export.formats.origins import Origin
from futureagi_async.export.formats.schema import SOURCE


def origin_columns(pa: Arrow, origins: Sequence[Origin]) -> dict[str, Arrow]:
    """Return the columns `SOURCE`."""
    if origins.count(origins[0]) == len(origins):
        return {
            name: pa.repeat(pa.scalar(value, arrow_type(pa, kind)), len(origins))
            for value, (name, kind) in zip(origins[0], SOURCE.items(), strict=True)
        }
    columns = zip(*origins, strict=True)
    return {
        name: array(pa, values, kind) for values, (name, kind) in zip(columns, SOURCE.items(), strict=True)
    }
