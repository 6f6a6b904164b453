"""The search: candidates tried one by one under a budget, each judged on rows that it was not fitted on.

The order of trials depends on the data, the seed and the losses so far, never on the clock: a budget in seconds decides
only how many trials there are, so a run can be repeated exactly by that number. First every family with its defaults,
cheapest first; then optuna's TPE (Bergstra et al. 2011) within the families that lead. A family whose trials are dear
waits until as much was spent on the others, by guesses from the shape of the data: whenever the budget ends, the cheap
families have been tuned, and little of it is left over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.blend import fit_temperature, probabilities_of, to_log_odds
from deepseek.automl.trial import Trial
from deepseek.extras import install_advice, is_installed, need
from deepseek.plugins import find, names
from deepseek.train.candidates import BASELINE, BUILT_IN, TEXT_BASELINE, Candidate, FitData, FittedCandidate, Params
from deepseek.train.candidates.texts import TextLinear, TokenColumns
from deepseek.train.candidates.without_texts import WithoutTexts
from deepseek.train.tabular.metrics import MetricInfo

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]  # rows to fit on, rows to judge on
BASELINES = (BASELINE, TEXT_BASELINE)
#: Ranks of the family that the next trials go to, over and over: half to the leader, a third to the second.
FAMILY_TURNS = (0, 1, 0, 2, 0, 1)


@dataclass
class Budget:
    """CPU seconds of this process, all threads counted, from the moment of creation."""

    total_s: float | None
    start: float = field(default_factory=time.process_time)

    def used_s(self) -> float:
        return time.process_time() - self.start

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
            warnings.append(f"{name} was left out: {', '.join(absent)} is not installed ({install_advice('train')})")
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
        studies = {family.name: self._study(index) for index, family in enumerate(families)}
        trials: list[Trial] = []
        while num_trials is None or len(trials) < num_trials:
            family = self._next(families, trials)
            cost = self._cost(family, trials)
            if trials and num_trials is None and not budget.allows(cost + reserve(trials)):
                break
            suggestion = None
            if all(trial.family != family.name for trial in trials):
                params = family.defaults(self.data)
            else:
                suggestion = studies[family.name].ask()
                params = family.suggest(suggestion, self.data)
            trial = self._try(len(trials), family, params)
            if suggestion is not None:
                studies[family.name].tell(suggestion, trial.loss)
            trials.append(trial)
            progress(trial)
        return trials

    def _study(self, index: int) -> Any:
        optuna = need("optuna", extra="automl")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=(self.seed * 100 + index) % 2**32, n_startup_trials=5)
        return optuna.create_study(direction="minimize", sampler=sampler)

    def _next(self, families: list[Candidate], trials: list[Trial]) -> Candidate:
        """The first family that was not tried, by rising cost; when all were, the next by its turn."""
        cost = {f.name: f.cost_s(self.data) for f in families}
        spent = sum(cost[t.family] for t in trials)
        best = {t.family: t.loss for t in sorted(trials, key=lambda t: -t.loss)}
        affordable = [f for f in families if cost[f.name] <= spent]
        for family in affordable if trials else families:
            if family.name not in best:
                return family
        tunable = [f for f in affordable if f.name not in BASELINES]
        if not tunable:
            return next((f for f in families if f.name not in best), families[-1])
        ranked = sorted(tunable, key=lambda f: (best[f.name], f.name))
        num_tuned = len(trials) - len(best)
        return ranked[min(FAMILY_TURNS[num_tuned % len(FAMILY_TURNS)], len(ranked) - 1)]

    def _cost(self, family: Candidate, trials: list[Trial]) -> float:
        """CPU seconds that a trial may take: the costliest so far of its family, with a margin."""
        seen = [t.fit_s for t in trials if t.family == family.name]
        return 1.2 * len(self.folds) * (max(seen) if seen else family.cost_s(self.data))

    def _try(self, number: int, family: Candidate, params: Params) -> Trial:
        """Fit a family on every fold and score what it was not fitted on."""
        start_s = time.process_time()
        fits = _equalize_rounds(
            [
                family.fit(self.data.rows(fit_rows), params, seed=self.seed, validation=self.data.rows(held_out_rows))
                for fit_rows, held_out_rows in self.folds
            ]
        )
        raw = np.concatenate(
            [fitted.margin(self.data.features[rows]) for fitted, (_, rows) in zip(fits, self.folds, strict=True)]
        )
        fit_s = (time.process_time() - start_s) / len(self.folds)
        held_out = self.data.rows(self.held_out)
        link, floor, margin = to_log_odds(held_out, raw, is_share=fits[0].is_share)
        slope, margin = fit_temperature(held_out, margin)
        loss = self.metric.loss(held_out.target, probabilities_of(held_out, margin), held_out.weight)
        return Trial(
            number, family.name, fits[0].params, link, floor, slope, margin,
            raw if fits[0].is_share else None, loss, fit_s, fit_s * fits[0].refit_cost, fits[0].size_bytes,
        )  # fmt: skip


def _equalize_rounds(fits: Sequence[FittedCandidate]) -> list[FittedCandidate]:
    """Early-stopped fits cut to the mean of their rounds, which is what a refit grows. A fold at its own best round is
    judged by the rows that chose it: 2 % too good on tables of 150 to 1,500 rows, up to 9 % on the smallest."""
    rounds = max(1, round(float(np.mean([fitted.params.get("rounds", 1) for fitted in fits]))))
    return [fitted.cut(rounds) if fitted.cut else fitted for fitted in fits]
