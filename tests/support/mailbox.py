"""A real mail server on this machine that keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from script.address import free_port


class Mailbox:
    """Everything that came, in order; the first `refusals` are sent away for now. `farewell` is
    what is answered to a good-bye."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refusals = 0
        self.farewell = "221 Bye"
        self.logins: list[tuple[bytes, bytes]] = []
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """With these our mails come here."""
        return {"SMTP_URL": self.url, "NOTICES_FROM": "sync@clinic.example"}

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        if self.refusals:
            self.refusals -= 1
            return "451 Not now"
        content = cast(bytes, envelope.content)
        self.mails.append(message_from_bytes(content, policy=default))
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Envelope) -> str:
        return self.farewell

    def authenticate(self, server: Any, session: Any, envelope: Any, how: str, it: Any) -> Any:
        self.logins.append((it.login, it.password))
        return AuthResult(success=True)


@contextmanager
def mailbox(**options: Any) -> Iterator[Mailbox]:
    """A mail server, with what aiosmtpd takes besides."""
    box = Mailbox()
    port = free_port()  # it cannot be asked for the one that it was given
    controller = Controller(
        box, hostname="127.0.0.1", port=port, authenticator=box.authenticate, **options
    )
    box.url = f"smtp://127.0.0.1:{port}"
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
