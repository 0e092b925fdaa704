"""Follow what changes about the patients of a clinic; start it as often as you like, as by cron.

API=http://localhost:8000 TOKEN=… ORG_ID=1 python changes.py
"""

import json
import os
import sys
import time
from pathlib import Path

import requests

org_id = os.environ["ORG_ID"]
changes = f"{os.environ['API']}/api/v1/cliniko/changes/{org_id}"
session = requests.Session()
session.headers["Authorization"] = f"Bearer {os.environ['TOKEN']}"
kept = Path(f"cursor-{org_id}.json")  # where the last run came to

# From 0 on, not from the oldest change that is kept: else nobody would learn of what is gone.
query = json.loads(kept.read_text()) if kept.exists() else {"cursor": 0}
has_more = True
while has_more:
    answer = session.get(changes, params={**query, "limit": 500}, timeout=30)
    if answer.status_code == 429:
        after = answer.headers.get("Retry-After", "")
        time.sleep(int(after) if after.isdecimal() else 60)  # a proxy's may be a date
        continue
    if answer.status_code == 410:  # changes in between are gone: so each run, until somebody acts
        sys.exit(
            "Changes are missing. Read active-patients once, state=all&after_id=0 and so on; "
            f"only then write {{}} to {kept} and start again, from the oldest change that is kept."
        )
    if not answer.ok:
        sys.exit(f"HTTP {answer.status_code}: {answer.text}")
    page = answer.json()
    for change in page["changes"]:
        print(change["id"], change["kind"], change["cliniko_patient_id"], *change["fields"])
    # Only now: whoever breaks off before this gets the same changes again, and misses none.
    sys.stdout.flush()
    query = {"cursor": page["next_cursor"]}
    kept.write_text(json.dumps(query))
    has_more = page["has_more"]
