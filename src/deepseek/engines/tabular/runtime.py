"""A bundle that answers: raw rows in, labels, probabilities, values out. Used by predict, serve, evaluate and explain.

    with Runtime.open("loans") as runtime:
        runtime.predict([{"age": 61, "income": 2400.0}]).labels

It holds onnxruntime and the preprocessor; the model's arrays and a second engine are loaded when they are first needed.
A server's front end, whose engines run in other processes, opens it `lazy`: then the first engine waits too.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast

import numpy as np

from deepseek.bundle import Bundle, EngineEntry, Input, Manifest, open_bundle
from deepseek.bundle.agreement import DECISION, EXAMPLE, MODEL, PREPROCESS, SAMPLES
from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.manifest import PLAIN_TASKS
from deepseek.contracts import Batch, Engine, Flag, Float32, JsonObject, Prediction, Record, Scores, Task
from deepseek.data import Preprocessor, Table, read_table
from deepseek.data.table.formats import target_format
from deepseek.data.table.table import ColumnFormat
from deepseek.engines.checks.finite import check_answers, check_numbers
from deepseek.engines.decide import Decision
from deepseek.engines.measuring import LossyEngines
from deepseek.engines.registry import ENGINES, REFERENCE, Source, engine_file, open_engine
from deepseek.errors import ExtraError, InputError, IntegrityError, MissingError
from deepseek.nn.model import Model, OutputCalibration, read_calibration

#: Most that graph and arrays may differ in an answer, absolute and relative: a hundred times what parity allows.
SAME_OUTPUT_TOLERANCE = 1e-3


class Runtime:
    """An open bundle. score() may be called from several threads at once; `num_threads` is for one call."""

    def __init__(
        self, bundle: Bundle, *, num_threads: int = 1, lazy: bool = False, lossy: LossyEngines | None = None,
        engine: str | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle
        self.manifest: Manifest = bundle.manifest
        if self.manifest.task in PLAIN_TASKS:
            raise InputError(
                f"{bundle.path} holds a model that reads no table ({self.manifest.task})",
                expected="a bundle that ship has made",
                fix=f"deepseek {'review' if self.manifest.task == 'review' else 'serve'} {bundle.path}",
            )
        if SAMPLES in self.manifest.files:
            raise InputError(
                f"{bundle.path} reads files or texts, which this verb cannot",
                expected="a bundle of a table", fix=f"deepseek predict {bundle.path} DATA, or deepseek.load in Python",
            )  # fmt: skip
        self.preprocessor = Preprocessor.from_bytes(bundle.read(PREPROCESS))
        check_inputs(self.manifest, self.preprocessor.inputs(), PREPROCESS)
        _check_engines(self.manifest.engines)
        self._num_features = len(self.preprocessor.feature_names)
        int8 = None if lossy is None else lossy.int8
        self._source = Source(
            load_model=lambda: self.model,
            load_graph=lambda: bundle.read("model.onnx"),
            num_features=self._num_features,
            num_threads=num_threads,
            load_int8=None if int8 is None else lambda: _read_int8(*int8),
            num_outputs=max(1, len(self.manifest.labels)),
        )
        self.lossy = lossy  # what was chosen on this machine instead of the bundle's own engines
        self._decision = Decision.from_bytes(
            bundle.read(DECISION), task=cast("Task", self.manifest.task), labels=tuple(self.manifest.labels)
        )
        # A bundle without a graph, made of a model of another library, names the one engine that it runs in.
        entries = self.manifest.engines
        named = [entry.kind for entry in entries if entry.from_rows <= 1]
        self._first_kind = named[0] if named and REFERENCE not in {entry.kind for entry in entries} else REFERENCE
        self._engines: dict[str, Engine] = (
            {} if lazy else {self._first_kind: open_engine(self._first_kind, self._source)}
        )
        # (first number of rows, kind), the largest first
        choices = [(entry.from_rows, entry.kind) for entry in entries]
        if lossy is not None:
            choices = [(size, kind) for kind, size in lossy.engines]
        if engine is not None:
            choices = [(1, engine)]
        self._choices = sorted(choices, reverse=True)
        self._opening = threading.Lock()

    @classmethod
    def from_spec(cls, path: str, lossy: JsonObject | None = None) -> Runtime:
        """In an engine process: the bundle at `path`, with the engines that the front end has chosen (LossyEngines)."""
        return cls(open_bundle(path), lossy=None if lossy is None else LossyEngines.from_dict(lossy))

    @property
    def sizes(self) -> list[int]:
        """From how many rows on each of its engines computes."""
        return sorted({1, *(max(1, size) for size, _ in self._choices)})

    @property
    def kinds(self) -> set[str]:
        """Of the engines that it may open."""
        return {self._first_kind, *(kind for _, kind in self._choices)}

    @property
    def reference(self) -> str:
        """The kind of the engine that runs without a choice."""
        return self._first_kind

    def source(self, load_int8: Callable[[], bytes] | None = None) -> Source:
        """Where its engines take what they need."""
        return replace(self._source, load_int8=load_int8)

    @classmethod
    def open(
        cls, path: str | Path, *, key: Path | None = None, num_threads: int = 1, lazy: bool = False,
        engine: str | None = None,
    ) -> Runtime:  # fmt: skip
        """Open the bundle at `path` (its files are checked as they are read; `key` asks for a signature; `engine`: the
        one kind that answers calls of any size, by default the fastest for each).

        IntegrityError, MissingError or InputError for what is not a whole bundle, ExtraError without onnxruntime.
        """
        return cls(open_bundle(path, key=key), num_threads=num_threads, lazy=lazy, engine=engine)

    @property
    def name(self) -> str:
        """What the bundle is called where it is served."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The bundle's own version, as its manifest says it."""
        return self.manifest.version

    @property
    def decision(self) -> Decision:
        """How outputs become answers."""
        return self._decision

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in order; empty for regression."""
        return self._decision.labels

    @cached_property
    def calibration(self) -> OutputCalibration | None:
        """From margins, which explanations speak of, to probabilities; None where another library made the model."""
        return read_calibration(self.bundle.read(MODEL)) if self.bundle.has(MODEL) else None

    @cached_property
    def model(self) -> Model:
        """The model's arrays, for the trees engine and for explanations."""
        model = Model.from_files(self.bundle.read)
        model.check(self._num_features)
        self._check_graph(model)
        return model

    def _check_graph(self, model: Model) -> None:
        """IntegrityError when the graph and the arrays are those of two models: then the number of rows of a call would
        decide what is answered, and explanations would speak of another model."""
        if self._first_kind != REFERENCE or not self.bundle.has(EXAMPLE):
            return
        features = self.prepare([self.example]).features
        engine = self._engines.get(REFERENCE) or self._open(REFERENCE)
        with np.errstate(all="ignore"):
            by_graph, by_arrays = engine.score(features).output, model.score(features).output
        if not np.allclose(by_graph, by_arrays, rtol=SAME_OUTPUT_TOLERANCE, atol=SAME_OUTPUT_TOLERANCE):
            raise IntegrityError(
                f"model.onnx answers {by_graph[0].tolist()} to the example, the arrays of model.json "
                f"{by_arrays[0].tolist()}",
                expected="one model in both",
                fix=_FIX_BUNDLE,
            )

    @cached_property
    def example(self) -> Record:
        """One typical record by column name."""
        return read_example(self.bundle)

    def prepare(self, records: Sequence[Record]) -> Batch:
        """Prepared features of raw records; InputError for what does not fit the model's columns."""
        return self.preprocessor.rows(records)

    def prepare_features(self, records: Sequence[Record]) -> Float32:
        """The features (N, F) alone, for who reads no flags."""
        return self.preprocessor.features_of(records)

    def prepare_table(self, table: Table) -> Batch:
        """Prepared features of a table's rows."""
        return self.preprocessor.table(table)

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F) by the engine that is fastest for N rows."""
        return self._engine(len(features)).score(features)

    def outputs(self, table: Table, *, first_row: int = 0, flags: list[Flag] | None = None) -> Float32:
        """Outputs (N, C) or (N, 1) of a table's rows, values within the bundle's range; `flags` gets those of the rows.
        NonFiniteError as predict()."""
        batch = self.prepare_table(table)
        output = self.decision.clip(self.score(batch.features).output)
        if flags is not None:
            flags += batch.flags
        check_numbers(output, self.manifest.outputs[-1].name, model=self.name, first_row=first_row)
        return output

    def decide(self, scores: Scores, flags: Sequence[Flag] = ()) -> Prediction:
        """Labels by threshold, costs or the largest probability; values with their interval."""
        return self._decision.apply(scores.output, flags)

    def predict(self, data: Any, *, first_row: int = 0) -> Prediction:
        """Answers for records, a Table, or whatever read_table takes: a path, a frame, columns by name. Columns of a
        frame or file that the model does not read are passed over with a warning. NonFiniteError for an answer that is
        not finite. `first_row`: what errors call the first row of a part of a larger table."""
        batch = self.preprocessor.table(data, first_row) if isinstance(data, Table) else self._prepare_any(data)
        if not len(batch):
            raise InputError(
                "there are no rows to score",
                expected="at least one row",
                fix="give rows with the columns that the model reads",
            )
        prediction = self.decide(self.score(batch.features), batch.flags)
        check_answers(prediction, model=self.name, first_row=first_row)
        return prediction

    @property
    def formats(self) -> dict[str, ColumnFormat]:
        """How texts say numbers and dates in rows for this model, the target with them, as training found it."""
        target = target_format(self.manifest.lineage.config)
        return self.preprocessor.formats | ({} if target is None else {self.manifest.target: target})

    def _repr_html_(self) -> str:
        """The bundle's card, for a notebook."""
        from deepseek.bundle.card import bundle_card

        return bundle_card(self.bundle)

    def close(self) -> None:
        """Let the engines go."""
        for engine in self._engines.values():
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare_any(self, data: Any) -> Batch:
        if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
            if not all(isinstance(record, Mapping) for record in data):
                raise InputError(
                    "a row is not a record",
                    expected="a list of objects by column name",
                    fix='give [{"COLUMN": value, ...}, ...]',
                )
            return self.prepare(data)
        table = read_table(data)
        prepared = self.preprocessor
        known = {column.name for column in prepared.columns} | set(prepared.ignored)
        extra = [name for name in table.names if name not in known]
        # Where a column is missing, an extra one may be it under another name: the error says so.
        if extra and all(column.name in table.columns for column in prepared.columns):
            listed = ", ".join(map(repr, extra[:10])) + ", ..." * (len(extra) > 10)
            warnings.warn(f"columns that {self.name} does not read were passed over: {listed}", stacklevel=3)
            table = table.drop(extra)
        return self.prepare_table(table)

    def _engine(self, num_rows: int) -> Engine:
        kind = next((kind for from_rows, kind in self._choices if from_rows <= num_rows), self._first_kind)
        return self._engines.get(kind) or self._open(kind)

    def _open(self, kind: str) -> Engine:
        """An engine, once. Where a second one or its library is not installed, the first one does its work."""
        with self._opening:
            if self._first_kind not in self._engines:
                self._engines[self._first_kind] = open_engine(self._first_kind, self._source)
            if kind not in self._engines:
                try:
                    self._engines[kind] = open_engine(kind, self._source)
                except (ExtraError, MissingError):
                    self._engines[kind] = self._engines[self._first_kind]
            return self._engines[kind]


