"""One mail, handed to the mail server of the settings."""

from __future__ import annotations

import ssl
from contextlib import closing, suppress
from email.utils import formatdate
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flask import current_app

if TYPE_CHECKING:
    import smtplib

SECONDS = 15.0  # at most for each answer of the server
_PORTS = {"smtp": 587, "smtps": 465}

# Whatever can go wrong on the way, SMTPException too; the caller tries again later.
MailTrouble = OSError


def is_set_up() -> bool:
    """Whether the settings name a mail server."""
    return current_app.config["SMTP_URL"] is not None


def send(recipient: str, subject: str, text: str, *, message_id: str) -> None:
    """Send a mail in plain text; `message_id` is the same whenever the same mail is tried again.

    Raises MailTrouble, and ValueError for an address or a subject that would add a header.
    """
    # A worker only asks whether mails are sent, and each of these takes memory.
    from email.message import EmailMessage
    from email.policy import SMTP

    sender = str(current_app.config["NOTICES_FROM"])
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
    mail["Date"], mail["Message-ID"] = formatdate(), f"<{message_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"  # so that no holiday notice answers it (RFC 3834)
    mail.set_content(text)
    with closing(_connected(str(current_app.config["SMTP_URL"]))) as server:
        server.send_message(mail)
        with suppress(MailTrouble):  # the server has the mail, however it takes our good-bye
            server.quit()


def _connected(url: str) -> smtplib.SMTP:
    """A connection, encrypted wherever the server can; a password is sent only over such a one,
    to a server that showed who it is."""
    import smtplib

    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    secure = ssl.create_default_context()
    if not parts.username and _is_this_machine(host):
        # Nothing leaves it, and a server beside us has a certificate that nobody vouches for.
        secure.check_hostname, secure.verify_mode = False, ssl.CERT_NONE
    server: smtplib.SMTP
    if parts.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=secure)
    else:
        server = smtplib.SMTP(host, port, timeout=SECONDS)
        server.ehlo_or_helo_if_needed()
        if server.has_extn("starttls"):
            server.starttls(context=secure)
        elif parts.username:
            server.close()
            raise smtplib.SMTPNotSupportedError("no TLS, so the password was not sent")
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
    return server


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
