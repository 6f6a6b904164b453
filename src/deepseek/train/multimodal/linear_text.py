"""Linear models of frozen text encoders, as candidates beside the multimodal net that reads the same rows.

    rows = EmbeddedRows(embeddings, arrays, fit_rows, held_out)
    trials = fit_linear_texts(net, rows, labels, num_outputs=77, seed=0)
    trials[0].family, trials[0].margin         # "embeddings", (M, K) of the held-out rows
    trials[0].build()                          # nn.linear_text.LinearTextNet

Logistic regression, ridge for values. `words` reads the pieces of the words alone: what the encoder must beat.

Shapes: N rows, M held out, H width of an encoder, P known pieces, F features of the table, K outputs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Arrays, Float32, Float64
from deepseek.data.samples.preparer import PRESENT_SUFFIX, TABLE_ARRAY
from deepseek.extras import need
from deepseek.nn.encoders import MAX_DEVIATIONS
from deepseek.nn.fusion import MultimodalNet
from deepseek.nn.linear_text import LinearTerms, LinearTextNet, PieceTerms
from deepseek.nn.pretrained import PretrainedTextEncoder, ProjectedEncoder

MIN_TEXTS = 2  # that hold a piece which is known: one that a single text holds teaches nothing of another
NUMBER_SCALE = 0.3  # of standardized numbers: embedding and pieces of a text have the length 1
WORDS = "words"
EMBEDDINGS, BOTH = "embeddings", "embeddings and words"
#: What is tried: what is read, and C of the regression (one over alpha of ridge), the surest first; measured in
#: docs/log.md.
SETTINGS = ((WORDS, 1.0), (BOTH, 1.0), (BOTH, 10.0), (EMBEDDINGS, 10.0), (EMBEDDINGS, 1.0), (WORDS, 10.0))


def frozen_text_encoders(net: MultimodalNet) -> dict[str, ProjectedEncoder] | None:
    """The encoders by column where the net reads nothing but texts by frozen encoders, and a table; else None."""
    encoders = {name: net.encoder(name) for name in net.names if name != TABLE_ARRAY}
    frozen = {
        name: encoder
        for name, encoder in encoders.items()
        if isinstance(encoder, ProjectedEncoder)
        and isinstance(encoder.tower, PretrainedTextEncoder)
        and not encoder.trained
    }
    return frozen if frozen and len(frozen) == len(encoders) else None


@dataclass(frozen=True)
class LinearTextTrial:
    """One fitted model and its answers to the held-out rows."""

    family: str  # WORDS, EMBEDDINGS or BOTH
    strength: float
    margin: Float64  # (M, K) logits, or values, of the held-out rows
    fit_s: float  # CPU seconds
    terms: LinearTerms
    columns: TextColumns

    def predict(self, arrays: Arrays, rows: NDArray[np.int64]) -> Float64:
        """Logits (N, K) of a model that reads no embedding, by pieces and numbers alone."""
        parts = self.columns.pieces_and_numbers(arrays, rows)
        coefficients = [*self.terms.pieces.values()]
        if self.terms.numbers is not None:
            coefficients.append(self.terms.numbers)
        total = sum(part @ coef for part, coef in zip(parts, coefficients, strict=True))
        return np.asarray(total + self.terms.bias)

    def build(self, encoders: Mapping[str, ProjectedEncoder]) -> LinearTextNet:
        """The module that answers so, with the encoders within."""
        towers: dict[str, Any] = {name: encoder.tower for name, encoder in encoders.items()}
        return LinearTextNet(towers, self.columns.pieces, self.columns.scale, self.terms).eval()


@dataclass(frozen=True)
class TextColumns:
    """What is fitted on training rows before any coefficient: known pieces of each text, and the scale of numbers."""

    pieces: Mapping[str, PieceTerms]
    pad_ids: Mapping[str, int]
    scale: tuple[Float64, Float64] | None  # mean and divisor (F,) of the table's features

    @classmethod
    def fit(cls, encoders: Mapping[str, ProjectedEncoder], arrays: Arrays, rows: NDArray[np.int64]) -> TextColumns:
        """On the training rows (N,)."""
        pieces, pad_ids = {}, {}
        for name, encoder in encoders.items():
            assert isinstance(encoder.tower, PretrainedTextEncoder)  # noqa: S101
            shape = encoder.tower.shape
            pad_ids[name] = shape.pad_id
            present = rows[np.asarray(arrays[name + PRESENT_SUFFIX][rows])]
            texts = [np.unique(ids) for ids in np.asarray(arrays[name][present])]
            count = np.bincount(np.concatenate([np.empty(0, np.int64), *texts]), minlength=shape.vocab_size)
            count[shape.pad_id] = 0
            known = np.flatnonzero(count >= MIN_TEXTS)
            place_of = np.zeros(shape.vocab_size, np.int64)
            place_of[known] = np.arange(1, len(known) + 1)
            idf = 1 + np.log((1 + len(rows)) / (1 + count[known]))
            pieces[name] = PieceTerms(place_of, np.concatenate([[0.0], idf]))
        return cls(pieces, pad_ids, _fit_scale(arrays, rows))

    def pieces_and_numbers(self, arrays: Arrays, rows: NDArray[np.int64]) -> list[Any]:
        """For each text a sparse matrix (N, P + 1), then for a table the standardized features (N, F)."""
        parts = [self._read_pieces(name, arrays, rows) for name in self.pieces]
        if self.scale is not None:
            mean, divisor = self.scale
            values = (np.asarray(arrays[TABLE_ARRAY][rows], np.float64) - mean) / divisor
            parts.append(need("scipy.sparse", extra="tabular").csr_matrix(values.clip(-MAX_DEVIATIONS, MAX_DEVIATIONS)))
        return parts

    def _read_pieces(self, name: str, arrays: Arrays, rows: NDArray[np.int64]) -> Any:
        sparse, terms = need("scipy.sparse", extra="tabular"), self.pieces[name]
        places = terms.place_of[np.asarray(arrays[name][rows])]
        places[~np.asarray(arrays[name + PRESENT_SUFFIX][rows])] = 0
        index = np.repeat(np.arange(len(rows)), places.shape[1])
        shape = (len(rows), len(terms.idf))
        counts = sparse.csr_matrix((np.ones(places.size), (index, places.ravel())), shape=shape)
        counts.data = (1 + np.log(counts.data)) * terms.idf[counts.indices]
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        return sparse.diags(1 / np.maximum(length, 1e-6)) @ counts


def _fit_scale(arrays: Arrays, rows: NDArray[np.int64]) -> tuple[Float64, Float64] | None:
    if TABLE_ARRAY not in arrays:
        return None
    values = np.asarray(arrays[TABLE_ARRAY][rows], np.float64)
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 0, spread / NUMBER_SCALE, np.inf)


@dataclass(frozen=True)
class EmbeddedRows:
    """Rows to fit on and to judge by, with their embeddings."""

    arrays: Arrays
    fit_rows: NDArray[np.int64]  # (N,), each once
    held_out: NDArray[np.int64]  # (M,)
    encoders: Mapping[str, ProjectedEncoder]

    @cached_property
    def columns(self) -> TextColumns:
        return TextColumns.fit(self.encoders, self.arrays, self.fit_rows)

    def embeddings(self, rows: NDArray[np.int64]) -> list[Float32]:
        """Of each text (N, H), zeros where it is missing."""
        import torch

        parts = []
        for name, encoder in self.encoders.items():
            ids = torch.from_numpy(np.ascontiguousarray(self.arrays[name][rows]))
            present = np.asarray(self.arrays[name + PRESENT_SUFFIX][rows])
            parts.append(encoder.embed(ids).numpy() * present[:, None])
        return parts

    @cached_property
    def matrices(self) -> tuple[list[Any], list[Any]]:
        """Blocks of columns of the rows to fit on and of those held out: embeddings, pieces, numbers."""
        fit, held = (
            [*self.embeddings(rows), *self.columns.pieces_and_numbers(self.arrays, rows)]
            for rows in (self.fit_rows, self.held_out)
        )
        return fit, held


def fit_linear_texts(
    rows: EmbeddedRows, target: NDArray[Any], *, num_outputs: int, allows: Callable[[float], bool]
) -> list[LinearTextTrial]:
    """A trial of each of SETTINGS; after the first two, while `allows` the CPU seconds that the next may take.
    `target`: of all rows of the arrays, class numbers (num_outputs > 1) or standardized values."""
    trials: list[LinearTextTrial] = []
    for family, strength in SETTINGS:
        if len(trials) < 2 or allows(2 * max(trial.fit_s for trial in trials)):
            trials.append(_fit(rows, family, strength, target, num_outputs))
    return trials


def _fit(
    rows: EmbeddedRows, family: str, strength: float, target: NDArray[Any], num_outputs: int
) -> LinearTextTrial:  # fmt: skip
    sparse = need("scipy.sparse", extra="tabular")
    limits = need("threadpoolctl", extra="tabular").threadpool_limits
    start_s, num_texts = time.process_time(), len(rows.encoders)
    fit, held = rows.matrices
    is_read = [family != WORDS] * num_texts + [family != EMBEDDINGS] * num_texts + [True] * (len(fit) - 2 * num_texts)
    used = [index for index, is_used in enumerate(is_read) if is_used]

    def join(blocks: list[Any]) -> Any:
        if family == EMBEDDINGS:
            used_blocks = [blocks[index] for index in used]
            return np.hstack([b if isinstance(b, np.ndarray) else b.toarray() for b in used_blocks])
        return sparse.hstack([sparse.csr_matrix(blocks[index]) for index in used]).tocsr()

    with limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops early is judged by its validation loss
        coef, bias = _fit_coefficients(join(fit), target[rows.fit_rows], num_outputs, strength)
    ends = np.cumsum([0, *(fit[index].shape[1] for index in used)])
    by_block = [np.zeros((block.shape[1], num_outputs)) for block in fit]
    for place, index in enumerate(used):
        by_block[index] = coef[ends[place] : ends[place + 1]]
    names = list(rows.encoders)
    terms = LinearTerms(
        dict(zip(names, by_block[:num_texts], strict=True)),
        dict(zip(names, by_block[num_texts : 2 * num_texts], strict=True)),
        by_block[-1] if len(fit) > 2 * num_texts else None,
        bias,
    )
    margin = np.asarray(join(held) @ coef + bias)
    return LinearTextTrial(family, strength, margin, time.process_time() - start_s, terms, rows.columns)


def _fit_coefficients(matrix: Any, target: NDArray[Any], num_outputs: int, strength: float) -> tuple[Float64, Float64]:
    """Coefficients (D, K) and bias (K,) of logits, or of the value."""
    linear_model = need("sklearn.linear_model", extra="tabular")
    if num_outputs == 1:
        model = linear_model.Ridge(alpha=1.0 / strength).fit(matrix, target)
        return np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_)
    model = linear_model.LogisticRegression(C=strength, tol=1e-3, max_iter=200).fit(matrix, target)
    if len(model.coef_) == 1:
        coef = np.concatenate([np.zeros_like(model.coef_), model.coef_]).T
        return coef, np.array([0.0, model.intercept_[0]])
    bias = np.full(num_outputs, model.intercept_.min() - 10.0)  # of a class that no row to fit on has
    bias[model.classes_] = model.intercept_
    full = np.zeros((model.coef_.shape[1], num_outputs))
    full[:, model.classes_] = model.coef_.T
    return full, bias
