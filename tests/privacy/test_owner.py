"""A table shipped under a budget: what is said of its columns, its figures, and what its bundle holds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle, verify_bundle
from deepseek.cli import main
from deepseek.data import Table, read_table
from deepseek.engines import open_runtime
from deepseek.errors import CheckError, InputError
from deepseek.privacy.accounting.gaussian import epsilon_of
from deepseek.privacy.owner.figures import noised_figures
from deepseek.privacy.owner.marginals import NUM_SAMPLE_ROWS, describe_columns
from deepseek.privacy.owner.ship import PrivateShipOptions, ship_privately, split_noise
from deepseek.train.private.budget import PrivacyBudget
from support.federation import loans_study, loans_table
from support.rows.loans import for_task, make_loans


def table_of(num: int = 4000) -> Table:
    rng = np.random.default_rng(0)
    columns = {
        "amount": np.where(np.arange(num) % 50 == 0, np.nan, 1000 + 50 * rng.normal(size=num)),
        "small": 1e-3 * rng.exponential(size=num),
        "word": np.array(["red", "green"], object)[rng.integers(0, 2, num)],
        "flag": rng.integers(0, 2, num).astype(float),
        "day": np.datetime64("2024-01-01", "ms") + rng.integers(0, 10**10, num).astype("timedelta64[ms]"),
    }
    columns["word"][7] = "the name of one person"
    types = {"amount": "number", "small": "number", "word": "text", "flag": "boolean", "day": "datetime"}
    return Table(columns, types)  # type: ignore[arg-type]


def test_a_description_is_near_the_columns_and_never_shows_what_one_row_has() -> None:
    sample = describe_columns(table_of(), noise=1.0, delta=1e-7)
    assert sample.num_rows == NUM_SAMPLE_ROWS
    assert np.nanmedian(sample.column("amount")) == pytest.approx(1000, rel=0.1)
    assert 3e-4 < np.median(sample.column("small")) < 1.5e-3
    assert set(sample.column("word").tolist()) - {None} == {"red", "green"}
    assert set(sample.column("flag").tolist()) == {0.0, 1.0}
    day = sample.column("day")[~sample.missing_mask("day")]
    assert abs(np.median(day.astype(np.int64)) / table_of().column("day").astype(np.int64).mean() - 1) < 0.1


def test_noise_that_hides_every_column_is_refused() -> None:
    with pytest.raises(CheckError, match="hides"):
        describe_columns(table_of(200), noise=1e6, delta=1e-7)


def test_the_parts_of_a_release_cost_what_the_whole_does() -> None:
    """Squares of 1 / noise add up: T steps of noise s cost what one of s / sqrt(T) does."""
    parts = split_noise(2.0, 50, is_described=True)
    assert parts.description is not None
    whole = 1 / 2.0**2
    assert 1 / parts.description**2 + 50 / parts.step**2 == pytest.approx(whole)
    assert split_noise(2.0, 50, is_described=False).step == pytest.approx(2.0 * 50**0.5)
    assert epsilon_of(split_noise(2.0, 50, is_described=False).step, 50, 1e-6) == pytest.approx(
        epsilon_of(2.0, 1, 1e-6)
    )


def test_noised_figures_are_near_the_exact_ones_and_within_their_intervals() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 20_000)
    positive = np.clip(0.5 + 0.3 * (target - 0.5) + 0.2 * rng.normal(size=20_000), 0, 1)
    metrics, baseline = noised_figures("binary", target, np.stack([1 - positive, positive], axis=1), noise=1.0)
    hits = float(((positive >= 0.5) == target).mean())
    assert metrics["accuracy"].value == pytest.approx(hits, abs=0.01)
    assert metrics["auc"].value == pytest.approx(0.856, abs=0.02)
    assert metrics["accuracy"].low < hits < metrics["accuracy"].high
    assert baseline["accuracy"].value == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_bundle_under_a_budget_serves_and_says_what_it_cost(task: str, tmp_path: Path) -> None:
    table = loans_table(task, num_rows=3000)
    options = PrivateShipOptions(_target_of(task), PrivacyBudget(8.0, 1e-5), tmp_path / "bundle")
    result = ship_privately(table, options)
    assert verify_bundle(tmp_path / "bundle") == []
    bundle = open_bundle(tmp_path / "bundle")
    privacy = json.loads(bundle.read("evidence/privacy.json"))
    assert privacy["delta"] == 1e-5
    assert 7.5 < privacy["epsilon"] <= 8.0
    assert bundle.manifest.lineage.data is None
    assert bundle.manifest.lineage.config["privacy"]["num_steps"] == options.learning.num_steps
    assert len(open_runtime(tmp_path / "bundle").predict(table.records(5))) == 5
    if task == "binary":
        assert result.metrics["accuracy"].value > result.baseline["accuracy"].value - 0.05
    assert result.to_dict()["privacy"]["epsilon"] == privacy["epsilon"]


def _target_of(task: str) -> str:
    return loans_study(task=task).target


def test_rows_that_may_be_shown_describe_the_columns(tmp_path: Path) -> None:
    table = loans_table(num_rows=3000)
    frame = tmp_path / "public.csv"
    rows = table.records(300)
    lines = [",".join("" if row[name] is None else str(row[name]) for name in table.names) for row in rows]
    frame.write_text("\n".join([",".join(table.names), *lines]) + "\n")
    options = PrivateShipOptions(_target_of("binary"), PrivacyBudget(3.0, 1e-5), tmp_path / "bundle", public_rows=frame)
    ship_privately(table, options)
    privacy = json.loads(open_bundle(tmp_path / "bundle").read("evidence/privacy.json"))
    assert privacy["noise_of"]["description"] is None
    assert read_table(frame).num_rows == 300


def test_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fewer than"):
        ship_privately(
            loans_table(num_rows=50), PrivateShipOptions(_target_of("binary"), PrivacyBudget(3.0, 1e-3), tmp_path / "b")
        )


def test_the_shell_ships_under_a_budget_and_refuses_when_it_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, ledger = tmp_path / "loans.csv", tmp_path / "ledger.json"
    for_task(make_loans(1500), "binary").to_csv(data, index=False)
    words = ["ship", str(data), "--target", "default", "--dp", f"epsilon=3,delta=1e-5,ledger={ledger}", "--json"]
    assert main([*words, "--out", str(tmp_path / "first")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["privacy"]["has_ledger"]
    assert report["model"] == "linear"
    assert main([*words, "--out", str(tmp_path / "second")]) == 3
    assert "is spent on these rows" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [(("--trials", "3"), "--trials"), (("--max-fpr", "0.1"), "--max-fpr"), (("--candidates", "xgboost"), "xgboost"),
     (("--html", "page.html"), "--html")],
)  # fmt: skip
def test_options_that_read_rows_without_noise_are_refused(
    words: tuple[str, ...], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "loans.csv"
    for_task(make_loans(120), "binary").to_csv(data, index=False)
    command = ["ship", str(data), "--target", "default", "--dp", "epsilon=3,delta=1e-5", "--out", str(tmp_path / "b")]
    assert main([*command, *words]) == 2
    assert named in capsys.readouterr().err


def test_few_rows_are_described_by_their_magnitudes() -> None:
    """500 rows over 32 bins are lost in noise of 20; over half octaves they are not."""
    sample = describe_columns(table_of(500).drop(["word", "flag", "day"]), noise=10.0, delta=1e-7)
    assert 700 < np.nanmedian(sample.column("amount")) < 1500
