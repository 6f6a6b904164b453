"""The blend: a weighted sum of trials on one additive scale, chosen greedily on held-out rows.

Bagged ensemble selection with replacement (Caruana et al. 2004, sections 2.1 to 2.3): start from the best trial, then
again and again add the trial that lowers the loss most; the weights are means over resamples of the held-out rows. A
forest's votes enter as log-odds beside margins; forests alone may also be blended as plain shares, where their trees
simply make one larger forest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from deepseek.contracts import Float64
from deepseek.nn.model import Link, MarginScale, log_odds, sigmoid, softmax
from deepseek.train.candidates import FitData
from deepseek.train.tabular.calibrate import calibration_loss, fit_slope, identity_calibration
from deepseek.train.tabular.metrics import METRICS, MetricInfo

if TYPE_CHECKING:
    from deepseek.automl.trial import Trial

FLOORS = (1e-4, 1e-3, 3e-3, 1e-2)
MAX_PARTS = 5
MAX_SELECTION_STEPS = 12
MAX_RESAMPLES = 12
MIN_WEIGHT = 0.03
HEDGE_ROWS = 300
HEDGE_FAMILIES = 3
SIZE_WORTH = 0.01  # share of the loss that half the size is worth: size, latency and explanations cost too
BASE_BYTES = 200_000  # about what a bundle takes besides its parts
#: A blend from so many bytes on gives way to one of this share of them that is as good within noise: 1,250 trees
#: without a bound on their leaves, a graph of 61 MB, took 18 s after the search.
LARGE_BYTES, SMALL_SHARE = 10_000_000, 0.1
MIN_GAIN = 1e-4  # a further part must lower the loss by this share of it, else the blend stays smaller


def probabilities_of(data: FitData, margin: Float64) -> Float64:
    """The output (N, C) or (N, 1) of linked margins (N, K)."""
    if data.task == "regression":
        return margin
    if data.task == "multiclass":
        return softmax(margin)
    positive = sigmoid(margin)
    return np.concatenate([1 - positive, positive], axis=1)


def to_log_odds(data: FitData, raw: Float64, *, is_share: bool) -> tuple[Link, float, Float64]:
    """A candidate's raw scores as log-odds: the floor of a forest's votes is the one of least loss."""
    if data.task == "regression" or not is_share:
        return "identity", FLOORS[0], raw
    losses = []
    for floor in FLOORS:
        margin = log_odds(raw, floor)
        slope = fit_slope(margin, data.target, data.weight, with_bias=False)
        losses.append(calibration_loss(slope, margin, data.target, data.weight))
    floor = FLOORS[int(np.argmin(losses))]
    return "log_odds", floor, log_odds(raw, floor)


def fit_temperature(data: FitData, margin: Float64) -> tuple[float, Float64]:
    """The trial's own slope, so that margins of families that are too sure and too shy can be added."""
    if data.task == "regression":
        return 1.0, margin
    slope = fit_slope(margin, data.target, data.weight, with_bias=False)
    if calibration_loss(slope, margin, data.target, data.weight) >= calibration_loss(
        identity_calibration(margin.shape[1]), margin, data.target, data.weight
    ):
        return 1.0, margin
    return slope.slope, slope.slope * margin


@dataclass(frozen=True)
class Blend:
    """Which trials, with which weights (sum 1), on which scale."""

    trials: tuple[Trial, ...]
    weights: tuple[float, ...]
    scale: MarginScale
    loss: float
    margin: Float64  # (M, K) on the held-out rows, on the scale

    def held_out_output(self, held_out: FitData) -> Float64:
        """Probabilities (M, C) or values (M, 1) of the held-out rows, before calibration."""
        return _output(self.margin, held_out, self.scale)

    def held_out_log_odds(self, floor: float) -> Float64:
        """The held-out margins on the scale that calibration reads."""
        return log_odds(self.margin, floor) if self.scale == "probability" else self.margin


def choose_blend(
    trials: Sequence[Trial], held_out: FitData, metric: MetricInfo, scale: MarginScale, *, seed: int
) -> Blend:
    """The blend of least loss on the held-out rows; a single trial when no blend is better."""
    pool = _shortlist(trials)
    most = _blend_loss(trials[0].margin, held_out, metric, scale, held_out.weight)
    best = _choose_from(pool, held_out, metric, scale, seed, most)
    small = [trial for trial in pool if _size_bytes(best) >= LARGE_BYTES and _is_small(trial.size_bytes, best)]
    if not small:
        return best
    lighter = _choose_from(small, held_out, metric, scale, seed, most)
    is_taken = _is_small(_size_bytes(lighter), best) and lighter.loss <= most
    return lighter if is_taken and _is_as_good(lighter, best, held_out, metric) else best


