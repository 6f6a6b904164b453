"""What one `ship` leaves behind: a bundle that verifies, files that are JSON, evidence that can be recomputed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from deepseek.automl.evaluate import evaluate_bundle
from deepseek.automl.ship import ship
from deepseek.automl.shipped import ShipResult
from deepseek.bundle import open_bundle, verify_bundle
from deepseek.cli import main
from deepseek.engines import Runtime
from deepseek.errors import InputError
from support.rows.loans import TARGETS, for_task, make_loans

EVIDENCE = {"metrics", "validation", "search", "parity", "explanation", "environment", "data"}


def read(shipped: ShipResult, name: str) -> dict:
    return json.loads((shipped.path / name).read_text())


@pytest.fixture(scope="module")
def own() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Development rows (the last 85 are for validation) and test rows of the user's own."""
    frame = for_task(make_loans(420), "binary")
    return frame.iloc[:305], frame.iloc[305:]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, own: tuple[pd.DataFrame, pd.DataFrame]) -> ShipResult:
    """All six families, with every piece of evidence that can be asked for."""
    train, test = own
    return ship(
        train[:220], target="default", validation=train[220:], test=test, trials=6, seed=0,
        out=tmp_path_factory.mktemp("ship") / "loans",
        segments=("region", "debt"), fairness="region", command="deepseek ship loans.csv --target default",
    )  # fmt: skip


@pytest.mark.slow
def test_the_bundle_verifies_and_says_what_it_is(shipped: ShipResult) -> None:
    assert verify_bundle(shipped.path) == []
    manifest = open_bundle(shipped.path).manifest
    assert (manifest.task, manifest.target, manifest.labels) == ("binary", "default", ("no", "yes"))
    assert manifest.name == "loans"
    assert [i.name for i in manifest.inputs] == ["debt", "age", "region", "children"]
    assert manifest.digest == shipped.digest
    assert manifest.lineage.config["trials"] == 6
    assert shipped.size_bytes == sum(f.stat().st_size for f in shipped.path.rglob("*") if f.is_file())


def test_every_piece_of_evidence_is_json_and_none_is_a_pickle(shipped: ShipResult) -> None:
    names = {f.relative_to(shipped.path).as_posix() for f in shipped.path.rglob("*") if f.is_file()}
    wanted = {f"evidence/{name}.json" for name in EVIDENCE | {"segments", "fairness"}}
    assert wanted <= names
    for name in names:
        assert name.endswith((".json", ".safetensors", ".onnx", ".sig")), name
        if name.endswith(".json"):
            assert not re.search(r"\b(NaN|Infinity)\b", (shipped.path / name).read_text()), name
            json.loads((shipped.path / name).read_text())


