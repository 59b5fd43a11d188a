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
    """Documented: user, assistant, system, tool_calls or tool_call_result. Text agents also send tool."""
    content: str | None
    """The spoken or written text. For a text agent, its ``messages`` joined by newlines. Empty if there is no
    text; ``None`` only for a misfit (`CallExecution.misfits`)."""
    start_seconds: float | None = None
    """Seconds from the start of the call (of the recording, if there is one); ``None`` for text."""
    end_seconds: float | None = None
    """Seconds, like ``start_seconds``; ``None`` if unknown."""
    extra: Mapping[str, JsonValue] = EMPTY
    """All other keys that the server sent."""


@attrs.define(weakref_slot=False)
class Scenario(Plain):
    """The scenario that a call was simulated from. Some endpoints send only the id or only the name."""

    id: str | None = None
    name: str | None = None


@attrs.define(weakref_slot=False)
class EvalOutput(Plain):
    """The result of one evaluation of one call, with the same fields for all endpoints."""

    id: str
    """The evaluation's id: the key of ``eval_outputs``. (In the documents' examples it is a name.)"""
    name: str | None = None
    value: JsonValue = None
    """As sent: a number, text, bool, list of choices or object. Each evaluation has its own scale."""
    type: str | None = None
    """``score``, ``Pass/Fail``, ``choices`` and others; ``None`` for skipped and pending evaluations."""
    reason: str | None = None
    status: str | None = None
    """As sent. The served API mixes upper and lower case: ``Completed``, ``completed``, ``skipped``."""
    error: bool | str | None = False
    """Whether the evaluation failed, or the error text if the endpoint sends it. ``None`` only for a
    misfit; so is ``skipped``."""
    skipped: bool | None = False
    pending: bool = False
    """Whether the evaluation is not done yet."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The chosen options of a ``choices`` evaluation, in one shape for all endpoints."""
        chosen: object = self.value
        if isinstance(chosen, dict):
            chosen = chosen.get("choices", chosen.get("choice"))
        if isinstance(chosen, str):
            return (chosen,)
        return tuple(word for word in chosen if isinstance(word, str)) if isinstance(chosen, list) else ()


@attrs.define(frozen=True)
class Column(Plain):
    """One column in the table of a test execution (``column_order``)."""

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
