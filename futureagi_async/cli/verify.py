"""The command `verify`: whether an export is as it was written."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from futureagi_async.cli.formatting import clean, format_count, one_line
from futureagi_async.cli.running import ExitCode
from futureagi_async.cli.streams import open_stdout, print_text, write_json
from futureagi_async.export import VerifyReport, verify_export

VERIFY_EPILOGUE = """\
Exit codes: 0 everything is as it was written; 3 it is, but the export was
  incomplete when it was written; 1 something is wrong, or can't be read.
"""


def verify(
    directory: Annotated[Path, Parameter(metavar="DIR", help="The directory of an export.")],
    /,
    *,
    json: Annotated[bool, Parameter(help="Print the findings as one JSON object.")] = False,
) -> int:
    """Check an export's directory: sums, sizes, ids, parts, and the manifest itself."""
    report = verify_export(directory)
    if json:
        write_json(_findings_json(report))
    else:
        _print_findings(report, open_stdout())
    if not report.ok:
        return ExitCode.FAILED
    return ExitCode.INCOMPLETE if report.complete is False else ExitCode.DONE


def _print_findings(report: VerifyReport, console: Console) -> None:
    where = clean(str(report.directory))
    for problem in report.problems:
        print_text(console, Text(one_line(problem), style="red"))
    if report.problems:
        print_text(
            console,
            Text(f"{where}: {format_count(len(report.problems), 'problem')} found.", style="bold red"),
        )
        return
    held = f"{format_count(report.records or 0, 'record')} in {format_count(report.files, 'file')}"
    print_text(console, Text(f"{where}: {held}, everything as it was written.", style="bold green"))
    if report.complete is False:
        print_text(
            console, Text("The export was incomplete when it was written: see its manifest.", style="yellow")
        )


def _findings_json(report: VerifyReport) -> bytes:
    return msgspec.json.encode(
        {
            "directory": str(report.directory),
            "ok": report.ok,
            "complete": report.complete,
            "records": report.records,
            "files": report.files,
            "problems": report.problems,
        }
    )
