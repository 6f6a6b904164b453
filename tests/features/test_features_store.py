"""The store against its plain twin on hostile streams, and on disk: kills, cut logs, full disks, snapshots."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.errors import InputError, IntegrityError, StorageError, TooLargeError
from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status, card_payments, compute_offline
from deepseek.features.definition import Bounds, KeyDefinition
from deepseek.features.events import BAD_AMOUNT, BAD_TIME, MAX_AMOUNT
from deepseek.features.reference import ReferenceStore

pytest.importorskip("numba")
DAY = 86_400


@pytest.fixture(scope="module")
def definition() -> FeatureDefinition:
    """Everything that there is, with bounds in which late events fall on both sides of a label's delay."""
    return replace(
        card_payments("card", "terminal", label_delay="2d"), bounds=Bounds(lateness="3d", ahead="20d", duplicates="1d")
    )


def hostile_events(seed: int, number: int, spread: int, num_cards: int = 4) -> EventColumns:
    """Few keys, many events of one time, times that run back by up to `spread`, ids that come twice, bad values."""
    rng = np.random.default_rng(seed)
    time = 1_600_000_000 + np.cumsum(rng.integers(0, 9_000, number)) // 600 * 600 - rng.integers(0, spread + 1, number)
    amount = rng.choice([0, 1, 500, 500, 12_345, MAX_AMOUNT], number)
    ids = np.where(rng.random(number) < 0.1, rng.integers(0, number, number), np.arange(number))
    time[rng.random(number) < 0.01] = BAD_TIME
    time[rng.random(number) < 0.01] += 40 * DAY * (time[0] != BAD_TIME)
    amount[rng.random(number) < 0.01] = BAD_AMOUNT
    keys = (rng.integers(-2, num_cards, number), rng.integers(0, 3, number))
    return EventColumns(time, amount, keys, ids)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return bool((np.ascontiguousarray(left).view(np.int64) == np.ascontiguousarray(right).view(np.int64)).all())


def clean_events(seed: int, number: int) -> EventColumns:
    rng = np.random.default_rng(seed)
    time = 1_600_000_000 + np.cumsum(rng.integers(0, 4_000, number))
    keys = (rng.integers(0, 20, number), rng.integers(0, 7, number))
    fraud = (rng.random(number) < 0.3).astype(np.int64)
    return EventColumns(time, rng.integers(0, 50_000, number), keys, np.arange(number) + 10**12, fraud)


@pytest.mark.parametrize("seed", range(3))
def test_the_store_is_its_plain_twin_whatever_comes(seed: int, definition: FeatureDefinition) -> None:
    events = hostile_events(seed, 700, spread=4 * DAY)
    store, twin = FeatureStore.open(None, definition), ReferenceStore(definition)
    rng = np.random.default_rng(seed)
    seen = set()
    for start in range(0, len(events), 50):
        batch = events.take(slice(start, start + 50))
        scores, expected = store.score(batch), twin.score(batch)
        assert scores.status.tolist() == expected.status.tolist()
        assert same_bits(scores.features, expected.features)
        ids, fraud = rng.integers(0, start + 60, 30), rng.integers(0, 2, 30)
        time = None if rng.random() < 0.5 else int(batch.time.max())
        status = store.label(ids, fraud, time)
        assert status.tolist() == twin.label(ids, fraud, time).tolist()
        seen |= {*scores.status.tolist(), *status.tolist()}
        if start % 200 == 0:
            store.snapshot()  # in memory: forgets what no answer depends on
    assert seen == set(Status) - {Status.BAD_KEY, Status.BAD_LABEL} - {Status.KEY_FULL}


def test_late_rows_leave_no_trace_in_what_follows(definition: FeatureDefinition) -> None:
    events = clean_events(5, 400)
    order = np.argsort(events.time + np.random.default_rng(0).integers(0, 2 * DAY, 400), kind="stable")
    order = np.concatenate([order[order < 350], order[order >= 350]])  # the last come in order
    order[350:].sort()
    store = FeatureStore.open(None, definition)
    scores = store.score(events.take(order))
    assert (scores.status == Status.ACCEPTED).all()
    offline = compute_offline(definition, replace(events, fraud=None))
    assert same_bits(scores.features[350:], offline.values[350:])