def test_test_figures_are_those_of_the_served_answers(
    shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    test = own[1]
    with Runtime.open(shipped.path) as runtime:
        chance = runtime.predict(test.drop(columns="default")).probabilities
    assert chance is not None
    truth = (test["default"] == "yes").to_numpy()
    assert shipped.metrics["log_loss"].value == pytest.approx(log_loss(truth, chance[:, 1].astype(float)), rel=1e-5)
    assert shipped.metrics["auc"].value == pytest.approx(roc_auc_score(truth, chance[:, 1]), rel=1e-5)
    assert read(shipped, "evidence/metrics.json")["metrics"]["auc"] == shipped.metrics["auc"].to_dict()
    assert read(shipped, "evidence/metrics.json")["num_rows_by_label"] == {
        "no": int((~truth).sum()),
        "yes": int(truth.sum()),
    }


def test_evaluate_agrees_with_the_shipped_figures(shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    evaluation = evaluate_bundle(shipped.path, own[1])
    assert evaluation["digest"] == shipped.digest
    assert evaluation["num_rows"] == len(own[1])
    for name, figure in shipped.metrics.items():
        assert evaluation["metrics"][name]["value"] == pytest.approx(figure.value, rel=1e-9)


def test_evaluate_counts_what_is_beyond_training(shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    frame = own[1].copy()
    column = frame.select_dtypes("float").columns[0]
    usual = evaluate_bundle(shipped.path, frame).to_dict()["flags"].get("outside", 0)
    frame.loc[frame.index[0], column] = 1e9
    evaluation = evaluate_bundle(shipped.path, frame)
    assert evaluation["flags"]["outside"] in (usual, usual + 1)  # the value may have been outside before
    assert evaluation["flags"]["outside"] >= 1
    assert "outside of the training range: " in evaluation.summary()


def test_results_read_like_their_json_and_print_like_the_shell(
    shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own[1].to_csv(tmp_path / "later.csv", index=False)
    result = evaluate_bundle(shipped.path, tmp_path / "later.csv", by=("region",))
    assert main(["evaluate", str(shipped.path), str(tmp_path / "later.csv"), "--by", "region"]) == 0
    assert result.summary() == capsys.readouterr().out
    assert result["metrics"]["auc"]["value"] == result.metrics["auc"].value
    assert json.loads(json.dumps(dict(result))) == result == result.to_dict()
    assert shipped["metrics"]["auc"]["low"] == shipped.metrics["auc"].low
    assert shipped.digest in shipped.summary()
    for shown in (result._repr_html_(), replace(shipped, target="<b>")._repr_html_()):
        assert "<td" in shown
        assert "<b>" not in shown


def test_the_baseline_is_the_default_model_fitted_on_the_same_rows(
    shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    """HistGradientBoosting with nothing done to it: no temperature."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    from deepseek.data import Preprocessor, read_table

    prepare = Preprocessor.from_bytes((shipped.path / "preprocess.json").read_bytes())
    train, test = (prepare.table(read_table(part.drop(columns="default"))).features for part in own)
    model = HistGradientBoostingClassifier(random_state=0).fit(train, own[0]["default"] == "yes")
    wanted = log_loss(own[1]["default"] == "yes", model.predict_proba(test)[:, 1])
    assert shipped.baseline["log_loss"].value == pytest.approx(wanted, rel=1e-4)


def test_parity_is_recorded_for_every_engine_and_is_small(shipped: ShipResult) -> None:
    kinds = [entry.kind for entry in open_bundle(shipped.path).manifest.engines]
    parity = read(shipped, "evidence/parity.json")
    assert "onnxruntime" in kinds
    assert shipped.engine == kinds[0]
    assert all(entry.parity < 1e-4 for entry in open_bundle(shipped.path).manifest.engines)
    assert "timings" in parity


def test_the_explanation_check_is_exact_and_names_raw_columns(shipped: ShipResult) -> None:
    explanation = read(shipped, "evidence/explanation.json")
    assert set(explanation["importance"]) == {"debt", "age", "region", "children"}
    assert explanation["max_residual"] < 1e-3
    assert next(iter(sorted(explanation["importance"], key=explanation["importance"].get, reverse=True))) in (
        "debt",
        "region",
    )


def test_the_environment_names_licences_and_the_exact_command(shipped: ShipResult) -> None:
    versions = read(shipped, "evidence/environment.json")
    assert versions["command"] == "deepseek ship loans.csv --target default"
    for name in ("numpy", "scikit-learn", "xgboost-cpu", "torch", "onnxruntime"):
        assert versions["packages"][name]["version"]
        assert versions["packages"][name]["licence"] != "see the package", name


def test_the_evidence_names_no_path_of_this_machine(shipped: ShipResult) -> None:
    for file in shipped.path.rglob("*.json"):
        assert str(Path.home()) not in file.read_text()
        assert str(shipped.path.parent) not in file.read_text(), file


def test_the_example_row_is_not_a_real_row(shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    example = read(shipped, "example.json")
    rows = pd.concat(own).drop(columns="default").to_dict("records")
    assert set(example) == set(rows[0])
    assert example not in rows
    with Runtime.open(shipped.path) as runtime:
        assert runtime.predict([example]).flags == ()


def test_no_training_row_is_kept_unless_it_is_asked_for(shipped: ShipResult) -> None:
    assert not (shipped.path / "reference.parquet").exists()


def test_the_reference_holds_rows_of_the_inputs_alone(quick_ship: Callable[..., ShipResult]) -> None:
    frame = for_task(make_loans(), "binary", keep=("household",))
    frame["weight"] = 1.0
    frame["id"] = [f"client-{i:05d}" for i in range(len(frame))]
    shipped = quick_ship(frame, reference=True, weights="weight", split="group:household")
    kept = pd.read_parquet(shipped.path / "reference.parquet")
    assert sorted(kept.columns) == ["age", "children", "debt", "region"], "no target, no weights, no names of persons"
    assert 0 < len(kept) <= 200
    real = {tuple(row) for row in frame[list(kept.columns)].itertuples(index=False)}
    assert all(tuple(row) in real for row in kept.itertuples(index=False))
    assert verify_bundle(shipped.path) == []


def test_segment_figures_are_those_of_the_rows_of_the_segment(
    shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    test = own[1].reset_index(drop=True)
    with Runtime.open(shipped.path) as runtime:
        chance = runtime.predict(test.drop(columns="default")).probabilities
    assert chance is not None
    for row in read(shipped, "evidence/segments.json")["region"]:
        rows = (test["region"] == row["group"]).to_numpy()
        assert row["num_rows"] == rows.sum()
        if row["num_rows"] < 30:
            assert "metrics" not in row
        else:
            wanted = log_loss((test["default"] == "yes")[rows], chance[rows, 1].astype(float), labels=[False, True])
            assert row["metrics"]["log_loss"]["value"] == pytest.approx(wanted, rel=1e-5)


def test_fairness_gaps_are_those_of_the_served_decisions(
    shipped: ShipResult, own: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    test = own[1].reset_index(drop=True)
    with Runtime.open(shipped.path) as runtime:
        said = runtime.predict(test.drop(columns="default")).labels
    fairness = read(shipped, "evidence/fairness.json")
    shares = {}
    for row in fairness["groups"]:
        rows = (test["region"] == row["group"]).to_numpy()
        if row["num_rows"] >= fairness["min_rows"]:
            shares[row["group"]] = np.mean(said[rows] == "yes")  # type: ignore[index]
            assert row["positive_share"] == pytest.approx(shares[row["group"]])
    assert len(shares) >= 2
    assert fairness["gaps"]["positive_share"] == pytest.approx(max(shares.values()) - min(shares.values()))


@pytest.mark.parametrize("task", ["binary", pytest.param("multiclass", marks=pytest.mark.slow), "regression"])
def test_each_task_ships_and_answers(quick_ship: Callable[..., ShipResult], task: str) -> None:
    frame = for_task(make_loans(200), task)
    shipped = quick_ship(frame, target=TARGETS[task])
    assert shipped.task == task
    with Runtime.open(shipped.path) as runtime:
        predictions = runtime.predict(frame.drop(columns=TARGETS[task]))
    assert len(predictions) == 200
    if task == "regression":
        assert predictions.values is not None
        assert predictions.intervals is not None
        assert mean_absolute_error(frame["price"], predictions.values) < frame["price"].std()
    else:
        assert predictions.probabilities is not None
        np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_progress_is_told_and_rises_to_one(quick_ship: Callable[..., ShipResult]) -> None:
    progress_calls: list[tuple[str, float]] = []
    quick_ship(for_task(make_loans(100), "binary"), progress=lambda what, share: progress_calls.append((what, share)))
    shares = [share for _, share in progress_calls]
    assert shares == sorted(shares)
    assert progress_calls[-1] == ("done", 1.0)
    assert any("linear" in what for what, _ in progress_calls)


@pytest.mark.slow
def test_a_frame_and_its_csv_file_give_the_same_model(quick_ship: Callable[..., ShipResult], tmp_path: Path) -> None:
    frame = for_task(make_loans(150), "binary")
    frame.to_csv(tmp_path / "loans.csv", index=False)
    assert quick_ship(frame).digest == quick_ship(tmp_path / "loans.csv").digest


@pytest.mark.slow
def test_an_example_is_shipped_by_its_name_as_on_the_command_line(cancer_bundle: Path, tmp_path: Path) -> None:
    shipment = ship(
        example="cancer", trials=3, seed=0, candidates=("linear", "xgboost"), out=tmp_path / "elsewhere"
    )  # fmt: skip
    assert shipment.digest == open_bundle(cancer_bundle).digest


@pytest.mark.parametrize(
    ("data", "arguments", "word"),
    [
        (None, {"target": "y"}, "either data or an example"),
        ("loans.csv", {"example": "cancer"}, "either data or an example"),
        ("loans.csv", {}, "ship.target"),
        (None, {"example": "cancre"}, "cancer"),
    ],
)
def test_what_is_to_be_shipped_must_be_said(data: str | None, arguments: dict[str, str], word: str) -> None:
    with pytest.raises(InputError, match=word):
        ship(data, **arguments)
