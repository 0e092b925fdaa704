"""How gunicorn serves the application; the address comes from script/server."""

import gc
from typing import Any

wsgi_app = "webapp:create_app()"
worker_class = "script.web_worker.WebWorker"  # gthread that does not wait for ever
workers = 2
threads = 4
preload_app = True  # one import for all; nothing is connected before the fork
keepalive = 10  # seconds; a page asks for its progress every two
graceful_timeout = 10
control_socket_disable = True  # it would leave files in the home folder

# What a proxy says is heard in webapp/front.py alone. By default gunicorn hears everybody from
# this machine, and a proxy here passes on what strangers write.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""

accesslog = "-"
logger_class = "script.web_log.WebLog"


def when_ready(server: Any) -> None:
    """Compile every template before the fork: the first visitors after a start do not wait for it,
    and the processes share what comes of it. What is there by now stays, so the collector of
    garbage need not go through it again and again, which holds up every thread."""
    templates = server.app.wsgi().jinja_env
    for name in templates.list_templates():
        templates.get_template(name)
    gc.collect()
    gc.freeze()
