"""A party's process: asks what is to be done, does it on its own rows, and sends what the study says and nothing else.

    joined = join_study("https://hub:8443", open_study(Path("study")), table, JoinOptions(key=Path("bank-a")))

A coordinator that is gone is asked again until `patience_s` is over; one that came back gets the same answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.sign import load_private_key
from deepseek.contracts import JsonObject
from deepseek.data import Table
from deepseek.errors import CheckError, DeadlineError, InputError
from deepseek.extras import need
from deepseek.privacy.rounds.answer import Answer, LocalParty, answer_bound, check_sum_hides_rows, check_weight
from deepseek.privacy.rounds.state import StudyState
from deepseek.privacy.study.definition import Party, StudyFolder
from deepseek.privacy.study.refusals import LateError
from deepseek.privacy.study.vertical import refuse_vertical
from deepseek.privacy.sums.field import to_field
from deepseek.privacy.sums.protocol import MaskingParty, PublicKeys, RevealedShares
from deepseek.privacy.transport.certificates import client_context, public_key_of
from deepseek.privacy.transport.ledger import AnswerLedger
from deepseek.privacy.transport.messages import (
    Place,
    SignedMessage,
    answer_to_bytes,
    check_message,
    keys_from_bytes,
    keys_to_bytes,
    masked_to_bytes,
    message_path,
    revealed_to_bytes,
    shares_to_bytes,
    sign_request,
)

if TYPE_CHECKING:
    import httpx

REQUEST_TIMEOUT_S = 60.0
RETRY_S = 0.2
_IGNORED_CODES = frozenset((LateError.code, "not_found"))  # the study went on meanwhile: ask again


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """How a party takes part."""

    key: Path  # its private key
    patience_s: float = 600.0  # how long a coordinator may be gone
    report: Callable[[str], None] = lambda _: None  # called with each task that was answered


@dataclass(slots=True)
class CoordinatorClient:
    """Signed requests of one party to the coordinator."""

    url: str
    folder: StudyFolder
    party: Party
    key: Path
    patience_s: float
    server: Party | None = None  # who is asked, where it is not who serves the study
    _client: httpx.Client | None = None
    _private: Any = None

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of a good response. CheckError with the coordinator's words for a refusal, DeadlineError when it was
        gone for too long."""
        transport_error = need("httpx", extra="privacy").TransportError
        limit = time.monotonic() + self.patience_s
        while True:
            try:
                response = self._open().request(method, path, content=body, headers=self._headers(method, path, body))
                break
            except (transport_error, OSError) as error:
                self.close()
                if time.monotonic() >= limit:
                    raise DeadlineError(
                        f"the coordinator at {self.url} was gone for {self.patience_s:.0f} seconds: "
                        f"{str(error)[:200] or type(error).__name__}",
                        expected="a coordinator that answers, and that trusts this party's certificate",
                        fix="ask who serves the study, then join again: what was answered is remembered",
                    ) from error
                time.sleep(RETRY_S)
        if response.status_code != 200:
            raise _refusal(response.content)
        return bytes(response.content)

    def request_object(self, method: str, path: str, body: bytes = b"") -> JsonObject:
        """As request(), of a JSON object."""
        return parse_json_object(self.request(method, path, body), "the coordinator's answer")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _open(self) -> httpx.Client:
        if self._client is None:
            httpx = need("httpx", extra="privacy")
            context = client_context(self.folder, self.party, self.key, self.url, self.server)
            self._client = httpx.Client(base_url=self.url, verify=context, timeout=REQUEST_TIMEOUT_S, trust_env=False)
        return self._client

    def _headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        if self._private is None:
            self._private = load_private_key(self.key)
        return sign_request(self._private, self.party.name, self.folder.study, method, path, body)


def _refusal(body: bytes) -> CheckError:
    """The coordinator's own words as an error, with its code."""
    error = parse_json_object(body, "the coordinator's refusal").get("error")
    fields = error if isinstance(error, dict) else {}
    refusal = CheckError(
        f"the coordinator refuses: {fields.get('message', 'no reason')}",
        expected=str(fields.get("expected", "")), fix=str(fields.get("fix", "")),
    )  # fmt: skip
    refusal.code = str(fields.get("code", CheckError.code))
    return refusal


