"""A bundle's model as one weighted sum of inputs, split in two: what the asker computes in clear, and what the server
computes on ciphertexts.

    asker    raw row -> prepared features -> inputs (D,) within +-plan.largest       preprocess.json and InputPlan
    server   margin = inputs @ coef + bias                                           the weights, which stay there
    asker    margin -> probability -> label                                          calibration and threshold

Models with hidden layers, trees and blends are refused by name: under CKKS they need approximations that would change
answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from deepseek.bundle.agreement import DECISION
from deepseek.bundle.fields import parse_json_object
from deepseek.contracts import Float32, Float64
from deepseek.data import Preprocessor
from deepseek.errors import InputError
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Model
from deepseek.privacy.encrypted.ckks import LARGEST_MARGIN
from deepseek.privacy.parties.inputs import CLIP

if TYPE_CHECKING:
    from deepseek.bundle import Bundle

LARGEST_INPUT = 64.0  # of a scaled number, at most


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How prepared features (F,) become the inputs (D,) of the weighted sum. The asker gets it, so that it holds
    nothing of the weights."""

    kind: Literal["features", "joined"]  # scaled features, or joined as nn.dense.Perceptron joins them
    largest: float  # input, beyond which a sum could leave what CKKS carries: a row with one is refused
    centre: tuple[float, ...]  # of features: (F,); of joined: (Q,)
    scale: tuple[float, ...]
    numeric: tuple[int, ...] = ()
    logged: tuple[bool, ...] = ()
    codes: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()  # levels of each code
    clip: float | None = None

    def inputs(self, features: Float32) -> Float64:
        """(N, D) of prepared features (N, F). InputError names the first row that is too far from all training rows."""
        if self.kind == "features":
            scaled: Float64 = (features.astype(np.float64) - np.array(self.centre)) / np.array(self.scale)
        else:
            scaled = self._joiner().join(features).astype(np.float64)
        far = np.flatnonzero(np.abs(scaled).max(axis=1, initial=0.0) > self.largest)
        if len(far):
            raise InputError(
                f"row {far[0]} has a number that is too far from those of training to be encrypted",
                expected=f"numbers within {self.largest:g} times the scale of training",
                fix="look at the row, or leave it out",
            )
        return scaled

    def _joiner(self) -> Perceptron:
        width = len(self.numeric) + sum(self.widths)
        return Perceptron(
            numeric=np.array(self.numeric, np.int32), centre=np.array(self.centre, np.float32),
            scale=np.array(self.scale, np.float32), codes=np.array(self.codes, np.int32),
            embeddings=[np.eye(levels, dtype=np.float32) for levels in self.widths], weights=[], biases=[],
            skip=np.zeros((width, 1), np.float32), baseline=np.zeros(width, np.float32),
            logged=np.array(self.logged, np.bool_), clip=np.inf if self.clip is None else self.clip,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LinearForm:
    """margin (N, K) = inputs (N, D) @ coef + bias."""

    plan: InputPlan
    coef: Float64  # (D, K)
    bias: Float64  # (K,)

    @classmethod
    def of(cls, model: Model, preprocessor: Preprocessor) -> LinearForm:
        """InputError for a model that is no weighted sum."""
        if len(model.parts) == 1 and model.parts[0].link == "identity" and model.scale != "probability":
            part = model.parts[0]
            if isinstance(part.weights, Linear):
                return _of_linear(part.weights, part.weight, preprocessor)
            if isinstance(part.weights, Perceptron) and len(part.weights.weights) == 1:
                return _of_perceptron(part.weights, part.weight)
        raise InputError(
            f"the model is {', '.join(part.name for part in model.parts)}, which cannot answer encrypted rows",
            expected="one linear or logistic part: CKKS adds and multiplies, and knows no comparison",
            fix="ship with --candidates linear, or learn a linear study by federate",
        )


def _of_linear(weights: Linear, weight: float, preprocessor: Preprocessor) -> LinearForm:
    """Features scaled by the range of training, where the preprocessing says it."""
    num = len(weights.mean)
    centre, scale = np.zeros(num), np.ones(num)
    support = preprocessor.support
    if support is not None:
        places, low, high = list(support.places), np.array(support.low), np.array(support.high)
        centre[places], scale[places] = (low + high) / 2, np.where(high > low, (high - low) / 2, 1.0)
    coef, bias = weight * weights.coef * scale[:, None], weight * (weights.bias + centre @ weights.coef)
    plan = InputPlan("features", largest_input(coef, bias), tuple(centre.tolist()), tuple(scale.tolist()))
    return LinearForm(plan, coef, bias)


def _of_perceptron(weights: Perceptron, weight: float) -> LinearForm:
    """One layer and the skip are one matrix; each level of a category becomes an input of its own, so that its
    embedding goes into the weights."""
    matrix = weights.weights[0].astype(np.float64) + weights.skip
    rows, start = [matrix[: len(weights.numeric)]], len(weights.numeric)
    for table in weights.embeddings:
        rows.append(table.astype(np.float64) @ matrix[start : start + table.shape[1]])
        start += table.shape[1]
    coef, bias = weight * np.concatenate(rows), weight * weights.biases[0].astype(np.float64)
    plan = InputPlan(
        kind="joined", largest=largest_input(coef, bias), centre=tuple(weights.centre.tolist()),
        scale=tuple(weights.scale.tolist()), numeric=tuple(weights.numeric.tolist()),
        logged=tuple(weights.logged.tolist()), codes=tuple(weights.codes.tolist()),
        widths=tuple(len(table) for table in weights.embeddings),
        clip=None if np.isinf(weights.clip) else float(weights.clip),
    )  # fmt: skip
    return LinearForm(plan, coef, bias)


def largest_input(coef: Float64, bias: Float64) -> float:
    """A power of two that no input (D,) may exceed, so that margins stay within what CKKS carries. InputError for
    weights that leave less than CLIP."""
    room = (LARGEST_MARGIN - np.abs(bias)) / np.maximum(np.abs(coef).sum(axis=0), 1e-9)
    largest = min(LARGEST_INPUT, 2.0 ** math.floor(math.log2(max(float(room.min()), 1e-9))))
    if largest < CLIP:
        raise InputError(
            "the margins of the model are too large to be encrypted", expected=f"margins within {LARGEST_MARGIN:g}",
            fix="standardize the target, or serve the model without --encrypted",
        )  # fmt: skip
    return largest


def linear_form_of(bundle: Bundle) -> tuple[Model, LinearForm]:
    """The model of a bundle and its weighted sum. InputError for a bundle that cannot answer encrypted rows."""
    if "model.json" not in bundle.manifest.files or "preprocess.json" not in bundle.manifest.files:
        raise InputError(
            "the bundle reads no table of numbers and categories", expected="a linear model of a table",
            fix="serve it without --encrypted",
        )  # fmt: skip
    decision = parse_json_object(bundle.read(DECISION), DECISION)
    if decision.get("costs") is not None:
        raise InputError(
            "the bundle decides by a matrix of costs", expected="a threshold, or the likeliest class",
            fix="ship without costs, or serve it without --encrypted",
        )  # fmt: skip
    model = Model.from_files(bundle.read)
    return model, LinearForm.of(model, Preprocessor.from_bytes(bundle.read("preprocess.json")))
