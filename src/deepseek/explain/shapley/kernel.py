"""Shapley values of a black box: some features of a row stay, the others are those of a baseline, and a line is fitted.

KernelSHAP (Lundberg & Lee 2017, theorem 2): weighted least squares over coalitions, with the sum fixed to what is to be
explained. Coalitions come in pairs, one and its complement (Covert & Lee 2021, section 4.2); all of the smallest and
largest sizes where the number of evaluations allows, the others by chance. The standard errors are those of the fit
(sandwich), and sampling stops when they are small enough.

    f(rows) -> (M,)     any function;  kernel_shap(f, row, baselines, ...)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from deepseek.contracts import Float64
from deepseek.errors import InputError

RowFunction = Callable[[NDArray[np.floating]], Float64]
COALITIONS_PER_BATCH = 256  # coalitions between two looks at the error


@dataclass(frozen=True, slots=True)
class KernelValues:
    """Shapley values of one row."""

    values: Float64  # (G,) of each group of features
    error: Float64  # (G,) standard errors; 0 where all coalitions were seen
    base: float
    output: float
    num_evaluations: int
    is_partial: bool


def kernel_shap(
    f: RowFunction,
    row: NDArray[np.floating],
    baselines: NDArray[np.floating],
    *,
    groups: NDArray[np.int64] | None = None,
    num_evaluations: int = 2048,
    tolerance: float = 0.01,
    max_rows: int = 4096,
    time_limit_s: float | None = None,
    seed: int = 0,
) -> KernelValues:
    """KernelSHAP values of `row` (P,) against `baselines` (B, P).

    `groups` (P,) are places of groups whose features stay or go together; by default each is one. An evaluation is one
    coalition, a row of f for each baseline; at most `max_rows` rows are in memory. Sampling stops when every standard
    error is at most `tolerance` of the largest value, or at `num_evaluations` or `time_limit_s`, which is partial.

    InputError when there are fewer evaluations than groups, for then nothing could tell them apart.

    >>> kernel = kernel_shap(lambda rows: rows @ np.array([2.0, -1.0]) + 3, np.array([1.0, 5.0]), np.zeros((1, 2)))
    >>> kernel.values.round(9).tolist(), kernel.base, kernel.output
    ([2.0, -5.0], 3.0, 0.0)
    """
    start = time.perf_counter()
    places = np.arange(len(row)) if groups is None else np.asarray(groups)
    count = int(places.max()) + 1
    _check_num_evaluations(count, num_evaluations)

    def evaluate(masks: NDArray[np.bool_]) -> Float64:
        return _mean_over_baselines(f, row, baselines, masks[:, places], max_rows)

    ends = evaluate(np.array([[False] * count, [True] * count]))
    base, output = float(ends[0]), float(ends[1])
    if count == 1:
        return KernelValues(np.array([output - base]), np.zeros(1), base, output, 2, False)
    rng = np.random.default_rng(seed)
    masks, weights, sizes = _enumerate_sizes(count, num_evaluations)
    answers = evaluate(masks) - base
    drawn = np.zeros((0, count), bool)
    is_partial = False
    fitted = (
        _fit_least_squares(masks, weights, answers, output - base) if len(masks) else (np.zeros(count), np.zeros(count))
    )
    while len(sizes):
        room = num_evaluations - len(masks) - len(drawn)
        late = time_limit_s is not None and time.perf_counter() - start > time_limit_s
        enough = len(drawn) >= 2 * count and fitted[1].max() <= tolerance * np.abs(fitted[0]).max()
        if enough or late or room < 2:
            is_partial = not enough
            break
        more = _draw_coalitions(count, sizes, min(COALITIONS_PER_BATCH, room) // 2, rng)
        drawn = np.concatenate([drawn, more])
        answers = np.concatenate([answers, evaluate(more) - base])
        # All coalitions of the other sizes together weigh what their share of the kernel is.
        share = sum(_kernel_weight(count, size) for size in sizes)
        each = np.full(len(drawn), share / len(drawn))
        fitted = _fit_least_squares(
            np.concatenate([masks, drawn]), np.concatenate([weights, each]), answers, output - base, len(masks)
        )
    return KernelValues(fitted[0], fitted[1], base, output, 2 + len(masks) + len(drawn), is_partial)


def _check_num_evaluations(count: int, num_evaluations: int) -> None:
    if num_evaluations < min(2 * count, 2 ** min(count, 60) - 2):
        raise InputError(
            f"{num_evaluations} evaluations cannot tell {count} features apart", expected=f"at least {2 * count}",
            fix="allow more, join features to groups, or use a method by gradients",
        )  # fmt: skip


def _kernel_weight(count: int, size: int) -> float:
    """Weight of all coalitions of a size together in the Shapley kernel, up to a factor."""
    return (count - 1) / (size * (count - size))


def _enumerate_sizes(count: int, num_evaluations: int) -> tuple[NDArray[np.bool_], Float64, list[int]]:
    """The coalitions of the sizes that are evaluated whole, as (masks, weights, sizes left)."""
    masks: list[NDArray[np.bool_]] = []
    weights: list[float] = []
    left = list(range(1, count))
    used = 0
    for size in range(1, count // 2 + 1):
        number = math.comb(count, size) * (1 if 2 * size == count else 2)
        if used + number > num_evaluations:
            break
        for members in combinations(range(count), size):
            mask = np.zeros(count, bool)
            mask[list(members)] = True
            for each in [mask] if 2 * size == count else [mask, ~mask]:
                masks.append(each)
                weights.append(_kernel_weight(count, size) / math.comb(count, size))
        used += number
        left = [other for other in left if other not in {size, count - size}]
    return np.array(masks).reshape(-1, count), np.array(weights), left


def _draw_coalitions(count: int, sizes: list[int], num_pairs: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Random coalitions (2 * num_pairs, G) of the sizes left, as often as the kernel weighs them, with their
    complements."""
    chances = np.array([_kernel_weight(count, size) for size in sizes])
    size = rng.choice(sizes, num_pairs, p=chances / chances.sum())
    ranks = rng.random((num_pairs, count)).argsort(axis=1)
    masks = ranks < size[:, None]
    return np.stack([masks, ~masks], axis=1).reshape(-1, count)


