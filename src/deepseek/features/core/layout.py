"""Where a store keeps what: the fields of its records, and its arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Kinds of features: their names in a definition, in capitals.
AMOUNT, HOUR, WEEKDAY = 0, 1, 2
COUNT, SUM, MEAN, AMOUNT_RATIO, AMOUNT_ZSCORE, KNOWN_COUNT, FRAUD_COUNT, FRAUD_SHARE = 3, 4, 5, 6, 7, 8, 9, 10
GAP, FRAUDS_KNOWN, FRAUD_STREAK, FRAUD_STREAK_AGE, SINCE_FRAUD = 11, 12, 13, 14, 15
STATE_ODDS = 16  # from here on the answers of the filters of hidden states
# What becomes of an event or a verdict.
ACCEPTED, DUPLICATE, DUPLICATE_OLD, LATE, AHEAD, BAD_AMOUNT, BAD_TIME, KEY_FULL, UNKNOWN_ID, LABEL_LATE = range(10)
NUM_STATUSES = 10
# Fields of a record: words (int32), after them W starts, W label starts, W counts of frauds.
GROUP, SIZE_CLASS, START, END, LABELED, LAST_GENUINE, LAST_FRAUD, KNOWN_FRAUDS, NUM_WORDS = range(9)
# Longs (int64), after them W sums, and where a key needs them W times (high, low) of squares.
CODE, BLOCK, LATEST, NUM_LONGS = range(4)
# Counters (int64), after them one for each status of events and one for each of verdicts.
NUM_SLOTS, NUM_FREE, ARENA_END, WATERMARK, TAIL, HEAD, ANSWERS_TAIL, FREE_SLOT, NEED, NUM_COUNTERS = range(10)
# What NEED says is too small.
NOTHING, SLOTS, ARENA, EVENTS, ANSWERS = range(5)

NEVER = -(2**63)  # the time of what has not been
MAX_EVENTS = 2**22  # of one key: its sums stay below 2^63
FEW_EVENTS = 16
TAG_BITS, TAG_MASK = 22, 2**22 - 1
ID_TAG_MASK, ROW_MASK = 2**31 - 1, 2**32 - 1  # of an entry in the table of ids
SQUARE_BITS, HALF_BITS = 40, 20
LEAST_VARIANCE = 1e-12
DAY_S, HOUR_S = 86_400, 3_600


class State(NamedTuple):
    """S slots, A events in blocks, M ids that are known, P answers that are kept, K keys, F features."""

    words: np.ndarray[Any, np.dtype[np.int32]]  # (S, ...): records; slots below K are for late events
    longs: np.ndarray[Any, np.dtype[np.int64]]  # (S, ...)
    table: np.ndarray[Any, np.dtype[np.int32]]  # (power of 2,): key -> slot, 0 where free
    arena: np.ndarray[Any, np.dtype[np.int64]]  # (A, 2): time; amount, tag of the id and verdict in one; (A, 3) with
    # hidden states: and a note
    sizes: np.ndarray[Any, np.dtype[np.int64]]  # sizes of blocks, ascending
    free_blocks: np.ndarray[Any, np.dtype[np.int64]]  # of each size the first free block, -1 for none
    ids: np.ndarray[Any, np.dtype[np.int64]]  # (M,), a power of 2: ids in the order of arrival, a ring
    times: np.ndarray[Any, np.dtype[np.int64]]  # (M,)
    slots: np.ndarray[Any, np.dtype[np.int32]]  # (M, K)
    id_table: np.ndarray[
        Any, np.dtype[np.int64]
    ]  # (power of 2,): tag of an id, and its row in the ring + 1; 0 where free
    answers: np.ndarray[Any, np.dtype[np.float64]]  # (P, F), P a power of 2: a ring
    counters: np.ndarray[Any, np.dtype[np.int64]]
