"""The command `verify`: checks that an export is unchanged."""

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

verify compares a directory with its manifest: checksums, sizes, ids, part files
  and the manifest itself. A single file has no manifest: verify reads it to its
  end and checks that no list has a call twice.

Exit codes: 0 the files are unchanged; 3 they are unchanged, but the export was
  incomplete when it was written; 1 a problem was found, or the files can't be
  read; 2 wrong arguments.
"""


def verify(
    path: Annotated[
        str,
        Parameter(metavar="PATH", help="The directory, the file or the bucket address of an export."),
    ],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print the result as one JSON object.")] = False,
) -> int:
    """Check that the files of an export are unchanged."""
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
        print_text(console, Text(f"{where}: {records}, all readable.", style="bold green"))
        print_text(console, Text(report.unchecked, style="dim"))
    else:
        held = f"{records} in {format_count(report.files, 'file')}"
        print_text(console, Text(f"{where}: {held}, all unchanged.", style="bold green"))
    if report.complete is False:
        how = (
            "Run the same export again to read what is missing."
            if report.unchecked
            else "The manifest says why."
        )
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
