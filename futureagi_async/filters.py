"""Filters for the calls of a test execution: `column(...)`, and the rules of the server for them."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

from futureagi_async.options import brief, canonical_uuid, is_sendable
from futureagi_async.words import CallStatus, warn_if_unknown

_EQUALITY: Final = frozenset({"equals", "not_equals"})
_MEMBERSHIP: Final = frozenset({"in", "not_in"})
_CONTAINING: Final = frozenset({"contains", "not_contains"})
_COMPARING: Final = frozenset({"greater_than", "greater_than_or_equal", "less_than", "less_than_or_equal"})
_RANGES: Final = frozenset({"between", "not_between"})
_TEXT: Final = _EQUALITY | _MEMBERSHIP | _CONTAINING
_NUMBER: Final = _EQUALITY | _COMPARING | _RANGES

# The operators that the server applies: kind of column -> filter_type -> operators.
_APPLIED: Final[Mapping[str, Mapping[str, Set[str]]]] = {
    "text": {"text": _TEXT, "categorical": _TEXT},
    "scenario": {"text": _EQUALITY | _CONTAINING, "categorical": _EQUALITY | _CONTAINING},
    "creation": {"datetime": _NUMBER - {"not_equals"}},
    "number": {"number": _NUMBER},
    "response": {"number": _COMPARING | {"equals"}},
    "call": {"categorical": {"in"}},
    "persona": {"text": _TEXT, "categorical": _TEXT, "boolean": _EQUALITY},
    "dataset": {"text": _TEXT, "categorical": _TEXT, "number": _NUMBER, "boolean": _EQUALITY},
    "evaluation": {
        "number": _NUMBER - {"not_equals"},
        "text": _EQUALITY | {"contains"},
        "boolean": {"equals"},
    },
    "display": {},
}
_COLUMNS: Final = {
    "text": "status call_type callType simulation_call_type agent_definition",
    "scenario": "scenario",
    "creation": "timestamp created_at",
    "number": "overall_score overallScore duration duration_seconds latency latency_ms avg_agent_latency_ms "
    "cost cost_cents customer_cost_cents",
    "response": "response_time responseTime",
    "call": "call_execution_id",
    "persona": "persona",
    "display": "call_details service_provider_call_id turn_count agent_talk_percentage avg_latency_ms "
    "total_tokens input_tokens output_tokens ai_interruption_count user_interruption_count",
}
_KINDS: Final = {column: kind for kind, columns in _COLUMNS.items() for column in columns.split()}

BUILT_IN_COLUMNS: Final = frozenset(column for column, kind in _KINDS.items() if kind != "display")
"""Columns that every test execution can be filtered by."""
EVALUATION_PREFIX: Final = "eval:"
"""Prefix for the name of an evaluation in place of its id."""

# Operators on text that also take a list ("any of these"). There the server splits a bare text at its commas.
_LISTS: Final = {"text": _EQUALITY, "dataset": _EQUALITY, "persona": _EQUALITY | _CONTAINING}
_TEXT_TYPES: Final = frozenset({"text", "categorical"})

_BOTH_SIDES: Final = "read two sources, one filtered with less_than and one with greater_than"
_INSTEAD: Final = {
    "list": "write 'categorical' (ids) or 'text' with filter_op 'in'; the documents' 'list' does not work",
    "not_in_between": "write 'not_between'; the documents' 'not_in_between' does not work",
    "display": "filter the calls after reading them; for a dataset column of this name use its UUID",
    "call": "use is_in([...]), which sends filter_type 'categorical' with filter_op 'in'",
    "scenario in": "read one source for each scenario, filtered with equals",
    "scenario not_in": "combine one not_equals filter for each scenario; a call must pass all of them",
    "creation not_equals": "use not_between with the first and the last moment of the day",
    "response between": "combine two filters, greater_than_or_equal and less_than_or_equal",
    "response not_between": _BOTH_SIDES,
    "response not_equals": _BOTH_SIDES,
    "evaluation in": "read one source for each value, with equals; name a dataset column by its name",
    "evaluation not_in": "combine one not_equals for each value; name a dataset column by its name",
    "evaluation not_equals": "for numbers use not_between(x, x), for a bool equals(not x)",
}

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d[0-9:.+Z-]*)?", re.ASCII)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return math.isfinite(float(value))


def _is_flag(value: str) -> bool:
    return value.lower() in {"true", "false"}


# What a value must be, by filter_type (two kinds of column are stricter), and what would happen otherwise.
_UNFILTERED: Final = "the server would send unfiltered rows"
_SENDABLE: Final = (is_sendable, "text without NUL; the server would answer 500, or match something else")
_VALUES: Final[Mapping[str, tuple[Callable[[Any], object], str]]] = {
    "text": _SENDABLE,
    "categorical": _SENDABLE,
    "call categorical": (canonical_uuid, f"ids of calls (UUIDs); {_UNFILTERED}"),
    "number": (_is_number, f"a finite number; {_UNFILTERED}, or 400"),
    "datetime": (
        lambda value: _MOMENT.fullmatch(value) and datetime.fromisoformat(value),
        f"an aware datetime or ISO 8601 text such as '2026-01-05T12:00:00Z'; {_UNFILTERED}",
    ),
    "boolean": (lambda value: _is_flag(str(value)), "'true' or 'false'; anything else means false"),
    "evaluation boolean": (_is_flag, f"the text 'true' or 'false'; {_UNFILTERED}"),
}


def _kind_of(column_id: str) -> str:
    """Return the kind of a column; `_APPLIED` has the operators of each kind."""
    if column_id in _KINDS:
        return _KINDS[column_id]
    if column_id.startswith("persona."):
        return "persona"
    is_evaluation = canonical_uuid(column_id) or column_id.startswith(EVALUATION_PREFIX)
    return "evaluation" if is_evaluation else "dataset"


def _plain(value: str | UUID) -> str:
    return str(value) if isinstance(value, UUID) else str.__str__(value)  # a StrEnum becomes its text


def _check_column_id(value: str | UUID) -> str:
    if not isinstance(value, str | UUID):
        raise TypeError(f"a column id is a str or UUID, not {brief(value)}")
    if not value or not is_sendable(_plain(value)):
        raise ValueError(f"a column id is text without NUL, not {brief(value)}; {_UNFILTERED}, or 500")
    if value == EVALUATION_PREFIX:
        raise ValueError(f"{EVALUATION_PREFIX!r} needs the name of an evaluation after it")
    return canonical_uuid(value) or _plain(value)


def _hashable(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


@attrs.frozen
class Filter:
    """One condition on the calls of a test execution, in the server's terms. Make it with `column(...)`.

    Raises `ValueError` if the server would not apply it. Warns about a status that is not documented. The
    server ignores the last four fields; they are kept for people who share filters with the web interface.
    """

    column_id: str = attrs.field(converter=_check_column_id)
    filter_type: str
    filter_op: str
    filter_value: str | int | float | tuple[str | int | float, ...] = attrs.field(converter=_hashable)
    display_name: str | None = attrs.field(default=None, kw_only=True)
    source: str | None = attrs.field(default=None, kw_only=True)
    output_type: str | None = attrs.field(default=None, kw_only=True)
    col_type: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if fault := _rule_fault(self) or _value_fault(self):
            raise ValueError(f"{self.filter_type} {self.filter_op} on column {self.column_id!r} {fault}")
        if self.column_id == "status":
            _warn_of_unknown_statuses(self)

    @property
    def evaluation_name(self) -> str | None:
        """The evaluation's name if the column is ``eval:NAME``. A session looks up its id."""
        is_name = self.column_id.startswith(EVALUATION_PREFIX)
        return self.column_id.removeprefix(EVALUATION_PREFIX) if is_name else None

    def __str__(self) -> str:
        return f"{self.column_id} {self.filter_op} {brief(self.filter_value)}"

    def to_dict(self) -> dict[str, object]:
        """Return the item for the `filters` parameter of `GET /simulate/test-executions/{id}/`."""
        value = list(self.filter_value) if isinstance(self.filter_value, tuple) else self.filter_value
        config = {"filter_type": self.filter_type, "filter_op": self.filter_op, "filter_value": value}
        if self.col_type is not None:
            config["col_type"] = self.col_type
        labels = {"display_name": self.display_name, "source": self.source, "output_type": self.output_type}
        given = {name: label for name, label in labels.items() if label is not None}
        return {"column_id": self.column_id, **given, "filter_config": config}


