"""Linear models on the TF-IDF of texts (data/features/texts.py), and on the numbers beside them.

text_logistic   logistic regression (ridge for values) on words alone, with scikit-learn's defaults: the plain way, and
                the baseline wherever there is text
text_linear     a linear support vector machine (Joachims 1998; liblinear, Fan et al. 2008), ridge for values, on words
                and runs of characters; its margins become probabilities by the temperature that every trial has
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float32, Float64
from deepseek.extras import need
from deepseek.nn.tokens import TokenLinear
from deepseek.train.candidates.base import FitData, FittedCandidate, Params

WEIGHT_KIND = {"word": "word_weight", "pair": "pair_weight", "ngram": "ngram_weight"}  # of a token -> of its weight
TOKEN_KINDS = frozenset([*WEIGHT_KIND, *WEIGHT_KIND.values()])
#: Standardized numbers are shrunk so: the n-grams of a text have the length 1, all together.
NUMBER_SCALE = 0.3
COEFFICIENT_BYTES = 4  # in float16, in the arrays and in the graph


@dataclass(frozen=True)
class TokenColumns:
    """Which features of the prepared rows are n-grams, and which are numbers."""

    data: FitData

    @cached_property
    def blocks(self) -> NDArray[np.int64]:
        """(B, 4) as TokenLinear.blocks."""
        kinds, blocks, place = self.data.kinds, [], 0
        while place < len(kinds):
            weight = WEIGHT_KIND.get(kinds[place])
            if weight is None:
                place += 1
                continue
            first_weight = kinds.index(weight, place)
            size = first_weight - place
            blocks.append((place, first_weight, size, self.data.num_levels[place]))
            place = first_weight + size
        return np.array(blocks, np.int64).reshape(-1, 4)

    @property
    def kinds(self) -> list[str]:
        """Of the blocks (B,): "word", "pair" or "ngram"."""
        return [self.data.kinds[first] for first in self.blocks[:, 0]]

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """Features that a linear model reads as numbers: no n-grams, and no codes of more than two levels."""
        pairs = zip(self.data.kinds, self.data.num_levels, strict=True)
        used = [kind not in TOKEN_KINDS and (kind != "code" or levels == 2) for kind, levels in pairs]
        return np.flatnonzero(used)

    @property
    def plain_numbers(self) -> NDArray[np.int64]:
        """Those that are not made by comparing texts."""
        return np.array([place for place in self.numbers if self.data.kinds[place] != "similarity"], np.int64)


@dataclass(frozen=True)
class TokenMatrix:
    """How prepared rows become a sparse matrix: n-grams by the scale of their block, then standardized numbers."""

    blocks: NDArray[np.int64]
    scales: tuple[float, ...]  # of the blocks; zero leaves one out
    numbers: NDArray[np.int64]
    mean: Float64  # (Q,)
    spread: Float64  # (Q,) what a number is divided by; infinite for one that never changes

    def of(self, features: Float32) -> Any:
        """The matrix (N, V + Q) of rows (N, F)."""
        sparse = need("scipy.sparse", extra="tabular")
        parts = []
        for (first, first_weight, size, num_terms), scale in zip(self.blocks.tolist(), self.scales, strict=True):
            weights = features[:, first_weight : first_weight + size].astype(np.float64) * scale
            rows, places = np.nonzero(weights)
            columns = features[rows, first + places].astype(np.int64)
            shape = (len(features), num_terms)
            parts.append(sparse.csr_matrix((weights[rows, places], (rows, columns)), shape=shape))
        numbers = (features[:, self.numbers].astype(np.float64) - self.mean) / self.spread
        return sparse.hstack([*parts, sparse.csr_matrix(numbers)]).tocsr()

    def fold(self, coef: Float64, bias: Float64, matrix: Any) -> TokenLinear:
        """The model of prepared rows, from coefficients (V + Q, K) of the columns of `matrix`, of the fit."""
        num_terms = int(self.blocks[:, 3].sum())
        stored = coef[:num_terms] * np.repeat(self.scales, self.blocks[:, 3])[:, None]
        rounded = stored.astype(
            np.float16 if np.abs(stored).max(initial=0.0) < np.finfo(np.float16).max else np.float32
        )
        number_coef = coef[num_terms:] / self.spread[:, None]
        ends = np.cumsum([0, *self.blocks[:, 3]])
        mean_of_term = np.asarray(matrix[:, :num_terms].mean(axis=0)).ravel()
        means = [mean_of_term[start:end] @ coef[start:end] for start, end in pairwise(ends)]
        return TokenLinear(
            self.blocks, rounded, self.numbers, number_coef, self.mean, np.array(means),
            bias - self.mean @ number_coef,
        )  # fmt: skip


class TextLinear:
    """One of the two, by its name."""

    needs: tuple[str, ...] = ("sklearn", "scipy")

    def __init__(self, name: str, *, is_plain: bool) -> None:
        self.name = name
        self.is_plain = is_plain

    def supports(self, data: FitData) -> bool:
        return not data.is_constrained and len(TokenColumns(data).blocks) > 0

    def cost_s(self, data: FitData) -> float:
        num_tokens = TokenColumns(data).blocks[:, 2].sum() * len(data.target)
        return float(0.05 + (1.5e-8 if self.is_plain else 1.2e-8) * num_tokens * data.num_margins)

    def defaults(self, data: FitData) -> Params:
        strength = 1.0 if self.is_plain or data.task == "multiclass" else 0.2
        return (
            {"strength": strength} if self.is_plain else {"strength": strength, "pair_scale": 0.7, "ngram_scale": 1.0}
        )

    def suggest(self, trial: Any, data: FitData) -> Params:
        return {
            "strength": trial.suggest_float("strength", 0.02, 5.0, log=True),
            "pair_scale": trial.suggest_float("pair_scale", 0.3, 1.5),
            "ngram_scale": trial.suggest_float("ngram_scale", 0.3, 1.5),
        }

    def fit(self, data: FitData, params: Params, *, seed: int, validation: FitData | None = None) -> FittedCandidate:
        limits = need("threadpoolctl", extra="tabular").threadpool_limits
        columns = TokenColumns(data)
        numbers = columns.plain_numbers if self.is_plain else columns.numbers
        preparation = _prepare(data, columns.blocks, numbers, _block_scales(columns, params))
        matrix = preparation.of(data.features)
        model = self._model(data, params["strength"], seed)
        with limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that stops early is judged by its validation loss
            model.fit(matrix, data.target, sample_weight=data.weight)
        coef, bias = np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_)

        def margin(features: Float32) -> Float64:
            return np.asarray(preparation.of(features) @ coef + bias)

        size = COEFFICIENT_BYTES * coef.size
        return FittedCandidate(margin, lambda: [preparation.fold(coef, bias, matrix)], params, size_bytes=size)

    def _model(self, data: FitData, strength: float, seed: int) -> Any:
        linear_model = need("sklearn.linear_model", extra="tabular")
        if data.task == "regression":
            return linear_model.Ridge(alpha=1.0 / strength, solver="sparse_cg")
        if self.is_plain:
            # of many classes the last digits of the loss take most of the steps
            return linear_model.LogisticRegression(C=strength, tol=1e-3 if data.num_margins > 1 else 1e-4)
        return need("sklearn.svm", extra="tabular").LinearSVC(C=strength, random_state=seed)


def _block_scales(columns: TokenColumns, params: Params) -> tuple[float, ...]:
    """Of each block: words as they are, the others by their setting; all of them where no word is known."""
    has_words = any(kind == "word" and terms for kind, terms in zip(columns.kinds, columns.blocks[:, 3], strict=True))
    scales = {"word": 1.0, **{kind: params.get(f"{kind}_scale", 0.0) for kind in ("pair", "ngram")}}
    return tuple(float(scales[kind]) if has_words else 1.0 for kind in columns.kinds)


def _prepare(
    data: FitData, blocks: NDArray[np.int64], numbers: NDArray[np.int64], scales: Sequence[float]
) -> TokenMatrix:
    """The matrix for these rows: the numbers by their mean and spread."""
    values = data.features[:, numbers].astype(np.float64)
    spread = values.std(axis=0)
    divisor = np.where(spread > 0, spread / NUMBER_SCALE, np.inf)
    return TokenMatrix(blocks, tuple(scales), numbers, values.mean(axis=0), divisor)
