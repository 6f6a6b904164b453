"""The house with the target over HTTPS: it replies to the other house, step by step, and writes its half at the end.

    POST /v1/vertical/STEP       a message of the other house; its reply, alike when the message comes again
    GET  /v1/status              where the study stands

Every request is signed (transport/messages.py), and so is what is in it (envelope.py). Nothing of it goes into a log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepseek.bundle.sign import load_private_key
from deepseek.contracts import JsonObject
from deepseek.data import Table
from deepseek.errors import CheckError, InputError
from deepseek.extras import need
from deepseek.privacy.study.definition import Party, StudyFolder
from deepseek.privacy.study.refusals import ForeignError
from deepseek.privacy.study.vertical import HouseRole, other_role, party_of
from deepseek.privacy.transport.certificates import public_key_of, trusted_certificates
from deepseek.privacy.transport.guard import RequestGuard
from deepseek.privacy.transport.messages import SignedMessage
from deepseek.privacy.transport.server import TICK_S, ServeOptions
from deepseek.privacy.transport.tls_server import open_tls_server
from deepseek.privacy.vertical.answers import AnsweringHouse, ScoredPeople
from deepseek.privacy.vertical.envelope import HouseSigner
from deepseek.privacy.vertical.halves import HalfTarget, measure_joint, pack_half
from deepseek.privacy.vertical.houses import read_house
from deepseek.privacy.vertical.memory import MemoryFile
from deepseek.privacy.vertical.sessions import LabelHouse

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BYTES = 1 << 28  # of a message


class ReplyingHouse(Protocol):
    """What replies to the messages of the other house."""

    def reply(self, step: str, data: bytes) -> bytes: ...


class HouseServer:
    """Routes around a house that replies."""

    def __init__(self, house: ReplyingHouse, other: Party, folder: StudyFolder) -> None:
        self.house, self.other, self.folder = house, other, folder
        self.num_refused = 0
        self._lock = asyncio.Lock()

    def app(self) -> Starlette:
        applications, routing = (
            need("starlette.applications", extra="privacy"),
            need("starlette.routing", extra="privacy"),
        )
        guard = RequestGuard(self.folder.study, MOST_BYTES, self._check_sender, self._count_refusal)
        routes = [
            routing.Route("/v1/vertical/{step:path}", guard.wrap(self._reply), methods=["POST"]),
            routing.Route("/v1/status", guard.wrap(self._status), methods=["GET"]),
        ]
        app: Starlette = applications.Starlette(routes=routes)
        return app

    def status(self) -> JsonObject:
        """Where the study stands."""
        house, study = self.house, self.folder.study
        plain: JsonObject = {"study": study.digest, "name": study.name, "refused": self.num_refused}
        if not isinstance(house, LabelHouse):
            return plain | {"kind": "answers"}
        return plain | {
            "kind": None if house.is_over else house.step, "step": house.memory.step, "num_steps": len(house.steps),
            "num_shared_rows": len(house.memory.places), "waiting_for": [] if house.is_over else [self.other.name],
            "bytes_by_party": house.transcript.bytes_by_party(),
        }  # fmt: skip

    def _check_sender(self, party: str) -> None:
        if party != self.other.name:
            raise ForeignError(f"{party} is not the other house", expected=self.other.name, fix="use its key")

    def _count_refusal(self) -> None:
        self.num_refused += 1

    async def _reply(self, request: Request, message: SignedMessage) -> Response:
        async with self._lock:
            body = await asyncio.to_thread(self.house.reply, request.path_params["step"], message.body)
        response: Response = need("starlette.responses", extra="privacy").Response(
            body, media_type="application/octet-stream"
        )
        return response

    async def _status(self, request: Request, message: SignedMessage) -> Response:
        response: Response = need("starlette.responses", extra="privacy").JSONResponse(self.status())
        return response


def serve_house(folder: StudyFolder, table: Table, options: ServeOptions) -> JsonObject:
    """Reply until the study is over, and write this house's half. InputError or CheckError before anything is opened:
    another key than that of the house with the target, a house that has not signed, a table that does not fit."""
    party, certificates = _check_papers(folder, options, "labels")
    signer = HouseSigner(folder.study, party_of(folder.study, "labels"), load_private_key(options.key))
    rows = read_house(folder.study, "labels", table)
    house = LabelHouse(folder.study, "labels", rows, signer, MemoryFile.of(folder, party))
    server = HouseServer(house, party_of(folder.study, "columns"), folder)
    asyncio.run(_serve(server, certificates, options, lambda: house.is_over))
    report = server.status()
    if not house.is_over:
        return report
    joint = measure_joint(house)
    report |= {"figures": {name: figure.value for name, figure in joint.metrics.items()},
               "alone": {name: figure.value for name, figure in joint.alone.items()}}  # fmt: skip
    if options.out is not None:
        half = HalfTarget(options.out, options.key, options.overwrite)
        bundle = pack_half(house, half, joint)
        report |= {"bundle": str(bundle.path), "digest": bundle.digest}
    house.forget_secrets()
    return report


def serve_answers(folder: StudyFolder, half: Path, table: Table, options: ServeOptions) -> JsonObject:
    """Give the partial scores of the house with other columns until the process is stopped. Errors as serve_house()."""
    _, certificates = _check_papers(folder, options, "columns")
    people = ScoredPeople.of(folder.study, "columns", half, table)
    signer = HouseSigner(folder.study, party_of(folder.study, "columns"), load_private_key(options.key))
    server = HouseServer(AnsweringHouse(folder.study, people, signer), party_of(folder.study, "labels"), folder)
    asyncio.run(_serve(server, certificates, options, lambda: False))
    return server.status()


def _check_papers(folder: StudyFolder, options: ServeOptions, role: HouseRole) -> tuple[str, dict[str, bytes]]:
    """The name of the house that serves, and the certificate of the other."""
    party = party_of(folder.study, role)
    if public_key_of(options.key) != party.key:
        raise InputError(
            f"the key is not that of {party.name}, which serves here", expected=f"the key {party.key[:16]}...",
            fix="the house with the target serves the study, the other joins, and serves with --half once it is over",
        )  # fmt: skip
    unsigned = folder.unsigned_parties()
    if unsigned:
        raise CheckError(
            f"{' and '.join(unsigned)} has not signed the study", expected="the signatures of both houses",
            fix="let them sign: deepseek federate sign STUDY --key KEY",
        )  # fmt: skip
    other = party_of(folder.study, other_role(role)).name
    return party.name, {other: trusted_certificates(folder)[other]}


async def _serve(
    server: HouseServer, certificates: dict[str, bytes], options: ServeOptions, is_over: Callable[[], bool]
) -> None:
    async with open_tls_server(server.app(), options.key, certificates, options.host, options.port) as http:
        options.announce(http.url)
        while not http.is_stopping and not is_over():
            await asyncio.sleep(TICK_S)
        if is_over():  # the other house may have missed the last reply
            await asyncio.sleep(options.linger_s)
