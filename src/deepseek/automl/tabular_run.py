"""`ship` for a table, up to the finished model: columns, leak checks, preprocessing, folds, search.

run = TabularRun.of(open_data("loans.csv", options), options)
developed = run.develop()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.cluster.fitter import Fold
from deepseek.automl.cluster.last_fit import DistributedFit
from deepseek.automl.cluster.rest_rows import RestRows
from deepseek.automl.cluster.workers import Workers
from deepseek.automl.constraints import check_constraints, row_weights
from deepseek.automl.develop import DevelopedModel, develop
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import choose_candidates, for_data, text_candidates
from deepseek.automl.split_data import SplitData, check_findings, find_leaks
from deepseek.automl.trial import Trial
from deepseek.contracts import Task
from deepseek.data import Preprocessor, Table, encode_target, find_kinds, fit_preprocessor, make_folds
from deepseek.errors import InputError
from deepseek.train.candidates import Candidate, FitData
from deepseek.train.tabular.metrics import default_metric, find_metric

#: Folds by the number of development rows below which they apply: few rows are judged by nearly all of them, many need
#: few fits. Rare classes want every row judged: on one fold in four of a fraud week the choice was mostly noise.
FOLDS_BY_ROWS = ((300, 10), (20_000, 5), (200_000, 3))
NUM_FOLDS_LARGE = 4  # above, one of four judges
#: Of the budget, what one trial of each linear model of texts may take by its guess, on all folds: with more, one of
#: four judges. A trial on 15,000 questions of 150 intents takes seconds a fold.
MAX_TRIAL_SHARE = 0.3
#: The same for the yardstick and xgboost together, of so many rows: of 34,000 by 114 features three folds of the
#: yardstick alone took half of 20 s, and nothing else was tried. By guesses, which thousands of rows make too low: of
#: 13,700 by 42 five folds were guessed to take 8 of 20 s, and the yardstick was all that was tried.
MAX_BOOSTED_SHARE, MIN_ROWS_ONE_FOLD = 0.25, 4_000
#: Fewer rows are judged by fewer folds where these two take more than so many seconds a fold, as of many classes, and
#: more than a share of the budget on all: ten folds of 270 rows of fifteen classes took 29 of 20 s for the yardstick.
DEAR_FOLD_S, MAX_SHARE_OF_FEW_ROWS, MIN_FOLDS = 1.0, 0.5, 3
#: Of the budget, what the yardstick may take on all folds and in its last fit, by its guess: of 15,000 rows of 26
#: classes a run took 35 of 20 s, and nothing else was tried.
MAX_YARDSTICK_SHARE = 0.2
FIRST_BOOSTED = ("hist_gradient_boosting", "xgboost")


@dataclass(frozen=True, slots=True)
class TabularRun:
    """A table with its fitted preprocessing, ready for the search."""

    data: SplitData
    options: ShipOptions
    kinds: dict[str, str]  # of the columns, by name
    warnings: list[str]
    preprocessor: Preprocessor
    candidates: tuple[Candidate, ...]
    orders_levels: bool = True  # whether the codes of a category's levels are in the order of the target
    workers: Workers | None = None  # of a cluster, which fit

    @classmethod
    def of(
        cls, data: SplitData, options: ShipOptions, workers: Workers | None = None, *, orders_levels: bool = True
    ) -> TabularRun:
        """Check the data; fit the preprocessing on the development rows. `orders_levels`: False where the rows that
        judge must have had no part in it."""
        candidates, absences = choose_candidates(options.candidates)
        if workers is not None:
            data.budget.elsewhere = lambda: workers.spent_s
        # a column with a direction must enter as one number: one-hot levels could not be held to it
        overrides = {**dict.fromkeys(options.monotone or {}, "numeric"), **(options.kinds or {})}
        kinds = find_kinds(data.development, target=options.target, overrides=overrides)
        input_kinds = {name: kind for name, kind in kinds.items() if name not in data.hidden}
        leaks = check_findings(options, find_leaks(options, data, input_kinds))
        preprocessor = fit_preprocessor(data.development, kinds, target=options.target, drop=data.hidden)
        few = evidence.small_sample_warnings(data.test, options.segments, options.fairness)
        warnings = [*data.notes, *leaks, *preprocessor.notes, *absences, *few, *_unread_texts(kinds, options)]
        run = cls(data, options, kinds, warnings, preprocessor, candidates, orders_levels, workers)
        return run._order_levels() if orders_levels else run

    def _order_levels(self) -> TabularRun:
        """The same with codes of levels in the order of the target of the development rows, but of the user's own
        validation rows."""
        development, validation = self.data.development, self.data.split.validation  # which are its last rows
        first = development.take(np.arange(development.num_rows - len(validation)))
        target = encode_target(first, self.options.target, self.data.labels)
        weight = row_weights(first, self.options.weights)
        return replace(self, preprocessor=self.preprocessor.order_levels(first, target, weight, len(self.data.labels)))

    @property
    def task(self) -> Task:
        return self.data.info.task

    @property
    def refits(self) -> bool:
        """Whether the measured model is fitted once more, on all rows. Test rows of the user's own are not fitted on:
        the first fit has had all others."""
        return self.options.refit and self.options.test is None

    def last_fit(self, *, has_test_rows: bool) -> DistributedFit | None:
        """What fits for the last time over the workers of a cluster, where that was asked for or a file is larger than
        memory; None where each family does it here. `has_test_rows`: the fit leaves them out."""
        sample = self.data.sample
        rest = None
        if sample is not None and sample.num_used < sample.num_rows:
            rest = RestRows(self.data, sample, self.options, self.preprocessor)
        if self.workers is None or (rest is None and not self.options.distributed_fit):
            return None
        return DistributedFit(self.workers, rest, has_test_rows)

    def fit_data(self, table: Table) -> FitData:
        """Prepared rows of a table with its target and weights."""
        features = self.preprocessor.features
        monotone = self.options.monotone or {}
        for column in monotone:
            if {f.kind for f in features if f.column == column} - {"missing"} != {"numeric"}:
                raise InputError(
                    f"monotone names {column!r}, which is not a numeric input",
                    expected="a numeric column that the model reads",
                    fix=f"take {column!r} out of monotone",
                )
        return FitData(
            features=self.preprocessor.table(table).features,
            target=encode_target(table, self.options.target, self.data.labels),
            weight=row_weights(table, self.options.weights),
            task=self.task,
            num_classes=len(self.data.labels),
            kinds=tuple(f.kind for f in features),
            num_levels=tuple(f.num_levels for f in features),
            monotone=tuple(monotone.get(f.column, 0) if f.kind == "numeric" else 0 for f in features),
        )

    def folds(self, text_trial_s: float = 0.0, boosted_s: float = 0.0) -> Sequence[Fold]:
        """Rows to fit on and rows to judge on: the user's own validation rows, else folds of the stated split. CPU
        seconds that trials are guessed to take on one fold: `text_trial_s` of each linear model of texts, `boosted_s`
        of the first boosted trees."""
        num_rows = self.data.development.num_rows
        num_validation = len(self.data.split.validation)  # at the end of the development rows
        if num_validation:
            first = num_rows - num_validation
            return self._folds_of_every_class([(np.arange(first), np.arange(first, num_rows))])
        num_folds = next((number for below, number in FOLDS_BY_ROWS if num_rows < below), None)
        budget_s = self.options.budget_s
        if num_folds and num_folds * text_trial_s > MAX_TRIAL_SHARE * budget_s:
            num_folds = None
        if num_folds and num_rows >= MIN_ROWS_ONE_FOLD:
            num_folds = num_folds if num_folds * boosted_s <= MAX_BOOSTED_SHARE * budget_s else None
        elif num_folds and boosted_s > DEAR_FOLD_S:
            affordable = int(MAX_SHARE_OF_FEW_ROWS * budget_s / boosted_s)
            num_folds = min(num_folds, max(MIN_FOLDS, affordable))
        folds = make_folds(
            self.data.development, split=self.data.method, target=self.options.target, task=self.task,
            num_folds=num_folds or NUM_FOLDS_LARGE, seed=self.options.seed,
        )  # fmt: skip
        usable = self._folds_of_every_class(folds)
        return usable if num_folds else usable[-1:]

    def _folds_of_every_class(self, folds: Sequence[Fold]) -> Sequence[Fold]:
        """The folds whose rows to fit on hold every class. At random, the only row of a class is fitted on in every
        fold. InputError where no fold is left, or one of two classes is never judged by."""
        labels, split = self.data.labels, self.data.method
        if not labels:
            return folds
        target = encode_target(self.data.development, self.options.target, labels)
        if split == "random" and not len(self.data.split.validation):
            alone = np.flatnonzero(np.bincount(target)[target] == 1)
            folds = [(np.union1d(fit, alone), np.setdiff1d(held_out, alone)) for fit, held_out in folds]
        whole = [
            (fit, held_out) for fit, held_out in folds if len(held_out) and len(np.unique(target[fit])) == len(labels)
        ]
        judged = {int(label) for _, held_out in whole for label in target[held_out]}
        if len(labels) == 2 and len(judged) == 1:
            raise InputError(
                f"class {labels[1 - judged.pop()]!r} is not among the rows that judge",
                expected=f"rows of both classes to judge by, by {split}",
                fix="move the boundary, split at random, or bring more rows of that class",
            )
        if not whole:
            missing = sorted(set(range(len(labels))) - set(target[folds[-1][0]].tolist()))
            raise InputError(
                f"class {labels[missing[0]]!r} is only among the rows that judge",
                expected=f"rows of every class to fit on, by {split}",
                fix="move the boundary, split at random, or bring more rows of that class",
            )
        return whole

    def check(self) -> tuple[FitData, Sequence[Fold]]:
        """The rows to develop on with their folds. InputError for demands that cannot be kept, and for rows that cannot
        be judged."""
        options = self.options
        fit_data = self.fit_data(self.data.development)
        check_constraints(options, self.task, self.data.labels)
        if not any(candidate.supports(fit_data) for candidate in for_data(self.candidates, fit_data)):
            raise InputError(
                "none of the candidates can keep the monotone constraints",
                expected="xgboost among them; for two classes and regression also the forests",
                fix="add one of these to candidates, or leave monotone out",
            )
        text_trial_s = sum(each.cost_s(fit_data) for each in text_candidates(self.candidates, fit_data))
        boosted = [each for each in for_data(self.candidates, fit_data) if each.name in FIRST_BOOSTED]
        boosted_s = sum(each.cost_s(fit_data) for each in boosted if each.supports(fit_data))
        return fit_data, self.folds(text_trial_s, boosted_s)

    def develop(self, *, refit_on_held: bool = True) -> DevelopedModel:
        """Search within the budget, blend, calibrate and refit: on all development rows, or on those that did not judge
        (refit_on_held=False). InputError as check() raises it."""
        options = self.options
        fit_data, folds = self.check()
        metric = find_metric(self.task, options.metric or default_metric(self.task, fit_data.target))
        return develop(
            fit_data, folds, self.data.labels, metric=metric, candidates=self.candidates,
            seed=options.seed, budget=self.data.budget, num_trials=options.trials, progress=self._trial_progress(),
            refit_on_held=refit_on_held, num_rows=self.data.table.num_rows if self.refits else None,
            races=options.candidates is None, orders_levels=self.orders_levels, workers=self.workers,
            last_fit=self.last_fit(has_test_rows=True), yardstick_s=MAX_YARDSTICK_SHARE * options.budget_s,
            budget_s=options.budget_s,
        )  # fmt: skip

    def _trial_progress(self) -> Callable[[Trial], None]:
        """Reports each trial and the share of the budget, or of the trials, that is used."""
        options, budget, best_loss = self.options, self.data.budget, float("inf")

        def report(trial: Trial) -> None:
            nonlocal best_loss
            best_loss = min(best_loss, trial.loss)
            if options.progress:
                done = (trial.number + 1) / options.trials if options.trials else 0.0
                share = min(0.95, done or budget.used_s() / options.budget_s)
                message = f"trial {trial.number + 1}: {trial.family} {trial.loss:.4g}, best {best_loss:.4g}"
                options.progress(message, share)

        return report


def _unread_texts(kinds: Mapping[str, str], options: ShipOptions) -> list[str]:
    """A warning where columns of texts are not learned from: no linear model keeps monotone constraints."""
    names = [name for name, kind in kinds.items() if kind == "text"] if options.monotone else []
    return (
        [f"the words in {', '.join(map(repr, names))} are not read: no model of texts keeps monotone"] if names else []
    )