def _rule_fault(item: Filter) -> str | None:
    kind, op = _kind_of(item.column_id), item.filter_op
    if op in _APPLIED[kind].get(item.filter_type, ()):
        return None
    hints = (_INSTEAD.get(key) for key in (op, item.filter_type, f"{kind} {op}", kind))
    works = "; ".join(f"{name} {', '.join(sorted(ops))}" for name, ops in _APPLIED[kind].items())
    return f"is not applied, {_UNFILTERED} or 400: {next(filter(None, hints), f'these work: {works}')}"


def _value_fault(item: Filter) -> str | None:
    kind, op, value = _kind_of(item.column_id), item.filter_op, item.filter_value
    is_list, values = (True, value) if isinstance(value, tuple) else (False, (value,))
    if op in _RANGES and (not is_list or len(values) != 2):
        return "needs two values, low and high; the server would answer 400"
    if (op in _MEMBERSHIP and not is_list) or not values:
        return "needs a list with at least one value; the server would answer 400"
    splits = op in _LISTS.get(kind, ()) and item.filter_type in _TEXT_TYPES
    takes_list = splits or op in _MEMBERSHIP | _RANGES
    if is_list and not takes_list:
        return f"needs one value, not {brief(value)}; {_UNFILTERED}, or match something else"
    if op in _CONTAINING and "" in values:
        return "needs a search text: every row contains the empty text"
    is_right, needed = _VALUES.get(f"{kind} {item.filter_type}") or _VALUES[item.filter_type]
    wrong = [each for each in values if not _holds(is_right, each)]
    return f"needs {needed} (got {brief(wrong[0])})" if wrong else None


