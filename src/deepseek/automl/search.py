"""The search: candidates tried one by one under a budget, each judged on rows that it was not fitted on.

The order of trials depends on the data, the seed and the losses so far, never on the clock: a budget in seconds decides
how many trials there are and, by guesses alone, which families it can hold, so a run can be repeated exactly by that
number and the same budget. First every family with its defaults, cheapest first; then optuna's TPE (Bergstra et al.
2011) within the families that lead. A family whose trials are dear waits until as much was spent on the others, by
guesses from the shape of the data: whenever the budget ends, the cheap families have been tuned, and little of it is
left over. A family that is far behind on its first folds ends there: forests and neural nets, which cost most, are
seldom worth the others where they are. Where one fold of several is enough to look at a family, all that are not dear
are looked at first, and go on in the order of their losses.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.blend import fit_temperature, probabilities_of, to_log_odds
from deepseek.automl.cluster.fitter import Fold, FoldFitter, FoldRows, fit_fold, import_needs
from deepseek.automl.trial import FirstFolds, NextTrials, Reach, Trial
from deepseek.contracts import Float64
from deepseek.extras import install_advice, is_installed, need
from deepseek.plugins import find, names
from deepseek.train.candidates import BASELINE, BUILT_IN, TEXT_BASELINE, Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.boosting import HistGradientBoosting
from deepseek.train.candidates.texts import TextLinear, TokenColumns
from deepseek.train.candidates.without_texts import WithoutTexts
from deepseek.train.tabular.metrics import METRICS, MetricInfo

BASELINES = (BASELINE, TEXT_BASELINE)
#: A family whose first trial has so many times the loss of the best trial on the first so many rows ends with them.
MAX_BEHIND, MIN_RACE_ROWS = 1.08, 150
#: Where the first folds of a family are at most this share of all, it waits behind them until others were looked at. On
#: 4,053 rows of phoneme 20 s were over before extra trees came, whose loss was .87 of the best before.
MAX_LOOK_SHARE = 0.25
MAX_LOOKS = 0.5  # of what trials took may go to looks at others, by guesses: else a budget can end before they go on
#: A family that was looked at, does not lead by such a share of the loss and is guessed to take more than so many CPU
#: seconds a fold waits until so many times as much was spent on others: runs ended at half of the budget before a net.
MIN_LEAD, MIN_DEAR_S, WAIT = 0.01, 0.5, 3.0
EXPECTED_LOSS = 0.9  # of a family that was not tried, in the best so far: then its last fit replaces that of others
MAX_OVER = 0.08  # of the budget, by which a family's first fit and its last may go over it: guesses are rough
IMPORT_S = {"torch": 2.0}  # CPU seconds, once in a process
#: Ranks of the family that the next trials go to, over and over: half to the leader, a third to the second.
FAMILY_TURNS = (0, 1, 0, 2, 0, 1)


@dataclass
class Budget:
    """CPU seconds of this process, all threads counted, from the moment of creation, and of workers elsewhere."""

    total_s: float | None
    start: float = field(default_factory=time.process_time)
    elsewhere: Callable[[], float] | None = None  # CPU seconds of the workers of a cluster, up to now

    @property
    def elsewhere_s(self) -> float:
        return 0.0 if self.elsewhere is None else self.elsewhere()

    def used_s(self) -> float:
        return time.process_time() - self.start + self.elsewhere_s

    def allows(self, cost_s: float) -> bool:
        return self.total_s is None or self.used_s() + cost_s <= self.total_s


def choose_candidates(wanted: Sequence[str] | None) -> tuple[tuple[Candidate, ...], list[str]]:
    """The named candidates (None: all) that can run here, the baselines first; and warnings of those that cannot."""
    others = [name for name in wanted or names("candidates") if name not in BASELINES]
    candidates, warnings = [], []
    for name in (*BASELINES, *others):
        candidate: Candidate = find("candidates", name)
        absent = [module for module in candidate.needs if not is_installed(module)]
        if absent:
            if wanted or not getattr(candidate, "is_optional", False):
                extra = name if getattr(candidate, "is_optional", False) else "train"
                warnings.append(f"{name} was left out: {', '.join(absent)} is not installed ({install_advice(extra)})")
        else:
            candidates.append(candidate)
    return tuple(candidates), warnings


def baseline_name(data: FitData) -> str:
    """The yardstick of these rows: gradient boosting, or logistic regression where there is text that it may read."""
    return TEXT_BASELINE if len(TokenColumns(data).blocks) and not data.is_constrained else BASELINE


def for_data(candidates: Sequence[Candidate], data: FitData) -> list[Candidate]:
    """The candidates as they can read these rows: where there is text, ours that read numbers do not see it, and those
    of other packages, which would take the numbers of n-grams for values, are left out."""
    if not len(TokenColumns(data).blocks):
        return list(candidates)
    text = text_candidates(candidates, data)
    plain: list[Candidate] = [
        WithoutTexts(candidate) for candidate in candidates if candidate in BUILT_IN and candidate not in text
    ]
    return [*text, *plain]


def text_candidates(candidates: Sequence[Candidate], data: FitData) -> list[Candidate]:
    """Those that read the texts in these rows; none where there are no texts."""
    return [each for each in candidates if isinstance(each, TextLinear) and each.supports(data)]


@dataclass(frozen=True)
class Search:
    """What to judge trials by."""

    data: FitData
    folds: Sequence[Fold]
    metric: MetricInfo
    seed: int
    candidates: tuple[Candidate, ...]
    races: bool = True  # whether a family that is far behind ends on its first folds; not where a person named it
    ended: list[str] = field(default_factory=list)  # families that did
    orders_levels: bool = False  # whether codes of levels are put in the order of the target of the rows to fit on
    fitter: FoldFitter | None = None  # None: folds are fitted here, one after the other
    yardstick_s: float = math.inf  # CPU seconds that one fit of the yardstick may take, by its guess
    reach: Reach | None = None  # None: families have their turn however dear they are

    @property
    def held_out(self) -> NDArray[np.int64]:
        """The held-out rows of all folds, in the order of every trial's margin."""
        return np.concatenate([rows for _, rows in self.folds])

    def families(self) -> list[Candidate]:
        """The yardstick, then the others by rising cost."""
        usable = [c for c in for_data(self.candidates, self.data) if c.supports(self.data)]
        first = [c for c in usable if c.name == baseline_name(self.data)]
        return first + sorted((c for c in usable if c not in first), key=lambda c: c.cost_s(self.data))

    def run(
        self,
        budget: Budget,
        *,
        num_trials: int | None,
        reserve: Callable[[Sequence[Trial]], float],
        progress: Callable[[Trial], None],
    ) -> list[Trial]:
        """Trials until `num_trials` are done or the next would leave less than `reserve(trials)` seconds."""
        families = self.families()
        need("sklearn.ensemble", extra="tabular")  # seconds that would count as the first fit's
        upcoming = NextTrials(families, self.data, self.seed)
        trials: list[Trial] = []
        looks: dict[str, FirstFolds] = {}

        def fits_in(cost_s: float, family: Candidate, look: FirstFolds | None = None) -> bool:
            if not trials or num_trials is not None:
                return True
            expected = self._expect_trial(family, trials, look)
            left_s = max(reserve(trials), reserve([*trials, expected]) if expected else 0.0)
            over_s = MAX_OVER * (budget.total_s or 0.0) if expected and look is None else 0.0
            return budget.allows(cost_s + left_s - over_s)

        while num_trials is None or len(trials) < num_trials:
            family = self._next(families, trials, looks)
            look, is_tried = looks.get(family.name), any(trial.family == family.name for trial in trials)
            if not fits_in(self._cost(family, trials, look), family, look):
                break
            if self.fitter is not None:
                self._begin(family, trials, upcoming, look)
                room = math.inf if num_trials is None else num_trials - len(trials) - 1
                for other in self._others(families, trials, looks, family):
                    if room and self.fitter.num_idle and fits_in(self._cost(other, trials, None), other):
                        self._begin(other, trials, upcoming)
                        room -= 1
            if is_tried:
                trial = self._fit(len(trials), family, upcoming.ask(family))
                upcoming.tell(family, trial.loss)
            else:
                if look is None and self._num_first(trials):
                    look = looks[family.name] = self._try_first_folds(family, trials)
                    if look.is_far_behind:
                        self.ended.append(family.name)
                    if look.is_far_behind or self._look_share(trials) <= MAX_LOOK_SHARE:
                        continue
                if look is not None and not fits_in(self._rest_s(family, look), family, look):
                    break
                trial = self._fit(len(trials), family, self._defaults(family), look)
            trials.append(trial)
            progress(trial)
        return trials

    def _defaults(self, family: Candidate) -> Params:
        """What a family is tried with first: the yardstick with small trees where its defaults are too dear."""
        if self._is_boosted_yardstick(family):
            return family.affordable(self.data, self.yardstick_s)
        return family.defaults(self.data)

    def _is_boosted_yardstick(self, family: Candidate) -> TypeGuard[HistGradientBoosting]:
        return isinstance(family, HistGradientBoosting) and family.name == baseline_name(self.data)

    def _guess_s(self, family: Candidate) -> float:
        """CPU seconds that a fit by these should take."""
        if self._is_boosted_yardstick(family):
            return family.affordable_cost_s(self.data, self.yardstick_s)
        return family.cost_s(self.data)

    def _expect_trial(self, family: Candidate, trials: Sequence[Trial], look: FirstFolds | None) -> Trial | None:
        """The trial that the first one of a family should become, by its first folds or by its guess, so that there is
        room for its last fit before it begins: where it leads, that is what will be fitted. None for one of more."""
        if any(trial.family == family.name for trial in trials):
            return None
        best = min(trials, key=lambda trial: trial.loss)
        behind = EXPECTED_LOSS - 1 if look is None else look.share_behind
        fit_s = self._guess_s(family) if look is None else look.fit_s(family.cost_s(self.data))
        refit_cost, size_bytes = (1.0, 0) if look is None else (look.fits[0].refit_cost, look.fits[0].size_bytes)
        return replace(
            best, number=len(trials), family=family.name, loss=best.loss + behind * abs(best.loss), fit_s=fit_s,
            refit_s=fit_s * refit_cost, size_bytes=size_bytes,
        )  # fmt: skip

    def _is_in_reach(
        self, family: Candidate, families: Sequence[Candidate], trials: Sequence[Trial], looks: Mapping[str, FirstFolds]
    ) -> bool:
        """Whether the first trial of a family fits into the budget with all that was done before and its last fit, by
        guesses. Where it does not, others go on: runs ended at half of the budget before a net that was too dear."""
        if self.reach is None:
            return True
        cost = {each.name: self._guess_s(each) for each in families}
        tried = {trial.family for trial in trials}
        share = self._look_share(trials)
        num_folds = sum(cost[t.family] for t in trials) + share * sum(cost[name] for name in looks if name not in tried)
        look = looks.get(family.name)
        refit_cost, size_bytes = (1.0, 0) if look is None else (look.fits[0].refit_cost, look.fits[0].size_bytes)
        needs = {each.name: {name for name in each.needs if name in IMPORT_S} for each in families}
        imported = set[str]().union(*(needs[name] for name in (*tried, *looks, family.name)))
        return self.reach.holds(
            len(self.folds) * num_folds + sum(IMPORT_S[name] for name in imported),
            len(self.folds) * cost[family.name] * (1.0 if look is None else 1 - share),
            cost[family.name] * refit_cost + cost[trials[0].family],
            round(size_bytes * refit_cost),
        )

    def _begin(
        self, family: Candidate, trials: Sequence[Trial], upcoming: NextTrials, look: FirstFolds | None = None
    ) -> None:
        """Give a family's next fits to workers."""
        if self.fitter is None:
            return
        if any(trial.family == family.name for trial in trials):
            self.fitter.begin(family, upcoming.ask(family), range(len(self.folds)))
        elif look is not None:  # its first folds are fitted
            self.fitter.begin(family, family.defaults(self.data), range(len(look.fits), len(self.folds)))
        elif family.name != baseline_name(self.data):
            num_folds = self._num_race_folds() or len(self.folds)
            self.fitter.begin(family, family.defaults(self.data), range(num_folds))

    def _others(
        self, families: list[Candidate], trials: Sequence[Trial], looks: Mapping[str, FirstFolds], now: Candidate
    ) -> list[Candidate]:
        """Families whose turn comes soon, whatever comes of the trial of `now`. What their next settings are depends on
        their own trials alone, so nothing changes if these are fitted before their turn."""
        cost = {f.name: f.cost_s(self.data) for f in families}  # of the yardstick by its defaults, however short
        best = {t.family: t.loss for t in sorted(trials, key=lambda t: -t.loss)}
        spent = sum(cost[name] for name in (*(t.family for t in trials), now.name))
        near = [f for f in families if f.name not in self.ended and f is not now and cost[f.name] <= spent]
        untried = [f for f in near if f.name not in best and f.name not in looks]
        tuned = [f for f in near if f.name in best and f.name not in BASELINES]
        return untried or sorted(tuned, key=lambda f: (best[f.name], f.name))[: max(FAMILY_TURNS) + 1]

    def _next(self, families: list[Candidate], trials: list[Trial], looks: Mapping[str, FirstFolds]) -> Candidate:
        """The first family that was not tried, by rising cost; then those that were looked at, by their losses, where
        they lead or as much was spent on others; else the next of those that were tried by its turn."""
        cost = {f.name: f.cost_s(self.data) for f in families}  # of the yardstick by its defaults, however short
        best = {t.family: t.loss for t in sorted(trials, key=lambda t: -t.loss)}
        first = [f for f in families if f.name not in best and f.name not in self.ended]
        in_reach = [f for f in first if not trials or self._is_in_reach(f, families, trials, looks)]
        waiting = [f for f in in_reach if f.name in looks]
        untried = [f for f in in_reach if f.name not in looks]
        spent = sum(cost[t.family] for t in trials)
        share = self._look_share(trials)
        if share <= MAX_LOOK_SHARE:
            spent_on_looks = share * sum(cost[name] for name in (*(f.name for f in waiting), *self.ended))
            affordable = [f for f in untried if share * cost[f.name] + spent_on_looks <= MAX_LOOKS * spent]
        else:
            spent += sum(cost[name] for name in self.ended)
            affordable = [f for f in untried if cost[f.name] <= spent]
        if affordable or not trials:
            return (affordable or untried)[0]
        most = max(MIN_DEAR_S, spent / WAIT)
        ready = [f for f in waiting if looks[f.name].share_behind < -MIN_LEAD or cost[f.name] <= most]
        if ready:
            return min(ready, key=lambda f: (looks[f.name].loss, f.name))
        tunable = [f for f in families if cost[f.name] <= spent and f.name not in BASELINES and f.name in best]
        if not tunable:
            return next(iter(waiting or untried or first), families[0])
        ranked = sorted(tunable, key=lambda f: (best[f.name], f.name))
        num_tuned = len(trials) - len(best)
        return ranked[min(FAMILY_TURNS[num_tuned % len(FAMILY_TURNS)], len(ranked) - 1)]

    def _cost(self, family: Candidate, trials: list[Trial], look: FirstFolds | None) -> float:
        """CPU seconds that the family's next trial, or its first folds, may take: by the costliest fold so far, with a
        margin."""
        if look is not None and all(trial.family != family.name for trial in trials):
            return self._rest_s(family, look)
        seen = [t.fit_s for t in trials if t.family == family.name]
        share = self._look_share(trials)
        num_folds = len(self.folds) * (share if not seen and share <= MAX_LOOK_SHARE else 1.0)
        import_s = sum(IMPORT_S.get(name, 0.0) for name in family.needs if name not in sys.modules)
        return import_s + num_folds * (1.2 * max(seen) if seen else self._guess_s(family))

    def _rest_s(self, family: Candidate, look: FirstFolds) -> float:
        return look.rest_s(len(self.folds), family.cost_s(self.data))

    def _num_first(self, before: Sequence[Trial]) -> int:
        """The number of folds that hold MIN_RACE_ROWS rows; 0 where nothing races, where these are all, or where there
        is no trial to compare a family with."""
        return self._num_race_folds() if before else 0

    def _num_race_folds(self) -> int:
        num_rows = np.cumsum([len(rows) for _, rows in self.folds])
        first = int(np.searchsorted(num_rows, MIN_RACE_ROWS)) + 1
        return 0 if not self.races or first >= len(self.folds) else first

    def _look_share(self, before: Sequence[Trial]) -> float:
        """The first folds as a share of all; all of them where nothing races."""
        return (self._num_first(before) or len(self.folds)) / len(self.folds)

    def _try_first_folds(self, family: Candidate, before: Sequence[Trial]) -> FirstFolds:
        """A family with its defaults on the first folds, which hold MIN_RACE_ROWS rows."""
        if self.fitter is None:
            import_needs(family)
        start_s = self._now_s()
        params = family.defaults(self.data)
        fits = self._fit_folds(family, params, range(self._num_first(before)))
        seen = self.data.rows(np.concatenate([rows for _, rows in self.folds[: len(fits)]]))
        raw = self._score_held_out(fits)
        _, _, margin = to_log_odds(seen, raw, is_share=fits[0].is_share)
        loss = _plain_loss(seen, fit_temperature(seen, margin)[1])
        least = min(_plain_loss(seen, trial.margin[: len(seen.target)]) for trial in before)
        return FirstFolds(fits, self._now_s() - start_s, loss, loss > MAX_BEHIND * least, loss / max(least, 1e-12) - 1)

    def _fit_folds(self, family: Candidate, params: Params, folds: Sequence[int]) -> list[FittedCandidate]:
        if self.fitter is not None:
            fits = self.fitter.fit(family, params, folds)
        else:
            fits = [fit_fold(self._fold_rows, family, params, fold, self.seed) for fold in folds]
        return [self._cut_trees(fitted) for fitted in fits]

    def _cut_trees(self, fitted: FittedCandidate) -> FittedCandidate:
        """With as many of its trees as the budget has room for after the search; it is judged, and fitted again, so."""
        most = math.inf if self.reach is None else self.reach.most_bytes / fitted.refit_cost
        return fitted.cut_trees(most / fitted.size_bytes) if fitted.cut_trees and fitted.size_bytes > most else fitted

    def _now_s(self) -> float:
        """The CPU clock of all that fit."""
        return time.process_time() + (0.0 if self.fitter is None else self.fitter.spent_s)

    @cached_property
    def _fold_rows(self) -> FoldRows:
        return FoldRows(self.data, self.folds, self.orders_levels)

    def _score_held_out(self, fits: Sequence[FittedCandidate]) -> Float64:
        """Raw scores (M, K) of the held-out rows of the first folds, each by the model of its fold."""
        held_out = [self._fold_rows.to_judge(fold).features for fold in range(len(fits))]
        return np.concatenate([fit.margin(features) for fit, features in zip(fits, held_out, strict=True)])

    def _fit(self, number: int, family: Candidate, params: Params, first: FirstFolds | None = None) -> Trial:
        """Fit a family on every fold, but those that it was fitted on before, and score what it was not fitted on."""
        if self.fitter is None:
            import_needs(family)
        first = first or FirstFolds([], 0.0)
        start_s = self._now_s() - first.spent_s
        others = self._fit_folds(family, params, range(len(first.fits), len(self.folds)))
        fits = _equalize_rounds([*first.fits, *others])
        raw = self._score_held_out(fits)
        fit_s = (self._now_s() - start_s) / len(self.folds)
        held_out = self.data.rows(self.held_out)
        link, floor, margin = to_log_odds(held_out, raw, is_share=fits[0].is_share)
        slope, margin = fit_temperature(held_out, margin)
        loss = self.metric.loss(held_out.target, probabilities_of(held_out, margin), held_out.weight)
        return Trial(
            number, family.name, fits[0].params, link, floor, slope, margin,
            raw if fits[0].is_share else None, loss, fit_s, fit_s * fits[0].refit_cost, fits[0].size_bytes,
        )  # fmt: skip


def _plain_loss(data: FitData, margin: Float64) -> float:
    """Log loss, or the root of the mean squared error, whatever the search improves: of few rows the steadiest."""
    metric = METRICS[data.task]["rmse" if data.task == "regression" else "log_loss"]
    return metric.loss(data.target, probabilities_of(data, margin), data.weight)


def _equalize_rounds(fits: Sequence[FittedCandidate]) -> list[FittedCandidate]:
    """Early-stopped fits cut to the mean of their rounds, which is what a refit grows. A fold at its own best round is
    judged by the rows that chose it: 2 % too good on tables of 150 to 1,500 rows, up to 9 % on the smallest."""
    rounds = max(1, round(float(np.mean([fitted.params.get("rounds", 1) for fitted in fits]))))
    return [fitted.cut(rounds) if fitted.cut else fitted for fitted in fits]
