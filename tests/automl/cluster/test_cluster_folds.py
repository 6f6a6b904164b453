"""A search whose folds are fitted elsewhere finds what a search in one process finds. No test here needs Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.automl.cluster.fitter import FoldRows, fit_fold
from deepseek.automl.cluster.folds import _fit_on_worker
from deepseek.automl.options import ShipOptions
from deepseek.automl.search import Budget, Search
from deepseek.automl.trial import Trial
from deepseek.cli import main
from deepseek.errors import ExtraError, InputError
from deepseek.extras import is_installed
from deepseek.train.candidates import BASELINE, BUILT_IN, Candidate, FitData, FittedCandidate, Params
from deepseek.train.tabular.metrics import METRICS

FAMILIES = tuple(c for c in BUILT_IN if c.name in (BASELINE, "linear", "xgboost"))


def fit_data(num_rows: int = 240) -> FitData:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(num_rows, 3)).astype(np.float32)
    target = (features[:, 0] + 0.5 * rng.normal(size=num_rows) > 0).astype(np.int64)
    return FitData(features, target, np.ones(num_rows), "binary", 2, ("numeric",) * 3, (0,) * 3, (0,) * 3)


def folds_of(num_rows: int = 240, num_folds: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    fold = np.arange(num_rows) % num_folds
    return [(np.flatnonzero(fold != each), np.flatnonzero(fold == each)) for each in range(num_folds)]


@dataclass
class Elsewhere:
    """Workers that fit at once what they are given; `began` keeps what was given out before its turn."""

    data: FitData
    folds: list[tuple[np.ndarray, np.ndarray]]
    num_workers: int
    spent_s: float = 0.0
    done: dict[tuple[str, str, int], FittedCandidate] = field(default_factory=dict)
    began: list[str] = field(default_factory=list)

    @property
    def num_idle(self) -> int:
        return self.num_workers - len(self.done)

    def begin(self, family: Candidate, params: Params, folds: Sequence[int]) -> None:
        for fold in folds:
            key = (family.name, repr(sorted(params.items())), fold)
            if key not in self.done:
                self.began.append(family.name)
                fit = _fit_on_worker(self.data, self.folds, family, params, fold, 0)
                self.done[key] = fit.fitted
                self.spent_s += fit.cpu_s

    def fit(self, family: Candidate, params: Params, folds: Sequence[int]) -> list[FittedCandidate]:
        self.begin(family, params, folds)
        return [self.done.pop((family.name, repr(sorted(params.items())), fold)) for fold in folds]


def run(num_trials: int, fitter: Elsewhere | None, num_rows: int = 240, num_folds: int = 3) -> list[Trial]:
    data, folds = fit_data(num_rows), folds_of(num_rows, num_folds)
    search = Search(data, folds, METRICS["binary"]["log_loss"], 0, FAMILIES, fitter=fitter)
    return search.run(Budget(None), num_trials=num_trials, reserve=lambda _: 0.0, progress=lambda _: None)


def described(trials: list[Trial]) -> list[tuple[str, Params, float]]:
    return [(trial.family, trial.params, trial.loss) for trial in trials]


@pytest.mark.parametrize("num_workers", [1, 9])
def test_trials_are_those_of_one_process_however_many_workers_fit(num_workers: int) -> None:
    elsewhere = Elsewhere(fit_data(), folds_of(), num_workers)
    assert described(run(6, elsewhere)) == described(run(6, None))
    assert not elsewhere.done  # nothing was begun for a turn that does not come


@pytest.mark.slow
def test_families_that_wait_behind_their_first_fold_go_on_with_the_others() -> None:
    """One fold of six holds the rows of a race, so families are looked at on it; no worker fits it once more."""
    elsewhere = Elsewhere(fit_data(960), folds_of(960, 6), 30)
    assert described(run(4, elsewhere, 960, 6)) == described(run(4, None, 960, 6))
    assert elsewhere.began.count("linear") % 6 == 0


def test_a_worker_orders_levels_by_the_rows_of_its_fold() -> None:
    """Its model of a code is the one that a search in one process has of that fold."""
    plain = fit_data()
    code = np.random.default_rng(1).integers(0, 6, len(plain.target))
    features = np.column_stack([plain.features[:, :2], code]).astype(np.float32)
    data = replace(plain, features=features, kinds=("numeric", "numeric", "code"), num_levels=(0, 0, 6))
    family, params = FAMILIES[-1], {**FAMILIES[-1].defaults(data), "rounds": 5}
    here = FoldRows(data, folds_of(), orders_levels=True)
    judged = here.to_judge(1).features
    assert not np.array_equal(judged, data.features[folds_of()[1][1]])
    fit = _fit_on_worker(data, folds_of(), family, params, 1, 0, orders_levels=True)
    expected = fit_fold(here, family, params, 1, 0)
    np.testing.assert_array_equal(fit.fitted.margin(judged), expected.margin(judged))


def test_idle_workers_begin_what_comes_next() -> None:
    """While the yardstick is fitted, the next family by cost begins; not more than the trials that are left."""
    elsewhere = Elsewhere(fit_data(), folds_of(), 9)
    run(1, elsewhere)
    assert set(elsewhere.began) == {BASELINE}
    elsewhere = Elsewhere(fit_data(), folds_of(), 9)
    run(2, elsewhere)
    assert set(elsewhere.began) == {BASELINE, "linear"}


def test_what_workers_take_counts_against_the_budget() -> None:
    spent = 0.0
    budget = Budget(10.0, elsewhere=lambda: spent)
    assert budget.allows(5.0)
    spent = 8.0
    assert not budget.allows(5.0)
    assert budget.used_s() >= 8.0


def test_a_fold_comes_back_without_its_weights() -> None:
    fit = _fit_on_worker(fit_data(), folds_of(), FAMILIES[0], FAMILIES[0].defaults(fit_data()), 0, 0)
    with pytest.raises(RuntimeError, match="judged"):
        fit.fitted.weights()


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "", "local"])
def test_what_is_no_cluster_is_refused_before_anything_is_read(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        ShipOptions("y", cluster=address)


def test_a_distributed_fit_needs_a_cluster() -> None:
    with pytest.raises(InputError, match="give cluster such as ray"):
        ShipOptions("y", distributed_fit=True)


@pytest.mark.skipif(is_installed("ray"), reason="Ray is installed")
def test_without_ray_the_error_says_what_to_install() -> None:
    with pytest.raises(ExtraError, match=r"\.\[ray\]"):
        ShipOptions("y", cluster="ray")


def test_the_cluster_is_no_part_of_what_a_bundle_was_made_with() -> None:
    assert "cluster" not in ShipOptions("y").config()


@pytest.mark.skipif(is_installed("ray"), reason="Ray is installed")
@pytest.mark.parametrize("verb", ["ship", "predict"])
def test_the_verbs_say_so_too(verb: str, tmp_path: Path, cancer_bundle: Path, capsys) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("x,y\n1,2\n")
    arguments = [str(rows), "--target", "y"] if verb == "ship" else [str(cancer_bundle), str(rows), "--json"]
    assert main([verb, *arguments, "--cluster", "ray"]) == 2
    assert ".[ray]" in capsys.readouterr().err