def _holds(is_right: Callable[[Any], object], value: object) -> bool:
    try:
        return bool(is_right(value))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return False  # a value of a type that the check cannot even look at


def _warn_of_unknown_statuses(item: Filter) -> None:
    op, value = item.filter_op, item.filter_value
    words = value if isinstance(value, tuple) else (value,)
    if op in _EQUALITY and isinstance(value, str):
        words = tuple(word.strip() for word in value.split(","))
    effect = "it may exclude no call" if op.startswith("not_") else "it may find no call"
    matches_case = op in _MEMBERSHIP or len(words) > 1
    for word in map(str, words):
        is_part = op in _CONTAINING and any(word.casefold() in known for known in CallStatus)
        if not is_part:
            warn_if_unknown("status", word, CallStatus, matches_case=matches_case, effect=effect)


FilterLike: TypeAlias = Filter | Mapping[str, object]
_TEXT_FIELDS: Final = {"filter_type", "filter_op", "display_name", "source", "output_type", "col_type"}


def check_filter(item: FilterLike) -> Filter:
    """Return the `Filter` for a raw item of the API, `{"column_id": ..., "filter_config": {...}}`.

    Raises `ValueError`, which shows the item, if the server would reject or silently ignore it. Whether the
    test execution has the column is known only when it is read; see `FilterIgnoredError`.
    """
    if isinstance(item, Filter):
        return item
    try:
        fields = _fields(
            item, "item", {"column_id", "filter_config"}, {"display_name", "source", "output_type"}
        )
        config = fields.pop("filter_config")
        fields |= _fields(config, "config", {"filter_type", "filter_op"}, {"filter_value", "col_type"})
        return Filter(**{"filter_value": None, **fields})
    except (TypeError, ValueError) as error:
        raise ValueError(f"filter {brief(item)}: {error}") from error


def _fields(value: object, what: str, required: Set[str], optional: Set[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a filter {what} must be a mapping: the server would answer 400")
    if missing := required - value.keys():
        raise ValueError(
            f"missing filter {what} keys: {', '.join(sorted(missing))}; the server would answer 400"
        )
    if unknown := value.keys() - required - optional:
        raise ValueError(f"unknown filter {what} keys: {brief(unknown)}; the server would answer 400")
    texts = {name: value[name] for name in value if name in _TEXT_FIELDS and value[name] is not None}
    if wrong := [name for name, text in texts.items() if not is_sendable(text)]:
        raise TypeError(f"filter {what} needs text (str) without NUL for {', '.join(wrong)}")
    return dict(value)


Value: TypeAlias = str | int | float | datetime | UUID


@attrs.frozen
class ColumnFilter:
    """A column to filter by. Each method returns a `Filter`.

    Methods raise `TypeError` for values of a type that the column does not have, and `ValueError` for a
    filter that the server would not apply.
    """

    column_id: str = attrs.field(converter=_check_column_id)

    def equals(self, value: Value) -> Filter:
        """Keep calls with this value; for a datetime, calls of its whole day in UTC."""
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
        kind = _kind_of(self.column_id)
        typed = [_typed(value, kind) for value in values]
        types = {filter_type for filter_type, _ in typed} or {_TEXT_AS.get(kind, "text")}
        if _APPLIED[kind] and (len(types) > 1 or not types <= _APPLIED[kind].keys()):
            takes = " or ".join(name for name in _APPLIED[kind] if name != "categorical") or "call id"
            raise TypeError(
                f"column {self.column_id!r} takes {takes} values, not {brief(values)}: {_UNFILTERED}, or 500"
            )
        sent = [value for _, value in typed]
        has_commas = op in _LISTS.get(kind, ()) and "," in str(sent[0])
        is_list = op in _MEMBERSHIP | _RANGES or has_commas
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
        return _TEXT_AS.get(kind, "text"), _plain(value)
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
    """Return a column to filter the calls of a test execution: `column("overall_score").between(5, 9)`.

    * Text: `status`, `scenario`, `call_type`, `simulation_call_type`, `agent_definition`, `persona.<field>`.
    * Numbers: `overall_score`, `duration` and `response_time` (seconds), `latency` (ms), `cost` (cents).
    * Datetimes: `created_at` and `timestamp`. Both filter by the creation of the call.
    * Ids: `call_execution_id`, with `is_in` only.
    * Evaluations, by UUID or as `eval:NAME`: numbers (scores from 0 to 100), text or bools.
    * Columns of the scenario's dataset, by name, UUID or `scenario_<id>_dataset_<column id>`: numbers, text
      or bools.

    The served API silently ignores a filter on an unknown name, and sends every row. A session raises
    `FilterIgnoredError` instead, with the nearest name that the test execution has. It also raises it if
    no evaluation, or more than one, has the name. The server answers 500 to a number filter on a dataset
    column with other text. `contains` on dataset and persona columns treats `%` and `_` as wildcards.
    """
    return ColumnFilter(column_id)
