"""Phone numbers with a zero in brackets behind the calling code, and those that begin with `0011`
or in brackets, are found in their national form, too: their digits are written anew."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

AT_ONCE = 1000
HINTS = ("%(0)%", "%0011%", "%(+%", "%(00%")
CALLING_CODES = {"au": ("61", "0"), "uk": ("44", "0"), "ca": ("1", ""), "us": ("1", "")}

patients = sa.table(
    "patients",
    sa.column("id", sa.BigInteger()),
    sa.column("organization_id", sa.BigInteger()),
    sa.column("phones", sa.JSON()),
    sa.column("search_digits", sa.Text()),
)
organizations = sa.table("organizations", sa.column("id"), sa.column("shard", sa.String()))


def upgrade() -> None:
    connection, last = op.get_bind(), 0
    in_words = sa.cast(patients.c.phones, sa.Text())
    query = (
        sa.select(patients.c.id, patients.c.phones, organizations.c.shard)
        .join(organizations, organizations.c.id == patients.c.organization_id)
        .where(patients.c.id > sa.bindparam("last"), sa.or_(*map(in_words.like, HINTS)))
        .order_by(patients.c.id)
        .limit(AT_ONCE)
    )
    change = (
        sa.update(patients)
        .where(patients.c.id == sa.bindparam("this"))
        .values(search_digits=sa.bindparam("digits"))
    )
    while some := connection.execute(query, {"last": last}).all():
        last = some[-1].id
        rows = [{"this": row.id, "digits": digits(row.phones, row.shard)} for row in some]
        connection.execute(change, rows)


def downgrade() -> None:
    """What was written serves the older code as well."""


def digits(phones: list[dict[str, str]], shard: str | None) -> str:
    """The digits that these phones are found by, as they were written when this was."""
    forms = [form for phone in phones for form in forms_of(phone["number"], shard)]
    return " ".join(dict.fromkeys(forms))


def forms_of(number: str, shard: str | None) -> list[str]:
    code, trunk = CALLING_CODES.get((shard or "au1")[:2], ("", ""))
    prefix = re.match(r"[\s(]*(?:\+|00(?:11)?)", number)
    if prefix is not None:
        number = re.sub(r"(?<=\d)[\s)]*\(0\)", "", number[prefix.end() :], count=1, flags=re.ASCII)
    plain = re.sub("[^0-9]", "", number)
    known, other = (code, trunk) if prefix else (trunk, code)
    if not plain:
        return []
    if code and plain.startswith(known) and (prefix or trunk):
        return [plain, other + plain.removeprefix(known)]
    return [plain]
