"""Files for spreadsheets: RFC 4180, sent while they are made, and harmless when they are opened.

A spreadsheet takes a cell that begins with one of a few signs for a formula, and one that was set
to another separator finds cells within ours. An apostrophe before such a sign makes it text. So it
does with digits that a spreadsheet would change: of a long number, such as Cliniko's ids are, it
keeps fifteen, and takes the zeros in front of a phone number away.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, tzinfo

from flask import Response

from webapp.clock import now

_BYTE_ORDER_MARK = "\ufeff"  # or Excel takes UTF-8 for something else
_AT_ONCE = 64 * 1024  # characters

# Where a cell begins, for whoever separates by other signs than we do, up to what would act. An
# apostrophe there is doubled, so that whoever takes one away has what was stored.
_SIGNS = "=+\\-@\t\r\0\uff1d\uff0b\uff0d\uff20"
_ACTS = re.compile(rf"(^|[;,|\t\r\n])([ \"]*)(?='*[{_SIGNS}])")
_CUT = re.compile(r"^(?='*(?:0\d+|\d{16,})\Z)", re.ASCII)


def harmless(text: str) -> str:
    """The text of a cell as it goes into the file."""
    return _CUT.sub("'", _ACTS.sub(r"\1\2'", text))


def attachment(
    name: str, heads: Sequence[str], rows: Iterable[Sequence[str]], zone: tzinfo = UTC
) -> Response:
    """A file to keep, called by this name and today's date by this clock. The rows are asked for
    while it is sent, when the request has ended."""
    answer = Response(_encoded(heads, rows), content_type="text/csv; charset=utf-8")
    file = f"{name}-{now().astimezone(zone):%Y-%m-%d}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{file}"'
    return answer


def _encoded(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[bytes]:
    page = io.StringIO()
    page.write(_BYTE_ORDER_MARK)
    writer = csv.writer(page)  # of the dialect "excel", which is RFC 4180
    writer.writerow(heads)
    for row in rows:
        writer.writerow([harmless(cell) for cell in row])
        if page.tell() >= _AT_ONCE:
            yield page.getvalue().encode()
            page.seek(0)
            page.truncate()
    yield page.getvalue().encode()
