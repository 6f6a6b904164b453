"""What passes between rooms, and the protocols that a plugin meets. numpy only: every room may import this.

Shapes: N rows, F prepared features, P raw columns, C classes, K margins (K = 1 for binary and regression, K = C for
multiclass).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Record = Mapping[str, Any]
#: A JSON document that is read, passed on or printed whole. What a module computes with is a dataclass.
JsonObject = dict[str, Any]
#: Named arrays whose first axis is the rows: what an engine process is given and what it answers.
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Flag:
    """A value that was changed on the way in, or that is beyond what the model was trained on, so that the answer can
    say so: "outside" the training range, or in a row "far" from every training row, mostly by this column."""

    row: int
    column: str
    what: Literal["imputed", "unseen", "truncated", "unreadable", "outside", "far"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Prepared rows, ready for any engine."""

    features: Float32  # (N, F), C-contiguous, finite: missing values are already imputed
    flags: tuple[Flag, ...] = ()

    def __len__(self) -> int:
        return int(self.features.shape[0])


@dataclass(frozen=True, slots=True)
class Tensors:
    """N rows of named arrays, each (N, ...). `is_whole`: a row is a call of its own, whose tensors have none:
    to who sends and gets them the first axis is not there."""

    arrays: Arrays
    is_whole: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, rows: slice | NDArray[Any]) -> Tensors:
        return Tensors({name: array[rows] for name, array in self.arrays.items()}, self.is_whole)

    def __iter__(self) -> Iterator[Tensors]:
        return (self[row : row + 1] for row in range(len(self)))


@dataclass(frozen=True, slots=True)
class Scores:
    """What an engine returns for N rows."""

    margin: Float32  # (N, K), the additive scale that explanations speak of, before calibration
    output: Float32  # (N, C) calibrated probabilities, or (N, 1) values for regression


@dataclass(frozen=True, slots=True)
class Prediction:
    """Answers for N rows. Classes: labels and probabilities. Regression: values and, where fitted, intervals. Texts:
    embeddings, or the entities in each. Pictures of parts: the defects on each. A bare graph: its outputs by name."""

    labels_known: tuple[str, ...] = ()  # the classes in the order of the columns of probabilities
    labels: NDArray[np.str_] | None = None  # (N,)
    probabilities: Float32 | None = None  # (N, C)
    values: Float32 | None = None  # (N,)
    intervals: Float32 | None = None  # (N, 2) conformal lower and upper ends
    embeddings: Float32 | None = None  # (N, D)
    entities: tuple[tuple[Mapping[str, Any], ...], ...] | None = None  # (N,) each: text, label, start, end, probability
    defects: tuple[Mapping[str, Any], ...] | None = None  # (N,) each: defective, score, boxes, mask
    tensors: Tensors | None = None  # of a graph that says nothing of what its outputs mean
    flags: tuple[Flag, ...] = ()

    def __len__(self) -> int:
        for part in (self.labels, self.values, self.embeddings, self.entities, self.defects, self.tensors):
            if part is not None:
                return len(part)
        return 0


#: Largest relative residual of an explanation that adds up.
RESIDUAL_LIMIT = 1e-3


