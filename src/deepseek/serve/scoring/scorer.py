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
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.bundle.agreement import MODEL
from deepseek.bundle.inspect import read_promises
from deepseek.contracts import Float32, Scores
from deepseek.data.table.columns import ColumnarRows
from deepseek.engines import Runtime
from deepseek.engines.tabular.compiled_trees import CompiledModel
from deepseek.errors import InputError, NonFiniteError, StorageError
from deepseek.features import EventColumns, FeatureDefinition, FeatureStore
from deepseek.features.logged_state import SnapshotSchedule
from deepseek.features.status import Scores as FeatureScores
from deepseek.features.status import Status
from deepseek.features.tables import DEFINITION_FILE, read_definition
from deepseek.serve.scoring.monitor import FRAUD_FILE, DecisionMonitor, ReferenceBins
from deepseek.serve.scoring.plain_answers import AnswerTemplate
from deepseek.serve.scoring.preparing import CompiledPreparer
from deepseek.serve.scoring.reading import Column, EventReader, Flags, RawRows, VerdictReader
from deepseek.serve.scoring.tally import DecisionTally

#: The log is synced by sync() alone, once for each group.
NEVER_SYNC_ROWS, NEVER_SYNC_MS = 2**40, 1e12
#: After so many events a snapshot is written: a log of about a gigabyte, which is read in some 20 s.
SNAPSHOT_EVENTS = 20_000_000
TALLY_FILE = "decisions.bin"  # in the folder of a state
DEFAULT_EDGES = (0.001, 0.01, 0.1, 0.5)  # between the bins of chances where a bundle has no reference
STATUS_NAMES = tuple(status.name.lower() for status in Status)