def read_example(bundle: Bundle, files: Record = MappingProxyType({})) -> Record:
    """The typical record in a bundle, with the values of the columns in `files`, which it holds none of. IntegrityError
    when one of the inputs has no value then."""
    record = parse_json_object(bundle.read(EXAMPLE), EXAMPLE, finite=False) | dict(files)
    absent = [column.name for column in bundle.manifest.inputs if column.name not in record]
    if absent:
        raise IntegrityError(
            f"{EXAMPLE} has no value for {absent[0][:100]!r}, one of the inputs in bundle.json",
            expected="a value for each input",
            fix=_FIX_BUNDLE,
        )
    return record


def check_inputs(manifest: Manifest, inputs: Sequence[Input], file: str) -> None:
    """IntegrityError unless the inputs that bundle.json promises are those that the preprocessing in `file` reads."""
    for stated, column in zip_longest(manifest.inputs, inputs):
        if stated != column:
            raise IntegrityError(
                f"bundle.json and {file} differ: the one has the input {stated}, the other reads {column}",
                expected="the same inputs in both",
                fix=_FIX_BUNDLE,
            )


def _check_engines(entries: Sequence[EngineEntry]) -> None:
    """IntegrityError for an engine of ours that is said to read another file than it does."""
    for entry in entries:
        if entry.kind in ENGINES and entry.file != engine_file(entry.kind):
            raise IntegrityError(
                f"bundle.json: engines.{entry.kind}.file is {entry.file[:100]!r}",
                expected=f"{engine_file(entry.kind)}, which that engine reads",
                fix=_FIX_BUNDLE,
            )


def _read_int8(path: str, digest: str) -> bytes:
    """The copy of the graph; IntegrityError unless it is the one that was measured."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}", expected=digest, fix=_FIX_INT8) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise IntegrityError(f"{path} was changed", expected=digest, fix=_FIX_INT8)
    return data


_FIX_BUNDLE = "make the bundle again, or take an unharmed copy"
_FIX_INT8 = "start the server again, which makes it anew"
