"""How long everybody waits for a snapshot of a state: until it is copied, where the rival waits until it is written.

    python benchmarks/fraud_snapshot.py [--quick] [--events 5000000]

Payments of 30 days, 15 a card, scored by the store of features in batches; then both ways in turn, and the longest time
for which the thread that scores is not answered while the copy is written.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from result import claim, finish, print_claims

from deepseek.features import EventColumns, FeatureStore, card_payments

NUM_EVENTS, QUICK_EVENTS, BATCH = 5_000_000, 1_000_000, 200_000
START_S, DAYS_S = 1_522_540_800, 30 * 86_400
BAR = 3.0  # times shorter


def main() -> int:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_EVENTS:,} events; nothing is recorded")
    parser.add_argument("--events", type=int, default=NUM_EVENTS)
    options = parser.parse_args()
    number = QUICK_EVENTS if options.quick else options.events
    folder = Path(tempfile.mkdtemp(prefix="snapshot-"))
    try:
        with FeatureStore.open(folder, card_payments("card", "terminal"), sync_rows=2**40, sync_ms=1e12) as store:
            fill(store, number)
            claims = measure(store, number)
    finally:
        shutil.rmtree(folder)
    if number == NUM_EVENTS:
        return finish("fraud_snapshot", claims, not_run=[])
    print_claims(claims)
    return 0 if all(one["holds"] is not False for one in claims) else 3


def fill(store: FeatureStore, number: int) -> None:
    """Scores payments of DAYS_S seconds."""
    rng = np.random.default_rng(0)
    for first in range(0, number, BATCH):
        ids = np.arange(first, first + BATCH)
        cards, terminals = rng.integers(0, number // 15, BATCH), rng.integers(0, number // 150, BATCH)
        amounts = rng.integers(100, 9_000, BATCH)
        store.score(EventColumns(START_S + ids * DAYS_S // number, amounts, (cards, terminals), ids))


def measure(store: FeatureStore, number: int) -> list[dict[str, object]]:
    """Both ways, three times in turn; the shortest of each, for what else runs on the machine only adds."""
    pauses, writes, longest = [], [], []
    one = np.array([START_S + DAYS_S])
    for turn in range(3):
        start = time.perf_counter()
        store.snapshot()
        writes.append(time.perf_counter() - start)
        start = time.perf_counter()
        work = store.start_snapshot()
        pauses.append(time.perf_counter() - start)
        assert work is not None
        thread = threading.Thread(target=work.write)
        thread.start()
        last, gap, event = time.perf_counter(), 0.0, number + 10_000_000 * turn
        while thread.is_alive():
            store.score(EventColumns(one, one % 9_000, (one, one), np.array([event])))
            event += 1
            now = time.perf_counter()
            last, gap = now, max(gap, now - last)
        longest.append(gap)
    size = store.size_bytes["total"] / 2**20
    return [
        claim(
            f"{number:,} events, {size:.0f} MiB: pause", ours=min(pauses), rival=min(writes), unit="s", op=">=",
            rival_name="written while all wait", ratio=min(writes) / min(pauses), bar=BAR,
        ),
        claim("longest wait of an event while the copy is written", ours=min(longest), unit="s"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
