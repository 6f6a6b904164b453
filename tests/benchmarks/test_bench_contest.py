"""The contest: losses by hand, the same splits for everybody, one real contender through the whole path."""

from __future__ import annotations

from pathlib import Path

import contest
import numpy as np
import pandas as pd
import pytest
import ship_quality
from contest import HISTGB, Run, compete
from quality_data import DATASETS, SEEDS


def run_of(predictions: dict[str, list[float]], truth: list[object], dataset: str, seed: int = 11) -> Run:
    return Run("x", DATASETS[dataset], seed, pd.Series(truth), pd.DataFrame(predictions), {}, False, {})


def test_log_loss_and_rmse_by_hand() -> None:
    classes = run_of({"0": [0.5, 0.1], "1": [0.5, 0.9]}, ["0", "1"], "cancer")
    assert classes.loss() == pytest.approx(-(np.log(0.5) + np.log(0.9)) / 2)
    assert classes.measures()["error_rate"] == 0.0
    assert run_of({"value": [1.0, 5.0]}, [4.0, 1.0], "diabetes").loss() == pytest.approx(np.sqrt((9 + 16) / 2))


def test_a_class_that_a_contender_does_not_know_costs_the_clip_and_not_a_crash() -> None:
    assert run_of({"0": [1.0], "1": [0.0]}, ["2"], "wine").loss() == pytest.approx(-np.log(1e-15))


def test_a_paired_bootstrap_of_equal_predictions_has_no_difference() -> None:
    many = [run_of({"value": [1.0, 2.0, 3.0]}, [1.5, 2.5, 2.0], "diabetes", seed) for seed in (1, 2)]
    ours, theirs = ship_quality.resampled(many, many)
    assert ours.std() > 0
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["cancer", "wine", "digits", "diabetes"])
def test_the_parts_of_a_split_are_60_20_20_and_share_no_row(name: str, tmp_path: Path) -> None:
    DATASETS[name].write_parts(SEEDS[0], tmp_path)
    parts = {part: pd.read_parquet(tmp_path / f"{part}.parquet") for part in ("train", "validation", "test")}
    total = sum(map(len, parts.values()))
    assert [round(len(part) / total, 1) for part in parts.values()] == [0.6, 0.2, 0.2]
    numbered = pd.concat(parts.values())
    rows = numbered.drop(columns=[DATASETS[name].target])
    assert rows.duplicated().sum() <= DATASETS[name].load()[0].drop(columns=[DATASETS[name].target]).duplicated().sum()


@pytest.mark.slow
def test_a_contender_runs_in_its_own_process_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path))
    first = compete(HISTGB, "wine", 11, 5.0)
    again = compete(HISTGB, "wine", 11, 5.0)
    assert (first.cached, again.cached) == (False, True)
    assert first.loss() == again.loss() < 0.7
    assert first.facts["cpu_s"] > 0
    assert "scikit-learn" in first.facts["versions"]
    assert list(first.others) == ["train_only"]


def test_a_contender_that_fails_is_named_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_CACHE", str(tmp_path / "cache"))
    program = tmp_path / "broken.py"
    program.write_text("raise SystemExit('no such luck')")
    with pytest.raises(RuntimeError, match=r"(?s)broken failed on wine.*no such luck"):
        compete(contest.Contender("broken", program, HISTGB.python), "wine", 11, 5.0)
