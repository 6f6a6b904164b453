"""The coordinator over HTTPS: starlette for routes, uvicorn for TLS 1.3 with client certificates.

    GET  /v1/task?known=PLACE      what the party has to do; waits a while where that is still PLACE
    GET  /v1/state/TASK            the state that a task is answered to, as safetensors
    POST /v1/messages/PLACE        a message of a step
    GET  /v1/status                tasks, parties, who is waited for
    GET  /v1/transcript            the records so far

Every request is signed (messages.py). Nothing of a message goes into a log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, InputError, MissingError
from deepseek.extras import need
from deepseek.privacy.bundles.pack import pack_study
from deepseek.privacy.rounds.answer import answer_size
from deepseek.privacy.study.definition import StudyFolder
from deepseek.privacy.study.vertical import refuse_vertical
from deepseek.privacy.transport.certificates import public_key_of, trusted_certificates
from deepseek.privacy.transport.coordinator import Coordinator
from deepseek.privacy.transport.guard import RequestGuard
from deepseek.privacy.transport.messages import Place, SignedMessage, message_path
from deepseek.privacy.transport.tls_server import open_tls_server

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LONGEST_WAIT_S = 10.0
TICK_S = 0.1
LINGER_S = 5.0  # after the end, for parties that ask a last time
_ROOM_BYTES = 1 << 20  # beside the numbers of a message


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a study is served."""

    key: Path  # the coordinator's private key
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one
    out: Path | None = None  # of the bundle at the end
    overwrite: bool = False
    linger_s: float = LINGER_S
    announce: Callable[[str], None] = lambda _: None  # called with the address once it is open


