"""Start a sync of all patients of a clinic, watch it to its end, and count the active patients.

API=http://localhost:8000 TOKEN=… ORG_ID=1 python sync.py
"""

import os
import sys
import time
import uuid

import requests

org_id = os.environ["ORG_ID"]
cliniko = os.environ["API"] + "/api/v1/cliniko"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"


def error_of(response: requests.Response) -> dict[str, str]:
    """What went wrong and what to do: every error has the same shape, but for those of proxies."""
    try:
        return response.json()
    except requests.JSONDecodeError:
        return {"error_code": f"HTTP {response.status_code}", "message": response.reason}


def explain(response: requests.Response) -> None:
    """End with what went wrong."""
    error = error_of(response)
    sys.exit(f"{error['error_code']}: {error['message']}")


# Asking again with the same key starts nothing twice: safe after a broken connection.
key = str(uuid.uuid4())
started = session.post(f"{cliniko}/sync-all/{org_id}", headers={"Idempotency-Key": key}, timeout=30)
if error_of(started).get("error_code") == "SYNC_ALREADY_RUNNING":
    print("Somebody else has started one; watching that.")
elif not started.ok:
    explain(started)

etag = ""
log = None
while log is None or log["status"] == "running":
    answer = session.get(
        f"{cliniko}/sync-logs/{org_id}?limit=1", headers={"If-None-Match": etag}, timeout=30
    )
    if answer.status_code == 200:  # 304: nothing has changed
        etag = answer.headers["ETag"]
        log = answer.json()["logs"][0]
        remaining = log["metadata"]["estimated_remaining"] or ""
        print(f"{log['metadata']['progress_percent']} % {remaining}")
    elif answer.status_code != 304:
        explain(answer)
    if log is None or log["status"] == "running":
        time.sleep(2)

if log["status"] == "failed":
    sys.exit(f"{log['error_details']['error_code']}: {log['error_details']['message']}")
page = session.get(f"{cliniko}/active-patients/{org_id}?limit=1", timeout=30).json()
print(f"{log['records_success']} records stored, {page['pagination']['total']} active patients.")
