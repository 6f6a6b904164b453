"""The coordinator's own decisions, without a network: who counts, who is late, and what is left after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle.sign import load_private_key
from deepseek.errors import CheckError, IntegrityError
from deepseek.privacy.rounds.answer import Answer, LocalParty, answer_size
from deepseek.privacy.study.refusals import ClockError, ForeignError, LateError, OtherStudyError, ReplayError
from deepseek.privacy.transport import messages
from deepseek.privacy.transport.coordinator import Coordinator
from deepseek.privacy.transport.messages import (
    SignedMessage,
    answer_to_bytes,
    check_request,
    message_path,
    sign_request,
)
from support.federation import NAMES, Federation, make_federation, party_table

THREE = NAMES[:3]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return make_federation(tmp_path, "rounds.num_rounds=2", "rounds.min_parties=2", "rounds.deadline_s=60")


def open_coordinator(federation: Federation, clock: Clock | None = None) -> Coordinator:
    return Coordinator(federation.folder, frozenset(THREE), clock or Clock())


def answer_of(federation: Federation, coordinator: Coordinator, name: str) -> SignedMessage:
    party = LocalParty.of(federation.study, name, party_table(name))
    return SignedMessage(name, 0, "", answer_to_bytes(party.answer(coordinator.state)))


def test_a_round_ends_when_all_have_answered_and_counts_each_once(federation: Federation) -> None:
    coordinator = open_coordinator(federation)
    place = coordinator.place
    for name in THREE:
        assert coordinator.place == place
        message = answer_of(federation, coordinator, name)
        assert coordinator.receive(place, message) == "accepted"
        if name != THREE[-1]:
            assert coordinator.receive(place, message) == "known"
    assert coordinator.state.task == 1
    assert coordinator.transcript.records[0].parties == THREE


def test_late_and_second_messages_are_refused_by_name(federation: Federation) -> None:
    coordinator = open_coordinator(federation)
    place = coordinator.place
    first = answer_of(federation, coordinator, "ada")
    coordinator.receive(place, first)
    with pytest.raises(ReplayError, match="ada has sent another message"):
        coordinator.receive(place, replace(first, body=answer_of(federation, coordinator, "bob").body))
    for name in ("bob", "cyd"):
        coordinator.receive(place, answer_of(federation, coordinator, name))
    with pytest.raises(LateError, match="ada"):
        coordinator.receive(place, first)
    assert coordinator.state.task == 1


def test_the_deadline_closes_a_round_with_enough_parties_and_no_earlier(federation: Federation) -> None:
    clock = Clock()
    coordinator = open_coordinator(federation, clock)
    place = coordinator.place
    coordinator.receive(place, answer_of(federation, coordinator, "ada"))
    clock.now = 61.0
    coordinator.tick()
    assert coordinator.place == place  # one party is not enough: it waits on
    coordinator.receive(place, answer_of(federation, coordinator, "bob"))
    coordinator.tick()
    assert coordinator.place == place  # the deadline began anew, and cyd may still come
    clock.now = 122.0
    coordinator.tick()
    assert coordinator.state.task == 1
    assert coordinator.transcript.records[0].parties == ("ada", "bob")
    assert coordinator.waiting_for() == ("ada", "bob")
    coordinator.see("cyd")  # comes back, and is waited for
    assert coordinator.waiting_for() == THREE


def test_what_was_acknowledged_is_there_after_a_kill(federation: Federation) -> None:
    """At every point of a study a new process goes on from the files alone, to the same parameters."""
    whole = open_coordinator(federation)
    while whole.kind is not None:
        for name in THREE:
            whole.receive(whole.place, answer_of(federation, whole, name))
    expected = whole.state.to_bytes()

    import shutil

    shutil.rmtree(federation.folder.path / "coordinator")
    coordinator = open_coordinator(federation)
    while coordinator.kind is not None:
        for name in THREE:
            place = coordinator.place
            message = answer_of(federation, coordinator, name)
            coordinator.receive(place, message)
            coordinator = open_coordinator(federation)  # the earlier one is gone without a word
            if coordinator.place == place:
                assert coordinator.receive(place, message) == "known"
    assert coordinator.state.to_bytes() == expected
    assert [record.parties for record in coordinator.transcript.records] == [THREE] * 4
    assert coordinator.transcript.is_chained()
    assert coordinator.outcome().figures["accuracy"] > 0.5


def test_a_state_that_was_not_reached_is_computed_again_from_the_same_messages(federation: Federation) -> None:
    """Killed between the record of a task and the state of the next one."""
    coordinator = open_coordinator(federation)
    kept = {}
    for name in THREE:
        kept[name] = answer_of(federation, coordinator, name)
    place = coordinator.place
    for name in THREE[:2]:
        coordinator.receive(place, kept[name])
    coordinator.store.save_message(place, kept["cyd"])
    coordinator.store.close_step(place, THREE)
    again = open_coordinator(federation)
    assert again.state.task == 1
    assert again.transcript.records[0].parties == THREE


def test_answers_that_are_not_finite_never_reach_the_disk(federation: Federation) -> None:
    coordinator = open_coordinator(federation)
    party = LocalParty.of(federation.study, "ada", party_table("ada"))
    answer = party.answer(coordinator.state)
    vector = answer.vector.copy()
    vector[0] = np.nan
    message = SignedMessage("ada", 0, "", answer_to_bytes(replace(answer, vector=vector)))
    with pytest.raises(CheckError, match="ada sent numbers that are not finite"):
        coordinator.receive(coordinator.place, message)
    with pytest.raises(CheckError, match="arrays cannot be read"):
        coordinator.receive(coordinator.place, replace(message, body=message.body[: len(message.body) // 2]))
    assert open_coordinator(federation).messages == {}


def test_a_folder_of_another_study_is_refused(federation: Federation, tmp_path: Path) -> None:
    open_coordinator(federation)
    (tmp_path / "second").mkdir()
    other = make_federation(tmp_path / "second", "rounds.num_rounds=3")
    (federation.folder.path / "coordinator").rename(other.folder.path / "coordinator")
    with pytest.raises(IntegrityError, match="another study"):
        open_coordinator(other)


@pytest.mark.parametrize(("hours", "word"), [(-1, "behind"), (1, "ahead of")])
def test_requests_are_believed_by_signature_study_and_clock(
    federation: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int, word: str
) -> None:
    study, body = federation.study, b"numbers"
    path = message_path(open_coordinator(federation).place)
    key = load_private_key(federation.keys["ada"])
    headers = sign_request(key, "ada", study, "POST", path, body)
    assert check_request(study, headers, "POST", path, body).party == "ada"
    with pytest.raises(ForeignError, match="not by its key"):
        check_request(study, headers, "POST", path, b"other numbers")
    with pytest.raises(ForeignError, match="not by its key"):
        check_request(study, headers, "POST", path.replace("/0/0/", "/1/0/"), body)
    with pytest.raises(ForeignError, match="not by its key"):
        check_request(study, headers | {messages.PARTY: "bob"}, "POST", path, body)
    with pytest.raises(ForeignError, match="names no party"):
        check_request(study, headers | {messages.PARTY: "eve"}, "POST", path, body)
    (tmp_path / "second").mkdir()
    other = make_federation(tmp_path / "second", "rounds.num_rounds=3").study
    with pytest.raises(OtherStudyError):
        check_request(study, sign_request(key, "ada", other, "POST", path, body), "POST", path, body)
    now = messages.time.time()
    monkeypatch.setattr(messages.time, "time", lambda: now + 3600 * hours)
    wrong = sign_request(key, "ada", study, "POST", path, body)
    monkeypatch.undo()
    with pytest.raises(ClockError, match=f"ada is 3600 seconds {word}"):
        check_request(study, wrong, "POST", path, body)


def test_who_only_asks_how_it_stands_is_not_waited_for(federation: Federation) -> None:
    testclient = pytest.importorskip("starlette.testclient", reason="needs the extra 'privacy'")
    from deepseek.privacy.transport.server import StudyServer

    coordinator = open_coordinator(federation)
    client = testclient.TestClient(StudyServer(coordinator).app())
    key = load_private_key(federation.keys["ada"])
    for path, seen in [("/v1/status", set()), ("/v1/task?known=", {"ada"})]:
        response = client.get(path, headers=sign_request(key, "ada", federation.study, "GET", path))
        assert response.status_code == 200, response.text
        assert coordinator.last_seen.keys() == seen
    assert response.json() == {"place": "0/0/answer", "kind": "moments", "asked": True, "payload": {}}


def test_a_study_of_trees_goes_level_by_level_and_its_answers_grow_with_the_level(tmp_path: Path) -> None:
    """Two trees of two levels, then figures; a coordinator that is opened again between them goes on."""
    trees = ("model.kind='trees'", "model.trees={num_trees=2, depth=2, num_bins=8}", "rounds.min_parties=2")
    federation = make_federation(tmp_path, *trees)
    sizes = []
    for _ in range(5):
        coordinator = open_coordinator(federation)
        place = coordinator.place
        answers = [answer_of(federation, coordinator, name) for name in THREE]
        sizes.append(len(answers[0].body))
        for message in answers:
            coordinator.receive(place, message)
    assert coordinator.kind is None
    assert [record.kind for record in coordinator.transcript.records] == [*["training"] * 4, "figures"]
    assert sizes[0] == sizes[2] < sizes[1] == sizes[3]
    assert coordinator.transcript.figures["accuracy"] > 0.5


def test_an_answer_for_another_level_is_refused(tmp_path: Path) -> None:
    trees = ("model.kind='trees'", "model.trees={num_trees=1, depth=2, num_bins=8}", "rounds.min_parties=2")
    coordinator = open_coordinator(make_federation(tmp_path, *trees))
    body = answer_to_bytes(Answer("ada", np.zeros(answer_size(coordinator.study, "training", 2)), 1.0))
    with pytest.raises(CheckError, match="ada sent"):
        coordinator.receive(coordinator.place, SignedMessage("ada", 0, "", body))
