"""Numbers with calling code and trunk zero or in the digits of another script, letters in another
form, and what chooses their shape hide nobody any longer: what patients are found by is written
anew."""

from __future__ import annotations

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

AT_ONCE = 1000
MADE = ("search_text", "search_digits", "sort_key")
UNSEEN = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x600, 0x605), (0x61C, 0x61C), (0x6DD, 0x6DD), (0x70F, 0x70F),
    (0x890, 0x891), (0x8E2, 0x8E2), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0001, 0xE0001), (0xE0020, 0xE007F),
    (0xE0100, 0xE01EF),
]  # fmt: skip
ZEROS = [
    *(0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6),
    *(0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50),
    *(0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0),
    *(0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650),
    *(0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0),
    *(0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1),
    0x1E950,
]
APOSTROPHES = "\u2018\u2019\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02be\u02bf"
HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "\u0131": "i"}
    | {"ħ": "h", "ŧ": "t"}
    | dict.fromkeys(APOSTROPHES, "'")
    | dict.fromkeys(HYPHENS, "-")
    | {chr(code): "" for first, last in UNSEEN for code in range(first, last + 1)}
    | {chr(zero + digit): str(digit) for zero in ZEROS for digit in range(10)}
)
CALLING_CODES = {
    "au": ("61", "0", 11),
    "uk": ("44", "0", 12),
    "ca": ("1", "", 11),
    "us": ("1", "", 11),
}

patients = sa.table(
    "patients",
    sa.column("id", sa.BigInteger()),
    sa.column("organization_id", sa.BigInteger()),
    *(sa.column(f"{name}_name", sa.Text()) for name in ("first", "last", "preferred_first")),
    sa.column("email", sa.Text()),
    sa.column("phones", sa.JSON()),
    *(sa.column(name, sa.Text()) for name in MADE),
)
organizations = sa.table("organizations", sa.column("id"), sa.column("shard", sa.String()))
kept = patients.c


def upgrade() -> None:
    connection, last = op.get_bind(), 0
    query = (
        sa.select(patients, organizations.c.shard)
        .join(organizations, organizations.c.id == kept.organization_id)
        .where(kept.id > sa.bindparam("last"))
        .order_by(kept.id)
        .limit(AT_ONCE)
    )
    change = (
        sa.update(patients)
        .where(
            kept.id == sa.bindparam("this"),
            # A worker may have stored another version meanwhile.
            *(kept[name] == sa.bindparam(f"old_{name}") for name in MADE),
        )
        .values({name: sa.bindparam(f"new_{name}") for name in MADE})
    )
    while some := connection.execute(query, {"last": last}).all():
        last = some[-1].id
        if rows := list(filter(None, map(values, some))):
            connection.execute(change, rows)


def downgrade() -> None:
    """What was written serves the older code as well."""


def values(row: sa.Row[tuple[object, ...]]) -> dict[str, object] | None:
    """What a row is to hold instead, as it was made when this was written; None: it does."""
    first, last, preferred, email = map(
        fold, (row.first_name, row.last_name, row.preferred_first_name, row.email)
    )
    words = " ".join(filter(None, (first, last, preferred, email))).replace("`", "'")
    forms = [form for phone in row.phones for form in forms_of(phone["number"], row.shard)]
    digits = " ".join(dict.fromkeys(forms))
    key = f"{last.strip()}\t{first.strip()}"
    new = words, digits, key if key != "\t" else "\uffff"
    old = row.search_text, row.search_digits, row.sort_key
    if new == old:
        return None
    said = dict(zip([f"new_{name}" for name in MADE], new, strict=True))
    said |= zip([f"old_{name}" for name in MADE], old, strict=True)
    return {"this": row.id, **said}


def fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("\u00b4", "'")).casefold()
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(PLAIN)


def forms_of(number: str, shard: str | None) -> list[str]:
    number = fold(number)
    prefix = re.match(r"[\s(]*(?:\+|00(?:11)?)", number)
    if prefix is not None:
        number = re.sub(r"(?<=\d)[\s)]*\(0\)", "", number[prefix.end() :], count=1, flags=re.ASCII)
    plain = re.sub("[^0-9]", "", number)
    if not plain:
        return []
    written = plain
    if prefix is not None:
        plain = re.sub("^(61|44)0", r"\1", plain)
    return [*both_forms(plain, prefix is not None, shard), written]


def both_forms(plain: str, prefix: bool, shard: str | None) -> list[str]:
    code, trunk, whole = CALLING_CODES.get((shard or "au1")[:2], ("", "", 0))
    if code and plain.startswith(code):
        within = plain.removeprefix(code)
        trunk_too = trunk != "" and within.startswith(trunk)
        if prefix or len(plain) == whole + trunk_too:
            within = within.removeprefix(trunk)
            return [code + within, trunk + within]
    if trunk and plain.startswith(trunk) and not prefix:
        return [plain, code + plain.removeprefix(trunk)]
    if code and not trunk and not prefix and len(code + plain) == whole:
        return [plain, code + plain]
    return [plain]
