"""From prepared rows to a finished model: search, blend, calibrate, refit on all rows, decide.

The held-out rows of the folds judge, calibrate and set thresholds; the refit then uses every development row. Where a
threshold has to keep a bound, nothing is refitted on the rows that set it: of other trees it says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.blend import FLOORS, Blend, choose_blend, price, probabilities_of
from deepseek.automl.cluster.fitter import Fold
from deepseek.automl.cluster.folds import RayFolds
from deepseek.automl.cluster.workers import Workers
from deepseek.automl.search import Budget, Search, for_data
from deepseek.automl.trial import FINISH_BYTE_S, FIT_MARGIN, Reach, Trial
from deepseek.contracts import Float32, Float64, JsonObject
from deepseek.errors import InputError
from deepseek.nn.model import MarginScale, Model, Part, log_odds, smooth_probabilities
from deepseek.train.candidates import Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import MIN_MANY_MARGINS, HistGradientBoosting
from deepseek.train.tabular.calibrate import Calibration, fit_calibration, identity_calibration
from deepseek.train.tabular.metrics import MetricInfo, stabilize_metric

FINISH_S = 2.5  # export, parity, figures and files of a small model; larger ones add a share of their fits
#: The best of each: a blend seldom has parts of more, or of one whose loss, size counted, is a larger share above the
#: least. Refits of two forests of 23 and 35 MB that no blend had took the place of a net of 1.5 % less loss.
RESERVED_FAMILIES, NEAR_SHARE = 3, 0.05
FINISH_JUDGED_ROW_S = 1.5e-4  # figures with their intervals, by held-out row
FINISH_ROW_S = 3e-5  # codes of levels, card and support, by development row
MIN_ROWS_REACH = 4_000  # from where the budget decides on folds, too
START_S = 1.0  # reading, checks and preparation


#: Fits a family for the last time: on these rows, with these settings and this seed.
LastFitter = Callable[[Candidate, FitData, Params, int], FittedCandidate]


@dataclass(frozen=True)
class DevelopedModel:
    """A model and what the held-out rows say of it."""

    model: Model
    #: From features (N, F) to the output of the yardstick, as the first trial has it, refitted on the same rows.
    score_baseline: Callable[[Float32], Float64]
    trials: tuple[Trial, ...]
    blend: Blend
    held_out: FitData
    held_out_output: Float64  # (M, C) or (M, 1) calibrated, from models that did not see the row: `model` itself, where
    # it was not refitted on these rows
    baseline_output: Float64  # the same for the yardstick, as the first trial has it
    held_out_rows: NDArray[np.int64]  # (M,) where they are among the rows to develop on
    ended_families: tuple[str, ...] = ()  # far behind on their first folds, and tried no further


def develop(
    data: FitData,
    folds: Sequence[Fold],
    labels: tuple[str, ...],
    *,
    metric: MetricInfo,
    candidates: tuple[Candidate, ...],
    seed: int,
    budget: Budget,
    num_trials: int | None,
    progress: Callable[[Trial], None],
    refit_on_held: bool = True,
    num_rows: int | None = None,
    races: bool = True,
    orders_levels: bool = False,
    workers: Workers | None = None,
    last_fit: LastFitter | None = None,
    yardstick_s: float = math.inf,
    budget_s: float = math.inf,
) -> DevelopedModel:
    """Search within the budget, then build the model of the best blend. `refit_on_held`: False keeps it to the rows to
    fit on of the only fold, so that its outputs on the held-out rows are those of the model that is shipped.
    `num_rows`: of another fit behind that one, by refit_on(), for which the budget keeps room. `races`: far families
    end on their first folds. `orders_levels`: each fold orders the codes of `data` by the target of its own rows.
    `workers`: of a cluster, which fit the folds. `last_fit`: what is shipped, where that is not the family itself.
    `yardstick_s`: CPU seconds that the yardstick may take in all, by its guess; it gets small trees then. `budget_s`:
    what it may leave out by guesses (_reach)."""
    fitter = None if workers is None else RayFolds(data, folds, seed, workers, orders_levels=orders_levels)
    if not refit_on_held and len(folds) != 1:
        raise InputError(
            f"there are {len(folds)} folds", expected="one fold where nothing is refitted", fix="give validation rows"
        )
    fit_data = data if refit_on_held else data.rows(folds[0][0])
    growth = (len(fit_data.target) + (num_rows or 0)) / len(folds[0][0])  # a refit sees more rows than a fold did
    search = Search(
        data, folds, metric, seed, candidates, races, orders_levels=orders_levels, fitter=fitter,
        yardstick_s=yardstick_s / (len(folds) + growth),
    )  # fmt: skip
    search = replace(search, reach=_reach(search, growth, budget_s))  # by what the yardstick may take
    trials = _run_search(search, fitter, budget, growth, num_trials=num_trials, progress=progress)
    held_out = data.rows(search.held_out)
    scale: MarginScale = "target units" if data.task == "regression" else "log-odds"
    blend = select_blend(trials, held_out, metric, scale, seed)
    refitted: dict[int, FittedCandidate] = {}
    by_name = {c.name: c for c in for_data(candidates, data)}

    def refit(trial: Trial) -> FittedCandidate:
        if trial.number not in refitted:  # the yardstick may be in the blend too
            refitted[trial.number] = (last_fit or fit_here)(by_name[trial.family], fit_data, trial.params, seed)
        return refitted[trial.number]

    model, output = _calibrate_and_refit(data, blend, held_out, labels, refit, seed)
    first = trials[0]
    plain = replace(first, slope=1.0, margin=first.margin / first.slope)  # with its own settings and nothing else
    if not refit_on_held:
        output = model.score(held_out.features).output.astype(np.float64)
    return DevelopedModel(
        model, _baseline_scorer(held_out, first, refit(first)), tuple(trials), blend, held_out, output,
        probabilities_of(held_out, plain.margin), search.held_out, tuple(search.ended),
    )  # fmt: skip


def _reach(search: Search, growth: float, budget_s: float) -> Reach | None:
    """Which families a budget can hold by guesses, where the folds and the yardstick depend on it anyway: of many rows,
    and of many classes. Else a run is repeated by its number of trials alone."""
    data, num_judged = search.data, len(search.held_out)
    is_dear = data.num_margins >= MIN_MANY_MARGINS and HistGradientBoosting().cost_s(data) > search.yardstick_s
    if len(data.target) < MIN_ROWS_REACH and not is_dear:
        return None
    rows_s = FINISH_ROW_S * len(data.target) + FINISH_JUDGED_ROW_S * num_judged
    return Reach(budget_s, growth, START_S + FINISH_S + rows_s)


def _run_search(
    search: Search,
    fitter: RayFolds | None,
    budget: Budget,
    growth: float,
    *,
    num_trials: int | None,
    progress: Callable[[Trial], None],
) -> list[Trial]:
    """The trials; the budget keeps room for what follows them, on `growth` times the rows of a fold."""

    def reserve(trials: Sequence[Trial]) -> float:
        return finish_s(trials, len(search.data.target), len(search.held_out), growth)

    try:
        return search.run(budget, num_trials=num_trials, reserve=reserve, progress=progress)
    finally:
        if fitter is not None:
            fitter.close()


def finish_s(trials: Sequence[Trial], num_rows: int, num_judged: int, growth: float) -> float:
    """CPU seconds that follow a search of these trials on so many rows, some of which judge: the refits of the
    yardstick and of the best families on `growth` times the rows of a fold, and what the bytes of the one that leads,
    size counted, take to export, check, explain and pack."""
    best: dict[str, Trial] = {}
    for trial in sorted(trials[1:], key=price):
        best.setdefault(trial.family, trial)
    leader = min(trials, key=price)
    least = price(leader)[0]
    near = [trial for trial in best.values() if price(trial)[0] - least <= NEAR_SHARE * abs(least)]
    fits_s = sum(trial.refit_s for trial in near[:RESERVED_FAMILIES]) + trials[0].refit_s
    size_bytes = leader.size_bytes * leader.refit_s / max(leader.fit_s, 1e-9)
    rows_s = FINISH_ROW_S * num_rows + FINISH_JUDGED_ROW_S * num_judged
    return FINISH_S + rows_s + FIT_MARGIN * growth * fits_s + FINISH_BYTE_S * growth * size_bytes


def fit_here(family: Candidate, data: FitData, params: Params, seed: int) -> FittedCandidate:
    """A family fitted on all rows, in this process."""
    return family.fit(data, params, seed=seed)


def refit_on(
    developed: DevelopedModel,
    data: FitData,
    candidates: Sequence[Candidate],
    seed: int,
    last_fit: LastFitter | None = None,
) -> Model:
    """The model with every part fitted anew on other rows of the same features, by the settings that were found; its
    weights, its calibration and its threshold stay."""
    by_name = {each.name: each for each in for_data(candidates, data)}

    def refit(trial: Trial) -> FittedCandidate:
        return (last_fit or fit_here)(by_name[trial.family], data, trial.params, seed)

    return replace(developed.model, parts=_fit_parts(developed.blend, refit), smoothing=smoothing_share(data))


def select_blend(
    trials: Sequence[Trial], held_out: FitData, metric: MetricInfo, scale: MarginScale, seed: int
) -> Blend:
    """The blend, with its loss by `metric`, which is not above the yardstick's."""
    for criterion in (stabilize_metric(metric), metric):
        blend = choose_blend(trials, held_out, criterion, scale, seed=seed)
        blend = replace(blend, loss=metric.loss(held_out.target, blend.held_out_output(held_out), held_out.weight))
        if blend.loss <= trials[0].loss:
            break
    return blend