@dataclass(frozen=True, slots=True)
class Attribution:
    """Additive explanations of N rows: base_value + values.sum(1) + residual = output, on the stated scale."""

    names: tuple[str, ...]  # (P,) raw columns, not encoded features
    values: Float64  # (N, P)
    base_value: Float64  # (N,)
    output: Float64  # (N,) what is explained: the margin of `target`
    scale: str  # "log-odds", "probability" or "target units"
    method: str  # how, in words: "TreeSHAP, exact (path-dependent)"
    target: str | None = None  # the class explained; None for regression
    why: str = ""  # why this method was chosen
    error: Float64 | None = None  # (N, P) standard errors of values that were sampled
    is_partial: bool = False  # stopped by its limit of time or of evaluations, above the error that was asked for
    notes: tuple[str, ...] = ()  # what a reader must know
    #: Of each row what the parts of its texts and pictures add, as JSON holds it (explain/media/texts.py,
    #: explain/media/parts.py).
    parts: tuple[tuple[Mapping[str, Any], ...], ...] = ()

    @property
    def residual(self) -> Float64:
        """What the explanation leaves unexplained, per row (N,). Its largest size is the error bound."""
        explained: Float64 = self.base_value + self.values.sum(axis=1)
        return self.output - explained

    @property
    def relative_residual(self) -> Float64:
        """Size of the residual by what is explained, per row (N,). Log-odds and probabilities: by the output, or by 1
        where that is smaller. Target units have no natural size: by the change from base to output or the largest
        contribution, or by 1 % of output or base where that is larger, since a float32 answer holds seven digits."""
        output, base = np.abs(self.output), np.abs(self.base_value)
        if self.scale in ("log-odds", "probability"):
            explained = np.maximum(1.0, output)
        else:
            moved = np.maximum(np.abs(self.output - self.base_value), np.abs(self.values).max(axis=1, initial=0.0))
            explained = np.maximum(moved, 0.01 * np.maximum(output, base))
        size: Float64 = np.abs(self.residual) / np.maximum(explained, np.finfo(np.float64).tiny)
        return size

    @property
    def adds_up(self) -> NDArray[np.bool_]:
        """Per row (N,) whether base value and contributions make the output, within RESIDUAL_LIMIT."""
        part: NDArray[np.bool_] = self.relative_residual <= RESIDUAL_LIMIT
        return part


@dataclass(slots=True)  # not frozen, which costs 2 us an object; but all sinks get the same one, so none changes it
class Event:
    """One thing that happened in a server: a request answered, a batch computed, a model loaded."""

    kind: Literal["request", "batch", "explain", "model", "server", "shadow", "coalesced", "generation"]
    model_name: str = ""
    model_version: str = ""
    status: int = 0  # HTTP status of a request
    num_rows: int = 0
    duration_s: float = 0.0
    queue_s: float = 0.0
    fields: Mapping[str, Any] = field(default_factory=dict)  # request_id, traceparent, route, flags, error, ...
    #: Of a computed request, on one clock (s): when it came, its rows were decoded, prepared, given to an engine and
    #: computed; its end is the first plus `duration_s`. Empty where a request was not computed alone.
    marks: tuple[float, ...] = ()


@dataclass(slots=True)  # not frozen, as Event
class AnsweredRows:
    """The rows of one request and what was answered: for a log of predictions."""

    records: Sequence[Record] | Tensors | None  # as they came; None for rows that were prepared elsewhere
    prediction: Prediction | None = None  # of these rows, or of a whole batch; None: there is none
    start: int = 0  # their first row in it
    flags: Sequence[Flag] = ()  # of these rows, beside those of the prediction
    worker_pid: int = 0  # the engine process that computed them; 0: this process
    compute_s: float = 0.0  # of the batch that they were computed in


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number with its bootstrap interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


@runtime_checkable
class Engine(Protocol):
    """Runs a finished model. Safe to call from several threads."""

    kind: str

    def score(self, features: Float32) -> Scores:
        """Scores for prepared features (N, F), N >= 1."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Explainer(Protocol):
    """Says why. Takes the same prepared rows as an engine: (N, F), or samples of several modalities."""

    def explain(self, features: Any, *, target: str | None = None) -> Attribution:
        """Attributions for N rows. `target` is a class label; by default each binary row's positive class, and the
        predicted class of the first row for multiclass."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Takes events: metrics, an audit log, a test's list. Must not block and must not raise."""

    def emit(self, event: Event) -> None: ...


@runtime_checkable
class RowSink(Protocol):
    """Takes the rows of each request to a model, beside its event. Must not block and must not raise."""

    def emit_rows(self, event: Event, rows: AnsweredRows | None) -> None:
        """`rows`: None where the request was refused or failed before it was computed."""
        ...
