"""Invented patients, the same ones for the same seed."""

import random
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, TypeVar

from simulator.names import (
    FIRST_NAMES,
    LAST_NAMES,
    OCCUPATIONS,
    PLACES,
    STREETS,
    TITLES,
    WHOLE_NAMES,
)
from simulator.patient import HOME, in_utc

T = TypeVar("T")

_OPENED = datetime(2015, 2, 2, 8, tzinfo=UTC)
_YEARS = timedelta(days=9 * 365)
_SEXES = ("Female", "Male", "Not specified", None)
_PRONOUNS = (None, {"nominative": "they", "accusative": "them"})
_REMINDERS = ("SMS & Email", "SMS", "Email", "None")
_CONSENT = (None, True, False)
# Which numbers a patient has, and how each is written and normalized up to its last four digits.
_PHONES: tuple[tuple[str, ...], ...] = (
    *((), ("Mobile",), ("Mobile",), ("Mobile",), ("Mobile", "Work"), ("Home", "Mobile")),
    *(("Home",), ("Other",), ("Fax", "Mobile"), ("Home", "Mobile", "Fax"), ("Fax",)),
)
_NUMBERS = {
    "Mobile": (("0491 57", "+61 491 57"), "6149157"),
    "Home": (("(02) 5550 ", "+61 2 5550 "), "6125550"),
    "Work": (("07 7010 ", "07-7010-"), "6177010"),
    "Other": (("03 5550 ",), "6135550"),
    "Fax": (("08 7010 ",), "6187010"),
}


class _Dice(random.Random):
    """Throws at a third of the cost of choice() and randrange(); a patient takes thirty."""

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def pick(self, things: Sequence[T]) -> T:
        return things[int(self.random() * len(things))]


def invented_records(seed: int, *, numeric_ids: bool) -> Iterator[dict[str, Any]]:
    """Yield active patients without end.

    Ids ascend by irregular steps. Times ascend with them only roughly, never pass nine years,
    and some patients share one `created_at`, as imported ones do.
    """
    dice = _Dice(seed)
    patient_id = 10**18 + dice.getrandbits(56)
    created, last_name, email = _OPENED, "", None
    for number in count(1):
        patient_id += 1 + dice.below(5_000_000)
        first_name, own_name = _name(dice)
        if dice.random() < 0.1:  # a family: they share the name and the e-mail address
            own_name = last_name
        else:
            email = _email(dice, first_name, own_name, number)
        last_name = own_name
        if dice.random() > 0.05:
            created = _OPENED + _YEARS * (number / (number + 500))
            created += timedelta(seconds=dice.below(40 * 86_400))
        updated = created + timedelta(seconds=dice.below(100 * 86_400))
        yield _record(dice, patient_id, first_name, last_name) | {
            "id": patient_id if numeric_ids else str(patient_id),
            "email": email,
            "created_at": in_utc(created),
            "updated_at": in_utc(updated),
        }


def _name(dice: _Dice) -> tuple[str, str]:
    kind = dice.random()
    if kind < 0.06:
        return dice.pick(WHOLE_NAMES)
    first_name = dice.pick(FIRST_NAMES) if kind < 0.985 else ""
    return first_name, dice.pick(LAST_NAMES) if kind < 0.995 else ""


def _email(dice: _Dice, first_name: str, last_name: str, number: int) -> str | None:
    if dice.random() < 0.08:
        return dice.pick(("", None))
    return f"{_ascii(first_name) or 'hello'}.{_ascii(last_name) or 'there'}{number}@example.com"


@lru_cache
def _ascii(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(filter(str.isalpha, letters)).lower()


def _birthday(dice: _Dice) -> str | None:
    if dice.random() < 0.05:
        return None
    return f"{1931 + dice.below(93)}-{1 + dice.below(12):02}-{1 + dice.below(28):02}"


def _phones(dice: _Dice) -> list[dict[str, str]]:
    """Return up to three numbers, in ranges that Australia keeps free for fiction or close by."""
    digits = f"{dice.below(10_000):04}"
    phones = []
    for phone_type in dice.pick(_PHONES):
        written, normalized = _NUMBERS[phone_type]
        phones.append(
            {
                "phone_type": phone_type,
                "number": dice.pick(written) + digits,
                "normalized_number": normalized + digits,
            }
        )
    return phones


def _record(dice: _Dice, number: int, first_name: str, last_name: str) -> dict[str, Any]:
    """Return every documented field. What no copy needs says CANARY, so that a leak is found."""
    city, state, post_code = dice.pick(PLACES)
    me = f"{HOME}/patients/{number}"
    sex = dice.pick(_SEXES)
    return {
        "id": None,
        "first_name": first_name,
        "last_name": last_name,
        "preferred_first_name": dice.pick((None, "", first_name[:3])),
        "label": f"{first_name} {last_name}".strip(),
        "title": dice.pick(TITLES),
        "pronouns": dice.pick(_PRONOUNS),
        "email": None,
        "date_of_birth": _birthday(dice),
        "patient_phone_numbers": _phones(dice),
        "address_1": f"{1 + dice.below(300)} {dice.pick(STREETS)}",
        "address_2": dice.pick(("", None, "Unit 4")),
        "address_3": "",
        "city": city,
        "state": state,
        "post_code": post_code,
        "country": "Australia",
        "country_code": "AU",
        "gender": sex,
        "gender_identity": None,
        "sex": sex,
        "occupation": dice.pick(OCCUPATIONS),
        "emergency_contact": f"CANARY-EMERGENCY-{number}",
        "medicare": f"CANARY-MEDICARE-{number}",
        "medicare_reference_number": f"CANARY-MEDICARE-REFERENCE-{number}",
        "dva_card_number": f"CANARY-DVA-{number}",
        "notes": f"CANARY-NOTES-{number} shoulder, an old surfing injury\nTuesdays only",
        "appointment_notes": f"CANARY-APPOINTMENT-NOTES-{number}",
        "old_reference_id": dice.pick((None, "", f"OLD-{number % 100_000}")),
        "referral_source": f"CANARY-REFERRAL-{number}",
        "reminder_type": dice.pick(_REMINDERS),
        "receives_confirmation_emails": True,
        "receives_cancellation_emails": True,
        "accepted_privacy_policy": dice.pick(_CONSENT),
        "accepted_email_marketing": dice.pick(_CONSENT),
        "accepted_sms_marketing": dice.pick(_CONSENT),
        "invoice_default_to": f"CANARY-INVOICE-TO-{number}",
        "invoice_email": f"canary-invoice-{number}@example.com",
        "invoice_extra_information": f"CANARY-INVOICE-EXTRA-{number}",
        "time_zone": "Australia/Sydney",
        "custom_fields": {
            "sections": [
                {
                    "name": "Insurance",
                    "fields": [
                        {"name": "Policy", "type": "text", "value": f"CANARY-CUSTOM-{number}"}
                    ],
                }
            ]
        },
        "created_at": None,
        "updated_at": None,
        "archived_at": None,
        "deleted_at": None,
        "appointments": {"links": {"self": f"{me}/appointments"}},
        "invoices": {"links": {"self": f"{me}/invoices"}},
        "medical_alerts": {"links": {"self": f"{me}/medical_alerts"}},
        "links": {"self": me},
    }
