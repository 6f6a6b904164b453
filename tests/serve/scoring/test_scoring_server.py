"""`deepseek serve cards --state DIR`: raw payments in, chances out, nothing acknowledged lost."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from deepseek.engines import Runtime
from deepseek.features import FeatureStore, compute_offline
from deepseek.features.definition import card_payments
from support.servers.cards import build_cards, columns_of, definition, events_of, payments
from support.servers.fixtures import build
from support.servers.fuzzed import fuzz

SCORE, LABEL = "/v1/models/cards:score", "/v1/models/cards:label"
NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def url(cards: Path, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for the tests that say what it answers; each takes ids and a time of its own."""
    with start(cards, "--state", tmp_path_factory.mktemp("state"), "--workers", "0") as running:
        yield running.url
        assert running.stop() == 0


def lines(records: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def score(url: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = httpx.post(url + SCORE, content=lines(events), headers=NDJSON, timeout=30)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.slow
def test_events_and_late_verdicts_get_the_chances_that_the_whole_table_gets(
    cards: Path, start: Any, tmp_path: Path
) -> None:
    records = payments(1_200, seed=1)
    chances = []
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        for first in range(0, len(records), 100):
            part = records[first : first + 100]
            chances += [row["chance"] for row in score(server.url, events_of(part))]
            verdicts = [{"id": record["id"], "label": record["label"]} for record in part]
            answer = httpx.post(server.url + LABEL, json=verdicts)
            assert {row["status"] for row in answer.json()} == {"accepted"}
        assert server.stop() == 0
    table = compute_offline(definition(), columns_of(records))
    with Runtime.open(cards) as runtime:
        expected = runtime.predict(dict(zip(table.names, table.values.T, strict=True))).probabilities
    assert expected is not None
    assert np.abs(np.array(chances) - expected[:, 1]).max() <= 1e-6
    verified = FeatureStore.verify(tmp_path / "state")
    assert verified.ok
    assert verified.num_events == len(records)


def test_every_form_of_a_body_is_answered_in_that_form(url: str) -> None:
    events = events_of(payments(5, seed=2, first_id=10_000))
    single = httpx.post(url + SCORE, json=events[0]).json()
    assert single["id"] == events[0]["id"]
    assert single["status"] == "accepted"
    assert 0 <= single["chance"] <= 1
    array = httpx.post(url + SCORE, json=events[1:3]).json()
    assert [row["id"] for row in array] == [10_001, 10_002]
    instances = httpx.post(url + SCORE, json={"instances": events[3:4]}).json()
    assert [row["id"] for row in instances["predictions"]] == [10_003]
    names = list(events[4])
    by_column = httpx.post(url + SCORE, json={"columns": names, "rows": [list(events[4].values())]}).json()
    assert by_column["ids"] == [10_004]
    assert by_column["status"] == ["accepted"]


def test_the_same_id_gets_the_same_answer_and_counts_once(url: str) -> None:
    event = events_of(payments(1, seed=3, first_id=20_000))[0] | {"time": 1_526_000_000}
    first = score(url, [event])[0]
    again = score(url, [event, event | {"amount": 99.0}])
    assert [row["status"] for row in again] == ["duplicate", "duplicate"]
    assert {row["chance"] for row in again} == {first["chance"]}


def test_texts_are_keys_and_times_too(url: str) -> None:
    event = {"id": "a-17", "time": "2018-05-11T01:00:00Z", "card": "4f3a", "terminal": "t9", "amount": 12.34}
    assert score(url, [event])[0]["status"] == "accepted"
    assert score(url, [event])[0]["status"] == "duplicate"


UNUSABLE = [
    ({"amount": -1.0}, "bad_amount"),
    ({"amount": None}, "bad_amount"),
    ({"amount": "12"}, "bad_amount"),
    ({"amount": 1e18}, "bad_amount"),
    ({"amount": 10**30}, "bad_amount"),
    ({"time": None}, "bad_time"),
    ({"time": "yesterday"}, "bad_time"),
    ({"time": 10**40}, "bad_time"),
    ({"time": 1_000}, "late"),
    ({"time": 2**40}, "ahead"),
    ({"card": None}, "bad_key"),
    ({"terminal": 1.5}, "bad_key"),
    ({"card": True}, "bad_key"),
    ({"id": None}, "bad_key"),
    ({"id": 2**63}, "bad_key"),
]


@pytest.mark.parametrize("number", range(len(UNUSABLE)))
def test_an_event_that_cannot_be_used_is_refused_alone(url: str, number: int) -> None:
    change, status = UNUSABLE[number]
    good, bad, last = events_of(payments(3, seed=4, first_id=30_000 + 10 * number))
    good, last = good | {"time": 1_526_000_000}, last | {"time": 1_526_000_000}
    answers = score(url, [good, bad | {"time": 1_526_000_000} | change, last])
    assert [row["status"] for row in answers] == ["accepted", status, "accepted"]
    assert "chance" not in answers[1]
    assert "decision" not in answers[1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"", 400),
        (b'{"id": 1, "time": 5, "card": 1, "terminal": 2}', 422),  # no amount
        (b"[]", 422),
        (b"[1]", 422),
        (b'{"columns": ["id"], "rows": [[1]]}', 422),
    ],
)
def test_a_body_that_is_no_event_is_refused_with_what_was_expected(url: str, body: bytes, code: int) -> None:
    answer = httpx.post(url + SCORE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == code, answer.text
    assert {"code", "message", "expected", "fix"} <= answer.json()["error"].keys()


def test_a_body_of_another_type_is_refused(url: str) -> None:
    answer = httpx.post(url + SCORE, content=b"{}", headers={"content-type": "text/plain"})
    assert answer.status_code == 415


def test_one_bad_request_among_many_is_answered_alone(url: str) -> None:
    """Requests that come together are parsed and scored together; each gets its own answer or error."""
    events = events_of(payments(40, seed=5, first_id=40_000))
    codes: dict[int, int] = {}

    def send(place: int) -> None:
        content = b'{"id": ' if place % 10 == 3 else json.dumps(events[place] | {"time": 1_526_000_100}).encode()
        codes[place] = httpx.post(url + SCORE, content=content, timeout=30).status_code

    threads = [threading.Thread(target=send, args=(place,)) for place in range(len(events))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {place: 400 if place % 10 == 3 else 200 for place in range(len(events))}


def test_a_verdict_on_what_never_was_is_said(url: str) -> None:
    answer = httpx.post(url + LABEL, json={"id": 987_654_321, "label": 1})
    assert answer.json() == {"id": 987_654_321, "status": "unknown_id"}


def test_a_verdict_that_is_none_is_refused_alone(url: str) -> None:
    events = [event | {"time": 1_526_000_000} for event in events_of(payments(2, seed=6, first_id=50_000))]
    assert [row["status"] for row in score(url, events)] == ["accepted"] * 2
    verdicts = [
        {"id": 50_000, "label": 1}, {"id": 50_001, "label": 2}, {"id": None, "label": 1},
        {"id": 50_001, "label": None}, {"id": 50_001, "label": "1"}, {"id": 50_001, "label": 0},
    ]  # fmt: skip
    statuses = [row["status"] for row in httpx.post(url + LABEL, json=verdicts).json()]
    assert statuses == ["accepted", "bad_label", "bad_key", "bad_label", "bad_label", "accepted"]


@pytest.mark.slow
def test_alerts_alone_have_reasons(start: Any, tmp_path: Path) -> None:
    cards = build_cards(tmp_path / "cards", threshold=0.5)
    records = payments(600, seed=7)
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        answers = score(server.url, events_of(records))
    decisions = {row["decision"] for row in answers}
    assert decisions == {"genuine", "fraud"}
    for row in answers:
        assert ("reasons" in row) == (row["decision"] == "fraud")
    reasons = next(row["reasons"] for row in answers if "reasons" in row)
    assert reasons[0]["text"]
    assert reasons[0]["column"] in definition().names


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_kill_9(cards: Path, start: Any, tmp_path: Path) -> None:
    events = events_of(payments(3_000, seed=8))
    acknowledged: list[dict[str, Any]] = []

    def send(url: str, enough: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            try:
                for event in events:
                    acknowledged.append(client.post(SCORE, json=event).json())
                    if len(acknowledged) == 60:
                        enough.set()
            except httpx.HTTPError:
                return

    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        enough = threading.Event()
        thread = threading.Thread(target=send, args=(server.url, enough))
        thread.start()
        assert enough.wait(60)
        server.stop(signal.SIGKILL)
        thread.join()
    assert {row["status"] for row in acknowledged} == {"accepted"}
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        again = score(server.url, events[: len(acknowledged)])
        assert {row["status"] for row in again} == {"duplicate"}
        assert [row["chance"] for row in again] == [row["chance"] for row in acknowledged]
        score(server.url, events)
        assert server.stop() == 0
    with FeatureStore.open(tmp_path / "twin", definition()) as twin:
        twin.score(columns_of(events))
    assert FeatureStore.verify(tmp_path / "state").num_events == len(events)


@pytest.mark.slow
def test_a_full_disk_acknowledges_nothing_and_the_state_goes_on_when_there_is_room(
    cards: Path, start: Any, tmp_path: Path
) -> None:
    events = [event | {"time": 1_526_000_000} for event in events_of(payments(30, seed=9))]
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        first = score(server.url, events[:10])
        written = max(path.stat().st_size for path in (tmp_path / "state").glob("log-*"))
        limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (written + 100, resource.RLIM_INFINITY))
        refused = httpx.post(server.url + SCORE, content=lines(events[10:20]), headers=NDJSON)
        assert refused.status_code == 507
        assert refused.json()["error"]["code"] == "storage"
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
        assert [row["status"] for row in score(server.url, events[10:20])] == ["accepted"] * 10
        assert [row["chance"] for row in score(server.url, events[:10])] == [row["chance"] for row in first]
        assert server.stop() == 0
    assert FeatureStore.verify(tmp_path / "state").ok


def test_the_document_has_both_routes_with_bodies_that_can_be_sent(url: str) -> None:
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    for path in (SCORE, LABEL):
        operation = paths[path]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        forms = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
        assert set(example) == set(forms[0]["required"]) == set(forms[0]["properties"])
        answer = httpx.post(url + path, json=example)
        assert answer.status_code == 200
        row = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"][0]
        assert set(row["required"]) <= set(answer.json()) <= set(row["properties"])
        assert answer.json()["status"] in row["properties"]["status"]["enum"]
        assert {"422", "507"} <= set(operation["responses"])
    assert f"{SCORE}" in httpx.get(f"{url}/docs").text


@pytest.mark.slow
def test_a_fuzzer_that_reads_the_document_breaks_nothing(cards: Path, start: Any, tmp_path: Path) -> None:
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        fuzz(server, tmp_path, "--include-path-regex", ":(score|label)$")
        assert server.stop() == 0
    assert FeatureStore.verify(tmp_path / "state").ok


@pytest.mark.slow
def test_what_became_of_decisions_is_shown_with_the_figures_of_the_server(
    cards: Path, start: Any, tmp_path: Path
) -> None:
    records = payments(800, seed=12)
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        score(server.url, events_of(records))
        verdicts = [{"id": record["id"], "label": record["label"]} for record in records if record["label"]]
        assert httpx.post(server.url + LABEL, json=verdicts).status_code == 200
        decisions = httpx.get(f"{server.url}/v1/stats").json()["decisions"]["cards"]
        server.stop(signal.SIGKILL)
    assert 0 < decisions["num_frauds"] <= len(verdicts)
    assert decisions["num_unknown"] == 0
    assert decisions["false_positive_rate"]["low"] <= decisions["false_positive_rate"]["high"]
    with start(cards, "--state", tmp_path / "state", "--workers", "0") as server:
        again = httpx.get(f"{server.url}/v1/stats").json()["decisions"]["cards"]
        metrics = httpx.get(f"{server.url}/metrics").text
        assert server.stop() == 0
    sample = {"num_sampled": 0, "sampled_since_s": None}  # features of this process's own events
    assert again | sample == decisions | sample
    assert "deepseek_decision_frauds" in metrics


def test_a_server_without_a_state_says_what_it_takes(cards: Path, start: Any) -> None:
    with start(cards, "--workers", "0") as server:
        answer = httpx.post(server.url + SCORE, json={"id": 1})
        assert answer.status_code == 404
        assert "--state" in answer.json()["error"]["fix"]


def test_a_bundle_without_a_definition_is_refused(start: Any, tmp_path: Path) -> None:
    columns = {"age": np.arange(60.0), "late": np.where(np.arange(60) % 2, "yes", "no").astype(object)}
    loans = build(tmp_path / "loans", columns, target="late", labels=("no", "yes"))
    command = [sys.executable, "-m", "deepseek", "serve", str(loans), "--state", str(tmp_path / "state"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "features.toml" in done.stderr


def test_a_state_of_another_definition_is_refused(cards: Path, tmp_path: Path) -> None:
    with FeatureStore.open(tmp_path / "state", card_payments("card", "shop")):
        pass
    command = [sys.executable, "-m", "deepseek", "serve", str(cards), "--state", str(tmp_path / "state"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "another definition" in done.stderr


def test_what_does_not_go_with_a_state_is_said_before_any_work(cards: Path, tmp_path: Path) -> None:
    for more in (["--front-ends", "2"], [str(cards)]):
        command = [sys.executable, "-m", "deepseek", "serve", str(cards), *more, "--state", str(tmp_path / "state")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert "--state" in done.stderr
