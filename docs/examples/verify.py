"""Receive webhooks of Patient Sync, and take only those whose signature holds.

SECRET=whsec_… PORT=8001 python verify.py
"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

TOLERANCE = 300  # seconds; older messages may be somebody's recording
seen: set[str] = set()  # keep it in your database: a message may come more than once


def is_ours(secret: str, headers: Any, body: bytes) -> bool:
    """Whether the message was signed with our secret, a moment ago; `body` as it came, unparsed."""
    sent = headers.get("webhook-timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > TOLERANCE:
        return False
    signed = f"{headers.get('webhook-id')}.{sent}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    ours = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    # While a secret is being changed there are two signatures.
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(ours.encode(), each.encode()) for each in given)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is ours, and 401 to anything else."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        ours = is_ours(os.environ["SECRET"], self.headers, body)
        if ours and self.headers["webhook-id"] not in seen:
            message = json.loads(body)
            print(message["event"], message["organization_id"], message["data"], flush=True)
            # Only now: what fails before this is done when the message comes again.
            seen.add(self.headers["webhook-id"])
        self.send_response(204 if ours else 401)
        self.end_headers()


HTTPServer(("localhost", int(os.environ["PORT"])), Receiver).serve_forever()
