"""Filters of a test execution's calls: `column(...)`, and the rules by which the server applies them."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import attrs

_EQUALITY: Final = frozenset({"equals", "not_equals"})
MEMBERSHIP: Final = frozenset({"in", "not_in"})
_CONTAINING: Final = frozenset({"contains", "not_contains"})
_COMPARING: Final = frozenset({"greater_than", "greater_than_or_equal", "less_than", "less_than_or_equal"})
RANGES: Final = frozenset({"between", "not_between"})
_TEXT: Final = _EQUALITY | MEMBERSHIP | _CONTAINING
_NUMBER: Final = _EQUALITY | _COMPARING | RANGES

# The operators that the server applies: kind of column -> filter_type -> operators.
APPLIED: Final[Mapping[str, Mapping[str, Set[str]]]] = {
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

# Operators on text that also take a list ("any of these"). There the server splits a bare text at its commas.
LISTS: Final = {"text": _EQUALITY, "dataset": _EQUALITY, "persona": _EQUALITY | _CONTAINING}
_TEXT_TYPES: Final = frozenset({"text", "categorical"})

_BOTH_SIDES: Final = "read two sources, one filtered with less_than and one with greater_than"
_INSTEAD: Final = {
    "list": "the documents' 'list' is spelled 'categorical' (ids) or 'text', with filter_op 'in'",
    "not_in_between": "the documents' 'not_in_between' is spelled 'not_between'",
    "display": "filter the calls after reading them; a dataset column of this name has a UUID to filter by",
    "call": "use is_in([...]), on the wire filter_type 'categorical' with filter_op 'in'",
    "scenario in": "read one source for each scenario, filtered with equals",
    "scenario not_in": "combine one not_equals filter for each scenario: all must hold",
    "creation not_equals": "use not_between with the first and the last moment of the day",
    "response between": "combine two filters, greater_than_or_equal and less_than_or_equal: both must hold",
    "response not_between": _BOTH_SIDES,
    "response not_equals": _BOTH_SIDES,
    "evaluation in": "read one source for each value, with equals; give a dataset column by its name",
    "evaluation not_in": "combine one not_equals for each value; give a dataset column by its name",
    "evaluation not_equals": "for numbers use not_between(x, x), for a bool equals(not x)",
}

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d[0-9:.+Z-]*)?", re.ASCII)
_UNSENDABLE: Final = re.compile("[\0\ud800-\udfff]")  # NUL and lone surrogates: the server answers 400 or 500


def brief(value: object) -> str:
    """Give the repr of a value, cut to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def canonical_uuid(value: object) -> str | None:
    """Give a UUID, or its 8-4-4-4-12 text in any case, as lower-case text; None for anything else."""
    if isinstance(value, UUID):
        return str(value)
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else None