def _fit_least_squares(
    masks: NDArray[np.bool_], weights: Float64, answers: Float64, total: float, first_drawn: int | None = None
) -> tuple[Float64, Float64]:
    """Shapley values and their standard errors by least squares of answers on masks, the values summing to `total`: the
    last is put in as total less the others."""
    x = masks[:, :-1].astype(np.float64) - masks[:, -1:]
    y = answers - masks[:, -1] * total
    weighted = x * weights[:, None]
    inverse = np.linalg.pinv(x.T @ weighted)
    values = inverse @ (weighted.T @ y)
    error = np.zeros(masks.shape[1])
    if first_drawn is not None:
        # Pairs are drawn together, so their residuals count together.
        left = weighted[first_drawn:] * (y - x @ values)[first_drawn:, None]
        pairs = left[0::2] + left[1::2]
        pairs = pairs - pairs.mean(axis=0)
        lost = min(masks.shape[1] - 1, len(pairs) // 2)  # degrees of freedom that the fit has taken
        cover = inverse @ (pairs.T @ pairs) @ inverse * len(pairs) / (len(pairs) - lost)
        error = np.sqrt(np.maximum(np.append(np.diag(cover), cover.sum()), 0.0))
    return np.append(values, total - values.sum()), error


def _mean_over_baselines(
    f: RowFunction, row: NDArray[np.floating], baselines: NDArray[np.floating], masks: NDArray[np.bool_], max_rows: int
) -> Float64:
    """Mean answer (M,) of each coalition over the baselines."""
    size = max(1, min(max_rows, (1 << 24) // len(row)) // len(baselines))
    means: list[Float64] = []
    for start in range(0, len(masks), size):
        some = masks[start : start + size]
        mixed = np.where(some[:, None], row, baselines[None]).reshape(-1, len(row))
        answers = np.asarray(f(mixed), np.float64)
        if answers.shape != (len(mixed),) or not np.isfinite(answers).all():
            raise InputError(
                f"the model answers {answers.ravel()[:3].tolist()} with shape {answers.shape}",
                expected=f"({len(mixed)},) finite numbers", fix="see why the model gives no number there",
            )  # fmt: skip
        means.append(answers.reshape(len(some), -1).mean(axis=1))
    return np.concatenate(means) if means else np.zeros(0)
