"""`deepseek predict` on a real bundle: one row out per row in, the same in every form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

import deepseek as ds
from deepseek.cli import main
from deepseek.data.batches import sources
from deepseek.data.table.examples import load_example
from deepseek.errors import InputError
from support.rows.loans import for_task, make_loans


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    table, target, _ = load_example("cancer")
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


def test_parts_change_nothing(cancer_bundle: Path, rows: Path, capsys, monkeypatch) -> None:
    assert main(["predict", str(cancer_bundle), str(rows)]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr(sources, "MAX_BATCH_ROWS", 7)
    assert main(["predict", str(cancer_bundle), str(rows)]) == 0
    chunked = capsys.readouterr().out
    parsed = [np.array([line.split(",")[2:] for line in text.splitlines()[1:]], float) for text in (whole, chunked)]
    np.testing.assert_allclose(*parsed, atol=1e-5)


def test_a_missing_column_is_named(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    short = tmp_path / "short.csv"
    pd.read_parquet(rows).drop(columns=["mean_radius"]).to_csv(short, index=False)
    assert main(["predict", str(cancer_bundle), str(short)]) == 2
    assert "mean_radius" in capsys.readouterr().err


def test_columns_that_the_model_does_not_read_are_passed_over_and_said(
    loans_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_loans(12)[["debt", "age", "region"]]
    rows.to_csv(tmp_path / "plain.csv", index=False)
    wide = tmp_path / "wide.csv"
    rows.assign(agee=1.0, note="x").to_csv(wide, index=False)
    assert main(["predict", str(loans_bundle), str(tmp_path / "plain.csv"), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert "ignored_columns" not in plain
    assert main(["predict", str(loans_bundle), str(wide), "--json"]) == 0
    out, err = capsys.readouterr()
    answered = json.loads(out)
    assert answered["predictions"] == plain["predictions"]
    assert answered["ignored_columns"] == ["agee", "note"]
    assert err.count("passed over: the columns 'agee', 'note'") == 1
    with ds.load(loans_bundle) as runtime, pytest.warns(UserWarning, match="'agee', 'note'"):
        assert len(runtime.predict(pd.read_csv(wide))) == 12


def test_strict_refuses_what_the_model_does_not_read_and_a_renamed_column_is_never_passed_over(
    loans_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_loans(12)[["debt", "age", "region"]]
    rows.assign(agee=1.0).to_csv(tmp_path / "wide.csv", index=False)
    assert main(["predict", str(loans_bundle), str(tmp_path / "wide.csv"), "--strict"]) == 2
    assert "no column 'agee'" in capsys.readouterr().err
    rows.rename(columns={"age": "agee"}).to_csv(tmp_path / "renamed.csv", index=False)
    assert main(["predict", str(loans_bundle), str(tmp_path / "renamed.csv")]) == 2
    assert "no column 'age'. Did you mean 'agee'" in capsys.readouterr().err
    with ds.load(loans_bundle) as runtime, pytest.raises(InputError, match="no column 'age'"):
        runtime.predict(pd.read_csv(tmp_path / "renamed.csv"))


def test_missing_values_are_imputed_and_said(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    holed = tmp_path / "holed.csv"
    frame = pd.read_parquet(rows)
    frame.loc[3, "mean_radius"] = None
    frame.to_csv(holed, index=False)
    assert main(["predict", str(cancer_bundle), str(holed), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["num_flags"] == 1
    assert "1 value was missing and was replaced: mean_radius (1)" in err


def test_what_is_beyond_training_is_said_counted_and_written_beside_its_row(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys
) -> None:
    beyond, out = tmp_path / "beyond.csv", tmp_path / "scores.csv"
    frame = pd.read_parquet(rows)
    frame.loc[3, "mean_radius"] = 1e9
    frame.to_csv(beyond, index=False)
    assert main(["predict", str(cancer_bundle), str(beyond), "--flags", "--out", str(out), "--json"]) == 0
    said, err = capsys.readouterr()
    counts = json.loads(said)["flags"]
    assert (counts["outside"] >= 1, counts["far"]) == (True, 1)
    assert json.loads(said)["num_flags"] == 0  # nothing was replaced
    assert "outside of the training range: " in err
    assert "1 row is far from every training row, mostly by: mean_radius (1)" in err
    written = pd.read_csv(out)["flags"].fillna("")
    assert written[3] == "mean_radius: outside; mean_radius: far"
    assert main(["predict", str(cancer_bundle), str(beyond)]) == 0
    assert capsys.readouterr().out.splitlines()[0].count(",") == 3  # not asked for: no such column
    broken = frame.astype({"mean_texture": object})
    broken.loc[1, "mean_texture"] = "much"
    broken.to_csv(beyond, index=False)
    assert main(["predict", str(cancer_bundle), str(beyond), "--flags", "--broken", "skip", "--out", str(out)]) == 0
    written = pd.read_csv(out).set_index("row_id")["flags"].fillna("")
    assert 1 not in written.index, "the row that is left out moves no flag to another"
    assert written[3] == "mean_radius: outside; mean_radius: far"


def test_a_bundle_or_a_file_that_is_not_there_is_exit_code_2(cancer_bundle: Path, rows: Path, capsys) -> None:
    assert main(["predict", "no-such-bundle", str(rows), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_found"
    assert main(["predict", str(cancer_bundle), "no-such-file.csv"]) == 2
    assert "no-such-file.csv" in capsys.readouterr().err


def test_a_wrong_suffix_is_refused_before_the_bundle_is_opened(tmp_path: Path, capsys) -> None:
    assert main(["predict", "no-such-bundle", "rows.csv", "--out", str(tmp_path / "scores.xlsx")]) == 2
    assert ".parquet" in capsys.readouterr().err


def test_a_word_for_not_known_is_a_missing_value_that_is_counted(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys
) -> None:
    frame = pd.read_parquet(rows).astype({"mean_radius": object})
    frame.loc[44, "mean_radius"] = "unknown"
    data, out = tmp_path / "rows.csv", tmp_path / "scores.csv"
    frame.to_csv(data, index=False)
    assert main(["predict", str(cancer_bundle), str(data), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["flags"]["imputed"] == 1


@pytest.mark.parametrize("late", ["broken", "1.5.2"])
def test_a_value_that_does_not_fit_is_named_by_its_row_in_the_file(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys, monkeypatch, late: str
) -> None:
    """The column is text for this one cell; the numbers in the parts before are still read as such."""
    frame = pd.read_parquet(rows).astype({"mean_radius": object})
    frame.loc[44, "mean_radius"] = late
    bad, out = tmp_path / "bad.csv", tmp_path / "scores.csv"
    frame.to_csv(bad, index=False)
    monkeypatch.setattr(sources, "MAX_BATCH_ROWS", 7)
    assert main(["predict", str(cancer_bundle), str(bad), "--out", str(out)]) == 2
    assert f"row 44, column 'mean_radius': '{late}' does not fit" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [bad]


def test_a_broken_line_late_in_the_file_is_told_before_the_first_answer(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(pd.read_parquet(rows).to_csv(index=False) + "1,2,3\n")
    monkeypatch.setattr(sources, "MAX_BATCH_ROWS", 7)
    monkeypatch.setattr(sources, "SMALL_BLOCK_BYTES", 500)
    assert main(["predict", str(cancer_bundle), str(bad)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "bad.csv, line 52: 3 fields" in err


@pytest.mark.parametrize("index", [None, "patient"])
@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_the_index_of_a_saved_frame_is_no_column(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys, index: str | None, form: str
) -> None:
    frame = pd.read_parquet(rows).sample(frac=1, random_state=0).rename_axis(index)
    path = tmp_path / f"rows.{form}"
    table = pa.Table.from_pandas(frame)
    pq.write_table(table, path) if form == "parquet" else feather.write_feather(table, path)
    assert main(["predict", str(cancer_bundle), str(path)]) == 0
    indexed = capsys.readouterr().out
    frame.reset_index(drop=True).to_parquet(path := tmp_path / "plain.parquet")
    assert main(["predict", str(cancer_bundle), str(path)]) == 0
    assert capsys.readouterr().out == indexed


def _peak_bytes(*args: str) -> int:
    """The most memory that a `deepseek` process had, without what it was forked from."""
    code = "import re, sys; from deepseek.cli import main; assert main(sys.argv[1:]) == 0; "
    code += "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    done = subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True)
    return 1024 * int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, form: str) -> None:
    """3,000,000 rows take at most 1.2 times the memory of 300,000."""
    from deepseek.automl.ship import ship

    frame = for_task(make_loans(3_000), "binary")
    shipped = ship(frame, target="default", out=tmp_path / "b", trials=1, candidates=("xgboost",))
    peaks = []
    for times in (100, 1_000):
        many = pd.concat([frame.drop(columns="default")] * times, ignore_index=True)
        path = tmp_path / f"rows.{form}"
        many.to_csv(path, index=False) if form == "csv" else many.to_parquet(path)
        del many
        peaks.append(_peak_bytes("predict", str(shipped.path), str(path), "--out", str(tmp_path / "scores.parquet")))
    assert pq.read_metadata(tmp_path / "scores.parquet").num_rows == 3_000_000
    assert peaks[1] <= 1.2 * peaks[0]


@pytest.fixture(scope="module")
def loans_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from deepseek.automl.ship import ship

    frame = make_loans(200)[["debt", "age", "region", "default"]]
    return ship(frame, target="default", out=tmp_path_factory.mktemp("loans") / "loans", trials=1).path


def test_rows_that_cannot_be_scored_are_left_out_each_with_its_reason(
    loans_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_loans(40)[["debt", "age", "region"]].astype({"debt": str})
    whole, bad = tmp_path / "whole.csv", tmp_path / "bad.csv"
    frame.to_csv(whole, index=False)
    frame.loc[[3, 17, 18], "debt"] = ["much", "12,5 EUR", "x9"]
    frame.to_csv(bad, index=False)
    assert main(["predict", str(loans_bundle), str(bad)]) == 2, "one bad row ends a run that does not skip"
    capsys.readouterr()
    assert main(["predict", str(loans_bundle), str(whole), "--json"]) == 0
    expected = [row for row in json.loads(capsys.readouterr().out)["predictions"] if row["row_id"] not in (3, 17, 18)]
    assert main(["predict", str(loans_bundle), str(bad), "--broken", "skip", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["row_id"] for row in said["predictions"]] == [row["row_id"] for row in expected]
    for row, wanted in zip(said["predictions"], expected, strict=True):
        assert row["prediction"] == wanted["prediction"]
    assert [row["row_id"] for row in said["skipped"]] == [3, 17, 18]
    assert "'much'" in said["skipped"][0]["reason"]
    assert (said["num_rows"], said["num_skipped"]) == (40, 3)
    out = tmp_path / "scores.csv"
    assert main(["predict", str(loans_bundle), str(bad), "--broken", "skip", "--out", str(out)]) == 0
    assert pd.read_csv(out)["row_id"].tolist() == [row["row_id"] for row in expected]
    assert pd.read_csv(tmp_path / "scores.skipped.csv")["row_id"].tolist() == [3, 17, 18]
    assert "3 of 40 rows were skipped" in capsys.readouterr().err


def test_a_column_that_is_missing_is_no_rows_fault(
    loans_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_loans(20)[["debt", "region"]].to_csv(tmp_path / "rows.csv", index=False)
    assert main(["predict", str(loans_bundle), str(tmp_path / "rows.csv"), "--broken", "skip"]) == 2
    assert "'age'" in capsys.readouterr().err
    make_loans(5)[["debt", "age", "region"]].assign(debt="much").to_csv(tmp_path / "rows.csv", index=False)
    assert main(["predict", str(loans_bundle), str(tmp_path / "rows.csv"), "--broken", "skip"]) == 2
    assert "none of the 5 rows can be scored" in capsys.readouterr().err


def test_nothing_is_said_where_nothing_was_skipped(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.parquet"
    assert main(["predict", str(cancer_bundle), str(rows), "--broken", "skip", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == []
    assert not (tmp_path / "scores.skipped.csv").exists()
