"""Parties and a coordinator through the real routes, in one process and without TLS: what a party refuses to do, and
what a coordinator refuses to take, with the study unharmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.bundle.manifest import canonical_json
from deepseek.errors import CheckError
from deepseek.privacy.rounds.answer import LocalParty
from deepseek.privacy.sums.masks import generate_key_pair
from deepseek.privacy.transport.coordinator import Coordinator
from deepseek.privacy.transport.ledger import AnswerLedger
from deepseek.privacy.transport.messages import Place, message_path
from deepseek.privacy.transport.party import CoordinatorClient, PartySession
from deepseek.privacy.transport.server import StudyServer
from support.federation import NAMES, Federation, make_federation, party_table

testclient = pytest.importorskip("starlette.testclient", reason="needs the extra 'privacy'")
pytest.importorskip("Crypto.Protocol.SecretSharing", reason="needs the extra 'privacy'")

THREE = NAMES[:3]
SECURE = ("rounds.num_rounds=2", "rounds.min_parties=2", "rounds.deadline_s=600", "protection.secure_sums=true")


class Parties:
    """A coordinator, and a session of each party that asks it."""

    def __init__(self, federation: Federation, num_rows: int = 120) -> None:
        self.coordinator = Coordinator(federation.folder, frozenset(THREE))
        app = StudyServer(self.coordinator).app()
        self.sessions = {}
        for name in THREE:
            party, key = federation.study.party(name), federation.keys[name]
            client = CoordinatorClient("http://study", federation.folder, party, key, 0.0)
            client._client = testclient.TestClient(app)
            rows = LocalParty.of(federation.study, name, party_table(name, num_rows))
            self.sessions[name] = PartySession(client, AnswerLedger(federation.folder, rows), lambda _: None)

    def take_step(self) -> None:
        """Every party answers what it is asked now."""
        for session in self.sessions.values():
            view = session.client.request_object("GET", "/v1/task?known=")
            if view["asked"]:
                assert session._send(Place.parse(view["place"]), view["payload"])

    def go_on(self, until: str | None = None) -> None:
        """Steps until the study stands at a place, or is over."""
        while self.coordinator.place_path != until:
            self.take_step()


@pytest.mark.slow
def test_a_study_under_masks_gives_what_a_plain_one_does(tmp_path: Path) -> None:
    accuracies = []
    for name, settings in (("plain", SECURE[:3]), ("secure", SECURE)):
        (tmp_path / name).mkdir()
        parties = Parties(make_federation(tmp_path / name, *settings))
        parties.go_on()
        accuracies.append(parties.coordinator.outcome().figures["accuracy"])
        assert all(session.ledger.party.num_clipped == 0 for session in parties.sessions.values())
    assert accuracies[0] == pytest.approx(accuracies[1], abs=1e-6)


def test_no_party_opens_a_sum_over_so_few_rows_that_they_could_be_read_out(tmp_path: Path) -> None:
    """Three parties of eight rows to learn from each, and a layer of 24 units; moments are means over all, and go."""
    wide = ("model.kind='perceptron'", "model.widths=[24]")
    parties = Parties(make_federation(tmp_path, *SECURE, *wide), num_rows=10)
    parties.go_on(until="1/0/unmask")
    with pytest.raises(CheckError, match="over 24 rows, and the first layer has 24 units"):
        parties.take_step()
    assert parties.coordinator.state.task == 1
    assert parties.coordinator.messages == {}


@pytest.mark.parametrize("weight", [1e300, 0.0])
def test_keys_with_a_weight_that_no_party_has_are_refused_and_the_study_goes_on(tmp_path: Path, weight: float) -> None:
    parties = Parties(make_federation(tmp_path, *SECURE))
    ada = parties.sessions["ada"]
    pair = generate_key_pair()
    body = canonical_json({"sealing": pair.public.hex(), "masking": pair.public.hex(), "weight": weight})
    with pytest.raises(CheckError, match="weigh"):
        ada.client.request("POST", message_path(parties.coordinator.place), body)
    assert parties.coordinator.num_refused == 1
    parties.go_on()
    assert parties.coordinator.outcome().figures["accuracy"] > 0.5
