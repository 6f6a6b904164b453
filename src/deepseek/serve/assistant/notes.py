"""Hand-overs to people by a webhook: kept until they have arrived, tried again, in the order of each conversation.

    sender = NoteSender(service, Webhook("https://desk.bank.com/hook", secret="..."))
    sender.start()            # in the event loop
    await sender.close()

A note is POSTed as JSON: kind (handed_over, message), the conversation's id, language, reason, what was tried, the
values of its slots, and its transcript; of a message that comes later that one alone. Any status of 2xx says that it
has arrived. The header idempotency-key tells a note that comes twice; x-deepseek-signature is sha256= and the HMAC of
the body by the secret, where there is one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import urllib.error
import urllib.request
from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import urlsplit

from deepseek.contracts import Event
from deepseek.dialogue.store.records import Note
from deepseek.errors import InputError, MissingError
from deepseek.serve.assistant.service import AssistantService
from deepseek.serve.assistant.wire import NoteBody, message_body
from deepseek.serve.core.json_body import encode_json

TIMEOUT_S = 5.0
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 300.0  # between two attempts
LEASE_S = 30.0  # after which another front end takes a note over whose sender has died
POLL_S = 1.0
MAX_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where hand-overs are sent."""

    url: str
    secret: str = ""

    def check(self) -> None:
        """InputError for what is no address of HTTP."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise InputError(
                "the webhook of the hand-over is no address of HTTP",
                expected="a URL of https, without a password in it",
                fix="--hand-over https://desk.example.com/hook",
            )  # fmt: skip


class NoteSender:
    """Sends the notes of one assistant. The front ends of a group share the work: a note is leased, and then sent."""

    def __init__(self, service: AssistantService, webhook: Webhook) -> None:
        self._service, self._webhook = service, webhook
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, in the running event loop."""
        self._service.on_note = self._wake.set
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what waits is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                notes = await self._service.run(self._service.store.lease_notes, time(), LEASE_S, MAX_AT_ONCE)
                await asyncio.gather(*map(self._deliver, notes))
            except Exception as error:  # noqa: BLE001  (a full disk, a full queue, a bug of ours: the notes are kept)
                notes = []
                self._service.emit(
                    Event("server", self._service.name, fields={"state": "hand-overs wait", "error": str(error)})
                )
            if not notes:
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), POLL_S)
                except TimeoutError:
                    continue

    async def _deliver(self, note: Note) -> None:
        service = self._service
        try:
            body = await service.run(compose_note, service, note)
        except MissingError:  # the conversation was forgotten
            await service.run(service.store.end_note, note)
            return
        problem = await asyncio.get_running_loop().run_in_executor(None, _post, self._webhook, note.id, body)
        if not problem:
            await service.run(service.store.end_note, note)
            return
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(note.num_attempts, 10), LAST_PAUSE_S)
        await service.run(service.store.put_off_note, note, time() + pause_s)
        fields = {"state": "a hand-over was not taken", "error": problem, "attempt": note.num_attempts + 1}
        service.emit(Event("server", service.name, fields=fields))
        if note.num_attempts == 0 and note.kind == "handed_over":
            await service.run(service.say_unreachable, note.conversation)


def compose_note(service: AssistantService, note: Note) -> bytes:
    """The body of a note. MissingError when the conversation was forgotten."""
    state = service.store.load(note.conversation)
    if state is None:
        raise MissingError("the conversation was forgotten", expected="one that is kept", fix="nothing is to be sent")
    messages = [each for each in service.store.messages(state.id, note.first - 1) if each.number <= note.last]
    path = f"/v1/models/{service.name}"
    return encode_json(
        NoteBody(
            id=note.id, kind=note.kind, assistant=service.name, conversation=state.id, language=state.language,
            reason=note.reason, tried=state.tried, slots=state.mentioned, transcript=list(map(message_body, messages)),
            reply=f"{path}:reply", give_back=f"{path}:give_back",
        )
    )  # fmt: skip


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The transcript goes where the operator has said, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(webhook: Webhook, identity: str, body: bytes) -> str:
    """Send a note. Returns why it has not arrived, or ""."""
    headers = {"content-type": "application/json", "idempotency-key": identity}
    if webhook.secret:
        signature = hmac.new(webhook.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["x-deepseek-signature"] = f"sha256={signature}"
    request = urllib.request.Request(webhook.url, body, headers, method="POST")  # noqa: S310  (http or https alone)
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1_024)
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"status {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(getattr(error, "reason", error))[:200] or type(error).__name__