def _calibrate_and_refit(
    data: FitData,
    blend: Blend,
    held_out: FitData,
    labels: tuple[str, ...],
    refit: Callable[[Trial], FittedCandidate],
    seed: int,
) -> tuple[Model, Float64]:
    """The refitted model of a blend, and its calibrated output on the held-out rows."""
    if data.task == "regression":
        return _refit_blend(data, blend, identity_calibration(1), labels, refit), blend.margin
    margin = blend.held_out_log_odds(FLOORS[1])
    calibration = fit_calibration(margin, held_out.target, held_out.weight, seed=seed)
    output = smooth_probabilities(calibration.apply(margin), smoothing_share(data))
    return _refit_blend(data, blend, calibration, labels, refit), output


def _refit_blend(
    data: FitData,
    blend: Blend,
    calibration: Calibration,
    labels: tuple[str, ...],
    refit: Callable[[Trial], FittedCandidate],
) -> Model:
    """Every part of the blend refitted on all rows."""
    return Model(
        task=data.task, labels=labels, scale=blend.scale, parts=_fit_parts(blend, refit),
        slope=calibration.slope, bias=calibration.bias, floor=FLOORS[1], smoothing=smoothing_share(data),
    )  # fmt: skip


def _baseline_scorer(data: FitData, first: Trial, fitted: FittedCandidate) -> Callable[[Float32], Float64]:
    """The output of the yardstick, by the library that grew it: the twin walks 2,600 trees of 26 classes for seconds.
    `data`: any rows of the task."""

    def score(features: Float32) -> Float64:
        raw = fitted.margin(features)
        return probabilities_of(data, raw if first.link == "identity" else log_odds(raw, first.floor))

    return score