def _choose_from(
    pool: list[Trial], held_out: FitData, metric: MetricInfo, scale: MarginScale, seed: int, most: float
) -> Blend:
    """The blend of these trials, whose loss stays at `most` or below where parts are left out."""
    choices = [_greedy_blend(pool, [t.margin for t in pool], held_out, metric, scale, seed)]
    forests = [t for t in pool if t.shares is not None]
    if forests:
        shares = [t.shares for t in forests if t.shares is not None]
        choices.append(_greedy_blend(forests, shares, held_out, metric, "probability", seed))
    return _drop_parts(min(choices, key=lambda blend: blend.loss), held_out, metric, most=most)


def _is_small(size_bytes: int, blend: Blend) -> bool:
    """Whether so many bytes are a small share of what a blend takes."""
    return size_bytes <= SMALL_SHARE * _size_bytes(blend)


def _is_as_good(lighter: Blend, best: Blend, held_out: FitData, metric: MetricInfo) -> bool:
    """Whether the loss of a row is higher by no more than one standard error of the difference; no, by a metric that is
    not made of rows."""
    first, second = (_row_losses(blend, held_out, metric) for blend in (lighter, best))
    if first is None or second is None:
        return False
    share = held_out.weight / held_out.weight.sum()
    difference = first - second
    mean = float(share @ difference)
    return mean <= float(np.sqrt(share**2 @ (difference - mean) ** 2))


def _row_losses(blend: Blend, held_out: FitData, metric: MetricInfo) -> Float64 | None:
    """The loss of each held-out row (M,), squared errors for their root; None where rows have none of their own."""
    output = blend.held_out_output(held_out)
    if metric is METRICS["regression"]["rmse"]:
        return np.asarray((output[:, 0] - held_out.target) ** 2)
    if metric.of_rows is None:
        return None
    values = np.asarray(metric.of_rows(held_out.target, output), np.float64)
    return -values if metric.higher_is_better else values


def _drop_parts(blend: Blend, held_out: FitData, metric: MetricInfo, *, most: float) -> Blend:
    """Parts are left out one by one while half the size costs less than SIZE_WORTH of the loss, which stays at `most`
    (the yardstick's) or below. The last part of a family is a hedge besides, which the held-out rows cannot show."""
    unit, hedge = abs(blend.loss) or 1.0, SIZE_WORTH * _hedge_share(held_out.num_effective)

    def gain(lighter: Blend) -> float:
        loss = (lighter.loss - blend.loss) / unit
        fewer = len({t.family for t in lighter.trials}) < len({t.family for t in blend.trials})
        return SIZE_WORTH * float(np.log2(_size_bytes(blend) / _size_bytes(lighter))) - max(
            hedge if fewer else 0.0, loss
        )

    while len(blend.trials) > 1:
        lighter = [_drop_part(blend, trial, held_out, metric) for trial in blend.trials]
        best = max((candidate for candidate in lighter if candidate.loss <= most), key=gain, default=blend)
        if gain(best) <= 0:
            break
        blend = best
    return blend


def _size_bytes(blend: Blend) -> int:
    return BASE_BYTES + sum(trial.size_bytes for trial in blend.trials)


def _hedge_share(num_effective: float) -> float:
    """How much of a blend's weights is a hedge."""
    return HEDGE_ROWS / (HEDGE_ROWS + num_effective)


def _drop_part(blend: Blend, trial: Trial, held_out: FitData, metric: MetricInfo) -> Blend:
    """The blend of the other trials, their weights in the same proportions."""
    kept = [(t, w) for t, w in zip(blend.trials, blend.weights, strict=True) if t is not trial]
    total = sum(weight for _, weight in kept)
    weights = tuple(weight / total for _, weight in kept)
    scores = [t.shares if blend.scale == "probability" and t.shares is not None else t.margin for t, _ in kept]
    margin = np.tensordot(np.array(weights), np.stack(scores), axes=1)
    loss = _blend_loss(margin, held_out, metric, blend.scale, held_out.weight)
    return Blend(tuple(t for t, _ in kept), weights, blend.scale, loss, margin)


def price(trial: Trial) -> tuple[float, int]:
    """What trials are ranked by, size counted: its loss, more by SIZE_WORTH for each doubling of its bytes."""
    return trial.loss * (1 + SIZE_WORTH) ** float(np.log2(BASE_BYTES + trial.size_bytes)), trial.number


