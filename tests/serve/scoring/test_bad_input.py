"""What a stream of payments may hold that it should not: on each way in one event is refused, the state unharmed."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data import Table
from deepseek.errors import InputError, IntegrityError, StorageError
from deepseek.features import FeatureStore
from deepseek.features.tables import add_features
from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.scoring.scorer import STATUS_NAMES, EventScorer
from support.servers.cards import DAY_S, START_S, definition, events_of, payments

JSON = b"application/json"
NOW = START_S + 60 * DAY_S  # behind all that the tests send before
Rows = list[dict[str, Any]]
Send = Callable[[EventScorer, Rows], list[str]]


def by_request(scorer: EventScorer, rows: Rows) -> list[str]:
    """As :score and :label do it: events, or verdicts where rows have a label."""
    body = json.dumps(rows).encode()
    if "label" in rows[0]:
        status = scorer.label(scorer.verdict_reader.read(body, JSON, len(rows)))
    else:
        status = scorer.score(scorer.reader.read(body, JSON, len(rows))).status
    return [STATUS_NAMES[one] for one in status.tolist()]


def by_stream(scorer: EventScorer, rows: Rows) -> list[str]:
    answers = StreamScorer(scorer).answer([json.dumps(row).encode() for row in rows])
    return [json.loads(answer)["status"] for answer in answers]


@pytest.fixture(scope="module")
def scorer(cards: Path) -> Iterator[EventScorer]:
    opened = EventScorer.open(cards, None)
    by_request(opened, [event_of(0)])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def identities() -> Iterator[int]:
    return iter(range(1, 10**6))


def event_of(identity: int, **changes: Any) -> dict[str, Any]:
    return {"id": identity, "time": NOW, "card": 7, "terminal": 3, "amount": 12.5} | changes


EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"time": NOW - 300}, "accepted"),  # minutes late, a clock that runs backwards
    ({"time": NOW - DAY_S + 60}, "accepted"),
    ({"time": NOW - 2 * DAY_S}, "late"),
    ({"time": NOW + 90 * DAY_S}, "ahead"),
    ({"time": None}, "bad_time"),
    ({"time": "tomorrow"}, "bad_time"),
    ({"amount": -0.01}, "bad_amount"),
    ({"amount": 1e18}, "bad_amount"),
    ({"amount": None}, "bad_amount"),
    ({"amount": math.nan}, "bad_amount"),  # which is no JSON, but what Python writes
    ({"amount": -math.inf}, "bad_amount"),
    ({"time": math.nan}, "bad_time"),
    ({"terminal": math.nan}, "bad_key"),
    ({"card": "never seen"}, "accepted"),
    ({"card": "NaN"}, "accepted"),
    ({"terminal": 10**12}, "accepted"),
    ({"card": None}, "bad_key"),
    ({"terminal": ""}, "accepted"),  # a text like others
    ({"id": 0}, "duplicate"),
    ({"id": None}, "bad_key"),
    ({"id": 0.5}, "bad_key"),
]


@pytest.mark.parametrize("send", [by_request, by_stream])
@pytest.mark.parametrize(("change", "status"), EVENTS, ids=lambda value: str(value)[:40])
def test_an_event_is_refused_alone_and_counted(
    scorer: EventScorer, identities: Iterator[int], send: Send, change: dict[str, Any], status: str
) -> None:
    before, digest = dict(scorer.store.counts), scorer.store.digest
    assert send(scorer, [event_of(next(identities)) | change]) == [status]
    if status == "bad_key":
        assert scorer.store.digest == digest
    elif status != "accepted":
        assert scorer.store.counts[status] == before[status] + 1
    rows = [event_of(next(identities)), event_of(next(identities)) | change, event_of(next(identities))]
    assert send(scorer, rows) == ["accepted", status, "accepted"]


VERDICTS: list[tuple[dict[str, Any], str]] = [
    ({"id": 10**9}, "unknown_id"),  # a transaction that never was
    ({"id": "10"}, "unknown_id"),
    ({"id": None}, "bad_key"),
    ({"label": 2}, "bad_label"),
    ({"label": None}, "bad_label"),
    ({"label": math.nan}, "bad_label"),
]


@pytest.mark.parametrize("send", [by_request, by_stream])
@pytest.mark.parametrize(("change", "status"), VERDICTS, ids=lambda value: str(value)[:40])
def test_a_verdict_is_refused_alone(scorer: EventScorer, send: Send, change: dict[str, Any], status: str) -> None:
    good = {"id": 0, "label": 0}
    assert send(scorer, [good, good | change, good]) == ["accepted", status, "accepted"]


def table_of(rows: Rows, **changes: Any) -> Table:
    columns: dict[str, Any] = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    columns |= {name: np.array(values, object if name == "card" else float) for name, values in changes.items()}
    return Table(columns, {name: "text" if values.dtype.kind == "O" else "number" for name, values in columns.items()})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"amount": [1.0, -1.0, 1.0]}, "row 1 has no amount"),
        ({"amount": [1.0, np.nan, 1.0]}, "row 1 has no amount"),
        ({"amount": [1.0, 1e18, 1.0]}, "row 1 has no amount"),
        ({"time": [1.0, np.nan, 2.0]}, "row 1 has no time"),
        ({"id": [1.0, 1.0, 2.0]}, "twice"),
        ({"card": ["a", None, "b"]}, "row 1 has no 'card'"),
    ],
)
def test_a_table_names_the_row_that_is_no_event(change: dict[str, Any], said: str) -> None:
    rows = [event_of(1), event_of(2), event_of(3)]
    with pytest.raises(InputError, match=said):
        add_features(definition(), table_of(rows, **change))


def test_a_full_disk_changes_nothing_and_the_same_is_taken_when_there_is_room(cards: Path, tmp_path: Path) -> None:
    events = [event | {"time": NOW} for event in events_of(payments(30, seed=3))]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for name, send in (("request", by_request), ("stream", by_stream)):
        scorer = EventScorer.open(cards, tmp_path / name)
        send(scorer, events[:10])
        scorer.sync()
        digest, size = scorer.store.digest, max(path.stat().st_size for path in (tmp_path / name).glob("log-*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            with pytest.raises(StorageError):
                send(scorer, events[10:20])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert scorer.store.digest == digest
        assert send(scorer, events[10:20]) == ["accepted"] * 10
        assert scorer.monitor.figures().num_unknown == 0
        scorer.close()


def test_a_log_that_was_cut_loses_its_last_events_alone_and_a_damaged_one_is_refused(
    cards: Path, tmp_path: Path
) -> None:
    events = [event | {"time": NOW} for event in events_of(payments(40, seed=4))]
    scorer = EventScorer.open(cards, tmp_path / "state")
    for first in range(0, 40, 10):
        by_request(scorer, events[first : first + 10])
        scorer.sync()
    for name in ("cut", "damaged"):
        shutil.copytree(tmp_path / "state", tmp_path / name)
    scorer.close()
    log = next((tmp_path / "cut").glob("log-*"))
    log.write_bytes(log.read_bytes()[:-7])
    again = EventScorer.open(cards, tmp_path / "cut")
    assert by_request(again, events) == ["duplicate"] * 30 + ["accepted"] * 10
    assert again.monitor.figures().num_unknown == 0
    again.close()
    log = next((tmp_path / "damaged").glob("log-*"))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(IntegrityError, match="is damaged at byte"):
        EventScorer.open(cards, tmp_path / "damaged")
    assert FeatureStore.verify(tmp_path / "damaged").problems


@pytest.mark.slow
def test_a_card_with_a_million_payments_is_answered_like_others(cards: Path) -> None:
    scorer = EventScorer.open(cards, None)
    body = [event_of(row, time=NOW + row // 20) for row in range(1_000_000)]
    for first in range(0, len(body), 50_000):
        assert set(by_request(scorer, body[first : first + 50_000])) == {"accepted"}
    assert by_request(scorer, [event_of(-1, card=8, time=NOW + 50_000)]) == ["accepted"]
    assert scorer.store.counts["accepted"] == 1_000_001
    scorer.close()