@dataclass(slots=True)
class PartySession:
    """One run of a party's process."""

    client: CoordinatorClient
    ledger: AnswerLedger
    report: Callable[[str], None]
    _masking: dict[str, MaskingParty] = field(default_factory=dict)  # of the attempt that is going on, by its id
    _peer_weights: dict[str, float] = field(default_factory=dict)
    _state: tuple[int, bytes] | None = None

    def run(self) -> JsonObject:
        """Answer until the study is over; the coordinator's last word of it."""
        known, num_answers = "", 0
        while True:
            view = self.client.request_object("GET", f"/v1/task?known={known}")
            if view["place"] is None:
                num_clipped = self.ledger.party.num_clipped
                return {"party": self.client.party.name, "answers": num_answers, "clipped_numbers": num_clipped}
            known = str(view["place"])
            if view["asked"] and self._send(Place.parse(known), view["payload"]):
                num_answers += 1
                self.report(f"{view['kind']}, {known}")

    def _send(self, place: Place, payload: JsonObject) -> bool:
        """Answer one step; whether the coordinator took it."""
        try:
            body = self._body(place, payload)
            if body is None:
                return False
            self.client.request("POST", message_path(place), body)
        except CheckError as error:
            if error.code not in _IGNORED_CODES:
                raise
            return False
        return True

    def _body(self, place: Place, payload: JsonObject) -> bytes | None:
        """The message of a step; None where this process was not there for the steps before it."""
        if place.step == "answer":
            return answer_to_bytes(self._answer(place))
        if place.step == "keys":
            threshold = self.client.folder.study.settings.rounds.min_parties
            name = self.client.party.name
            masking = self._masking.get(place.round_id) or MaskingParty(name, threshold, place.round_id)
            self._masking = {place.round_id: masking}
            return keys_to_bytes(masking.keys, self.ledger.party.weight)
        current = self._masking.get(place.round_id)
        if current is None:
            return None
        if place.step == "shares":
            return shares_to_bytes(current.seal_shares(self._peers(place, payload)))
        if place.step == "masked":
            answer, study = self._answer(place), self.client.folder.study
            state = self._fetch_state(place)[0]
            bound = answer_bound(study, state.kind(study) or "training")
            share = answer.weight / max(self._peer_weights.values())
            numbers = to_field(answer.vector * share, bound, len(self._peer_weights))
            sealed = {name: bytes.fromhex(text) for name, text in payload["sealed"].items()}
            return masked_to_bytes(current.mask(numbers, sealed))
        return revealed_to_bytes(self._reveal(place, current, payload["survivors"]))

    def _reveal(self, place: Place, current: MaskingParty, survivors: Sequence[str]) -> RevealedShares:
        """The last step, which opens the sum: of training only where it is over enough rows."""
        study = self.client.folder.study
        if self._fetch_state(place)[0].kind(study) == "training":
            check_sum_hides_rows(study, sum(self._peer_weights.get(name, 0.0) for name in survivors))
        return current.reveal(survivors)

    def _peers(self, place: Place, payload: JsonObject) -> dict[str, PublicKeys]:
        """The keys of the others, each signed by its party: the coordinator cannot put in its own."""
        study, peers = self.client.folder.study, {}
        path = message_path(Place(place.task, place.attempt, "keys"))
        self._peer_weights = {}
        for name, fields in payload["keys"].items():
            body = bytes.fromhex(fields["body"])
            message = SignedMessage(name, int(fields["time_ms"]), str(fields["signature"]), body)
            check_message(study, study.party(name), message, "POST", path)
            peers[name], self._peer_weights[name] = keys_from_bytes(body)
            check_weight(study, name, self._peer_weights[name])
        return peers

    def _answer(self, place: Place) -> Answer:
        state, data = self._fetch_state(place)
        return self.ledger.answer(state, data)

    def _fetch_state(self, place: Place) -> tuple[StudyState, bytes]:
        if self._state is None or self._state[0] != place.task:
            self._state = place.task, self.client.request("GET", f"/v1/state/{place.task}")
        return StudyState.from_bytes(self._state[1], self.client.folder.study), self._state[1]


def open_client(
    url: str, folder: StudyFolder, key: Path, patience_s: float, server: Party | None = None
) -> CoordinatorClient:
    """A client of the party whose private key that is. InputError for the key of nobody, or a study that it has not
    signed."""
    party = folder.study.party_of_key(public_key_of(key))
    if not folder.is_signed_by(party):
        raise InputError(
            f"{party.name} has not signed the study", expected=f"a signature in {folder.signature_path(party.name)}",
            fix="read study.json, then: deepseek federate sign STUDY --key KEY",
        )  # fmt: skip
    certificate = folder.certificate_path(party.name)
    if not certificate.is_file():
        raise InputError(
            f"{party.name} has no certificate", expected=str(certificate),
            fix="sign the study again: deepseek federate sign STUDY --key KEY",
        )  # fmt: skip
    return CoordinatorClient(url, folder, party, key, patience_s, server)


def join_study(url: str, folder: StudyFolder, table: Table, options: JoinOptions) -> JsonObject:
    """Take part until the study is over. InputError for rows, keys and papers that do not fit, CheckError for what the
    coordinator refuses, DeadlineError when it was gone for too long."""
    refuse_vertical(folder.study)
    client = open_client(url, folder, options.key, options.patience_s)
    ledger = AnswerLedger(folder, LocalParty.of(folder.study, client.party.name, table))
    try:
        return PartySession(client, ledger, options.report).run()
    finally:
        client.close()
