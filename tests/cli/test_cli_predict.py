"""`deepseek predict` on a real bundle: one row out per row in, the same in every form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.cli import main, predict
from deepseek.data.examples import example


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    table, target, _ = example("cancer")
    pd.DataFrame(table.drop([target]).records(50)).to_parquet(path)
    return path


def test_csv_on_stdout_holds_the_promised_columns(cancer_bundle: Path, rows: Path, capsys) -> None:
    assert main(["predict", str(cancer_bundle), str(rows)]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = lines[0].split(",")
    assert names[:2] == ["row_id", "prediction"]
    assert len(names) == 4
    assert all(name.startswith("probability_") for name in names[2:])
    assert [line.split(",")[0] for line in lines[1:]] == [str(row) for row in range(50)]


def test_a_file_and_json_and_python_say_the_same(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    import deepseek as ds

    out = tmp_path / "scores.parquet"
    assert main(["predict", str(cancer_bundle), str(rows), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["num_rows"] == 50
    assert said["out"] == str(out)
    written = pd.read_parquet(out)
    assert main(["predict", str(cancer_bundle), str(rows), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["predictions"]
    prediction = ds.load(cancer_bundle).predict(pd.read_parquet(rows))
    for place, label in enumerate(prediction.labels_known):
        expected = prediction.probabilities[:, place]
        np.testing.assert_allclose(written[f"probability_{label}"], expected, atol=1e-6)
        np.testing.assert_allclose([row[f"probability_{label}"] for row in listed], expected, atol=1e-6)
    assert written["prediction"].tolist() == [row["prediction"] for row in listed] == prediction.labels.tolist()


def test_chunks_change_nothing(cancer_bundle: Path, rows: Path, capsys, monkeypatch) -> None:
    assert main(["predict", str(cancer_bundle), str(rows)]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr(predict, "CHUNK_ROWS", 7)
    assert main(["predict", str(cancer_bundle), str(rows)]) == 0
    chunked = capsys.readouterr().out
    parsed = [np.array([line.split(",")[2:] for line in text.splitlines()[1:]], float) for text in (whole, chunked)]
    np.testing.assert_allclose(*parsed, atol=1e-5)


def test_a_missing_column_is_named(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    short = tmp_path / "short.csv"
    pd.read_parquet(rows).drop(columns=["mean_radius"]).to_csv(short, index=False)
    assert main(["predict", str(cancer_bundle), str(short)]) == 2
    assert "mean_radius" in capsys.readouterr().err


def test_missing_values_are_imputed_and_said(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    holed = tmp_path / "holed.csv"
    frame = pd.read_parquet(rows)
    frame.loc[3, "mean_radius"] = None
    frame.to_csv(holed, index=False)
    assert main(["predict", str(cancer_bundle), str(holed), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["num_flags"] == 1
    assert "were replaced" in err


def test_a_bundle_or_a_file_that_is_not_there_is_exit_code_2(cancer_bundle: Path, rows: Path, capsys) -> None:
    assert main(["predict", "no-such-bundle", str(rows), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_found"
    assert main(["predict", str(cancer_bundle), "no-such-file.csv"]) == 2
    assert "no-such-file.csv" in capsys.readouterr().err


def test_a_wrong_suffix_is_refused_before_the_bundle_is_opened(tmp_path: Path, capsys) -> None:
    assert main(["predict", "no-such-bundle", "rows.csv", "--out", str(tmp_path / "scores.xlsx")]) == 2
    assert ".parquet" in capsys.readouterr().err
