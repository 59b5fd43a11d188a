"""Small values that calls, pages and reports are made of."""

from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias, TypeVar

import attrs

from futureagi_async.models.lazy import LazyFields
from futureagi_async.models.plain import Plain

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
"""Any JSON value, as the standard library would decode it."""

V = TypeVar("V")


class ReadOnlyDict(dict[str, V]):
    """A dict that refuses to be changed; it prints, compares, pickles and serialises like a dict."""

    __slots__ = ()

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("This mapping is read-only; copy it with dict(...) to change it.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = _refuse
    setdefault = update = _refuse  # pyright: ignore[reportAssignmentType] - it refuses every overload

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (dict(self),)


EMPTY: Mapping[str, Any] = ReadOnlyDict()


@attrs.define(weakref_slot=False)
class TranscriptTurn(LazyFields, Plain):
    """One turn of a conversation."""

    lazy_fields = frozenset(("extra",))

    role: str | None
    """Documented: user, assistant, system, tool_calls or tool_call_result; text agents also send tool."""
    content: str | None
    """The text said; a text agent's ``messages`` joined by newlines. Empty where there is none, ``None``
    for a misfit (`CallExecution.misfits`) alone."""
    start_seconds: float | None = None
    """Seconds from the start of the call (of its recording, where there is one); ``None`` for text."""
    end_seconds: float | None = None
    """``None`` where unknown."""
    extra: Mapping[str, JsonValue] = EMPTY
    """Every other key the server sent."""


@attrs.define(weakref_slot=False)
class Scenario(Plain):
    """The scenario a call was simulated from; a listing may deliver only one of the two."""

    id: str | None = None
    name: str | None = None


@attrs.define(weakref_slot=False)
class EvalOutput(Plain):
    """The result of one evaluation of one call, whichever spelling the endpoint uses."""

    id: str
    """The evaluation's id (the key of ``eval_outputs``; documented answers use its name)."""
    name: str | None = None
    value: JsonValue = None
    """As sent: a number, text, bool, list of choices or object. Its scale is the evaluation's own."""
    type: str | None = None
    """``score``, ``Pass/Fail``, ``choices``, ...; ``None`` for skipped and pending ones."""
    reason: str | None = None
    status: str | None = None
    """As sent; the served API mixes cases (``Completed``, ``completed``, ``skipped``, ``error``)."""
    error: bool | str | None = False
    """Whether it failed; the failure's text where the endpoint sends it. ``None`` for a misfit alone,
    like ``skipped``."""
    skipped: bool | None = False
    pending: bool = False
    """Not evaluated yet."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The chosen words of a ``choices`` evaluation, however the endpoint wraps them."""
        chosen: object = self.value
        if isinstance(chosen, dict):
            chosen = chosen.get("choices", chosen.get("choice"))
        if isinstance(chosen, str):
            return (chosen,)
        return tuple(word for word in chosen if isinstance(word, str)) if isinstance(chosen, list) else ()


@attrs.define(frozen=True)
class Column(Plain):
    """One column of a test execution's grid (``column_order``)."""

    id: str
    """Usually a name such as ``timestamp`` or ``Ideal Outcome``; a UUID for evaluations."""
    column_name: str | None = None
    visible: bool | None = None
    data_type: str | None = None
    type: str | None = None
    """``scenario_dataset_column``, ``evaluation``, ``tool_evaluation``; ``None`` for built-in columns."""
    scenario_id: str | None = None
    dataset_id: str | None = None
    eval_config: Mapping[str, JsonValue] | None = None
    extra: Mapping[str, JsonValue] = EMPTY
