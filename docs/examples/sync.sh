#!/usr/bin/env bash
# Start a sync of all patients of a clinic, and watch it to its end.
#   API=http://localhost:8000 TOKEN=… ORG_ID=1 ./sync.sh
set -euo pipefail
authorization="Authorization: Bearer $TOKEN"

# One key for one start: whoever repeats this very request starts nothing twice.
key=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
while true; do
  status=$(curl -sS --max-time 30 -X POST "$API/api/v1/cliniko/sync-all/$ORG_ID" \
    -H "$authorization" -H "Idempotency-Key: $key" -o started.json -w '%{http_code}')
  cat started.json; echo
  # One that somebody else has started is watched as well.
  if [ "$status" != 200 ] && ! grep -q '"SYNC_ALREADY_RUNNING"' started.json; then exit 1; fi

  sync=$(grep -o '"sync_log_id":[0-9]*' started.json | grep -o '[0-9]*$')

  while true; do
    # curl asks again while it helps: after Retry-After, or after 1, 2, 4 … seconds.
    status=$(curl -sS --max-time 30 --retry 9 --retry-all-errors "$API/api/v1/cliniko/sync-logs/$ORG_ID/$sync" \
      -H "$authorization" -o log.json -w '%{http_code}')
    if [ "$status" != 200 ]; then
      cat log.json; echo
      exit 1
    fi
    grep -o '"progress_percent":[0-9.]*' log.json
    if grep -qE '"status":"(completed|failed)"' log.json; then break; fi
    sleep 2
  done
  # Somebody else's may have read only some of the patients: then it is our turn.
  if grep -q '"operation_type":"full_patients"' log.json; then break; fi
done
if grep -q '"status":"failed"' log.json; then
  cat log.json; echo
  exit 1
fi
# The certificate of both sides: not so while records fail, Cliniko shows fewer than it counts, or
# removals wait for an admin, and once one has decided to keep patients who are gone; the metadata
# tell which (records_failed, not_shown, removals_held, removals_unasked, removals_kept).
if grep -q '"in_step":true' log.json; then
  echo 'All patients are in step.'
else
  echo 'Completed, but not all patients are in step.'
  exit 1
fi