@dataclasses.dataclass(frozen=True, slots=True)
class ScoredEvents:
    """The answers to N events. Rows that the store refused have the status why, and no chance."""

    ids: Column  # as they came
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

    def __init__(
        self,
        runtime: Runtime,
        definition: FeatureDefinition,
        store: FeatureStore,
        snapshot_events: int = SNAPSHOT_EVENTS,
    ) -> None:
        """`snapshot_events`: after so many events and verdicts a snapshot is written."""
        if runtime.manifest.task != "binary":
            raise InputError(
                f"{runtime.name!r} is a model for {runtime.manifest.task}", expected="one of two classes",
                fix="make it by: deepseek recipe fraud",
            )  # fmt: skip
        self.runtime, self.definition, self.store = runtime, definition, store
        self.run_model = _fastest_score(runtime)
        self._labels = (runtime.labels[0], runtime.labels[1])
        self._feature_names = definition.names  # which makes them anew each time
        known = frozenset(self._feature_names)
        self.extra_columns = tuple(column.name for column in runtime.manifest.inputs if column.name not in known)
        self.monitor = _open_monitor(runtime, store)
        self.snapshots = SnapshotSchedule(store.start_snapshot, snapshot_events)
        self.reader = EventReader(definition, self.extra_columns)
        self.verdict_reader = VerdictReader(definition)
        wanted = frozenset(column.name for column in runtime.manifest.inputs)
        self._places = np.array([place for place, name in enumerate(self._feature_names) if name in wanted], np.int64)
        self._names = tuple(self._feature_names[place] for place in self._places)
        self._preparer = CompiledPreparer.of(runtime.preprocessor, self._feature_names)

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
        store = FeatureStore.open(state, definition, sync_rows=NEVER_SYNC_ROWS, sync_ms=NEVER_SYNC_MS)
        return cls(runtime, definition, store)

    @property
    def name(self) -> str:
        return self.runtime.name

    def score(self, raw: RawRows) -> ScoredEvents:
        """Answers events one after the other, each seeing those before it. InputError changes nothing."""
        with self.monitor.lock:
            return self._score(raw)

    def _score(self, raw: RawRows) -> ScoredEvents:
        events, is_bad = self.reader.columns(raw)
        if self.extra_columns:  # a value that does not fit is found before the state changes
            self._prepare(raw, np.zeros((len(raw), len(self._feature_names))), np.arange(len(raw)))
        scores = self.store.score(events) if is_bad is None else self._score_usable(events, is_bad)
        self.snapshots.count(len(events))
        rows = np.flatnonzero(scores.is_answered)
        chances = np.full(len(raw), np.nan, np.float32)
        is_alert = np.zeros(len(raw), np.bool_)
        inputs = np.empty((0, 0), np.float32)
        if len(rows):
            inputs = self._prepare(raw, scores.features, rows)
            output = self.run_model(inputs).output
            if not np.isfinite(output).all():
                raise NonFiniteError(
                    "the model answers with a number that is none", expected="chances", fix="make the bundle again"
                )
            chances[rows] = output[:, 1]
            is_alert[rows] = self.runtime.decision.classes(output) == 1
            self.monitor.tally.add(scores.status, chances, is_alert)
            self.monitor.sample(scores.features if len(rows) == len(raw) else scores.features[rows])
        alerts = np.flatnonzero(is_alert)
        return ScoredEvents(
            self.reader.values(raw, self.definition.columns.id), scores.status, chances, is_alert,
            inputs[np.searchsorted(rows, alerts)], scores.features[alerts], self._labels,
        )  # fmt: skip

    def label(self, raw: RawRows) -> np.ndarray[Any, np.dtype[np.int8]]:
        """Takes verdicts (N,), and gives the Status of each."""
        with self.monitor.lock:
            return self._label(raw)

    def _label(self, raw: RawRows) -> np.ndarray[Any, np.dtype[np.int8]]:
        ids, fraud, status = self.verdict_reader.verdicts(raw)
        self.snapshots.count(len(raw))
        if status is None:
            status = self.store.label(ids, fraud)
        else:
            usable = np.flatnonzero(status == Status.ACCEPTED)
            status[usable] = self.store.label(ids[usable], fraud[usable])
        self.monitor.tally.add_verdicts(ids, fraud, status)
        self.monitor.warn()
        return status

    def _score_usable(self, events: EventColumns, is_bad: Flags) -> FeatureScores:
        """The answers to events of which some have no key: the store gets the others alone."""
        usable = np.flatnonzero(~is_bad)
        scores = self.store.score(events.take(usable))
        features = np.full((len(events), len(self._feature_names)), np.nan)
        status = np.full(len(events), Status.BAD_KEY, np.int8)
        features[usable], status[usable] = scores.features, scores.status
        return FeatureScores(scores.names, features, status, scores.sequence)

    def sync(self) -> None:
        """Returns once all that was scored and labeled is on the disk."""
        self.store.flush()
        self.save()

    def save(self) -> None:
        """Writes the tally, and begins a snapshot when one is due, so that the log begins anew."""
        self.monitor.tally.save()
        self.snapshots.begin_when_due()

    def describe(self, values: Sequence[float]) -> dict[str, float | None]:
        """The features of one event by name, for reasons in words; None where there is no value."""
        return {
            name: None if value != value else float(value)  # noqa: PLR0124 - NaN
            for name, value in zip(self._feature_names, values, strict=True)
        }

    def warm_up(self) -> None:
        """Loads what the first event would wait for, without touching the state."""
        one = np.zeros(1, np.int64)
        events = EventColumns(one, one, (one,) * len(self.definition.keys), one)
        with FeatureStore.open(None, self.definition) as other:  # compiles, or reads what was compiled before
            other.score(events)
            other.label(one, one)
        self.reader.warm_up()
        AnswerTemplate(self._labels, STATUS_NAMES).rows(one, one.astype(np.int8), np.ones(1, np.float32), one == 1)
        blank = self.blank_inputs()
        if blank is not None:
            self.run_model(blank)

    def blank_inputs(self) -> Float32 | None:
        """A prepared row (1, F) of zeros, to warm up with; None where the model reads columns of the event, too."""
        if self.extra_columns:
            return None
        return self._prepare(RawRows(([],), "lines"), np.zeros((1, len(self._feature_names))), np.array([0]))

    def close(self) -> None:
        """Writes a snapshot where something came, and lets bundle and folder go. Without room for it the log stays."""
        try:
            if self.snapshots.close():
                with contextlib.suppress(StorageError):
                    self.store.snapshot()
        finally:
            self.monitor.tally.close()
            self.store.close()
            self.runtime.close()

    def _prepare(self, raw: RawRows, features: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> Float32:
        values = features if len(rows) == len(features) else features[rows]
        if self._preparer is not None:
            return self._preparer.inputs(values)
        if len(self._places) < features.shape[1]:
            values = values[:, self._places]
        if not self.extra_columns:
            return self.runtime.prepare_features(ColumnarRows(self._names, values))
        extra = [[self.reader.values(raw, name)[row] for row in rows.tolist()] for name in self.extra_columns]
        columns = ColumnarRows((*self._names, *self.extra_columns), [*values.T, *extra])
        return self.runtime.prepare_features(columns)


def _fastest_score(runtime: Runtime) -> Callable[[Float32], Scores]:
    """What answers prepared rows (N, F): shallow trees compiled, as the store is, else the engines of the bundle."""
    compiled = CompiledModel.of(runtime.model) if runtime.bundle.has(MODEL) else None
    return runtime.score if compiled is None else compiled.score


def _open_monitor(runtime: Runtime, store: FeatureStore) -> DecisionMonitor:
    """What watches this model on this state. Its counts are in the folder of the state, and begin anew with another
    model."""
    bundle = runtime.bundle
    reference = None
    if bundle.has(FRAUD_FILE):
        reference = ReferenceBins.from_evidence(json.loads(bundle.read(FRAUD_FILE)))
    edges = DEFAULT_EDGES if reference is None else reference.chance.edges
    identity = hashlib.sha256(f"{bundle.digest} {edges}".encode()).digest()
    path = None if store.folder is None else store.folder / TALLY_FILE
    return DecisionMonitor(
        read_promises(bundle).operating_point, reference, DecisionTally(store, path, identity, edges), store
    )
