"""Of Cliniko's JSON only the few fields that are kept, and only if they can be stored."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from webapp.cliniko.errors import BadResponse, MalformedRecord
from webapp.cliniko.fields import id_in
from webapp.cliniko.raw import PlainPatient, patient_in
from webapp.cliniko.records import (
    PatientRecord,
    PatientState,
    parse_patient,
    parse_tombstone,
)

LINK = "https://api.au2.cliniko.com/v1/patients/"

ANNA: dict[str, Any] = {
    "id": "1234567890123456789",
    "first_name": "Anna",
    "last_name": "Müller-O'Brien",
    "preferred_first_name": "Annie",
    "email": "family@example.com",
    "date_of_birth": "1980-02-29",
    "patient_phone_numbers": [
        {"phone_type": "Fax", "number": "03 5550 0001"},
        {"phone_type": "Home", "number": "03 5550 0002", "normalized_number": "61355500002"},
        {"phone_type": "Mobile", "number": "0491 570 156"},
    ],
    "created_at": "2013-03-26T14:00:00Z",
    "updated_at": "2026-02-01T09:30:15Z",
    "archived_at": None,
    "links": {"self": LINK + "1234567890123456789"},
    "medicare": "canary-medicare",
    "notes": "canary-notes",
    "custom_fields": {"sections": ["canary-custom"]},
}


def anna(**changes: object) -> PatientRecord:
    return parse_patient(ANNA | changes)


def at(hour: int) -> datetime:
    return datetime(2026, 2, 1, hour, tzinfo=UTC)


def test_it_reads_a_patient() -> None:
    assert anna() == PatientRecord(
        cliniko_patient_id="1234567890123456789",
        state=PatientState.ACTIVE,
        first_name="Anna",
        last_name="Müller-O'Brien",
        preferred_first_name="Annie",
        email="family@example.com",
        phones=(
            ("Fax", "03 5550 0001"),
            ("Home", "03 5550 0002"),
            ("Mobile", "0491 570 156"),
        ),
        date_of_birth=date(1980, 2, 29),
        created_at=datetime(2013, 3, 26, 14, tzinfo=UTC),
        updated_at=datetime(2026, 2, 1, 9, 30, 15, tzinfo=UTC),
    )


def test_it_keeps_nothing_that_is_not_stored() -> None:
    assert "canary" not in repr(anna())


def test_it_reads_nothing_but_the_declared_fields() -> None:
    full = ANNA | {
        "archived_at": "2026-02-01T10:00:00Z",
        "merged_at": "2026-02-01T11:00:00Z",
        "merged_with_patient": {"links": {"self": LINK + "77"}},
    }

    raw = patient_in(json.dumps(full).encode())

    assert raw is not None
    assert "canary" not in repr(raw)
    assert parse_patient(raw) == parse_patient(full)


def test_half_a_character_in_a_name_is_that_patients_trouble() -> None:
    raw = patient_in(b'{"id": "5", "first_name": "\\ud800", "notes": "canary"}')

    assert raw == {"id": "5", "first_name": "\ud800"}
    with pytest.raises(MalformedRecord):
        parse_patient(raw)


@pytest.mark.parametrize(
    "text", [b"[]", b"5", b"null", b'"text"', b'{"first_name": "\xff"}', b"[" * 100_000]
)
def test_what_is_no_object_is_no_patient(text: bytes) -> None:
    with pytest.raises(BadResponse):
        patient_in(text)


def test_a_patient_may_be_known_by_an_id_only() -> None:
    record = parse_patient({"id": "1"})

    assert record == PatientRecord("1", PatientState.ACTIVE)
    assert record.phone == ""


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_text_and_null_are_the_same(empty: str | None) -> None:
    fields = ["first_name", "last_name", "preferred_first_name", "email", "date_of_birth"]
    fields += ["patient_phone_numbers", "created_at", "updated_at", "archived_at", "merged_at"]

    assert parse_patient({"id": "1", **dict.fromkeys(fields, empty)}) == parse_patient({"id": "1"})


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (7, "7"),
        ("7", "7"),
        (2**53 + 1, "9007199254740993"),
        (9223372036854775807, "9223372036854775807"),
        ("0012", "0012"),
        ("18446744073709551615", "18446744073709551615"),
    ],
)
def test_an_id_is_kept_as_text_digit_by_digit(raw: object, text: str) -> None:
    assert anna(id=raw).cliniko_patient_id == text
    assert id_in(raw) == text


@pytest.mark.parametrize(
    "raw",
    [
        *("", "abc", "1.0", "-1", "+1", " 1", "1\n", "\u0661", "1" * 21),
        *(-1, 10**20, 1.0, 1e19, True, False, [], {}, ["1"]),
    ],
)
def test_anything_else_is_no_id(raw: object) -> None:
    with pytest.raises(MalformedRecord) as error:
        anna(id=raw, links={})
    assert (error.value.cliniko_patient_id, error.value.field) == (None, "id")
    assert id_in(raw) is None


@pytest.mark.parametrize("raw", [None, [], "text", 1, True, {}, {"first_name": "Anna"}])
def test_a_record_without_an_id_is_refused(raw: object) -> None:
    with pytest.raises(MalformedRecord):
        parse_patient(raw)
    with pytest.raises(MalformedRecord):
        parse_tombstone(raw)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, PatientState.ACTIVE),
        ({"archived_at": "2026-02-01T10:00:00Z"}, PatientState.ARCHIVED),
        (
            {"archived_at": "2026-02-01T10:00:00Z", "merged_at": "2026-02-01T10:00:00Z"},
            PatientState.MERGED,
        ),
        ({"merged_with_patient": {"links": {"self": LINK + "77"}}}, PatientState.MERGED),
        (
            {"archived_at": "2026-02-01T10:00:00Z", "deleted_at": "2026-02-01T11:00:00Z"},
            PatientState.DELETED,
        ),
    ],
)
def test_the_state_follows_from_the_times(said: dict[str, object], state: PatientState) -> None:
    assert anna(**said).state is state


def test_a_merged_patient_tells_who_has_survived() -> None:
    record = anna(
        archived_at="2026-02-01T10:00:00Z",
        merged_at="2026-02-01T11:00:00Z",
        merged_with_patient={"links": {"self": LINK + "1234567890123456790"}},
    )

    assert (record.archived_at, record.merged_at) == (at(10), at(11))
    assert record.merged_into == "1234567890123456790"


@pytest.mark.parametrize(
    "link", ["x", 5, {}, {"links": None}, {"links": {"self": LINK}}, {"links": {"self": 77}}]
)
def test_a_merge_into_nobody_is_refused(link: object) -> None:
    with pytest.raises(MalformedRecord) as error:
        anna(merged_with_patient=link)
    assert error.value.field == "merged_with_patient"


@pytest.mark.parametrize(
    "raw",
    [
        {"id": "9", "deleted_at": "2026-02-01T10:00:00Z"},
        {"id": 9, "deleted_at": "2026-02-01T10:00:00Z", "links": {"self": LINK + "10"}},
        {"deleted_at": "2026-02-01T10:00:00Z", "links": {"self": LINK + "9"}},
        {"deleted_at": "2026-02-01T11:00:00+01:00", "links": {"self": LINK + "9"}},
    ],
)
def test_it_reads_a_tombstone(raw: object) -> None:
    assert parse_tombstone(raw) == PatientRecord("9", PatientState.DELETED, deleted_at=at(10))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-01T10:00:00Z", at(10)),
        ("2026-02-01T10:00:00+00:00", at(10)),
        ("2026-02-01T21:00:00+11:00", at(10)),
        ("2026-02-01T10:00:00.250Z", at(10).replace(microsecond=250_000)),
        ("2026-02-01T10:00:00", at(10)),
    ],
)
def test_times_are_aware_and_in_utc(text: str, moment: datetime) -> None:
    found = anna(updated_at=text).updated_at

    assert found == moment
    assert found.tzinfo is UTC


@pytest.mark.parametrize("born", ["1850-01-01", "2024-02-29", "2026-03-01", "2026-03-02"])
@time_machine.travel("2026-03-01T23:30:00Z", tick=False)
def test_a_birth_may_be_as_late_as_today_anywhere_on_earth(born: str) -> None:
    assert anna(date_of_birth=born).date_of_birth == date.fromisoformat(born)


TOO_LATE = "2026-03-03"
WRONG: list[tuple[str, object]] = [
    ("date_of_birth", "0000-00-00"),
    ("date_of_birth", "1849-12-31"),
    ("date_of_birth", TOO_LATE),
    ("date_of_birth", "9999-12-31"),
    ("date_of_birth", "2025-02-29"),
    ("date_of_birth", "29/02/1980"),
    ("date_of_birth", "1980-02-29T00:00:00Z"),
    ("date_of_birth", 19800229),
    ("created_at", "yesterday"),
    ("created_at", 1771000000),
    ("updated_at", "2026-13-01T00:00:00Z"),
    ("updated_at", "0001-01-01T00:00:00+10:00"),
    ("updated_at", "2" * 41),
    ("archived_at", True),
    ("deleted_at", {}),
    ("merged_at", []),
    ("first_name", 5),
    ("first_name", True),
    ("first_name", ["Anna"]),
    ("first_name", "n" * 501),
    ("last_name", "n" * 1_000_000),
    ("last_name", "O\x00Brien"),
    ("last_name", "\ud800"),
    ("last_name", "Anna\udfff"),
    ("preferred_first_name", "n" * 501),
    ("preferred_first_name", "Ann\x1bie"),
    ("preferred_first_name", "Annie\x1f"),
    ("preferred_first_name", "\x0bAnnie"),
    ("email", "a" * 309 + "@example.com"),
    ("email", {"address": "x"}),
    ("email", "a\x07@example.com"),
    ("patient_phone_numbers", "0491 570 156"),
    ("patient_phone_numbers", {}),
    ("patient_phone_numbers", 0),
    ("patient_phone_numbers", False),
    ("patient_phone_numbers", [None]),
    ("patient_phone_numbers", ["0491 570 156"]),
    ("patient_phone_numbers", [{"phone_type": "Mobile", "number": 491570156}]),
    ("patient_phone_numbers", [{"phone_type": ["Mobile"], "number": "0491 570 156"}]),
    ("patient_phone_numbers", [{"phone_type": "Mobile", "number": "0491\x00570"}]),
    ("patient_phone_numbers", [{"number": "5" * 101}]),
    ("patient_phone_numbers", [{"number": "5"}] * 51),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
@time_machine.travel("2026-03-01T12:00:00Z", tick=False)
def test_a_field_that_cannot_be_stored_is_told_by_name_and_never_by_value(
    field: str, value: object
) -> None:
    with pytest.raises(MalformedRecord) as caught:
        anna(**{field: value})

    error = caught.value
    assert (error.cliniko_patient_id, error.field) == (ANNA["id"], field)
    assert error.reason
    if isinstance(value, str) and len(value) > 3:
        assert value not in "".join(traceback.format_exception(error))


def test_a_text_of_full_length_is_stored() -> None:
    record = anna(first_name="n" * 500, last_name="😀" * 500, email="e" * 308 + "@example.com")

    assert (len(record.first_name), len(record.last_name), len(record.email)) == (500, 500, 320)


def test_a_text_stands_in_one_line() -> None:
    record = anna(first_name=" Anna\tMaria ", last_name="van\r\nder\nBerg\n")

    assert (record.first_name, record.last_name) == ("Anna Maria", "van der Berg")


def test_text_of_any_script_is_left_alone() -> None:
    for name in [
        "张伟",
        "Ἀλέξανδρος",
        "محمد",
        "Zoë\u0308",
        "<script>",
        "'; DROP TABLE",
        "\u202eabc",
    ]:
        assert anna(first_name=name).first_name == name


@pytest.mark.parametrize(
    ("phones", "first"),
    [
        ([("Home", "1"), ("Mobile", "2"), ("Mobile", "3")], "2"),
        ([("Fax", "1"), ("Work", "2"), ("Home", "3")], "2"),
        ([("fax", "1"), ("mobile", "2")], "2"),
        ([("", "1"), ("Fax", "2")], "1"),
        ([("Fax", "1")], ""),
        ([("Mobile", ""), ("Home", "2")], "2"),
        ([], ""),
    ],
)
def test_the_phone_to_show_is_a_mobile_and_never_a_fax(
    phones: list[tuple[str, str]], first: str
) -> None:
    entries = [{"phone_type": kind, "number": number} for kind, number in phones]

    assert anna(patient_phone_numbers=entries).phone == first


def test_a_phone_without_a_type_is_kept() -> None:
    assert anna(patient_phone_numbers=[{"number": "5"}]).phones == (("", "5"),)


def test_the_hash_changes_with_the_content() -> None:
    record = anna()
    changes: list[dict[str, Any]] = [
        {"first_name": "Ann"},
        {"last_name": "Annie"},
        {"preferred_first_name": ""},
        {"email": "other@example.com"},
        {"phones": ()},
        {"phones": tuple(reversed(record.phones))},
        {"date_of_birth": None},
        {"date_of_birth": date(1980, 2, 28)},
        {"first_name": record.last_name, "last_name": record.first_name},
        {"first_name": record.first_name + record.last_name, "last_name": ""},
    ]

    hashes = {replace(record, **change).content_hash for change in changes}

    assert len(hashes | {record.content_hash}) == len(changes) + 1


def test_the_hash_is_short_and_blind_to_state_and_times() -> None:
    other = replace(
        anna(), state=PatientState.ARCHIVED, archived_at=at(10), updated_at=at(11), merged_into="7"
    )

    assert other.content_hash == anna().content_hash
    assert len(other.content_hash) == 32


def test_the_hash_is_the_same_in_every_release() -> None:
    """Or the first sync after an upgrade would write every patient again."""
    assert anna().content_hash == "408e48fa763c2e35ccd9f92ada8b8509"


# Of everything that JSON can say, more often what looks a little like a patient.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
    | st.dates().map(str)
    | st.datetimes().map(str)
)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
LINKS = st.fixed_dictionaries({}, optional={"self": JSON | st.just(LINK + "5")})
PHONES = st.lists(st.dictionaries(st.sampled_from(["phone_type", "number"]), JSON, max_size=2))
PATIENT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(PlainPatient.__struct_fields__, JSON),
        "id": JSON | st.just("5"),
        "links": JSON | LINKS,
        "patient_phone_numbers": JSON | PHONES,
        "merged_with_patient": JSON | st.fixed_dictionaries({"links": LINKS}),
    },
)


NAME = st.none() | ANY_TEXT | st.text("aeiou \u00fc-'", max_size=600)
MOMENT = (
    st.none() | st.datetimes().map(lambda at: f"{at.isoformat()}Z") | st.just("2026-02-01T10:00")
)
PLAIN_PATIENT = st.fixed_dictionaries(
    {"id": st.integers(0, 10**21).map(str) | st.just("\u0665")},
    optional={
        **dict.fromkeys(("first_name", "last_name", "preferred_first_name", "email"), NAME),
        **dict.fromkeys(("created_at", "updated_at", "archived_at", "deleted_at"), MOMENT),
        "merged_at": MOMENT,
        "date_of_birth": st.none() | st.dates().map(str) | st.just("2026-02-30"),
        "merged_with_patient": st.none() | st.just({"links": {"self": LINK + "5"}}),
        "patient_phone_numbers": st.none()
        | st.lists(st.fixed_dictionaries({"phone_type": NAME, "number": NAME}), max_size=60),
        "links": st.just({"self": LINK + "5"}),
        "notes": ANY_TEXT,
    },
)


def record_or_trouble(raw: object) -> PatientRecord | tuple[str, str]:
    try:
        return parse_patient(raw)
    except MalformedRecord as error:
        return error.field, error.reason


@given(patient=PLAIN_PATIENT | PATIENT)
@example(patient={"id": "1", "patient_phone_numbers": [{"phone_type": None, "number": "\x1f"}]})
def test_the_quick_way_comes_to_the_same_as_the_careful_one(patient: dict[str, object]) -> None:
    text = json.dumps(patient)

    assert record_or_trouble(patient_in(text.encode())) == record_or_trouble(json.loads(text))


@given(raw=JSON | PATIENT)
def test_whatever_cliniko_sends_it_is_a_record_or_malformed(raw: object) -> None:
    for parse in (parse_patient, parse_tombstone):
        try:
            record = parse(raw)
        except MalformedRecord:
            continue
        assert record.cliniko_patient_id.isdigit()
        assert len(record.content_hash) == 32
        for text in (record.first_name, record.last_name, record.email, record.phone):
            assert text.encode().decode() == text  # no lone surrogate
            assert "\x00" not in text
