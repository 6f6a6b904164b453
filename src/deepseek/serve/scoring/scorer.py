"""Raw events to chances and decisions in this process: the store's features, the bundle's trees.

    scorer = EventScorer.open(Path("cards"), Path("state"))
    scored = scorer.score(raw)         # the state has changed
    scorer.sync()                      # from now on nothing of it can be lost
    scorer.close()

One thread at a time. The same events in another order, or a table by `predict --history`, give the same features to
the bit, because both come from one definition.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.contracts import Float32
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines import Runtime
from deepseek.errors import InputError, NonFiniteError, StorageError
from deepseek.features import EventColumns, FeatureDefinition, FeatureStore
from deepseek.features.status import Status
from deepseek.features.tables import DEFINITION_FILE, read_definition
from deepseek.serve.scoring.reading import EventReader, RawRows, VerdictReader

#: The log is synced by sync() alone, once for each group.
NEVER_SYNC_ROWS, NEVER_SYNC_MS = 2**40, 1e12
#: After so many events a snapshot is written: a log of about a gigabyte, which is read in some 20 s.
SNAPSHOT_EVENTS = 20_000_000
STATUS_NAMES = tuple(status.name.lower() for status in Status)


@dataclasses.dataclass(frozen=True, slots=True)
class ScoredEvents:
    """The answers to N events. Rows that the store refused have the status why, and no chance."""

    ids: list[Any]  # as they came
    status: np.ndarray[Any, np.dtype[np.int8]]  # (N,) of Status
    chances: np.ndarray[Any, np.dtype[np.float32]]  # (N,) of the positive class; NaN where there is no answer
    is_alert: np.ndarray[Any, np.dtype[np.bool_]]  # (N,)
    alert_inputs: Float32  # (alerts, F): prepared rows of the alerts, for who explains them
    alert_values: np.ndarray[Any, np.dtype[np.float64]]  # (alerts, features) as the store gave them
    labels: tuple[str, str]  # of the two decisions

    def __len__(self) -> int:
        return len(self.ids)


class EventScorer:
    """A bundle with a definition of features, and the state of its keys."""

    def __init__(self, runtime: Runtime, definition: FeatureDefinition, store: FeatureStore) -> None:
        if runtime.manifest.task != "binary":
            raise InputError(
                f"{runtime.name!r} is a model for {runtime.manifest.task}", expected="one of two classes",
                fix="make it by: deepseek recipe fraud",
            )  # fmt: skip
        self.runtime, self.definition, self.store = runtime, definition, store
        self._feature_names = definition.names  # which makes them anew each time
        known = frozenset(self._feature_names)
        self._extra = tuple(column.name for column in runtime.manifest.inputs if column.name not in known)
        self._num_logged = 0  # events and verdicts since the last snapshot
        self.reader = EventReader(definition, self._extra)
        self.verdict_reader = VerdictReader(definition)
        wanted = frozenset(column.name for column in runtime.manifest.inputs)
        self._places = np.array([place for place, name in enumerate(self._feature_names) if name in wanted], np.int64)
        self._names = tuple(self._feature_names[place] for place in self._places)

    @classmethod
    def open(cls, bundle: Path, state: Path | None, *, key: Path | None = None) -> EventScorer:
        """The bundle at a path with the state in a folder (None: in memory), which is made where it is not there.
        InputError for a bundle that has no definition of features."""
        runtime = Runtime.open(bundle, key=key)
        definition = read_definition(runtime.bundle)
        if definition is None:
            runtime.close()
            raise InputError(
                f"{bundle} has no definition of features over time ({DEFINITION_FILE})",
                expected="a bundle that scores raw events",
                fix="serve it without --state, or make one: deepseek recipe fraud",
            )
        if not definition.columns.id:
            raise InputError(
                "the definition names no column of ids", expected='columns.id, such as "TRANSACTION_ID"',
                fix="make the bundle again with a column of ids: without them an event sent twice counts twice",
            )  # fmt: skip
        return cls(
            runtime, definition, FeatureStore.open(state, definition, sync_rows=NEVER_SYNC_ROWS, sync_ms=NEVER_SYNC_MS)
        )

    @property
    def name(self) -> str:
        return self.runtime.name

    def score(self, raw: RawRows) -> ScoredEvents:
        """Answers events one after the other, each seeing those before it. InputError changes nothing."""
        events = self.reader.columns(raw)
        if self._extra:  # a value that does not fit is found before the state changes
            self._prepare(raw, np.zeros((len(raw), len(self._feature_names))), np.arange(len(raw)))
        scores = self.store.score(events)
        self._num_logged += len(events)
        rows = np.flatnonzero(scores.is_answered)
        chances = np.full(len(raw), np.nan, np.float32)
        is_alert = np.zeros(len(raw), np.bool_)
        inputs = np.empty((0, 0), np.float32)
        if len(rows):
            inputs = self._prepare(raw, scores.features, rows)
            output = self.runtime.score(inputs).output
            if not np.isfinite(output).all():
                raise NonFiniteError(
                    "the model answers with a number that is none", expected="chances", fix="make the bundle again"
                )
            chances[rows] = output[:, 1]
            is_alert[rows] = self.runtime.decision.classes(output) == 1
        alerts = np.flatnonzero(is_alert)
        labels = self.runtime.labels
        return ScoredEvents(
            self.reader.values(raw, self.definition.columns.id), scores.status, chances, is_alert,
            inputs[np.searchsorted(rows, alerts)], scores.features[alerts], (labels[0], labels[1]),
        )  # fmt: skip

    def label(self, raw: RawRows) -> np.ndarray[Any, np.dtype[np.int8]]:
        """Takes verdicts (N,), and gives the Status of each."""
        verdicts = self.verdict_reader.verdicts(raw)
        self._num_logged += len(raw)
        status: np.ndarray[Any, np.dtype[np.int8]] = self.store.label(*verdicts)
        return status

    def sync(self) -> None:
        """Returns once all that was scored and labeled is on the disk. From time to time it writes a snapshot, so that
        the log begins anew: everybody waits for that."""
        self.store.flush()
        if self._num_logged >= SNAPSHOT_EVENTS:
            self.store.snapshot()
            self._num_logged = 0

    def describe(self, values: Sequence[float]) -> dict[str, float | None]:
        """The features of one event by name, for reasons in words; None where there is no value."""
        return {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(self._feature_names, values, strict=True)
        }

    def warm_up(self) -> None:
        """Loads what the first event would wait for, without touching the state."""
        one = np.zeros(1, np.int64)
        events = EventColumns(one, one, (one,) * len(self.definition.keys), one)
        with FeatureStore.open(None, self.definition) as other:  # compiles, or reads what was compiled before
            other.score(events)
            other.label(one, one)
        blank = self.blank_inputs()
        if blank is not None:
            self.runtime.score(blank)

    def blank_inputs(self) -> Float32 | None:
        """A prepared row (1, F) of zeros, to warm up with; None where the model reads columns of the event, too."""
        if self._extra:
            return None
        return self._prepare(RawRows(([],), "lines"), np.zeros((1, len(self._feature_names))), np.array([0]))

    def close(self) -> None:
        """Writes a snapshot where something came, and lets bundle and folder go. Without room for it the log stays."""
        try:
            if self._num_logged:
                with contextlib.suppress(StorageError):
                    self.store.snapshot()
        finally:
            self.store.close()
            self.runtime.close()

    def _prepare(self, raw: RawRows, features: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> Float32:
        values = features if len(rows) == len(features) else features[rows]
        if len(self._places) < features.shape[1]:
            values = values[:, self._places]
        if not self._extra:
            return self.runtime.prepare(ColumnarRows(self._names, values)).features
        extra = [[self.reader.values(raw, name)[row] for row in rows.tolist()] for name in self._extra]
        columns = ColumnarRows((*self._names, *self._extra), [*values.T, *extra])
        return self.runtime.prepare(columns).features