def is_sendable(value: object) -> bool:
    """Tell whether a value is text that the server can look for: without NUL and lone surrogates."""
    return isinstance(value, str) and not _UNSENDABLE.search(value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    return math.isfinite(float(value))


def _is_flag(value: str) -> bool:
    return value.lower() in {"true", "false"}


# What a value must be, by filter_type (two kinds of column are stricter), and what would happen otherwise.
UNFILTERED: Final = "the server would answer with unfiltered rows"
_SENDABLE: Final = (is_sendable, "text without NUL; the server would answer 500, or match something else")
_VALUES: Final[Mapping[str, tuple[Callable[[Any], object], str]]] = {
    "text": _SENDABLE,
    "categorical": _SENDABLE,
    "call categorical": (canonical_uuid, f"ids of calls (UUIDs); {UNFILTERED}"),
    "number": (_is_number, f"a finite number; {UNFILTERED}, or 400"),
    "datetime": (
        lambda value: _MOMENT.fullmatch(value) and datetime.fromisoformat(value),
        f"an aware datetime or ISO 8601 text such as '2026-01-05T12:00:00Z'; {UNFILTERED}",
    ),
    "boolean": (lambda value: _is_flag(str(value)), "'true' or 'false'; anything else means false"),
    "evaluation boolean": (_is_flag, f"the text 'true' or 'false'; {UNFILTERED}"),
}


def kind_of(column_id: str) -> str:
    """Give the kind of a column, by which `APPLIED` says what works on it."""
    if column_id.startswith("persona."):
        return "persona"
    return _KINDS.get(column_id) or ("evaluation" if canonical_uuid(column_id) else "dataset")


def plain(value: str | UUID) -> str:
    """Give text as an exact str."""
    return str(value) if isinstance(value, UUID) else str.__str__(value)  # a StrEnum becomes its text


def check_column_id(value: str | UUID) -> str:
    """Give a column id as text, or raise."""
    if not isinstance(value, str | UUID):
        raise TypeError(f"a column id is a str or UUID, not {brief(value)}")
    if not value or not is_sendable(plain(value)):
        raise ValueError(f"a column id is text without NUL, not {brief(value)}; {UNFILTERED}, or 500")
    return canonical_uuid(value) or plain(value)


def _hashable(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value


@attrs.frozen
class Filter:
    """One condition on the calls of a test execution, in the server's words; `column(...)` makes it.

    Raises `ValueError` where the server would not apply it. The last four fields mean nothing to the server;
    they are kept for those who share filters with the web interface.
    """

    column_id: str = attrs.field(converter=check_column_id)
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

    def __str__(self) -> str:
        return f"{self.column_id} {self.filter_op} {brief(self.filter_value)}"

    def to_dict(self) -> dict[str, object]:
        """Give the item for the `filters` parameter of `GET /simulate/test-executions/{id}/`."""
        value = list(self.filter_value) if isinstance(self.filter_value, tuple) else self.filter_value
        config = {"filter_type": self.filter_type, "filter_op": self.filter_op, "filter_value": value}
        if self.col_type is not None:
            config["col_type"] = self.col_type
        labels = {"display_name": self.display_name, "source": self.source, "output_type": self.output_type}
        given = {name: label for name, label in labels.items() if label is not None}
        return {"column_id": self.column_id, **given, "filter_config": config}


def _rule_fault(item: Filter) -> str | None:
    kind, op = kind_of(item.column_id), item.filter_op
    if op in APPLIED[kind].get(item.filter_type, ()):
        return None
    hints = (_INSTEAD.get(key) for key in (op, item.filter_type, f"{kind} {op}", kind))
    works = "; ".join(f"{name} {', '.join(sorted(ops))}" for name, ops in APPLIED[kind].items())
    return f"is not applied, {UNFILTERED} or 400: {next(filter(None, hints), f'what works is {works}')}"


def _value_fault(item: Filter) -> str | None:
    kind, op, value = kind_of(item.column_id), item.filter_op, item.filter_value
    is_list, values = (True, value) if isinstance(value, tuple) else (False, (value,))
    if op in RANGES and (not is_list or len(values) != 2):
        return "needs two values, low and high; the server would answer 400"
    if (op in MEMBERSHIP and not is_list) or not values:
        return "needs a list with at least one value; the server would answer 400"
    takes_list = op in MEMBERSHIP | RANGES or (op in LISTS.get(kind, ()) and item.filter_type in _TEXT_TYPES)
    if is_list and not takes_list:
        return f"needs one value, not {brief(value)}; {UNFILTERED}, or match something else"
    if op in _CONTAINING and "" in values:
        return "needs a text to look for: every row contains the empty one"
    is_right, needed = _VALUES.get(f"{kind} {item.filter_type}") or _VALUES[item.filter_type]
    wrong = [each for each in values if not _holds(is_right, each)]
    return f"needs {needed} (got {brief(wrong[0])})" if wrong else None


def _holds(is_right: Callable[[Any], object], value: object) -> bool:
    try:
        return bool(is_right(value))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return False  # a value of a type that the check cannot even look at


FilterLike: TypeAlias = Filter | Mapping[str, object]
_TEXT_FIELDS: Final = {"filter_type", "filter_op", "display_name", "source", "output_type", "col_type"}


def check_filter(item: FilterLike) -> Filter:
    """Turn a raw item, `{"column_id": ..., "filter_config": {...}}` as documented, into a `Filter`.

    Raises `ValueError`, naming the item, for what the server rejects or accepts without applying it. Whether
    an unknown `column_id` names a dataset column cannot be seen here; if not, the server ignores it silently.
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
