"""gunicorn's log in the form of all others, without what says nothing."""

from __future__ import annotations

import json
import os
import re
from datetime import timedelta
from typing import Any

import structlog
from gunicorn.glogging import Logger

from webapp.clock import now
from webapp.logging_setup import json_lines


class WebLog(Logger):  # type: ignore[misc]
    """One JSON object a line. Leaves out polls that were answered, those of the API if nothing had
    changed: each open dashboard makes 43,200 of them a day."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(json_lines())

    def warning(self, msg: str, *args: Any, **options: Any) -> None:
        # A request that cannot be read would be repeated here, with whatever somebody searched for.
        msg = msg.partition(": ")[0] if msg.startswith("Invalid request from") else msg
        super().warning(msg, *args, **options)

    def exception(self, msg: str, *args: Any, **options: Any) -> None:
        # The whole address of a request that broke us is among these.
        super().exception(msg, *(_without_query(each) for each in args), **options)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        structlog.contextvars.clear_contextvars()  # the thread goes on to another request
        path = environ.get("PATH_INFO", "")  # a request that could not be read has none
        of_the_list = path == "/clinics" and "HTTP_HX_REQUEST" in environ
        polled = path.endswith(("/progress", "/syncs/news")) or of_the_list
        if polled and resp.status_code == 200:
            return
        if path.startswith("/api/") and resp.status_code == 304 and req.method == "GET":
            return
        # No query string and no referrer: a search holds patients' names.
        atoms = self.atoms(resp, req, environ, request_time)
        line = {
            "event": "request",
            "method": atoms["m"],
            "path": path.encode("latin-1").decode(errors="replace"),
            "status": int(atoms["s"]),
            "bytes": atoms["B"],
            "ms": atoms["M"],
            "ip": atoms["h"],
            "request_id": atoms.get("{x-request-id}o"),
            "process": os.getpid(),
            "level": "info",
            "logger": self.access_log.name,
            "timestamp": now().isoformat().replace("+00:00", "Z"),
        }
        self.access_log.info(json.dumps(line))


def _without_query(address: object) -> str:
    return re.split("[?#]", str(address), maxsplit=1)[0]
