"""A bundle through MLflow's own tracking, registry and pyfunc, on a store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")

import mlflow

import deepseek as ds
from deepseek.bundle import open_bundle
from deepseek.cli.support.registered import fetch_registered
from deepseek.errors import IntegrityError, MissingError
from deepseek.integrations.mlflow import fetch_bundle, load_model, log_model, save_model
from support.servers.serving import started

pytestmark = pytest.mark.slow  # its store of SQLite takes ten seconds to be made


@pytest.fixture(scope="module")
def registered(cancer_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundle, logged in a run and registered as version 1 with an alias; a store and a cache of its own."""
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        experiment = mlflow.create_experiment("loans", artifact_location=(home / "artifacts").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            log_model(cancer_bundle, registered_model_name="cards")
        mlflow.MlflowClient().set_registered_model_alias("cards", "champion", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # stages are on their way out, and still in use
            mlflow.MlflowClient().transition_model_version_stage("cards", "1", "Production")
        yield cancer_bundle
        mlflow.set_tracking_uri(None)


def example_rows(bundle: Path, num_rows: int = 3) -> dict[str, list[float]]:
    example = ds.load(bundle).example
    return {name: [value] * num_rows for name, value in example.items()}


def test_the_registered_model_answers_by_pyfunc_as_the_bundle_does(registered: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(example_rows(registered))
    answer = mlflow.pyfunc.load_model("models:/cards/1").predict(frame)
    prediction = ds.load(registered).predict(frame)
    assert answer["prediction"].tolist() == prediction.labels.tolist()
    for place, label in enumerate(prediction.labels_known):
        np.testing.assert_array_equal(answer[f"probability_{label}"], prediction.probabilities[:, place])
    assert (load_model("models:/cards@champion").predict(frame).labels == prediction.labels).all()


def test_the_run_has_the_figures_with_their_intervals_and_the_evidence(registered: Path) -> None:
    run = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("loans").experiment_id])[0]
    figure = ds.inspect(registered)["metrics"]["auc"]
    names = {"auc": "value", "auc_low": "low", "auc_high": "high"}
    assert {name: run.data.metrics[name] for name in names} == {name: figure[end] for name, end in names.items()}
    assert "baseline_auc" in run.data.metrics
    assert run.data.tags["deepseek.digest"] == open_bundle(registered).digest
    paths = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "evidence")}
    assert "evidence/metrics.json" in paths


def test_a_registered_bundle_is_a_folder_that_serve_takes(registered: Path) -> None:
    path = fetch_bundle("models:/cards/1")
    assert ds.verify(path)["ok"]
    assert path.parent.name == open_bundle(registered).digest
    assert fetch_registered("credit=models:/cards@champion") == f"credit={path}"
    assert fetch_registered("models:/cards/1") == str(path)


def test_serve_takes_a_stage_of_the_registry_and_says_what_is_not_there(registered: Path) -> None:
    environ = {"MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    with started("credit=models:/cards/Production", "--workers", "0", environ=environ) as server:
        with urllib.request.urlopen(f"{server.url}/v1/models/credit/example") as response:
            example = response.read()
        request = urllib.request.Request(
            f"{server.url}/v1/models/credit:predict", example, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            (answer,) = json.loads(response.read())["predictions"]
    assert answer["label"] in open_bundle(registered).manifest.labels
    done = subprocess.run(
        [sys.executable, "-m", "deepseek", "serve", "models:/cards/7"],
        env=os.environ | environ | {"PORT": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "MLflow has no model at models:/cards/7" in done.stderr


def test_what_is_not_there_or_no_bundle_or_not_whole_is_named(
    registered: Path, tmp_path: Path, cancer_bundle: Path
) -> None:
    with pytest.raises(MissingError, match="models:/cards/9"):
        fetch_bundle("models:/cards/9")
    with pytest.raises(MissingError, match="models:/none/1"):
        fetch_bundle("models:/none/1")
    save_model(cancer_bundle, tmp_path / "saved")
    (tmp_path / "saved/bundle/decision.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"decision\.json"):
        fetch_bundle(str(tmp_path / "saved"))
    with pytest.raises(IntegrityError, match=r"decision\.json"):
        save_model(tmp_path / "saved/bundle", tmp_path / "again")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingError, match="holds no bundle"):
        fetch_bundle(str(tmp_path / "empty"))
