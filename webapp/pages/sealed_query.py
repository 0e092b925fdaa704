"""What a list was asked for, sealed into its address.

A search holds somebody's name, and addresses are kept by browsers and read by proxies; yet Back and
Reload go by the address. So it holds what was asked for as nobody but we can read it, and only in
the session that asked.
"""

from __future__ import annotations

import json
from typing import Any

from flask import request, url_for
from werkzeug.datastructures import MultiDict

from webapp.auth.sessions import current_session
from webapp.errors import SecretUnreadable
from webapp.pages.parameters import Source
from webapp.services.sealing import Purpose, seal, unseal

NAME = "asked"  # of the parameter
_LONGEST = 2000  # characters; web servers and proxies take addresses of 4,000


def address(endpoint: str, fields: Source, names: tuple[str, ...], **values: Any) -> str:
    """The address of a page that asks for the same again: these fields of a form, sealed. Without
    them where they are empty, or too long for an address."""
    asked, session = {name: fields[name] for name in names if fields.get(name)}, current_session()
    if asked and session is not None:
        sealed = seal(Purpose.QUERY, session.id, json.dumps(asked))
        if len(sealed) <= _LONGEST:
            values[NAME] = sealed
    return url_for(endpoint, **values)


def opened() -> Source:
    """The fields that the address of this request holds; none if it holds none, or those of another
    session, or of one that has ended: then the list begins anew."""
    session, sealed = current_session(), request.args.get(NAME)
    if not sealed or session is None:
        return MultiDict()
    try:
        return MultiDict(json.loads(unseal(Purpose.QUERY, session.id, sealed)))
    except SecretUnreadable:
        return MultiDict()
