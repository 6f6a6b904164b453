"""Every trial of a search with its figures on the held-out rows, the best first: evidence/search.json, "leaderboard".

    board = build_leaderboard(developed.trials, developed.blend, developed.held_out, metric="log_loss", seed=0)
    board.entries[0].metrics["auc"], board.entries[0].figure

Each trial answers rows that it was not fitted on. Of many trials the best is partly so by chance: what leads and what
the model is made of are compared in pairs, and where the difference is noise, it says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.blend import Blend, probabilities_of
from deepseek.automl.comparison.paired import Scorer, adjust_p_values, metric_scorers, resample_metrics
from deepseek.automl.comparison.records import (
    Difference,
    adjust_verdicts,
    difference_verdict,
    figure_to_dict,
)
from deepseek.automl.trial import Trial
from deepseek.bundle.leaderboard import Leaderboard, LeaderboardEntry, TrialDifference, TrialFigure
from deepseek.contracts import Figure, Float64
from deepseek.look.figures import METRICS
from deepseek.train.candidates import FitData

#: Trials with intervals, the best ones: on so many rows in all, or two of them. Each takes as long as a figure of the
#: test rows.
MAX_INTERVALS, INTERVAL_ROWS = 10, 400_000
BLEND = "blend"


def build_leaderboard(
    trials: Sequence[Trial],
    blend: Blend,
    held_out: FitData,
    *,
    metric: str,
    groups: NDArray[np.int64] | None = None,
    seed: int,
) -> Leaderboard:
    """Rank the trials, and the blend where it has several parts, by `metric` on the M held-out rows. `groups` (M,):
    what each row belongs to, where rows are not independent.

    A metric that is undefined on these rows (average precision without a positive row) gives way to the first that is
    defined.
    """
    share = {trial.number: weight for trial, weight in zip(blend.trials, blend.weights, strict=True)}
    outputs = [(trial, probabilities_of(held_out, trial.margin)) for trial in trials]
    rows: list[tuple[Trial | None, Mapping[str, Scorer]]] = [
        (trial, metric_scorers(held_out.task, held_out.target, output)) for trial, output in outputs
    ]
    if len(blend.trials) > 1:
        output = blend.held_out_output(held_out)
        rows.insert(0, (None, metric_scorers(held_out.task, held_out.target, output)))
    values = [{name: score(held_out.weight) for name, score in scorers.items()} for _, scorers in rows]
    defined = [name for name in values[0] if all(np.isfinite(value[name]) for value in values)]
    leading = metric if metric in defined else defined[0]
    higher = METRICS[leading][1]
    order = sorted(range(len(rows)), key=lambda row: -values[row][leading] if higher else values[row][leading])
    packed = next(row for row in order if rows[row][0] is None or (len(share) == 1 and rows[row][0] is blend.trials[0]))
    figures = _leading_figures([scorers for _, scorers in rows], order, packed, leading, held_out.weight, groups, seed)
    entries = [
        _entry(rank, rows[row][0], {name: values[row][name] for name in defined}, share, figures.get(row))
        for rank, row in enumerate(order, start=1)
    ]
    return Leaderboard(leading, higher, len(held_out.target), tuple(entries))


def _entry(
    rank: int,
    trial: Trial | None,
    metrics: dict[str, float],
    share: Mapping[int, float],
    measured: tuple[Figure, Difference] | None,
) -> LeaderboardEntry:
    figure, difference = None, None
    if measured is not None:
        figure = TrialFigure(**figure_to_dict(measured[0]))
        difference = TrialDifference(**measured[1].to_dict())
    if trial is None:
        return LeaderboardEntry(rank, None, BLEND, {}, 1.0, metrics, None, None, figure, difference)
    return LeaderboardEntry(
        rank, trial.number, trial.family, dict(trial.params), share.get(trial.number, 0.0), metrics,
        round(trial.fit_s, 3), trial.size_bytes, figure, difference,
    )  # fmt: skip


def _leading_figures(
    scorers: Sequence[Mapping[str, Scorer]],
    order: Sequence[int],
    packed: int,
    metric: str,
    weight: Float64,
    groups: NDArray[np.int64] | None,
    seed: int,
) -> dict[int, tuple[Figure, Difference]]:
    """Of the best rows and of the packed one: the metric with its interval, and its difference to the packed one."""
    num_measured = int(np.clip(INTERVAL_ROWS // len(weight), 2, MAX_INTERVALS))
    chosen = [packed, *(row for row in order[:num_measured] if row != packed)]
    resamples = resample_metrics([{metric: scorers[row][metric]} for row in chosen], weight, groups=groups, seed=seed)
    differences = []
    for place in range(len(chosen)):
        paired, higher = resamples.difference(metric, place), METRICS[metric][1]
        difference = Difference(metric, paired.value, paired.low, paired.high, paired.p_value, higher, "identical")
        differences.append(replace(difference, verdict=difference_verdict(difference)) if place else difference)
    adjusted = adjust_verdicts(differences[1:], adjust_p_values([each.p_value for each in differences[1:]]))
    return {
        row: (resamples.figure(metric, place), difference)
        for place, (row, difference) in enumerate(zip(chosen, [differences[0], *adjusted], strict=True))
    }
