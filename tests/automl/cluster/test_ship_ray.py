"""`ship --cluster` on Ray, for real: workers of one machine, some of which are killed. Run by `make test-ray`, which
makes the environment `.venv-ray`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support.rows.loans import for_task, make_loans
from support.servers.rayed import ROOT, command_on_ray, kill_one, python_with

FAMILIES = ("--candidates", "xgboost,extra_trees,linear", "--trials", "5", "--seed", "3")


@pytest.fixture(scope="module")
def python() -> str:
    return python_with("ray.train.xgboost, ray.data, optuna, xgboost")


def ship(python: str, data: Path, out: Path, *options: str, kill: str | None = None) -> dict:
    """The JSON object of a run; `kill`: the first worker whose task has this in its name is killed in the middle."""
    process = command_on_ray(python, "ship", data, "--target", "default", "--out", out, "--json", *options)
    with process:
        if kill is not None:
            kill_one(process, kill)
        text, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3_000:]
    return json.loads(text)


def evidence(bundle: Path, name: str) -> dict:
    return json.loads((bundle / "evidence" / f"{name}.json").read_text())


def tried(bundle: Path) -> list[tuple[str, dict, float]]:
    return [(each["family"], each["params"], each["loss"]) for each in evidence(bundle, "search")["trials"]]


@pytest.mark.slow
def test_a_killed_worker_changes_nothing_of_what_one_machine_finds(python: str, tmp_path: Path) -> None:
    data = tmp_path / "loans.csv"
    for_task(make_loans(400), "binary").to_csv(data, index=False)
    alone = ship(python, data, tmp_path / "alone", *FAMILIES)
    spread = ship(python, data, tmp_path / "spread", *FAMILIES, "--cluster", "ray", kill="fold")
    assert tried(tmp_path / "spread") == tried(tmp_path / "alone")
    assert spread["digest"] == alone["digest"]
    assert spread["metrics"] == alone["metrics"]
    cluster = evidence(tmp_path / "spread", "environment")["cluster"]
    assert cluster["num_workers"] >= 1
    assert cluster["num_nodes"] == 1
    assert cluster["ray"].startswith("2.")
    assert "last_fit_rows" not in cluster
    assert "cluster" not in evidence(tmp_path / "alone", "environment")


@pytest.mark.slow
def test_the_last_fit_has_the_rows_that_do_not_fit_into_memory(python: str, tmp_path: Path) -> None:
    """And a worker of it is killed. The rows that are tested on are the same, and are not among them."""
    data = tmp_path / "loans.csv"
    for_task(make_loans(6_000), "binary").to_csv(data, index=False)
    options = ("--candidates", "xgboost", "--trials", "2", "--memory", "501MB")
    alone = ship(python, data, tmp_path / "alone", *options)
    spread = ship(python, data, tmp_path / "spread", *options, "--cluster", "ray", kill="TrainWorker")
    rows = evidence(tmp_path / "alone", "data")["rows"]
    assert rows["num_used"] < 3_000
    num_test = evidence(tmp_path / "spread", "metrics")["num_rows"]
    assert evidence(tmp_path / "spread", "environment")["cluster"]["last_fit_rows"] == 6_000 - num_test
    assert spread["last_fit"]["num_boosted"] == 6_000 - num_test
    assert "num_boosted" not in alone["last_fit"]
    lineages = [json.loads((tmp_path / name / "bundle.json").read_text())["lineage"] for name in ("alone", "spread")]
    assert lineages[0]["data"] == lineages[1]["data"]
    assert tried(tmp_path / "spread") == tried(tmp_path / "alone")
    figure = alone["metrics"]["log_loss"]
    assert figure["low"] <= spread["metrics"]["log_loss"]["value"] <= figure["high"]
    assert spread["digest"] != alone["digest"]
    assert any("which has the others as well" in text for text in spread["warnings"])


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_said(python: str, tmp_path: Path) -> None:
    data = tmp_path / "loans.csv"
    for_task(make_loans(100), "binary").to_csv(data, index=False)
    arguments = ["ship", data, "--target", "default", "--cluster", "127.0.0.1:9", "--json"]
    done = subprocess.run(
        [python, "-m", "deepseek", *arguments], capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "cluster"
    assert "there is no Ray cluster at 127.0.0.1:9" in error["message"]
    assert not (tmp_path / "loans").exists()