def _fit_parts(blend: Blend, refit: Callable[[Trial], FittedCandidate]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for trial, weight in zip(blend.trials, blend.weights, strict=True):
        weights = refit(trial).weights()
        plain = blend.scale == "probability"
        share = weight * (1.0 if plain else trial.slope) / len(weights)
        link = "identity" if plain else trial.link
        parts += [Part(trial.family, arrays, share, link, trial.floor) for arrays in weights]
    return tuple(parts)


def smoothing_share(data: FitData) -> float:
    """The least probability that N rows can speak for: as if one more had been seen, of each class an equal share (a
    rule of succession). It bounds what one row that is unlike all others can cost."""
    return 0.0 if data.task == "regression" else 1 / ((len(data.target) + 1) * data.num_classes)


def search_report(developed: DevelopedModel) -> JsonObject:
    """The search as evidence: every trial, the blend, and how both did on the held-out rows."""
    blend = developed.blend
    return {
        "num_trials": len(developed.trials),
        "trials": [trial.to_dict() for trial in developed.trials],
        "blend": [
            {"trial": t.number, "family": t.family, "weight": w}
            for t, w in zip(blend.trials, blend.weights, strict=True)
        ],
        "ended_families": list(developed.ended_families),
        "scale": blend.scale,
        "held_loss": blend.loss,
        "yardstick": {"family": developed.trials[0].family, "held_loss": developed.trials[0].loss},
    }
