"""What each path answers.

Facts: https://docs.api.cliniko.com and https://github.com/redguava/cliniko-api.
"""

from collections.abc import Callable
from typing import Any

from simulator.account import ClinikoAccount, Listing, NoSuchPatient
from simulator.door import Caller
from simulator.exchange import Answer, Refusal, Request, json_answer
from simulator.filters import DELETED_FIELDS, PATIENT_FIELDS
from simulator.patient import HOME, State, to_json
from simulator.query import LIST_PARAMETERS, links, read_query, refuse_unknown
from simulator.users import KeyState

Endpoint = Callable[[Request, Caller, bool], Answer]


def answer(request: Request, caller: Caller, *, strict: bool) -> Answer:
    """Return what Cliniko answers to a caller who was let in; Refusal where it will not."""
    endpoint = _ENDPOINTS.get(request.path)
    if endpoint is None and request.path.startswith("/patients/"):
        endpoint = _patient
    if endpoint is None:
        raise Refusal(404, "There is nothing here.")
    if request.method != "GET":
        raise Refusal(405, "This stand-in for Cliniko is read-only.")
    if caller.key_state is KeyState.FORBIDDEN and endpoint not in (_user, _public_settings):
        raise Refusal(403, "The user of this API key may not see this.")
    return endpoint(request, caller, strict)


def _patients(request: Request, caller: Caller, strict: bool) -> Answer:
    listing = Listing(request.path)
    query = read_query(
        request.params,
        DELETED_FIELDS if listing is Listing.DELETED else PATIENT_FIELDS,
        strict=strict,
        may_add_archived=listing is Listing.ACTIVE,
    )
    records, total = caller.account.page(listing, query)
    page_links = links(f"{request.base}{request.path}", request.params, query, total)
    body = b'{"patients":[%b],"total_entries":%d,"links":%b}' % (
        b",".join(records),
        total,
        to_json(page_links),
    )
    return _with_links_to(request, Answer(200, body))


def _patient(request: Request, caller: Caller, strict: bool) -> Answer:
    refuse_unknown(request.params, strict=strict)
    patient_id = request.path.removeprefix("/patients/")
    try:
        patient = caller.account.patient(int(patient_id))
    except (NoSuchPatient, ValueError):
        raise Refusal(404, "There is no such patient.") from None
    if patient.state is State.DELETED:
        raise Refusal(404, "There is no such patient.")
    return _with_links_to(request, Answer(200, patient.json))


def _user(request: Request, caller: Caller, strict: bool) -> Answer:
    refuse_unknown(request.params, strict=strict)
    return _with_links_to(request, json_answer(caller.user.record()))


def _public_settings(request: Request, caller: Caller, strict: bool) -> Answer:
    refuse_unknown(request.params, strict=strict)
    return json_answer(_settings_of(caller.account))


def _settings(request: Request, caller: Caller, strict: bool) -> Answer:
    refuse_unknown(request.params, strict=strict)
    if not caller.user.may_see_settings:
        raise Refusal(403, "The user of this API key may not see settings.")
    settings = _settings_of(caller.account)
    user = caller.user
    settings["account"]["email_from"] = user.email
    settings["account"]["admin"] = {
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
    }
    return json_answer(settings)


def _settings_of(account: ClinikoAccount) -> dict[str, Any]:
    return {
        "account": {
            "id": int(account.id) if account.ids_as_numbers else account.id,
            "name": account.name,
            "subdomain": account.name.lower().replace(" ", "-"),
            "country": "Australia",
            "time_zone": "Sydney",
            "currency_symbol": "$",
        },
        "terminology": {"patient": "patient"},
    }


def _businesses(request: Request, caller: Caller, strict: bool) -> Answer:
    refuse_unknown(request.params, strict=strict, known=LIST_PARAMETERS)
    address = f"{request.base}{request.path}"
    business = {
        "id": f"{caller.account.id}01",
        "business_name": caller.account.name,
        "display_name": caller.account.name,
        "city": "Torquay",
        "state": "VIC",
        "post_code": "3228",
        "country": "Australia",
        "country_code": "AU",
        "time_zone_identifier": "Australia/Melbourne",
        "links": {"self": f"{address}/{caller.account.id}01"},
    }
    links_of_page = {"self": f"{address}?page=1"}
    return json_answer({"businesses": [business], "total_entries": 1, "links": links_of_page})


def _with_links_to(request: Request, found: Answer) -> Answer:
    """Return the answer with the caller's address in its links."""
    return Answer(found.status, found.body.replace(HOME.encode(), request.base.encode()))


_ENDPOINTS: dict[str, Endpoint] = {
    **dict.fromkeys(Listing, _patients),
    "/user": _user,
    "/settings": _settings,
    "/settings/public": _public_settings,
    "/businesses": _businesses,
}
