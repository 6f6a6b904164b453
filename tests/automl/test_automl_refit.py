"""`ship --refit`: the figures are of the model that had not seen the test rows, the bundle's model has seen all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deepseek as ds
from deepseek.automl.options import ShipOptions
from deepseek.automl.ship import find_refusals, ship
from deepseek.automl.shipped import ShipResult
from deepseek.bundle.last_fit import LastFit
from deepseek.errors import InputError
from deepseek.explain.report.evidence import headline
from deepseek.look import words

NUM_ROWS = 120


def rows(num_rows: int = NUM_ROWS, seed: int = 0) -> pd.DataFrame:
    numbers = np.random.default_rng(seed).normal(size=(num_rows, 3))
    return pd.DataFrame(numbers, columns=["a", "b", "c"]).assign(y=numbers @ [3.0, -2.0, 1.0] + 10)


def quick(out: Path, **more: object) -> ShipResult:
    settings = {"target": "y", "trials": 2, "candidates": ("linear",), "out": out, **more}
    return ship(rows(), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ShipResult:
    return quick(tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> ShipResult:
    return quick(tmp_path_factory.mktemp("refitted") / "bundle", refit=True)


def test_the_figures_stay_those_of_the_measured_model(plain: ShipResult, refitted: ShipResult) -> None:
    assert refitted.metrics == plain.metrics
    assert refitted.baseline == plain.baseline
    assert refitted.digest != plain.digest


def test_the_packed_model_is_the_one_of_all_rows(plain: ShipResult, refitted: ShipResult) -> None:
    """Ridge of all rows by hand, at the strength that was found on those for development."""
    assert refitted.model == "linear"
    search = json.loads((refitted.path / "evidence" / "search.json").read_text())
    (strength,) = [trial["params"]["strength"] for trial in search["trials"] if trial["family"] == "linear"]
    table, ask = rows(), rows(10, seed=5).drop(columns="y").astype(np.float32)
    wanted = make_pipeline(StandardScaler(), Ridge(1 / strength)).fit(table[list("abc")], table["y"]).predict(ask)
    before, after = (ds.load(each.path).predict(ask).values for each in (plain, refitted))
    np.testing.assert_allclose(after, wanted, rtol=1e-4)
    assert np.abs(before - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_how_many_rows_each_had_is_in_evidence_json_summary_and_page(plain: ShipResult, refitted: ShipResult) -> None:
    assert refitted.last_fit == LastFit(NUM_ROWS, plain.last_fit.num_rows, has_own_test=False)  # type: ignore[union-attr]
    assert refitted.last_fit.is_refitted
    assert not plain.last_fit.is_refitted  # type: ignore[union-attr]
    assert refitted.to_dict()["last_fit"]["num_rows"] == NUM_ROWS
    metrics = json.loads((refitted.path / "evidence" / "metrics.json").read_text())
    assert LastFit.from_metrics(metrics) == refitted.last_fit
    assert "once more on all 120 rows" in " ".join(refitted.summary().split())
    assert "once more on all 120 rows" in words.english(headline({"metrics": metrics}))


@pytest.mark.slow
def test_the_digest_of_the_data_is_that_of_the_rows_that_were_fitted_on(
    plain: ShipResult, refitted: ShipResult
) -> None:
    """By it a later comparison knows that the older model has seen every row."""
    data = [json.loads((each.path / "bundle.json").read_text())["lineage"]["data"] for each in (plain, refitted)]
    assert data[0] != data[1]
    later = quick(refitted.path.parent / "later", against=refitted.path)
    assert any("has learned from" in warning for warning in later.warnings)


@pytest.mark.slow
def test_test_rows_of_the_users_own_are_never_fitted_on(tmp_path: Path) -> None:
    own = rows(40, seed=9)
    first = quick(tmp_path / "first", test=own)
    again = quick(tmp_path / "again", test=own, refit=True)
    assert again.last_fit == first.last_fit == LastFit(NUM_ROWS, NUM_ROWS, has_own_test=True)
    ask = own.drop(columns="y")
    answers = [ds.load(each.path).predict(ask).values for each in (first, again)]
    np.testing.assert_array_equal(*answers)


def test_a_limit_on_errors_and_a_refit_are_refused_together() -> None:
    with pytest.raises(InputError, match="nobody would have measured"):
        ShipOptions(target="y", refit=True, max_fpr=0.01)


def test_texts_of_encoders_are_refused() -> None:
    table = rows(40).assign(photo=[f"{number}.png" for number in range(40)])
    options = ShipOptions(target="y", refit=True, kinds={"photo": "image"})
    (refusal,) = find_refusals(table, options)
    assert "refit is for tables of values" in str(refusal)


def test_evidence_of_an_older_release_says_nothing_of_it() -> None:
    assert LastFit.from_metrics({"num_rows": 3}) is None


def test_the_rows_that_a_cluster_has_fitted_are_said() -> None:
    spread = LastFit(100, 100, num_boosted=5_000)
    assert "Boosted trees were fitted on 5,000 rows, over the workers of a cluster." in spread.words().en
    assert "5,000 行" in spread.words().zh
    assert LastFit.from_metrics({"last_fit": spread.to_dict()}) == spread
    assert "num_boosted" not in LastFit(100, 100).to_dict()
