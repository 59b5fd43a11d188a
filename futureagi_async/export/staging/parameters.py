"""What decides the content of an export: a run goes on from another only where all of it is equal."""

from collections.abc import Mapping
from typing import Any

import msgspec

from futureagi_async.sources import AgentVersionCalls, CallSource, RunTestCalls

_KINDS = {RunTestCalls: "run_test", AgentVersionCalls: "agent_version"}


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of an export, as its journal and its manifest hold them."""

    layout: str
    """``file`` or ``directory``."""
    format: str
    compression: str | None
    normalised: bool
    ordered: bool
    page_size: int
    part_rows: int | None
    include_provider_data: bool
    transcripts: bool
    recordings: bool
    since: str | None
    """The digest of the manifest that was the base."""
    sources: list[dict[str, Any]]

    @property
    def writes_as_staged(self) -> bool:
        """Whether a finished file holds just the lines that were staged, unless some of them came again."""
        return self.format == "jsonl" and not (self.normalised or self.compression or self.ordered)

    def differences(self, earlier: "Parameters") -> list[str]:
        """Say in words what differs from those of an earlier run."""
        words = {
            name: (getattr(earlier, name), getattr(self, name))
            for name in self.__struct_fields__
            if name != "sources"
        }
        found = [
            f"{name} was {before!r} and is now {now!r}"
            for name, (before, now) in words.items()
            if before != now
        ]
        if self.sources != earlier.sources:
            found.append(_sources_difference(earlier.sources, self.sources))
        return found


def identify(source: CallSource) -> dict[str, Any]:
    """Return what names a source, in words for a file."""
    if isinstance(source, RunTestCalls):
        named = {"run_test_id": source.run_test_id, "search": source.search, "status": source.status}
    elif isinstance(source, AgentVersionCalls):
        named = {"agent_id": source.agent_id, "version_id": source.version_id}
    else:
        named = {"test_execution_id": source.test_execution_id, "search": source.search}
    described: dict[str, Any] = {"kind": _KINDS.get(type(source), "test_execution"), **named}
    if described["kind"] == "test_execution":
        described["filters"] = [item.to_dict() for item in getattr(source, "filters", ())]
    return described


def fingerprint(identity: Mapping[str, Any]) -> bytes:
    """Return bytes that are equal for equal identities, whatever the order of their keys."""
    return msgspec.json.encode(identity, order="deterministic")


def _sources_difference(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> str:
    earlier, later = set(map(fingerprint, before)), set(map(fingerprint, now))
    if earlier == later:
        return "the sources are the same in another order"
    return f"{len(earlier - later)} of its sources are missing and {len(later - earlier)} are new"
