"""The finished model: one or more parts, blended on an additive scale, then calibrated.

    raw_p  = part_p.margin(x)                              (N, K)
    g_p    = raw_p                                         link "identity"
           = log(q / (1 - q)), q = floor + (1 - 2 floor) raw_p        link "log_odds", binary
           = log(floor + (1 - K floor) raw_p)                         link "log_odds", multiclass
    margin = sum_p weight_p * g_p                          what explanations speak of, on the stated scale
    z      = slope * margin + bias                         calibration (Platt 1999 / temperature with a bias per class);
             on the scale "probability" the margin passes the link "log_odds" with the model's own floor first
    output = smoothing + (1 - C smoothing) * (sigmoid(z), softmax(z)), or the margin itself for regression

`combine` is the readable twin of the graph that engines.export writes. Parts of further kinds come from other packages,
through the plugin group "parts" (docs/decisions/0006-parts-of-other-packages.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from deepseek.bundle.agreement import MODEL
from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import Float32, Float64, JsonObject, Scores, Task
from deepseek.errors import ExtraError, InputError, IntegrityError, MissingError
from deepseek.extras import renamed_attributes
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.tokens import TokenLinear
from deepseek.nn.trees import TreeTable
from deepseek.plugins import find, names

Link = Literal["identity", "log_odds"]
MAX_PARTS = 64  # of a model; each is a file and an engine's work, and ship blends five at most
MarginScale = Literal["log-odds", "probability", "target units"]


class ForeignWeights(Protocol):
    """Weights of a kind that this room does not know: all that a bundle and a server need of them."""

    kind: ClassVar[str]  # its name in the plugin group "parts"
    method: ClassVar[str]  # how it is explained, in words

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K) of prepared features (N, F), in numpy: the reference for every engine."""
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]: ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Self: ...

    def add_to(self, graph: Any, features: str) -> str:
        """Add the nodes that compute margin() to an engines.graph.Graph; the name of their result (N, K)."""
        ...


class OpaqueWeights(ForeignWeights, Protocol):
    """Weights that can be asked for answers alone: an explanation compares those to answers without a column."""

    @property
    def baseline(self) -> Float32:
        """What a column reads that is taken away: (F,) prepared features."""
        ...


class OtherWeights(ForeignWeights, Protocol):
    """Weights of a kind that another package brings, which explain themselves."""

    def contributions(self, features: Float32, margin: int) -> tuple[Float64, Float64]:
        """Values (N, F) and base (N,) that sum to the raw score of one margin."""
        ...


#: Errors that a part raises when it is built from arrays of another kind or size.
_ARRAY_ERRORS = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, MemoryError)

PartWeights = TreeTable | Linear | Perceptron | TokenLinear | OtherWeights | OpaqueWeights

