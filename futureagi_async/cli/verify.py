"""The command `verify`: whether an export is as it was written."""

from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

import futureagi_async as sdk
from futureagi_async.cli.formatting import clean, format_count, one_line, shown_path, to_json
from futureagi_async.cli.messages import usage_errors
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import open_stdout, print_text, write_json

VERIFY_EPILOGUE = """\
Examples:
  futureagi-async verify 2026-01-31
  futureagi-async verify calls.jsonl

A directory is compared with its manifest: sums, sizes, ids, parts, and the
  manifest itself. A single file has no manifest: it is read to its end, and a
  call that one list has twice is a problem.

Exit codes: 0 the files are as they were written; 3 they are, but the export was
  incomplete when it was written; 1 something is wrong, or can't be read.
"""


def verify(
    path: Annotated[
        str,
        Parameter(metavar="PATH", help="The directory, the address in a bucket, or the file of an export."),
    ],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print the findings as one JSON object.")] = False,
) -> int:
    """Check whether the files of an export are as they were written."""
    with usage_errors():
        report = sdk.verify_export(path)
    if json:
        write_json(_findings_json(report))
    else:
        _print_findings(report, open_stdout())
    if not report.ok:
        return ExitCode.FAILED
    return ExitCode.INCOMPLETE if report.complete is False else ExitCode.DONE


def _print_findings(report: "sdk.VerifyReport", console: Console) -> None:
    where = clean(str(report.directory))
    for problem in report.problems:
        print_text(console, Text(one_line(problem), style="red"))
    if report.problems:
        count = format_count(len(report.problems), "problem")
        print_text(console, Text(f"{where}: {count} found.", style="bold red"))
        return
    records = format_count(report.records or 0, "record")
    if report.unchecked:
        print_text(console, Text(f"{where}: {records}, all of which can be read.", style="bold green"))
        print_text(console, Text(report.unchecked, style="dim"))
    else:
        held = f"{records} in {format_count(report.files, 'file')}"
        print_text(console, Text(f"{where}: {held}, everything as it was written.", style="bold green"))
    if report.complete is False:
        how = "The same export again tries what is missing." if report.unchecked else "Its manifest says why."
        print_text(console, Text(f"The export was incomplete when it was written. {how}", style="yellow"))


def _findings_json(report: "sdk.VerifyReport") -> bytes:
    return to_json(
        {
            "directory": shown_path(report.directory),
            "ok": report.ok,
            "complete": report.complete,
            "records": report.records,
            "files": report.files,
            "problems": [one_line(problem) for problem in report.problems],
            "unchecked": report.unchecked,
        }
    )
