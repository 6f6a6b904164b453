"""`predict --cluster`: what one machine writes, to the byte. The slow tests are run by `make test-ray`, on Ray."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl.ship import ship
from deepseek.bundle import open_bundle
from deepseek.cli import main
from deepseek.cli.support.ray_scoring import _open_once, answer_part
from deepseek.data import read_table
from deepseek.errors import IntegrityError
from support.rows.loans import for_task, make_loans
from support.servers.rayed import command_on_ray, kill_one, python_with

NUM_ROWS = 300_000  # several parts for each worker


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "loans"
    return ship(for_task(make_loans(300), "binary"), target="default", out=out, trials=2, candidates=("linear",)).path


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--broken", "skip"], "--broken"), (["--files", "."], "--files"), (["--html", "page.html"], "--html"),
        (["--all"], "--all"), ([], "--out"),
    ],
)  # fmt: skip
def test_what_does_not_hold_on_a_cluster_is_refused(
    options: list[str], named: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    assert main(["predict", str(bundle), str(tmp_path / "rows.csv"), "--cluster", "ray", *options]) == 2
    assert named in capsys.readouterr().err


def test_a_part_is_answered_as_in_the_middle_of_a_file(bundle: Path) -> None:
    table = read_table(for_task(make_loans(50, seed=1), "binary")).drop(["default"])
    answers = answer_part(str(bundle), open_bundle(bundle).digest, None, {}, table, 1_000, True)
    assert answers.columns["row_id"].tolist() == list(range(1_000, 1_050))
    assert set(answers.columns) == {"row_id", "prediction", "probability_no", "probability_yes", "flags"}


def test_another_bundle_at_the_same_place_is_refused(bundle: Path) -> None:
    _open_once.cache_clear()
    with pytest.raises(IntegrityError, match="holds another model on a machine of the cluster"):
        _open_once(str(bundle), "0" * 64, None, ())


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_worker_loses_and_doubles_no_row(suffix: str, bundle: Path, tmp_path: Path) -> None:
    python = python_with("ray, xgboost, onnxruntime")
    rows = for_task(make_loans(NUM_ROWS, seed=2), "binary").drop(columns="default")
    data = tmp_path / f"rows.{suffix}"
    rows.to_csv(data, index=False) if suffix == "csv" else rows.to_parquet(data)
    written = []
    for name, options in (("alone", ()), ("spread", ("--cluster", "ray"))):
        out = tmp_path / f"{name}.{suffix}"
        with command_on_ray(python, "predict", bundle, data, "--flags", "--json", "--out", out, *options) as process:
            if options:
                kill_one(process, "answer_part")
            text, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors[-3_000:]
        assert ("cluster" in json.loads(text)) == bool(options)
        written.append(out.read_bytes())
    assert written[0] == written[1]
    frame = pd.read_csv(tmp_path / "spread.csv") if suffix == "csv" else pd.read_parquet(tmp_path / "spread.parquet")
    np.testing.assert_array_equal(frame["row_id"], np.arange(NUM_ROWS))