#: Built-in kinds of parts, those of later rooms as "module:attribute"; find("parts", kind) also knows those of other
#: packages.
KINDS: dict[str, type[TreeTable] | type[Linear] | type[Perceptron] | type[TokenLinear] | str] = {
    "trees": TreeTable,
    "linear": Linear,
    "mlp": Perceptron,
    "tokens": TokenLinear,
    "graph": "deepseek.engines.tabular.graph_part:GraphWeights",
    "lstm_attention": "deepseek.nn.recurrent.weights:LstmAttention",
    "tcn": "deepseek.nn.recurrent.weights:Tcn",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One candidate inside a model, with its weight in the blend."""

    name: str  # candidate that trained it: "xgboost", "random_forest", ...
    weights: PartWeights
    weight: float = 1.0
    link: Link = "identity"
    floor: float = 1e-4  # keeps the logarithm of a forest's share finite; only for link "log_odds"

    @property
    def kind(self) -> str:
        built_in = next(
            (kind for kind, cls in KINDS.items() if not isinstance(cls, str) and isinstance(self.weights, cls)), None
        )
        return built_in or self.weights.kind  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Model:
    """The whole model from prepared features to calibrated outputs."""

    task: Task
    labels: tuple[str, ...]  # classes in order; empty for regression
    scale: MarginScale
    parts: tuple[Part, ...]
    slope: float = 1.0
    bias: tuple[float, ...] = (0.0,)  # (K,)
    floor: float = 1e-4  # for the scale "probability"
    smoothing: float = 0.0  # smallest probability of a class

    @property
    def num_margins(self) -> int:
        return len(self.labels) if self.task == "multiclass" else 1

    def to_files(self) -> dict[str, bytes]:
        """model.json and one safetensors file a part, byte for byte the same for the same model."""
        described = []
        files: dict[str, bytes] = {}
        for index, part in enumerate(self.parts):
            file = f"weights/part-{index}.safetensors"
            arrays = {name: np.ascontiguousarray(array) for name, array in sorted(part.weights.arrays().items())}
            files[file] = safetensors.numpy.save(arrays)
            described.append(
                {
                    "name": part.name, "kind": part.kind, "file": file,
                    "weight": part.weight, "link": part.link, "floor": part.floor,
                }
            )  # fmt: skip
        calibration = {name: getattr(self, name) for name in ("slope", "floor", "smoothing")}
        top: JsonObject = {
            "task": self.task,
            "labels": list(self.labels),
            "scale": self.scale,
            "parts": described,
            "calibration": {**calibration, "bias": list(self.bias)},
        }
        files[MODEL] = (json.dumps(top, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        return files

    @classmethod
    def from_files(cls, read: Callable[[str], bytes]) -> Model:
        """The inverse of to_files(); `read` returns the bytes of a file by its name in the bundle. IntegrityError for
        files that are not what it writes, ExtraError for a part of a kind that no installed package brings."""
        top = _read_model_file(read(MODEL))
        calibration = top.calibration
        return cls(
            task=top.task,
            labels=top.labels,
            scale=top.scale,
            parts=tuple(
                Part(entry.name, _read_weights(entry, read(entry.file)), entry.weight, entry.link, entry.floor)
                for entry in top.parts
            ),
            slope=calibration.slope,
            bias=calibration.bias,
            floor=calibration.floor,
            smoothing=calibration.smoothing,
        )

    def check(self, num_features: int) -> None:
        """IntegrityError unless every part takes `num_features` features and returns a finite number for every
        margin."""
        row = np.zeros((1, num_features), np.float32)
        for part in self.parts:
            try:
                with np.errstate(all="ignore"):
                    scores = apply_link(part, np.asarray(part.weights.margin(row), np.float64))
            except _ARRAY_ERRORS as error:
                raise _unfit_error(f"the arrays of the part {part.name!r} do not fit together: {error}") from error
            if scores.shape != (1, self.num_margins) or not np.isfinite(scores).all():
                raise _unfit_error(
                    f"the part {part.name!r} answers {scores.tolist()} for a row of zeros, "
                    f"where {self.num_margins} finite numbers belong"
                )

    def score(self, features: Float32) -> Scores:
        """The slow twin of every engine: scores by the readable forward passes in numpy."""
        return combine(self, {index: part.weights.margin(features) for index, part in enumerate(self.parts)})


@dataclass(frozen=True, slots=True)
class _PartEntry:
    """An entry of "parts" in model.json."""

    name: str
    kind: str
    file: str
    weight: float
    link: Link
    floor: float


@dataclass(frozen=True, slots=True)
class OutputCalibration:
    """The object "calibration" in model.json: from a margin to a probability, as the module's docstring writes it."""

    slope: float
    floor: float
    smoothing: float  # smallest probability of a class
    bias: tuple[float, ...]  # (K,)


@dataclass(frozen=True, slots=True)
class _ModelFile:
    """The whole of model.json."""

    task: Task
    labels: tuple[str, ...]
    scale: MarginScale
    parts: tuple[_PartEntry, ...]
    calibration: OutputCalibration


def read_calibration(data: bytes) -> OutputCalibration:
    """The calibration in model.json, without the weights. IntegrityError for a file that is not what ship writes."""
    return _read_model_file(data).calibration


def _read_model_file(data: bytes) -> _ModelFile:
    """Parse model.json and check what the types alone do not: labels, parts, floors, smoothing."""
    try:
        top: _ModelFile = parse_value(_ModelFile, parse_json_object(data, MODEL), MODEL)
    except InputError as error:
        raise _unfit_error(error.message, error.expected) from error
    num_labels, calibration = len(top.labels), top.calibration
    good = {"binary": num_labels == 2, "multiclass": num_labels >= 2, "regression": num_labels == 0}[top.task]
    if not good or len(set(top.labels)) != num_labels:
        raise _unfit_error(f"{MODEL} names {num_labels} labels for a {top.task} task")
    if not top.parts:
        raise _unfit_error(f"{MODEL} has no parts")
    if len(top.parts) > MAX_PARTS:
        raise _unfit_error(f"{MODEL} names {len(top.parts):,} parts", f"at most {MAX_PARTS}")
    num_margins = num_labels if top.task == "multiclass" else 1
    if len(calibration.bias) != num_margins:
        raise _unfit_error(f"{MODEL}: calibration.bias has {len(calibration.bias)} numbers for {num_margins} margins")
    floors = [calibration.floor, *(entry.floor for entry in top.parts)]
    if not all(0 <= floor < 1 / max(2, num_margins) for floor in floors):
        raise _unfit_error(f"{MODEL}: a floor is not between 0 and {1 / max(2, num_margins):g}")
    if not 0 <= calibration.smoothing * max(1, num_labels) <= 1:
        raise _unfit_error(
            f"{MODEL}: calibration.smoothing is {calibration.smoothing:g}, which no {num_labels} labels can be"
        )
    return top


def _read_weights(entry: _PartEntry, data: bytes) -> PartWeights:
    """The weights of a part from its safetensors file. IntegrityError for arrays that are not those of its kind."""
    kind = weights_class(entry.kind)
    try:
        weights: PartWeights = kind.from_arrays(safetensors.numpy.load(data))
    except (*_ARRAY_ERRORS, safetensors.SafetensorError) as error:
        raise _unfit_error(f"{entry.file} does not hold the arrays of {entry.kind!r}: {str(error)[:200]}") from error
    return weights


def _unfit_error(what: str, expected: str = "weights as ship writes them") -> IntegrityError:
    return IntegrityError(what, expected=expected, fix="make the bundle again, or take an unharmed copy")


def weights_class(kind: str) -> Any:
    """The class behind a kind of part. ExtraError for one that no installed package brings: the graph runs without it,
    explanations and other engines need it."""
    try:
        return find("parts", kind)
    except MissingError as error:
        raise ExtraError(
            f"the model has a part of the kind {kind!r}, which no installed package brings",
            expected=f"one of {', '.join(names('parts'))}",
            fix="install the package that trained it (answers from model.onnx need no more than onnxruntime)",
        ) from error


def log_odds(raw: Float64, floor: float) -> Float64:
    """The link "log_odds" for raw shares (N, K): K = 1 is binary."""
    num_margins = raw.shape[1]
    if num_margins == 1:
        share = floor + (1 - 2 * floor) * raw
        return np.asarray(np.log(share / (1 - share)))
    return np.asarray(np.log(floor + (1 - num_margins * floor) * raw))


def apply_link(part: Part, raw: Float64) -> Float64:
    """A part's raw score (N, K) after its link, as it enters the blend."""
    return raw if part.link == "identity" else log_odds(raw, part.floor)


def softmax(z: Float64) -> Float64:
    """Rows of shares from rows of scores (N, C)."""
    power = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


def sigmoid(z: Float64) -> Float64:
    """1 / (1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def smooth_probabilities(probabilities: Float64, smoothing: float) -> Float64:
    """Probabilities (N, C), raised so that none is below `smoothing`."""
    raised: Float64 = smoothing + (1 - probabilities.shape[1] * smoothing) * probabilities
    return raised


def calibrate_margin(model: Model, margin: Float64) -> Float64:
    """The calibrated output (N, C), or (N, 1) for regression, of margins (N, K)."""
    if model.task == "regression":
        return margin
    z = log_odds(margin, model.floor) if model.scale == "probability" else margin
    z = model.slope * z + np.asarray(model.bias)
    if model.task == "multiclass":
        return smooth_probabilities(softmax(z), model.smoothing)
    positive = sigmoid(z)
    return smooth_probabilities(np.concatenate([1 - positive, positive], axis=1), model.smoothing)


def combine(model: Model, raw: Mapping[int, Float64]) -> Scores:
    """Scores from the raw scores (N, K) of each part, by the index of the part."""
    linked = [part.weight * apply_link(part, np.asarray(raw[i], np.float64)) for i, part in enumerate(model.parts)]
    margin = np.sum(linked, axis=0)
    return Scores(margin=margin.astype(np.float32), output=calibrate_margin(model, margin).astype(np.float32))


__getattr__ = renamed_attributes(__name__, {"Weights": "PartWeights"})