def test_verdicts_that_come_late_count_from_when_they_came(definition: FeatureDefinition) -> None:
    """Offline knows when each came; the store is told then."""
    events = clean_events(6, 500)
    events = replace(events, time=events.time * 10)  # 110 days
    rng = np.random.default_rng(6)
    known = events.time + rng.integers(0, 40 * DAY, 500)
    offline = compute_offline(definition, replace(events, known=known))
    store = FeatureStore.open(None, definition)
    frauds = np.flatnonzero(events.fraud == 1)
    in_order = frauds[np.argsort(known[frauds], kind="stable")]
    answers, place = [], 0
    for row in range(len(events)):
        while place < len(in_order) and known[in_order[place]] <= events.time[row]:
            one = in_order[place : place + 1]
            store.label(events.id[one], np.array([1]), int(known[one[0]]))
            place += 1
        answers.append(store.score(events.take(slice(row, row + 1))).features)
    assert store.counts["label_label_late"] > 0
    assert same_bits(np.concatenate(answers), offline.values)


def test_a_duplicate_gets_the_same_answer_and_changes_nothing(definition: FeatureDefinition) -> None:
    events = clean_events(7, 300)
    store = FeatureStore.open(None, definition)
    first = store.score(events)
    before = store._state.arena.copy(), store._state.longs.copy()
    again = store.score(events.take(slice(299, 300)))
    assert again.status.tolist() == [Status.DUPLICATE]
    assert same_bits(again.features, first.features[299:])
    assert all(
        (left == right).all() for left, right in zip(before, (store._state.arena, store._state.longs), strict=True)
    )
    old = store.score(events.take(slice(0, 1)))
    assert old.status.tolist() == [Status.DUPLICATE_OLD]
    assert np.isnan(old.features).all()


def test_a_card_of_many_events_is_counted_as_one_of_few(definition: FeatureDefinition) -> None:
    number = 100_000
    time = 1_600_000_000 + np.arange(number) // 10
    one = np.zeros(number, np.int64)
    events = EventColumns(time, one + 3, (one, one), np.arange(number))
    store = FeatureStore.open(None, definition)
    features = store.score(events).features
    names = list(store.names)
    assert (features[:, names.index("card.count.1d")] == np.arange(1, number + 1)).all()
    assert features[-1, names.index("card.sum.30d")] == number * 3 / 100


