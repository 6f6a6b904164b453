"""The path integral from baseline to input, for all layers of a run at once.

    a_l = integral over t in 0..1 of  df/dh_l(t) * dh_l/dt  dt        (conductance, Dhamdhere et al. 2018, formula 2)

Its sum is f(input) - f(baseline) at every layer that the whole answer passes through; at the input itself it is
integrated gradients (Sundararajan et al. 2017). Steps of a panel are Gauss-Lobatto points, which lie on both of its
ends: dh/dt is that of the polynomial through the layer's values there, so that one forward and one backward pass over
the steps give all layers,

    a_l = sum over steps k of  g_k * sum_j M_kj h_j,    M = diag(weights) D        (the panel's length cancels out)

The error of every panel is known, since f is known at its ends. Each row has panels of its own: those that make half of
its error are halved until the sum of errors is small enough. Smooth nets need one panel of 9 steps; at kinks (relu)
panels gather.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
import torch
from torch import Tensor

from deepseek.contracts import Float64

FIRST_STEPS, LATER_STEPS = 9, 5  # of a row's first panel, and of its halves


@dataclass(slots=True)
class Panels:
    """Some panels, each of a row of its own: parts are (P, ...), one for each layer; error (P,) is how far the worst
    layer's sum is from the change of the answer."""

    rows: Tensor  # (P,)
    ends: Tensor  # (P, 2)
    parts: list[Tensor]
    error: Tensor

    def take(self, places: Tensor) -> Panels:
        return Panels(self.rows[places], self.ends[places], [part[places] for part in self.parts], self.error[places])

    def joined_with(self, other: Panels) -> Panels:
        parts = [torch.cat(pair) for pair in zip(self.parts, other.parts, strict=True)]
        joined = (torch.cat([getattr(self, name), getattr(other, name)]) for name in ("rows", "ends", "error"))
        rows, ends, error = joined
        return Panels(rows, ends, parts, error)


#: (rows (P,), steps (S, P)) -> their panels' parts and errors.
MeasureFunction = Callable[[Tensor, Tensor], tuple[list[Tensor], Tensor]]


@dataclass(frozen=True, slots=True)
class Integral:
    """The integral of each row: the sum over its panels."""

    parts: list[Tensor]  # (N, ...)
    error: Tensor  # (N,) known errors of the panels, added up by size
    num_steps: Tensor  # (N,) runs of the module, forward and backward
    is_partial: bool  # stopped by steps or time with an error above what was asked for


@cache
def lobatto_rule(num_steps: int) -> tuple[Float64, Float64]:
    """(points (S,) in 0..1, M (S, S)).

    >>> points, matrix = lobatto_rule(3)
    >>> points.tolist(), matrix.sum().round(9).item()
    ([0.0, 0.5, 1.0], 0.0)
    """
    legendre = np.polynomial.legendre.Legendre.basis(num_steps - 1)
    inner = np.sort(legendre.deriv().roots().real)
    points = np.concatenate([[-1.0], inner, [1.0]])
    weights = 2 / (num_steps * (num_steps - 1) * legendre(points) ** 2)
    apart = points[:, None] - points + np.eye(num_steps)
    scale = 1 / apart.prod(axis=1)
    slopes = scale / scale[:, None] / apart
    np.fill_diagonal(slopes, 0.0)
    np.fill_diagonal(slopes, -slopes.sum(axis=1))
    return (points + 1) / 2, weights[:, None] * slopes


def contract_steps(grads: Tensor, values: Tensor, num_steps: int) -> Tensor:
    """sum over k of g_k * (M h)_k: (S * N, ...) -> (N, ...)."""
    matrix = torch.as_tensor(lobatto_rule(num_steps)[1]).to(values)
    wide = (num_steps, values.shape[0] // num_steps, *values.shape[1:])
    h, g = values.reshape(wide), grads.reshape(wide)
    contracted: Tensor = (g * torch.tensordot(matrix, h - h[:1], dims=1)).sum(0)
    return contracted


def integrate(
    measure: MeasureFunction,
    limit: Tensor,
    *,
    max_steps: int,
    max_rows: int,
    time_limit_s: float | None = None,
) -> Integral:
    """Panels from 0 to 1 in every row, halved until a row's errors sum to at most its `limit` (N,), the row has
    used `max_steps`, or the time is over. A run has at most `max_rows` steps of all rows together, or one panel."""
    start, num_rows = time.perf_counter(), len(limit)
    rows = torch.arange(num_rows)
    panels = _measure_panels(
        measure, rows, torch.tensor([[0.0, 1.0]]).double().repeat(num_rows, 1), FIRST_STEPS, max_rows
    )
    used = torch.full((num_rows,), FIRST_STEPS)
    limit = limit.cpu().double()
    while True:
        total = torch.zeros(num_rows, dtype=torch.float64).index_add_(0, panels.rows, panels.error)
        late = time_limit_s is not None and time.perf_counter() - start >= time_limit_s
        # What is not a number is not open: no halving makes it one.
        open_ = (total > limit) & (used + 2 * LATER_STEPS <= max_steps)
        if late or not open_.any():
            break
        chosen = _worst_panels(panels, total, open_, (max_steps - used) // (2 * LATER_STEPS))
        halved = panels.take(chosen)
        middle = halved.ends.mean(1)
        lower, upper = torch.stack([halved.ends[:, 0], middle], 1), torch.stack([middle, halved.ends[:, 1]], 1)
        new = _measure_panels(measure, halved.rows.repeat(2), torch.cat([lower, upper]), LATER_STEPS, max_rows)
        used.index_add_(0, new.rows, torch.full_like(new.rows, LATER_STEPS))
        kept = torch.ones(len(panels.rows), dtype=torch.bool)
        kept[chosen] = False
        panels = panels.take(kept.nonzero()[:, 0]).joined_with(new)
    parts = [part.new_zeros(num_rows, *part.shape[1:]).index_add_(0, panels.rows, part) for part in panels.parts]
    return Integral(parts, total, used, not bool((total <= limit).all()))


def _worst_panels(panels: Panels, total: Tensor, open_: Tensor, most: Tensor) -> Tensor:
    """The places of the panels that make half of the error of each row that is not good enough yet."""
    chosen: list[int] = []
    share, number = torch.zeros(len(total), dtype=torch.float64), torch.zeros(len(total), dtype=torch.int64)
    for place in panels.error.argsort(descending=True).tolist():
        row = int(panels.rows[place])
        if open_[row] and share[row] < 0.5 * total[row] and number[row] < most[row]:
            chosen.append(place)
            share[row] += panels.error[place]
            number[row] += 1
    return torch.tensor(chosen)


def _measure_panels(measure: MeasureFunction, rows: Tensor, ends: Tensor, num_steps: int, max_rows: int) -> Panels:
    size = max(1, max_rows // num_steps)
    places = torch.as_tensor(lobatto_rule(num_steps)[0])
    panels: list[Panels] = []
    for start in range(0, len(rows), size):
        some, between = rows[start : start + size], ends[start : start + size]
        steps = between[:, 0] + (between[:, 1] - between[:, 0]) * places[:, None]
        parts, error = measure(some, steps)
        panels.append(Panels(some, between, parts, error.cpu().double()))
    return reduce(Panels.joined_with, panels)
