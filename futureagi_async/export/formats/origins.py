"""Where a call was read, as plain values for columns."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from futureagi_async.export.formats.schema import SOURCE
from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls

Origin: TypeAlias = tuple[int | str | None, ...]
"""The values of the columns `SOURCE`."""

_NOWHERE: Origin = (None,) * len(SOURCE)


class Origins:
    """Gives a source its place among those of an export, and the ids it is made of."""

    def __init__(self, sources: Iterable[CallSource]) -> None:
        self._sources = list(sources)
        self._known = {id(source): self._describe(source) for source in self._sources}

    def of(self, source: CallSource | None) -> Origin:
        """Return the values of the columns `SOURCE`."""
        return self._known.get(id(source)) or self._describe(source)

    def of_all(self, sources: Sequence[CallSource | None]) -> list[Origin]:
        """Return them for many; most often there is but one."""
        if sources.count(sources[0]) == len(sources):
            return [self.of(sources[0])] * len(sources)
        return list(map(self.of, sources))

    def named(self, source: CallSource | None) -> dict[str, int | str] | None:
        """Return the same under short names, without what is null; ``None`` for no source."""
        values = zip(SOURCE, self.of(source), strict=True)
        named = {name.removeprefix("source_"): value for name, value in values if value is not None}
        return named or None

    def _describe(self, source: CallSource | None) -> Origin:
        if source is None:
            return _NOWHERE
        index = self._sources.index(source) if source in self._sources else None
        if isinstance(source, RunTestCalls):
            return index, "run_test", source.run_test_id, None, None, None
        if isinstance(source, AgentVersionCalls):
            return index, "agent_version", None, source.agent_id, source.version_id, None
        return index, "test_execution", None, None, None, source.test_execution_id
