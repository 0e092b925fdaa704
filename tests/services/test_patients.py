"""Finding patients, on both databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.cast import Cast
from webapp.cliniko.records import PatientRecord, PatientState
from webapp.errors import NotFound
from webapp.extensions import transaction
from webapp.models import Organization, Patient, User
from webapp.services import counts, patients
from webapp.services.patients import PatientFilter
from webapp.sync import forgotten
from webapp.sync.target import Target
from webapp.sync.upsert import RecordPage, store_pages

SEEN = datetime(2026, 11, 1, 10, 30, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def record(number: int, first: str, last: str, **fields: object) -> PatientRecord:
    state = fields.pop("state", PatientState.ACTIVE)
    return PatientRecord(str(number), state, first, last, **fields)  # type: ignore[arg-type]


def put(organization: Organization, *records: PatientRecord, seen_at: datetime = SEEN) -> None:
    target = Target(organization.id, 1, "au1")
    with transaction():
        store_pages(target, [RecordPage(1, records)], seen_at=seen_at)


@pytest.fixture
def surf(cast: Cast) -> Organization:
    mobile = (("Mobile", "+61 412 345 678"),)
    put(
        cast.surf,
        record(1, "Zoë", "O\u2019Brien", email="zoe@example.com", phones=mobile),
        record(2, "Noah", "Smith", email="family@example.com"),
        record(3, "Amelia", "Smith", email="family@example.com"),
        record(4, "100%", "Under_score"),
        record(5, "王", "小明"),
        record(6, "", ""),
        record(7, "Old", "Smith", state=PatientState.ARCHIVED),
    )
    put(cast.northside, record(1, "Noah", "Smith"))
    return cast.surf


def names(organization: Organization, criteria: PatientFilter) -> list[str]:
    page = patients.find(organization, criteria, limit=50)
    return [f"{p.first_name} {p.last_name}".strip() for p in page.patients]


def test_active_patients_come_by_last_name_first_name_and_id(surf: Organization) -> None:
    assert names(surf, PatientFilter()) == [
        "Zoë O\u2019Brien",
        "Amelia Smith",
        "Noah Smith",
        "100% Under_score",
        "王 小明",
        "",
    ]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("smith", ["Amelia Smith", "Noah Smith"]),
        ("SMI noah", ["Noah Smith"]),
        ("noah smi", ["Noah Smith"]),
        ("Smith,Noah", ["Noah Smith"]),
        ("王\uff0c小明", ["王 小明"]),
        ("tel:+61412345678", ["Zoë O\u2019Brien"]),
        ("zoe", ["Zoë O\u2019Brien"]),
        ("o'brien", ["Zoë O\u2019Brien"]),
        ("family@", ["Amelia Smith", "Noah Smith"]),
        ("小明", ["王 小明"]),
        ("0412 345", ["Zoë O\u2019Brien"]),
        ("+61412", ["Zoë O\u2019Brien"]),
        ("0412345678", ["Zoë O\u2019Brien"]),
        ("412", []),
        ("%", ["100% Under_score"]),
        ("_", ["100% Under_score"]),
        ("\\", []),
        ("' OR 1=1--", []),
        ("nobody", []),
        ("smith " * 53, ["Amelia Smith", "Noah Smith"]),
        (",", []),
        (";", []),
        ("\u0301", []),
        ("\u200b", []),
        ("\u202a+61 412 345 678\u202c", ["Zoë O\u2019Brien"]),
        ("0412\u2013345\u2013678.", ["Zoë O\u2019Brien"]),
        ("0412-", ["Zoë O\u2019Brien"]),
        ("O\u00b4Brien, Zoë <zoe@example.com>", ["Zoë O\u2019Brien"]),
    ],
)
def test_a_search_matches_names_mail_and_phone(
    search: str, found: list[str], surf: Organization
) -> None:
    assert names(surf, PatientFilter(search=search)) == found


DIGITS = {
    ("EAP", "2024-117"): ["EAP 2024-117", "2024-117", "2024 117"],
    ("Twin", "1 2"): ["Twin 1 2", "1 2 twin"],
    ("WC", "12/3456"): ["WC 12/3456"],
    ("Unit", "1.5"): ["Unit 1.5", "1.5"],
    ("Doe", "#12-3"): ["Doe #12-3", "12-3"],
    ("Twin", "3 - 4"): ["Twin 3 - 4"],
    ("Smith", "2"): ["Smith 2 0412345678", "2 0412 345 678", "0412 345 678 2"],
}


@pytest.mark.parametrize(
    ("search", "found"),
    [(search, " ".join(name)) for name, searches in DIGITS.items() for search in searches],
)
def test_a_name_that_holds_digits_is_found_by_them(cast: Cast, search: str, found: str) -> None:
    phones = {"Smith": (("Mobile", "0412 345 678"),)}
    put(
        cast.surf,
        *(
            record(number, first, last, phones=phones.get(first, ()))
            for number, (first, last) in enumerate(DIGITS)
        ),
        record(90, "Jo", "Smith", phones=(("Mobile", "0412 345 679"), ("Home", "02 9999 1000"))),
    )
    assert names(cast.surf, PatientFilter(search=search)) == [found]
    assert patients.find(cast.surf, PatientFilter(search=search), limit=1).total == 1


def test_whoever_has_digits_in_the_name_is_found_by_the_whole_name(cast: Cast) -> None:
    draw = random.Random(7)
    drawn = [
        ["".join(draw.choices("012456 -./()+,#*[", k=draw.choice((5, 9, 24)))) for _ in range(2)]
        for _ in range(150)
    ]
    put(cast.surf, *(record(number, *name) for number, name in enumerate(drawn)))

    missed = []
    for number, (first, last) in enumerate(drawn):
        found = patients.find(cast.surf, PatientFilter(search=f"{first} {last}"), limit=200)
        if str(number) not in [each.cliniko_patient_id for each in found.patients]:
            missed.append((first, last))
    assert missed == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2024-117", "2024117", False),
        ("2024-117", "2024 117", False),
        ("2 0412345678", "2 0412 345678", False),
        ("EAP 2024-117", "2024-117  eap", True),
    ],
)
def test_a_filter_is_known_by_all_that_it_asks_for(one: str, other: str, same: bool) -> None:
    assert (PatientFilter(search=one).words == PatientFilter(search=other).words) == same


def test_states_can_be_asked_for(surf: Organization) -> None:
    assert names(surf, PatientFilter(PatientState.ARCHIVED)) == ["Old Smith"]
    assert len(names(surf, PatientFilter(None))) == 7


def test_last_synced_after_is_strictly_later(surf: Organization) -> None:
    assert names(surf, PatientFilter(last_synced_after=SEEN)) == []
    before = SEEN - timedelta(seconds=1)
    assert len(names(surf, PatientFilter(last_synced_after=before))) == 6


def test_no_page_repeats_or_drops_a_patient(cast: Cast) -> None:
    put(cast.surf, *(record(n, "Same", "Name") for n in range(1, 26)))

    seen = []
    for offset in range(0, 30, 7):
        page = patients.find(cast.surf, PatientFilter(), limit=7, offset=offset)
        seen += [p.cliniko_patient_id for p in page.patients]
        assert page.total == 25
        assert page.has_next == (offset + 7 < 25)

    assert sorted(seen, key=int) == [str(n) for n in range(1, 26)]


def test_a_patient_of_another_clinic_is_not_there(surf: Organization, cast: Cast) -> None:
    (theirs,) = patients.find(cast.northside, PatientFilter(), limit=5).patients

    assert patients.get(cast.northside, theirs.id) is theirs
    with pytest.raises(NotFound):
        patients.get(surf, theirs.id)


def test_a_count_that_rests_while_a_sync_runs_hides_no_page(
    surf: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "by_state", lambda _: dict.fromkeys(PatientState, 1))
    first = patients.find(surf, PatientFilter(), limit=4)
    assert (len(first.patients), first.total, first.has_next) == (4, 5, True)
    second = patients.find(surf, PatientFilter(), limit=4, offset=4)
    assert (len(second.patients), second.total, second.has_next) == (2, 6, False)
    beyond = patients.find(surf, PatientFilter(), limit=4, offset=400)
    assert (beyond.patients, beyond.total) == ([], 1)


def test_a_count_that_rests_too_high_promises_no_further_page(
    surf: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "by_state", lambda _: dict.fromkeys(PatientState, 10))
    first = patients.find(surf, PatientFilter(), limit=4)
    assert (first.total, first.has_next) == (10, True)
    second = patients.find(surf, PatientFilter(), limit=4, offset=4)
    assert (len(second.patients), second.total, second.has_next) == (2, 6, False)
    beyond = patients.find(surf, PatientFilter(), limit=4, offset=8)
    assert (beyond.patients, beyond.has_next) == ([], False)


def test_a_number_without_its_plus_is_found_as_people_dial_it(cast: Cast) -> None:
    put(cast.surf, record(1, "Ivy", "Ng", phones=(("Mobile", "61412345678"),)))
    assert names(cast.surf, PatientFilter(search="0412 345 678")) == ["Ivy Ng"]
    assert names(cast.surf, PatientFilter(search="0412 345")) == ["Ivy Ng"]
    assert names(cast.surf, PatientFilter(search="Ng, Ivy")) == ["Ivy Ng"]


@pytest.mark.parametrize("synced_after", [None, SEEN - timedelta(days=1)])
@pytest.mark.parametrize("matches", [199, 200, 201, 202, 350])
def test_pages_of_a_search_are_whole_where_few_become_many(
    cast: Cast, matches: int, synced_after: datetime | None
) -> None:
    """Fifty people of one name stand side by side there; only their ids tell them apart."""
    crowd = [record(number, f"Twin{number // 50}", "Many") for number in range(1, matches + 1)]
    others = [record(number, "Somebody", f"Else{number}") for number in range(1000, 1100)]
    put(cast.surf, *crowd, *others)

    for limit in (1, 50, 67, matches):
        criteria, found = PatientFilter(search="many", last_synced_after=synced_after), []
        for offset in range(0, matches + limit, limit):
            page = patients.find(cast.surf, criteria, limit=limit, offset=offset)
            assert page.total == matches
            found += [each.cliniko_patient_id for each in page.patients]
        assert found == [each.cliniko_patient_id for each in sorted(crowd, key=_place)]


@pytest.mark.parametrize("others", [0, 60, 500])
def test_a_search_that_many_match_is_whole_wherever_they_stand(cast: Cast, others: int) -> None:
    """All of those who were stored first match; the list begins with the others."""
    crowd = [record(number, f"{number:04}", "Many") for number in range(1, 301)]
    first = [record(number, f"{number:04}", "Another") for number in range(1000, 1000 + others)]
    put(cast.surf, *crowd, *first)

    for limit, offset in ((1, 0), (50, 0), (50, 50), (50, 250), (100, 0), (100, 250), (300, 0)):
        page = patients.find(cast.surf, PatientFilter(search="many"), limit=limit, offset=offset)
        keys = [each.cliniko_patient_id for each in page.patients]
        assert keys == [str(number) for number in range(1, 301)][offset : offset + limit]
        assert page.total == 300


def _leave(clinic: Organization, number: int, how: str, actor: User) -> None:
    """Somebody leaves the list of the active ones, or their place in it."""
    if how == "forgotten":
        row = next(each for each in everybody(clinic) if each.cliniko_patient_id == str(number))
        forgotten.forget(clinic, row, actor=actor)
    elif how == "archived":
        put(clinic, record(number, "Somebody", "A", state=PatientState.ARCHIVED))
    else:
        put(clinic, record(number, "Somebody", "Z"))


def everybody(clinic: Organization) -> list[Patient]:
    return patients.find(clinic, PatientFilter(None), limit=500).patients


@pytest.mark.parametrize("how", ["archived", "renamed", "forgotten"])
@pytest.mark.parametrize("state", [PatientState.ACTIVE, None])
def test_whoever_leaves_between_two_pages_lets_nobody_slip_through(
    cast: Cast, state: PatientState | None, how: str
) -> None:
    put(cast.surf, *(record(number, "Somebody", "ABCDE"[number]) for number in range(5)))
    put(cast.northside, record(7, "Not", "Ours"))

    copied: list[str] = []
    page = patients.after(cast.surf, PatientFilter(state), 0, limit=1)
    while page.patients:
        copied.append(page.patients[0].cliniko_patient_id)
        last_id = page.patients[0].id
        if len(copied) == 2:
            _leave(cast.surf, 0, how, cast.bob)
        page = patients.after(cast.surf, PatientFilter(state), last_id, limit=1)

    assert sorted(copied) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "criteria",
    [
        PatientFilter(None),
        PatientFilter(),
        PatientFilter(PatientState.ARCHIVED),
        PatientFilter(None, search="smith"),
        PatientFilter(search="example.com"),
        PatientFilter(None, last_synced_after=SEEN - timedelta(days=1)),
        PatientFilter(None, changed_after=SEEN - timedelta(days=1)),
        PatientFilter(None, changed_after=SEEN),
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_pages_by_id_hold_the_same_patients_as_the_list(
    surf: Organization, long: bool, criteria: PatientFilter
) -> None:
    if long:  # so that no index can hold it
        put(surf, record(8, "Long", "M" + "n" * 3000, email="long@example.com"))
    expected = sorted(each.id for each in patients.find(surf, criteria, limit=50).patients)

    for limit in (1, 2, 50):
        found: list[int] = []
        while True:
            page = patients.after(surf, criteria, max(found, default=0), limit=limit)
            found += [each.id for each in page.patients]
            assert (page.total, page.offset) == (len(expected), 0)
            if not page.has_next:
                break
        assert found == expected


def _place(each: PatientRecord) -> tuple[str, int]:
    return each.first_name, int(each.cliniko_patient_id)


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        (PatientFilter(), ["Ana Abel", "Long", "Zoe Zorn"]),
        (PatientFilter(search="nnnn"), ["Long"]),
        (PatientFilter(search="long@example.com"), ["Long"]),
        (PatientFilter(search="example.com"), ["Ana Abel", "Long", "Zoe Zorn"]),
        (PatientFilter(search="ana"), ["Ana Abel"]),
        (PatientFilter(search="nobody"), []),
        (
            PatientFilter(last_synced_after=SEEN - timedelta(days=1)),
            ["Ana Abel", "Long", "Zoe Zorn"],
        ),
        (PatientFilter(search="example", changed_after=SEEN), []),
    ],
)
def test_a_patient_whose_name_no_index_can_hold_is_found_as_everybody(
    cast: Cast, criteria: PatientFilter, found: list[str]
) -> None:
    long = record(2, "Long", "M" + "n" * 3000, email="long@example.com")
    put(
        cast.surf,
        record(1, "Ana", "Abel", email="ana@example.com"),
        long,
        record(3, "Zoe", "Zorn", email="zoe@example.com"),
    )
    put(cast.northside, record(1, "Nora", "Nnnn"))

    page = patients.find(cast.surf, criteria, limit=50)

    assert [f"{p.first_name} {p.last_name}".split(" Mnnn")[0] for p in page.patients] == found
    assert page.total == len(found)
    assert patients.ids(cast.surf, criteria, limit=9) == [p.id for p in page.patients]
    if found:
        last = patients.find(cast.surf, criteria, limit=1, offset=len(found) - 1)
        assert last.patients == page.patients[-1:]
