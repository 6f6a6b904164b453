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

from deepseek.contracts import Float32, Float64, Scores, Task
from deepseek.errors import ExtraError, IntegrityError, MissingError
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.trees import TreeTable
from deepseek.plugins import find, names

Link = Literal["identity", "log_odds"]
MAX_PARTS = 64  # of a model; each is a file and an engine's work, and ship blends five at most
Scale = Literal["log-odds", "probability", "target units"]


class OtherWeights(Protocol):
    """Weights of a kind that another package brings: all that a bundle, a server and an explanation need of them."""

    kind: ClassVar[str]  # its name in the plugin group "parts"
    method: ClassVar[str]  # how contributions() explains, in words

    def margin(self, features: Float32) -> Float64:
        """Raw scores (N, K) of prepared features (N, F), in numpy: what every engine is held to."""
        ...

    def arrays(self) -> dict[str, NDArray[np.generic]]: ...

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.generic]]) -> Self: ...

    def add_to(self, graph: Any, features: str) -> str:
        """Add the nodes that compute margin() to an engines.graph.Graph; the name of their result (N, K)."""
        ...

    def contributions(self, features: Float32, margin: int) -> tuple[Float64, Float64]:
        """Values (N, F) and base (N,) that sum to the raw score of one margin."""
        ...


Weights = TreeTable | Linear | Perceptron | OtherWeights

#: Built in; find("parts", kind) also knows those of other packages.
KINDS: dict[str, type[TreeTable] | type[Linear] | type[Perceptron]] = {
    "trees": TreeTable,
    "linear": Linear,
    "mlp": Perceptron,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One candidate inside a model."""

    name: str  # the candidate that grew it: "xgboost", "random_forest", ...
    weights: Weights
    weight: float = 1.0
    link: Link = "identity"
    floor: float = 1e-4  # keeps the logarithm of a forest's share finite; only for link "log_odds"

    @property
    def kind(self) -> str:
        built_in = next((kind for kind, cls in KINDS.items() if isinstance(self.weights, cls)), None)
        return built_in or self.weights.kind  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Model:
    """Everything between prepared features and a calibrated answer."""

    task: Task
    labels: tuple[str, ...]  # classes in order; empty for regression
    scale: Scale
    parts: tuple[Part, ...]
    slope: float = 1.0
    bias: tuple[float, ...] = (0.0,)  # (K,)
    floor: float = 1e-4  # for the scale "probability"
    smoothing: float = 0.0  # the least chance of a class

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
        top: dict[str, Any] = {
            "task": self.task,
            "labels": list(self.labels),
            "scale": self.scale,
            "parts": described,
            "calibration": {**calibration, "bias": list(self.bias)},
        }
        files["model.json"] = (json.dumps(top, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
        return files

    @classmethod
    def from_files(cls, read: Callable[[str], bytes]) -> Model:
        """The inverse of to_files(); `read` returns the bytes of a file by its name in the bundle."""
        top = json.loads(read("model.json"))
        if len(top["parts"]) > MAX_PARTS:
            raise IntegrityError(
                f"model.json names {len(top['parts']):,} parts",
                expected=f"at most {MAX_PARTS}",
                fix="make the bundle again, or take an unharmed copy",
            )
        parts = tuple(
            Part(
                name=part["name"],
                weights=weights_class(part["kind"]).from_arrays(safetensors.numpy.load(read(part["file"]))),
                weight=part["weight"],
                link=part["link"],
                floor=part["floor"],
            )
            for part in top["parts"]
        )
        calibration = top["calibration"]
        return cls(
            task=top["task"],
            labels=tuple(top["labels"]),
            scale=top["scale"],
            parts=parts,
            slope=calibration["slope"],
            bias=tuple(calibration["bias"]),
            floor=calibration["floor"],
            smoothing=calibration["smoothing"],
        )

    def score(self, features: Float32) -> Scores:
        """The slow twin of every engine: scores by the readable forward passes in numpy."""
        return combine(self, {index: part.weights.margin(features) for index, part in enumerate(self.parts)})


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


def link_of(part: Part, raw: Float64) -> Float64:
    """A part's raw score (N, K) as it enters the blend."""
    return raw if part.link == "identity" else log_odds(raw, part.floor)


def softmax(z: Float64) -> Float64:
    """Rows of shares from rows of scores (N, C)."""
    power = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


def sigmoid(z: Float64) -> Float64:
    """1 / (1 + exp(-z)) without overflow."""
    return np.exp(-np.logaddexp(0.0, -z))


def smoothed(chances: Float64, smoothing: float) -> Float64:
    """Chances (N, C) of which none is below `smoothing`."""
    raised: Float64 = smoothing + (1 - chances.shape[1] * smoothing) * chances
    return raised


def calibrated(model: Model, margin: Float64) -> Float64:
    """The output (N, C) or (N, 1) that belongs to margins (N, K)."""
    if model.task == "regression":
        return margin
    z = log_odds(margin, model.floor) if model.scale == "probability" else margin
    z = model.slope * z + np.asarray(model.bias)
    if model.task == "multiclass":
        return smoothed(softmax(z), model.smoothing)
    positive = sigmoid(z)
    return smoothed(np.concatenate([1 - positive, positive], axis=1), model.smoothing)


def combine(model: Model, raw: Mapping[int, Float64]) -> Scores:
    """Scores from the raw scores (N, K) of each part, by the index of the part."""
    linked = [part.weight * link_of(part, np.asarray(raw[i], np.float64)) for i, part in enumerate(model.parts)]
    margin = np.sum(linked, axis=0)
    return Scores(margin=margin.astype(np.float32), output=calibrated(model, margin).astype(np.float32))