def _shortlist(trials: Sequence[Trial]) -> list[Trial]:
    """The three best trials of each family, size counted: enough variety, and a short search. One of a family whose
    refit grows (a forest of many rows): its refit stands for several, and costs as much."""
    best: list[Trial] = []
    for family in dict.fromkeys(t.family for t in trials):
        ranked = sorted((t for t in trials if t.family == family), key=price)
        best += ranked[: 1 if ranked[0].refit_s > ranked[0].fit_s else 3]
    return sorted(best, key=price)


def _greedy_blend(
    pool: list[Trial], scores: list[Float64], held_out: FitData, metric: MetricInfo, scale: MarginScale, seed: int
) -> Blend:
    """Selection on all held-out rows and on resamples of them, averaged, so that no lucky row decides a weight."""
    random = np.random.default_rng(seed)
    num_rows = len(held_out.target)
    votes = _selection_shares(scores, held_out, metric, scale, held_out.weight)
    for _ in range(int(np.clip(300_000 // num_rows, 1, MAX_RESAMPLES))):
        counts = random.multinomial(num_rows, np.full(num_rows, 1 / num_rows))
        votes += _selection_shares(scores, held_out, metric, scale, held_out.weight * counts)
    votes[np.argsort(-votes, kind="stable")[MAX_PARTS:]] = 0
    votes[votes < MIN_WEIGHT * votes.sum()] = 0
    num_effective = held_out.num_effective
    weights = _hedge_weights(votes / votes.sum(), pool, num_effective)
    single = int(np.argmin([_blend_loss(score, held_out, metric, scale, held_out.weight) for score in scores]))
    margin = np.tensordot(weights, np.stack(scores), axes=1)
    loss = _blend_loss(margin, held_out, metric, scale, held_out.weight)
    alone = _blend_loss(scores[single], held_out, metric, scale, held_out.weight)
    yardsticks = [
        _blend_loss(s, held_out, metric, scale, held_out.weight)
        for t, s in zip(pool, scores, strict=True)
        if not t.number
    ]
    if loss > min([np.inf, *yardsticks]) or (alone <= loss and num_effective > HEDGE_ROWS * 10):
        return Blend((pool[single],), (1.0,), scale, alone, scores[single])
    used = np.flatnonzero(weights)
    return Blend(tuple(pool[i] for i in used), tuple(float(weights[i]) for i in used), scale, loss, margin)


def _hedge_weights(weights: Float64, pool: list[Trial], num_effective: float) -> Float64:
    """Weights (P,) drawn towards an even share of the best trial of the best few families, as if HEDGE_ROWS rows had
    spoken for that: on few rows, or few of a class, the order of good families is luck, and families err on different
    rows."""
    leaders: dict[str, int] = {}
    for index, trial in enumerate(pool):  # best first
        if trial.number and len(leaders) < HEDGE_FAMILIES:
            leaders.setdefault(trial.family, index)
    if not leaders:
        return weights
    even = np.zeros_like(weights)
    even[list(leaders.values())] = 1 / len(leaders)
    share = _hedge_share(num_effective)
    mixed: Float64 = (1 - share) * weights + share * even
    mixed[mixed < MIN_WEIGHT] = 0
    mixed /= mixed.sum()
    return mixed


def _output(total: Float64, held_out: FitData, scale: MarginScale) -> Float64:
    if scale == "probability":
        return np.concatenate([1 - total, total], axis=1) if held_out.task == "binary" else total
    return probabilities_of(held_out, total)


def _blend_loss(total: Float64, held_out: FitData, metric: MetricInfo, scale: MarginScale, weight: Float64) -> float:
    return metric.loss(held_out.target, _output(total, held_out, scale), weight)


def _selection_shares(
    scores: list[Float64], held_out: FitData, metric: MetricInfo, scale: MarginScale, weight: Float64
) -> Float64:
    """Share of the steps that picked each score (P,)."""
    counts = np.zeros(len(scores))
    total = np.zeros_like(scores[0])
    best = np.inf
    for step in range(MAX_SELECTION_STEPS):
        losses = [_blend_loss((total * step + score) / (step + 1), held_out, metric, scale, weight) for score in scores]
        pick = int(np.argmin(losses))
        if losses[pick] > best - MIN_GAIN * abs(best) and step:
            break
        best, total = losses[pick], (total * step + scores[pick]) / (step + 1)
        counts[pick] += 1
    share: Float64 = counts / counts.sum()
    return share