@pytest.mark.slow
def test_a_key_that_is_full_takes_no_more_and_others_do() -> None:
    card = KeyDefinition("card", ("1d",), ("count", "sum", "amount_zscore"))
    store = FeatureStore.open(None, FeatureDefinition({"card": card}, bounds=Bounds(duplicates="1s")))
    sums = []
    for part in range(5):
        number = np.arange(2**20) + part * 2**20
        one = np.ones(2**20, np.int64)
        scores = store.score(EventColumns(number // 1_000, one * MAX_AMOUNT, (one,), number))
        sums.append(scores.features[-1, list(store.names).index("card.sum.1d")])
    assert store.counts["accepted"] == 2**22
    assert store.counts["key_full"] == 2**20
    assert (scores.status == Status.KEY_FULL).all()
    assert sums[3] == 2**22 * MAX_AMOUNT / 100
    other = store.score(EventColumns(number[-1:] // 1_000, one[:1], (one[:1] * 2,), number[-1:] + 1))
    assert other.features[0, list(store.names).index("card.count.1d")] == 1


def test_keys_that_no_window_holds_are_forgotten_and_their_memory_is_used_again(definition: FeatureDefinition) -> None:
    store = FeatureStore.open(None, definition)
    sizes = []
    for month in range(4):
        events = clean_events(8, 2_000)
        shifted = replace(
            events, time=events.time + month * 60 * DAY, id=events.id + month * 10_000,
            keys=(events.keys[0] + month * 1_000, events.keys[1] + month * 1_000),
        )  # fmt: skip
        store.score(shifted)
        store.snapshot()
        sizes.append((store.num_keys, store.size_bytes["keys"]))
    assert sizes[3] == sizes[1]


# On disk.


def test_a_store_goes_on_where_it_was(tmp_path: Path, definition: FeatureDefinition) -> None:
    events = clean_events(1, 600)
    whole = FeatureStore.open(None, definition)
    answers = []
    for part in range(6):
        with FeatureStore.open(tmp_path / "state", definition) as store:
            batch = events.take(slice(part * 100, part * 100 + 100))
            answers.append(store.score(batch).features)
            frauds = batch.fraud == 1
            store.label(batch.id[frauds], batch.fraud[frauds])
            if part in (2, 3):
                store.snapshot()
            digest = store.digest
        verification = FeatureStore.verify(tmp_path / "state")
        assert verification.ok
        assert verification.digest == digest
        assert verification.num_events == part * 100 + 100
    for part in range(6):
        batch = events.take(slice(part * 100, part * 100 + 100))
        assert same_bits(whole.score(batch).features, answers[part])
        frauds = batch.fraud == 1
        whole.label(batch.id[frauds], batch.fraud[frauds])
    assert len(list((tmp_path / "state").glob("log-*"))) == 1
    shutil.copytree(tmp_path / "state", tmp_path / "moved")
    assert FeatureStore.verify(tmp_path / "moved") == verification


def run_until_killed(folder: Path, definition: FeatureDefinition, events: EventColumns, acknowledged: int) -> int:
    """A child writes events; it is killed when it has acknowledged a record. Gives the last record that it did."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            store = FeatureStore.open(folder, definition)
            first = int(store.counts["accepted"])
            for row in range(first, len(events), 5):
                store.score(events.take(slice(row, row + 5)))
                if row % 9 == 0:
                    store.snapshot()
                os.write(writer, store.flush().to_bytes(8, "little"))
        finally:
            os._exit(1)
    os.close(writer)
    last = 0
    while data := os.read(reader, 8):
        last = int.from_bytes(data, "little")
        if last >= acknowledged:
            os.kill(child, signal.SIGKILL)
            break
    while data := os.read(reader, 8):
        last = int.from_bytes(data, "little")
    os.close(reader)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    return last


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, definition: FeatureDefinition) -> None:
    events = clean_events(2, 100_000)
    FeatureStore.open(None, definition).score(events.take(slice(0, 1)))  # compiled before the fork
    for kill in range(5):
        last = run_until_killed(tmp_path / "state", definition, events, acknowledged=20 * (kill + 1))
        with FeatureStore.open(tmp_path / "state", definition) as store:
            assert store.sequence >= last >= 20 * (kill + 1)
            assert store.counts["accepted"] == 5 * store.sequence
            answer = store.score(events.take(slice(5 * store.sequence, 5 * store.sequence + 5))).features
            twin = FeatureStore.open(None, definition)
            assert same_bits(twin.score(events.take(slice(0, 5 * store.sequence))).features[-5:], answer)


def test_a_record_that_was_cut_off_is_dropped_wherever_it_was_cut(
    tmp_path: Path, definition: FeatureDefinition
) -> None:
    events = clean_events(3, 30)
    with FeatureStore.open(tmp_path / "state", definition) as store:
        for row in range(3):
            store.score(events.take(slice(row * 10, row * 10 + 10)))
    log = next((tmp_path / "state").glob("log-*"))
    data = log.read_bytes()
    third = len(data) // 3
    for cut in (1, 4, 19, 24, 25, third - 1):
        log.write_bytes(data[: 2 * third + cut])
        verification = FeatureStore.verify(tmp_path / "state")
        assert (verification.ok, verification.sequence, verification.cut_bytes) == (True, 2, cut)
        with FeatureStore.open(tmp_path / "state", definition) as store:
            assert store.counts["accepted"] == 20
            store.score(events.take(slice(20, 30)))
        assert log.read_bytes() == data


def test_a_damaged_byte_in_the_middle_is_no_cut(tmp_path: Path, definition: FeatureDefinition) -> None:
    events = clean_events(3, 30)
    with FeatureStore.open(tmp_path / "state", definition) as store:
        for row in range(3):
            store.score(events.take(slice(row * 10, row * 10 + 10)))
    log = next((tmp_path / "state").glob("log-*"))
    data = log.read_bytes()
    for place in (0, 5, 9, 20, len(data) // 2):
        log.write_bytes(data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :])
        assert not FeatureStore.verify(tmp_path / "state").ok
        with pytest.raises(IntegrityError, match=r"log-0*1.bin is damaged at byte"):
            FeatureStore.open(tmp_path / "state", definition)
    log.write_bytes(data)
    assert FeatureStore.verify(tmp_path / "state").ok


def test_a_snapshot_is_of_the_state_when_it_began_and_the_store_goes_on_meanwhile(
    tmp_path: Path, definition: FeatureDefinition
) -> None:
    """Killed before it is written, while it is written, or behind it: the same state."""
    folder, events = tmp_path / "state", clean_events(11, 600)
    with FeatureStore.open(folder, definition) as store:
        for number in range(3):
            store.score(events.take(slice(200 * number, 200 * number + 100)))
            work = store.start_snapshot()
            assert work is not None
            store.score(events.take(slice(200 * number + 100, 200 * number + 200)))
            store.flush()
            shutil.copytree(folder, tmp_path / f"before-{number}")
            path = work.write()
            assert list(folder.glob("snapshot-*")) == [path]
            assert len(list(folder.glob("log-*.bin"))) == 1
            shutil.copytree(folder, tmp_path / f"behind-{number}")
            for name in (f"before-{number}", f"behind-{number}"):
                verified = FeatureStore.verify(tmp_path / name)
                assert (verified.ok, verified.digest) == (True, store.digest), verified.problems
    (tmp_path / "blocked").mkdir()
    with FeatureStore.open(tmp_path / "blocked", definition) as store:
        store.score(events.take(slice(0, 100)))
        work = store.start_snapshot()
        assert work is not None
        (tmp_path / "blocked" / f".snapshot-{work.sequence:020d}.part").write_text("a file, no folder")
        with pytest.raises(StorageError):
            work.write()
        store.score(events.take(slice(100, 200)))
        digest = store.digest
    assert FeatureStore.verify(tmp_path / "blocked").digest == digest


def test_a_snapshot_whose_bytes_have_changed_is_refused(tmp_path: Path, definition: FeatureDefinition) -> None:
    with FeatureStore.open(tmp_path / "state", definition) as store:
        store.score(clean_events(3, 30))
        arrays = store.snapshot() / "arrays.safetensors"
    data = bytearray(arrays.read_bytes())
    data[-1] ^= 1
    arrays.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"arrays.safetensors is not what was written"):
        FeatureStore.open(tmp_path / "state", definition)


def test_a_folder_of_another_definition_is_refused(tmp_path: Path, definition: FeatureDefinition) -> None:
    with FeatureStore.open(tmp_path / "state", definition) as store:
        store.score(clean_events(3, 30))
        store.snapshot()
    other = replace(definition, label_delay="3d")
    with pytest.raises(InputError, match="another definition"):
        FeatureStore.open(tmp_path / "state", other)
    (tmp_path / "state" / "definition.toml").write_text(other.to_toml())
    with pytest.raises(InputError, match=r"snapshot-\d+ is of another definition"):
        FeatureStore.open(tmp_path / "state", other)
    assert not FeatureStore.verify(tmp_path / "state").ok


def test_a_full_disk_changes_nothing(tmp_path: Path, definition: FeatureDefinition) -> None:
    events = clean_events(4, 400)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with FeatureStore.open(tmp_path / "state", definition) as store:
        store.score(events.take(slice(0, 100)))
        digest, size = store.digest, next((tmp_path / "state").glob("log-*")).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1_000, limits[1]))
        try:
            for _ in range(2):
                with pytest.raises(StorageError, match="nothing was changed"):
                    store.score(events.take(slice(100, 200)))
            with pytest.raises(StorageError, match=r"snapshot-\d+ cannot be written"):
                store.snapshot()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert store.digest == digest
        assert not list((tmp_path / "state").glob("snapshot-*"))
        rest = store.score(events.take(slice(100, 400))).features
    twin = FeatureStore.open(None, definition)
    assert same_bits(twin.score(events).features[100:], rest)
    assert FeatureStore.verify(tmp_path / "state").num_events == 400


def test_one_process_has_a_folder(tmp_path: Path, definition: FeatureDefinition) -> None:
    with FeatureStore.open(tmp_path / "state", definition), pytest.raises(StorageError, match="another process"):
        FeatureStore.open(tmp_path / "state", definition)
    FeatureStore.open(tmp_path / "state", definition).close()


def test_what_is_acknowledged_is_synced(tmp_path: Path, definition: FeatureDefinition) -> None:
    events = clean_events(4, 100)
    with FeatureStore.open(tmp_path / "state", definition, sync_rows=30, sync_ms=1e9) as store:
        synced = []
        for row in range(0, 100, 10):
            sequence = store.score(events.take(slice(row, row + 10))).sequence
            synced.append((sequence, store.synced_sequence))
        assert synced[:6] == [(1, 0), (2, 0), (3, 3), (4, 3), (5, 3), (6, 6)]
        assert store.flush() == 10


def test_a_batch_has_an_end_and_the_keys_of_the_definition(definition: FeatureDefinition) -> None:
    store = FeatureStore.open(None, definition)
    one = np.zeros(2**20 + 1, np.int64)
    with pytest.raises(TooLargeError):
        store.score(EventColumns(one, one, (one, one), one))
    with pytest.raises(InputError, match="1 keys"):
        store.score(EventColumns(one[:1], one[:1], (one[:1],), one[:1]))
    assert len(store.score(EventColumns(one[:0], one[:0], (one[:0], one[:0]), one[:0])).status) == 0


def test_no_call_holds_on_to_what_it_got(definition: FeatureDefinition) -> None:
    """The core counts no references: whoever calls it does."""
    events, store = clean_events(9, 50), FeatureStore.open(None, definition)
    store.score(events)
    counts = [sys.getrefcount(array) for array in (*events.arrays(), *store._state)]
    for _ in range(20):
        store.score(events)
        store.label(events.id, events.fraud)
    assert counts == [sys.getrefcount(array) for array in (*events.arrays(), *store._state)]
