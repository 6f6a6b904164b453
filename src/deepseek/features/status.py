"""What a store says of events and verdicts."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, TypeAlias

import numpy as np

from deepseek.features.events import Values

Doubles: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.int8]]


class Status(enum.IntEnum):
    """What became of an event or of a verdict. Only ACCEPTED changes the state."""

    ACCEPTED = 0
    DUPLICATE = 1  # its id is known: the answer is the one of then
    DUPLICATE_OLD = 2  # its id is known, its answer is no longer kept
    LATE = 3  # further behind the latest event than the bound
    AHEAD = 4  # further before the latest event than the bound
    BAD_AMOUNT = 5  # negative, NaN or too large
    BAD_TIME = 6
    KEY_FULL = 7  # its key has 4,194,304 events in its windows
    UNKNOWN_ID = 8  # a verdict on an event that never was, or is long forgotten
    LABEL_LATE = 9  # a verdict on an event that has left every window
    BAD_KEY = 10  # a key or an id that is none; said by who reads events, for the store takes codes alone
    BAD_LABEL = 11  # a verdict that is neither 0 nor 1; said by who reads verdicts


@dataclasses.dataclass(frozen=True)
class Scores:
    """The answers to N events."""

    names: tuple[str, ...]  # of F features
    features: Doubles  # (N, F); NaN in rows that were refused
    status: Bytes  # (N,): of Status
    sequence: int = (
        0  # of the record in the log that holds the events; it is safe when the store's synced_sequence is as high
    )

    @property
    def is_answered(self) -> Values:
        """(N,): whether there is an answer."""
        return self.status <= Status.DUPLICATE
