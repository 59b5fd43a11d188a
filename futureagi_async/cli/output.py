"""What an export writes, and where."""

from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter

from futureagi_async.cli.pace import AT_LEAST_ONE

OUTPUT = Group("Output", sort_key=2)


@Parameter(name="*", group=OUTPUT)
@attrs.define(frozen=True, kw_only=True)
class Output:
    """Options on what is written where."""

    output: Annotated[
        Path,
        Parameter(
            name=("--output", "-o"),
            metavar="PATH",
            help="A file ending in .jsonl, .csv (also with .gz or .zst behind it) or .parquet; anything "
            "else is a directory of parts with a manifest.",
        ),
    ]
    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        Parameter(help="Default: what the file's ending says, jsonl for a directory."),
    ] = None
    transcripts: Annotated[
        bool,
        Parameter(help="Also fetch transcripts that a list withholds: a request for each such call."),
    ] = False
    recordings: Annotated[
        Path | None, Parameter(metavar="DIR", help="Download the calls' audio into this directory.")
    ] = None
    allow_private_hosts: Annotated[
        bool, Parameter(help="Let --recordings connect to private and loopback addresses.")
    ] = False
    since_manifest: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Only what changed since the export with this manifest.json."),
    ] = None
    restart: Annotated[
        bool,
        Parameter(
            help="Begin anew instead of going on with an unfinished export, or replace a finished one."
        ),
    ] = False
    ordered: Annotated[
        bool, Parameter(help="By list, newest first: the same bytes whatever arrives first.")
    ] = False
    normalised: Annotated[
        bool, Parameter(help="JSON Lines in documented names and units, not as the server sent them.")
    ] = False
    part_rows: Annotated[
        int,
        Parameter(
            metavar="N", validator=AT_LEAST_ONE, show_default=True, help="Calls a part of a directory."
        ),
    ] = 50_000
    include_provider_data: Annotated[
        bool,
        Parameter(
            help="Keep call_metadata and provider_call_data of agent versions' calls, which may hold "
            "other parties' keys."
        ),
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Print only errors, and why a list is incomplete.")
    ] = False
    json: Annotated[bool, Parameter(help="Print a summary on stdout as one JSON object.")] = False
