"""Start a sync of all patients of a clinic, watch it to its end, and count the active patients.

API=http://localhost:8000 TOKEN=… ORG_ID=1 python sync.py
"""

import os
import sys
import time
import uuid
from collections.abc import Mapping
from typing import Any

import requests

org_id = os.environ["ORG_ID"]
cliniko = os.environ["API"] + "/api/v1/cliniko"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"


def told_by(response: requests.Response) -> dict[str, Any]:
    """What is told. Every error has the same shape, but for those of proxies."""
    try:
        return response.json()
    except requests.JSONDecodeError:
        return {"error_code": f"HTTP {response.status_code}", "message": response.reason}


def explain(response: requests.Response) -> None:
    """End with what went wrong."""
    error = told_by(response)
    sys.exit(f"{error['error_code']}: {error['message']}")


def read(path: str) -> dict[str, Any]:
    """Ask, and again while it helps: after `Retry-After`, or after 1, 2, 4 … 60 seconds."""
    wait = 1
    while True:
        headers: Mapping[str, str] = {}
        try:
            answer = session.get(f"{cliniko}/{path}", timeout=30)
            if answer.ok:
                return answer.json()
            if answer.status_code not in (429, 502, 503, 504):
                explain(answer)
            headers = answer.headers
        except (requests.ConnectionError, requests.Timeout):
            pass
        after = headers.get("Retry-After", "")
        time.sleep(int(after) if after.isdecimal() else wait)  # a proxy's may be a date
        wait = min(2 * wait, 60)


# Asking again with the same key starts nothing twice: safe after a broken connection.
key = str(uuid.uuid4())
start, headers = f"{cliniko}/sync-all/{org_id}", {"Idempotency-Key": key}
all_read = False
while not all_read:
    started = session.post(start, headers=headers, timeout=30)
    told = told_by(started)
    if told.get("error_code") == "SYNC_ALREADY_RUNNING":
        print("Somebody else has started one; watching that.")
        told = told["details"]
    elif not started.ok:
        explain(started)

    running = True
    while running:
        log = read(f"sync-logs/{org_id}/{told['sync_log_id']}")
        remaining = log["metadata"]["estimated_remaining"] or ""
        print(f"{log['metadata']['progress_percent']} % {remaining}")
        running = log["status"] == "running"
        if running:
            time.sleep(2)
    # Somebody else's may have read only some of the patients: then it is our turn.
    all_read = log["operation_type"] == "full_patients"

if log["status"] == "failed":
    sys.exit(f"{log['error_details']['error_code']}: {log['error_details']['message']}")
page = read(f"active-patients/{org_id}?limit=1")
print(f"{log['records_success']} records stored, {page['pagination']['total']} active patients.")
# The certificate of both sides: not so while records fail, Cliniko shows fewer than it counts, or
# removals wait for an admin, and once one has decided to keep patients who are gone; the metadata
# tell which (records_failed, not_shown, removals_held, removals_unasked, removals_kept).
certificate = log["metadata"]["certificate"]
if not (certificate and certificate["in_step"]):
    sys.exit("Completed, but not all patients are in step.")
