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

query = json.loads(kept.read_text()) if kept.exists() else {}
has_more = True
while has_more:
    answer = session.get(changes, params={**query, "limit": 500}, timeout=30)
    if answer.status_code == 429:
        time.sleep(int(answer.headers.get("Retry-After", 60)))
        continue
    if answer.status_code == 410:  # too long ago: changes in between are gone
        kept.unlink(missing_ok=True)
        sys.exit("Read active-patients once, state=all&after_id=0 and so on, then start again.")
    if not answer.ok:
        sys.exit(f"HTTP {answer.status_code}: {answer.text}")
    page = answer.json()
    for change in page["changes"]:
        print(change["id"], change["kind"], change["cliniko_patient_id"], *change["fields"])
    # Only now: whoever breaks off before this gets the same changes again, and misses none.
    query = {"cursor": page["next_cursor"]}
    kept.write_text(json.dumps(query))
    has_more = page["has_more"]
