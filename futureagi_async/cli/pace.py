"""How much to ask for at once."""

from typing import Annotated

import attrs
from cyclopts import Parameter
from cyclopts.validators import Number

from futureagi_async.cli.connecting import CONNECTION

AT_LEAST_ONE = Number(gte=1)
_PAGE_SIZE = Number(gte=1, lte=1_000_000)


@Parameter(name="*", group=CONNECTION)
@attrs.define(frozen=True, kw_only=True)
class Pace:
    """Options on how much to ask for at once."""

    page_size: Annotated[
        int,
        Parameter(metavar="N", validator=_PAGE_SIZE, show_default=True, help="Calls a request."),
    ] = 100
    max_in_flight: Annotated[
        int,
        Parameter(metavar="N", validator=AT_LEAST_ONE, show_default=True, help="Requests at once."),
    ] = 16
    max_requests_per_minute: Annotated[
        int | None, Parameter(metavar="N", validator=AT_LEAST_ONE, help="Default: no limit.")
    ] = None
