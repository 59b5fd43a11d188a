"""`column`: builds the filters that the served API really applies, and refuses the others."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from futureagi_async.filters import (
    APPLIED,
    LISTS,
    MEMBERSHIP,
    RANGES,
    UNFILTERED,
    Filter,
    brief,
    check_column_id,
    kind_of,
    plain,
)

Value: TypeAlias = str | int | float | datetime | UUID


@attrs.frozen
class ColumnFilter:
    """A column to filter by; each method makes a `Filter`.

    Raises `TypeError` for values that the column does not take, `ValueError` for what would not be applied.
    """

    column_id: str = attrs.field(converter=check_column_id)

    def equals(self, value: Value) -> Filter:
        """Keep calls with this value; of a datetime, its whole day in UTC."""
        return self._filter("equals", value)

    def not_equals(self, value: Value) -> Filter:
        """Keep calls without this value."""
        return self._filter("not_equals", value)

    def is_in(self, values: Iterable[str | UUID]) -> Filter:
        """Keep calls with one of these values, in the same case."""
        return self._filter("in", *_listed(values))

    def not_in(self, values: Iterable[str | UUID]) -> Filter:
        """Keep calls with none of these values, in the same case."""
        return self._filter("not_in", *_listed(values))

    def contains(self, text: str) -> Filter:
        """Keep calls whose value has this text in it, in any case."""
        return self._filter("contains", text)

    def not_contains(self, text: str) -> Filter:
        """Keep calls whose value does not have this text in it, in any case."""
        return self._filter("not_contains", text)

    def greater_than(self, value: Value) -> Filter:
        """Keep calls whose value is above this one."""
        return self._filter("greater_than", value)

    def greater_than_or_equal(self, value: Value) -> Filter:
        """Keep calls whose value is this one or above."""
        return self._filter("greater_than_or_equal", value)

    def less_than(self, value: Value) -> Filter:
        """Keep calls whose value is below this one."""
        return self._filter("less_than", value)

    def less_than_or_equal(self, value: Value) -> Filter:
        """Keep calls whose value is this one or below."""
        return self._filter("less_than_or_equal", value)

    def between(self, low: Value, high: Value) -> Filter:
        """Keep calls whose value is one of the two or between them."""
        return self._filter("between", low, high)

    def not_between(self, low: Value, high: Value) -> Filter:
        """Keep calls whose value is below the low one or above the high one."""
        return self._filter("not_between", low, high)

    def _filter(self, op: str, *values: Value) -> Filter:
        kind = kind_of(self.column_id)
        typed = [_typed(value, kind) for value in values]
        types = {filter_type for filter_type, _ in typed} or {_TEXT_AS.get(kind, "text")}
        if APPLIED[kind] and (len(types) > 1 or not types <= APPLIED[kind].keys()):
            takes = " or ".join(name for name in APPLIED[kind] if name != "categorical") or "call id"
            raise TypeError(
                f"column {self.column_id!r} takes {takes} values, not {brief(values)}: {UNFILTERED}, or 500"
            )
        sent = [value for _, value in typed]
        has_commas = op in LISTS.get(kind, ()) and "," in str(sent[0])
        is_list = op in MEMBERSHIP | RANGES or has_commas
        return Filter(self.column_id, types.pop(), op, sent if is_list else sent[0])


# The filter_type of text, where it is another one than "text".
_TEXT_AS: Final = {"creation": "datetime", "call": "categorical"}


def _typed(value: Value, kind: str) -> tuple[str, Any]:
    if isinstance(value, bool):
        return "boolean", str(value).lower()
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, datetime):
        return "datetime", _utc_text(value)
    if isinstance(value, str | UUID):
        return _TEXT_AS.get(kind, "text"), plain(value)
    return type(value).__name__, value


def _utc_text(moment: datetime) -> str:
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone: the server would take it for UTC; give it a tzinfo")
    try:
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except OverflowError:
        raise ValueError(f"{moment!r} lies outside of the years 1 to 9999 in UTC") from None


def _listed(values: Iterable[str | UUID]) -> tuple[str | UUID, ...]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TypeError(f"is_in and not_in take a list of values, not {brief(values)}")
    return tuple(values)


def column(column_id: str | UUID) -> ColumnFilter:
    """Name a column to filter the calls of a test execution by: `column("overall_score").between(5, 9)`.

    Text: `status`, `scenario`, `call_type`, `simulation_call_type`, `agent_definition`, `persona.<field>`.
    Numbers: `overall_score`, `duration` and `response_time` (seconds), `latency` (ms), `cost` (cents).
    Datetimes: `created_at` or `timestamp`, which both filter by the call's creation. Only `is_in`:
    `call_execution_id`. Numbers, text or bools: the UUID of an evaluation (its scores from 0 to 100), and
    columns of the scenario's dataset, by name or as `scenario_<id>_dataset_<column id>`.

    Any other name is taken for a dataset column. **The server silently ignores a filter on a name it does not
    know**, which cannot be seen here. It answers 500 where a number meets a dataset column of other text. In
    `contains` on dataset and persona columns, it takes `%` and `_` for wildcards.
    """
    return ColumnFilter(column_id)
