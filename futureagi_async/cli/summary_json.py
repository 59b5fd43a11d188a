"""What commands say to programs: one JSON object on one line."""

from collections.abc import Mapping

import msgspec

from futureagi_async import AgentVersionCalls, CallSource, FutureAGIError, RunTestCalls, SourceReport
from futureagi_async.export import ExportReport


def summary_json(report: ExportReport) -> bytes:
    """Return a finished export."""
    return msgspec.json.encode(
        {
            "path": str(report.path),
            "format": report.format,
            "records": report.records,
            "bytes": report.bytes,
            "complete": report.complete,
            "already_finished": report.already_finished,
            "resumed": report.resumed,
            "files": [str(path) for path in report.files],
            "manifest": None if report.manifest is None else str(report.manifest),
            "sources": [_source_json(source) for source in report.fetch],
            "transcripts": {
                "fetched": report.transcripts_fetched,
                "gone": report.transcripts_gone,
                "failures": [failure_json(failure) for failure in report.transcript_failures],
            },
            "recordings": {
                "downloaded": sum(file.error is None for file in report.recordings),
                "bytes": sum(file.bytes for file in report.recordings),
                "failures": [
                    {"call_id": file.call_id, "name": file.name, "host": file.url_host, "message": file.error}
                    for file in report.recordings
                    if file.error is not None
                ],
            },
        }
    )


def identity_json(source: CallSource) -> Mapping[str, object]:
    """Return what names a source."""
    if isinstance(source, RunTestCalls):
        named: Mapping[str, object] = {
            "kind": "run_test",
            "run_test_id": source.run_test_id,
            "status": source.status,
            "search": source.search,
        }
        return named
    if isinstance(source, AgentVersionCalls):
        return {"kind": "agent_version", "agent_id": source.agent_id, "version_id": source.version_id}
    return {
        "kind": "test_execution",
        "test_execution_id": source.test_execution_id,
        "search": source.search,
        "filters": [item.to_dict() for item in source.filters],
    }


def failure_json(failure: FutureAGIError) -> Mapping[str, str]:
    """Return an error."""
    return {"error": type(failure).__name__, "message": str(failure)}


def _source_json(source: SourceReport) -> Mapping[str, object]:
    return {
        **identity_json(source.source),
        "expected": source.expected,
        "received": source.received,
        "duplicates": source.duplicates,
        "requests": source.requests,
        "retries": source.retries,
        "verdict": source.verdict,
        "complete_as_of": source.complete_as_of,
        "reason": source.reason,
        "failures": [failure_json(failure) for failure in source.failures],
    }
