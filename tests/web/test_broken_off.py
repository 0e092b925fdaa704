"""A file that breaks off, as a browser gets it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import requests

from tests.web.conftest import Web


def test_a_file_whose_right_has_gone_is_not_taken_for_whole(web: Web) -> None:
    with closing(sqlite3.connect(web.database)) as database, database:
        # Twelve megabytes: no operating system takes that much off our hands.
        database.execute("UPDATE patients SET first_name = ?", ("Olivia" * 4000,))
        columns = [row[1] for row in database.execute("PRAGMA table_info(patients)")]
        names = ", ".join(name for name in columns if name not in ("id", "cliniko_patient_id"))
        database.execute(
            f"INSERT INTO patients (cliniko_patient_id, {names}) "
            f"SELECT cliniko_patient_id || '9999', {names} FROM patients"
        )
    charlie = web.sign_in("charlie@example.com")
    page = charlie.get(f"{web.url}/clinics/2/patients", timeout=40).text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    url = f"{web.url}/clinics/2/patient-export"
    answer = charlie.post(url, {"csrf_token": token}, timeout=40, stream=True)
    assert answer.status_code == 200
    parts = answer.iter_content(65536)
    next(parts)

    with closing(sqlite3.connect(web.database)) as database, database:
        database.execute("UPDATE users SET active = 0 WHERE email = 'charlie@example.com'")

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        b"".join(parts)