class StudyServer:
    """Routes around a coordinator."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.study = coordinator.study
        self.changed = asyncio.Condition()
        numbers = max(answer_size(self.study, kind) for kind in ("moments", "training", "figures"))
        self.most_bytes = 4 * numbers + _ROOM_BYTES

    def app(self) -> Starlette:
        applications, routing = (
            need("starlette.applications", extra="privacy"),
            need("starlette.routing", extra="privacy"),
        )
        handlers: list[tuple[str, str, Callable[[Request, SignedMessage], Awaitable[Response]]]] = [
            ("/v1/task", "GET", self._task), ("/v1/state/{task:int}", "GET", self._state),
            ("/v1/messages/{place:path}", "POST", self._message), ("/v1/status", "GET", self._status),
            ("/v1/transcript", "GET", self._transcript),
        ]  # fmt: skip
        guard = RequestGuard(self.study, self.most_bytes, self._check_sender, self._count_refusal)
        routes = [routing.Route(path, guard.wrap(handler), methods=[method]) for path, method, handler in handlers]
        app: Starlette = applications.Starlette(routes=routes)
        return app

    async def run_ticks(self) -> None:
        """Close steps at their deadlines, until the study is over."""
        while self.coordinator.kind is not None:
            before = self.coordinator.place
            self.coordinator.tick()
            if self.coordinator.kind is None or self.coordinator.place != before:
                await self._notify()
            await asyncio.sleep(TICK_S)

    def status(self) -> JsonObject:
        """Where the study stands."""
        coordinator = self.coordinator
        records = coordinator.transcript.records
        return {
            "study": self.study.digest, "name": self.study.name, "kind": coordinator.kind,
            "task": coordinator.state.task, "num_rounds": self.study.settings.num_training_tasks,
            "attempt": coordinator.place.attempt, "step": coordinator.place.step,
            "waiting_for": list(coordinator.waiting_for()), "parties": sorted(coordinator.members),
            "answered": sorted(coordinator.messages), "last_parties": list(records[-1].parties) if records else [],
            "bytes_by_party": coordinator.transcript.bytes_by_party(), "refused": coordinator.num_refused,
        }  # fmt: skip

    def _check_sender(self, party: str) -> None:
        if party not in self.coordinator.members:
            raise CheckError(
                f"{party} had not signed the study when the coordinator began",
                expected="a signature and a certificate in the study's folder", fix="start the coordinator again",
            )  # fmt: skip

    def _count_refusal(self) -> None:
        self.coordinator.num_refused += 1

    async def _task(self, request: Request, message: SignedMessage) -> Response:
        self.coordinator.see(message.party)
        known = request.query_params.get("known", "")
        async with self.changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self.changed.wait_for(lambda: self.coordinator.place_path != known),
                    LONGEST_WAIT_S,
                )
        return _json(self.coordinator.view(message.party))

    async def _state(self, request: Request, message: SignedMessage) -> Response:
        if request.path_params["task"] != self.coordinator.state.task:
            raise MissingError("there is no such task now", expected=str(self.coordinator.state.task), fix="ask again")
        responses = need("starlette.responses", extra="privacy")
        response: Response = responses.Response(
            self.coordinator.state.shared_bytes(), media_type="application/octet-stream"
        )
        return response

    async def _message(self, request: Request, message: SignedMessage) -> Response:
        place = Place.parse(request.path_params["place"])
        if message_path(place) != request.url.path:
            raise InputError("the address is not written plainly", expected=message_path(place), fix="write it so")
        before = self.coordinator.place
        said = self.coordinator.receive(place, message)
        if self.coordinator.kind is None or self.coordinator.place != before:
            await self._notify()
        return _json({"message": said})

    async def _status(self, request: Request, message: SignedMessage) -> Response:
        return _json(self.status())

    async def _transcript(self, request: Request, message: SignedMessage) -> Response:
        return _json(self.coordinator.transcript.to_dict())

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def _json(value: JsonObject) -> Response:
    response: Response = need("starlette.responses", extra="privacy").JSONResponse(value)
    return response


def serve_study(folder: StudyFolder, options: ServeOptions) -> JsonObject:
    """Serve until the study is over, and write the bundle. InputError or CheckError before anything is opened: a study
    without a coordinator, another key, fewer signatures than a round needs, papers that do not fit."""
    refuse_vertical(folder.study)
    coordinator, certificates = _open_coordinator(folder, options)
    server = StudyServer(coordinator)
    asyncio.run(_serve(server, certificates, options))
    if coordinator.kind is not None:
        return server.status()
    outcome = coordinator.outcome()
    report: JsonObject = {**server.status(), "figures": outcome.figures}
    if options.out is not None:
        bundle = pack_study(outcome, options.out, key=options.key, overwrite=options.overwrite)
        report |= {"bundle": str(bundle.path), "digest": bundle.digest}
    return report


def _open_coordinator(folder: StudyFolder, options: ServeOptions) -> tuple[Coordinator, dict[str, bytes]]:
    leader, fewest = folder.study.coordinator, folder.study.settings.rounds.min_parties
    if leader is None or public_key_of(options.key) != leader.key:
        raise InputError(
            "the key is not that of the study's coordinator",
            expected="a study made with --coordinator, and the private half of that key",
            fix="give the right key, or make the study again",
        )
    certificates = trusted_certificates(folder)
    if len(certificates) < fewest:
        raise CheckError(
            f"{len(certificates)} of {len(folder.study.parties)} parties have signed the study",
            expected=f"at least {fewest}, as rounds.min_parties says",
            fix=f"let them sign: {', '.join(folder.unsigned_parties())}",
        )
    return Coordinator(folder, frozenset(certificates)), certificates


async def _serve(server: StudyServer, certificates: dict[str, bytes], options: ServeOptions) -> None:
    async with open_tls_server(server.app(), options.key, certificates, options.host, options.port) as http:
        options.announce(http.url)
        ticks = asyncio.create_task(server.run_ticks())
        while not http.is_stopping and not ticks.done():
            await asyncio.sleep(TICK_S)
        if ticks.done():
            await ticks
            await asyncio.sleep(options.linger_s)
        ticks.cancel()
