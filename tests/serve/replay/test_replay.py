"""A table played through the scorer: the answers of `predict` at any speed, what is planted, what is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.table import Table
from deepseek.errors import InputError
from deepseek.features import compute_offline
from deepseek.features.tables import read_events
from deepseek.serve.replay.figures import ReplayContext, ReplayReport, measure
from deepseek.serve.replay.injection import INJECTION_KINDS, inject
from deepseek.serve.replay.page import render_page
from deepseek.serve.replay.player import Pacing, Playback, play
from deepseek.serve.replay.rows import HISTORY, OWN, ReplayRows, read_rows
from deepseek.serve.scoring.messages import StreamScorer
from deepseek.serve.scoring.scorer import EventScorer
from support.servers.cards import DAY_S, DAYS, definition, payments

NAMES = ("time", "amount", "id", "card", "terminal")


def table_of(num: int = 1_500, *, seed: int = 5, first_day: int = 0, days: int = DAYS) -> Table:
    """Payments as a table, ids and keys as numbers, as a file is read."""
    records = payments(num, seed=seed, first_id=100 * first_day, span_s=days * DAY_S)
    columns = {name: np.array([record[name] for record in records], float) for name in records[0]}
    columns["time"] += first_day * DAY_S
    return Table(columns, dict.fromkeys(columns, "number"))


def context(threshold: float | None = 0.5) -> ReplayContext:
    return ReplayContext("cards", "0" * 64, "tx.csv", "new", None, 0, threshold, 0)


class VirtualClock:
    """Time passes where somebody sleeps, and a little at each look."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s = 0.0

    def now(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds


@pytest.fixture
def scorer(cards: Path) -> Iterator[EventScorer]:
    scorer = EventScorer.open(cards, None)
    yield scorer
    scorer.close()


def replayed(cards: Path, rows: ReplayRows, pacing: Pacing | None = None) -> Playback:
    scorer = EventScorer.open(cards, None)
    playback = play(StreamScorer(scorer), rows, pacing or Pacing())
    scorer.close()
    return playback


def test_the_chances_are_those_of_the_whole_table_with_verdicts_once_they_were_out(
    cards: Path, scorer: EventScorer
) -> None:
    table = table_of()
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    rows = read_rows(shuffled, definition(), NAMES)
    playback = replayed(cards, rows)
    features = compute_offline(definition(), read_events(definition(), table))
    prepared = scorer.runtime.prepare(ColumnarRows(features.names, features.values)).features
    np.testing.assert_allclose(playback.chance, scorer.runtime.score(prepared).output[:, 1], rtol=0, atol=1e-6)
    delay = definition().ticks("7d")
    fraud_time = table.column("time")[table.column("label") == 1]
    assert playback.num_verdicts == int((fraud_time + delay <= table.column("time").max()).sum()) > 0


def test_the_answers_are_the_same_at_any_speed_and_rows_wait_until_they_are_due(cards: Path) -> None:
    rows = read_rows(table_of(200), definition(), NAMES)
    clock = VirtualClock()
    slow = replayed(cards, rows, Pacing(86_400.0, now=clock.now, sleep=clock.sleep))
    quick = replayed(cards, rows)
    np.testing.assert_array_equal(slow.chance, quick.chance)
    span_s = (rows.time[-1] - rows.time[0]) / 86_400
    assert slow.wall_s >= span_s
    assert clock.slept_s > 0.5 * span_s
    assert (slow.latency_s > 0).all()
    assert slow.max_lag_s == slow.latency_s.max()
    assert quick.max_lag_s == 0


def test_a_history_is_played_before_and_not_counted(cards: Path) -> None:
    earlier, later = table_of(800, days=20), table_of(400, seed=6, first_day=20, days=20)
    rows = read_rows(later, definition(), NAMES, history=[earlier])
    assert rows.num_history == 800
    report = measure(rows, replayed(cards, rows), context())
    whole = read_rows(
        Table({name: np.concatenate([earlier.column(name), later.column(name)]) for name in later.names}, later.types),
        definition(), NAMES,
    )  # fmt: skip
    assert report.num_rows == 400
    np.testing.assert_array_equal(replayed(cards, whole).chance[800:], report.playback.chance[800:])
    assert (rows.origin[:800] == HISTORY).all()
    assert (rows.origin[800:] == OWN).all()


def test_what_stops_a_replay_leaves_figures_of_what_was_played(cards: Path) -> None:
    rows = read_rows(table_of(300), definition(), NAMES)
    answered: list[str] = []
    pacing = Pacing(is_stopping=lambda: len(answered) >= 3, progress=lambda message, _: answered.append(message))
    report = measure(rows, replayed(cards, rows, pacing), context())
    assert 0 < report.num_rows < 300
    assert report.to_dict()["num_left"] == 300 - report.num_rows
    assert "stopped" in report.warnings[-1].en


@pytest.mark.parametrize("kind", INJECTION_KINDS)
def test_what_is_planted_leaves_the_table_as_it_is_and_is_the_same_from_a_seed(kind: str) -> None:
    table = table_of()
    digest = table.digest()
    first, again, other = (inject(table, definition(), kind, seed=seed).rows for seed in (1, 1, 2))
    assert table.digest() == digest
    assert first.digest() == again.digest() != other.digest()
    assert first.num_rows > 0
    assert first.names == table.names
    assert not set(first.column("id")) & set(table.column("id"))
    for name in ("card", "terminal"):
        assert set(first.column(name)) <= set(table.column(name))
    time = table.column("time")
    assert time.min() + (time.max() - time.min()) // 2 <= first.column("time").min()
    assert first.column("time").max() <= time.max()
    assert (first.column("amount") > 0).all()


def test_several_kinds_share_no_id_and_text_ids_look_like_the_others() -> None:
    table = table_of()
    first = inject(table, definition(), "card", seed=0)
    second = inject(table, definition(), "ring", seed=0, earlier=[first])
    assert not set(first.rows.column("id")) & set(second.rows.column("id"))
    text = Table({**table.columns, "id": np.array([f"{n:016x}" for n in range(table.num_rows)], object)},
                 {**table.types, "id": "text"})  # fmt: skip
    ids = inject(text, definition(), "card", seed=0).rows.column("id")
    assert all(len(each) == 16 for each in ids)


def test_the_scorer_is_not_told_which_rows_are_planted() -> None:
    table = table_of()
    injection = inject(table, definition(), "card", seed=0)
    rows = read_rows(table, definition(), NAMES, injections=[injection])
    planted = np.flatnonzero(rows.origin == 0)
    assert len(planted) == injection.rows.num_rows
    own, other = (json.loads(rows.encode(row, row + 1)[0]) for row in (int(planted[0]), int(planted[0]) - 1))
    assert own.keys() == other.keys() == set(NAMES)


def report_of(cards: Path, table: Table, *kinds: str) -> ReplayReport:
    injections = [inject(table, definition(), kind, seed=0) for kind in kinds]
    rows = read_rows(table, definition(), NAMES, injections=injections)
    return measure(rows, replayed(cards, rows), context())


def test_the_figures_are_those_of_the_rows(cards: Path) -> None:
    table = table_of()
    report = report_of(cards, table, "card")
    own = report.rows.origin == OWN
    alert, verdict = report.playback.is_alert, report.rows.verdict
    assert report.num_frauds == int(table.column("label").sum())
    assert report.num_false_alarms == int((alert & own & (verdict == 0)).sum())
    assert report.recall is not None
    assert report.recall.value == pytest.approx((alert & own & (verdict == 1)).sum() / report.num_frauds)
    assert sum(day.num_rows for day in report.days) == len(report.rows)
    assert sum(day.num_planted for day in report.days) == 12
    document = report.to_dict()
    (planted,) = document["planted"]
    assert [row["is_alert"] for row in planted["rows"]].count(True) == planted["num_alerts"] > 0
    first = min(row["time"] for row in planted["rows"] if row["is_alert"])
    assert planted["first_alert"]["verdict"] == "planted"
    delay_s = np.datetime64(planted["first_alert"]["time"]) - np.datetime64(planted["first"])
    assert planted["time_to_first_alert_s"] == delay_s / np.timedelta64(1, "s")
    assert np.datetime64(planted["first_alert"]["time"]) == np.datetime64(int(first), "s")
    assert json.dumps(document, allow_nan=False)


def test_without_verdicts_no_rate_is_measured_and_that_is_said(cards: Path) -> None:
    report = report_of(cards, table_of(400).drop(["label"]), "card")
    assert report.precision is report.recall is report.false_positive_rate is None
    assert report.to_dict()["metrics"] == {}
    assert report.false_alarms_a_day is None
    assert "no verdicts" in " ".join(warning.en for warning in report.warnings)
    assert "no row speaks for it" in render_page(report)
    assert "no row speaks for it" in report.summary()


def test_verdicts_that_are_missing_are_no_genuine_rows(cards: Path) -> None:
    table = table_of(400)
    verdicts = np.where(np.arange(400) % 2 == 0, np.nan, table.column("label"))
    rows = read_rows(Table({**table.columns, "label": verdicts}, table.types), definition(), NAMES)
    report = measure(rows, replayed(cards, rows), context())
    known = {alert.verdict for alert in report.alerts}
    assert report.num_frauds == int(np.nansum(verdicts))
    assert known <= {"fraud", "genuine", "unknown"}


def test_rows_that_cannot_be_played_are_refused_in_words() -> None:
    table = table_of(50)
    with pytest.raises(InputError, match="no column 'terminal'"):
        read_rows(table.drop(["terminal"]), definition(), NAMES)
    with pytest.raises(InputError, match="no column 'id'"):
        read_rows(table.drop(["id"]), definition(), NAMES)
    unknown = Table({**table.columns, "time": np.full(50, np.nan)}, table.types)
    with pytest.raises(InputError, match="50 rows have no time"):
        read_rows(unknown, definition(), NAMES)
    wrong = Table({**table.columns, "label": np.full(50, 2.0)}, table.types)
    with pytest.raises(InputError, match="more than verdicts"):
        read_rows(wrong, definition(), NAMES)
    with pytest.raises(InputError, match="no card has 5 payments"):
        inject(table.take(np.arange(6)), definition(), "card", seed=0)


def test_bad_amounts_and_repeated_ids_are_counted_and_not_scored(cards: Path) -> None:
    table = table_of(100)
    amount, ids = table.column("amount").copy(), table.column("id").copy()
    amount[10], ids[21] = np.nan, ids[20]
    rows = read_rows(Table({**table.columns, "amount": amount, "id": ids}, table.types), definition(), NAMES)
    report = measure(rows, replayed(cards, rows), context())
    assert report.counts == {"accepted": 98, "bad_amount": 1, "duplicate": 1}
    assert "1 bad_amount, 1 duplicate" in report.warnings[-1].en


def test_rows_that_the_state_has_seen_are_no_figures(cards: Path, scorer: EventScorer) -> None:
    rows = read_rows(table_of(50), definition(), NAMES)
    play(StreamScorer(scorer), rows, Pacing())
    with pytest.raises(InputError, match="none of 50 rows was accepted"):
        measure(rows, play(StreamScorer(scorer), rows, Pacing()), context())


def test_the_page_has_what_was_planted_in_both_languages_and_no_markup_of_the_data(cards: Path) -> None:
    table = table_of()
    card = np.array([f"<b>{value:.0f}</b>" for value in table.column("card")], object)
    page = render_page(
        report_of(cards, Table({**table.columns, "card": card}, {**table.types, "card": "text"}), "card")
    )
    for words in ("stolen card", "被盗卡", "The queue", "待办队列", "false alarms", "每天误报数"):
        assert words.lower() in page.lower()
    assert "<b>" not in page
    assert page.count("<h1>") == 1


def test_a_speed_that_is_not_kept_is_said(cards: Path) -> None:
    clock = VirtualClock()
    rows = read_rows(table_of(200), definition(), NAMES)
    pacing = Pacing(1e9, now=clock.now, sleep=clock.sleep, progress=lambda _message, _share: clock.sleep(1.5))
    report = measure(rows, replayed(cards, rows, pacing), context())
    assert report.playback.max_lag_s > 1.5
    assert "cannot keep that speed" in " ".join(warning.en for warning in report.warnings)
