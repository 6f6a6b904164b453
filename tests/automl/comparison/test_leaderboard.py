"""The leaderboard: every trial with figures that can be recomputed, and what is said of them where they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from deepseek.automl.blend import Blend
from deepseek.automl.comparison.leaderboard import MAX_INTERVALS, build_leaderboard
from deepseek.automl.trial import Trial
from deepseek.bundle import inspect_bundle
from deepseek.bundle.leaderboard import Leaderboard, parse_leaderboard
from deepseek.cli import main
from deepseek.errors import IntegrityError
from deepseek.train.candidates import FitData


def trial(number: int, margin: np.ndarray, target: np.ndarray) -> Trial:
    chance = 1 / (1 + np.exp(-margin[:, 0]))
    return Trial(
        number, f"family {number % 3}", {"depth": number}, "identity", 0.0, 1.0, margin, None,
        log_loss(target, chance), 0.1, 0.1, 1_000,
    )  # fmt: skip


@pytest.fixture(scope="module")
def search() -> tuple[list[Trial], FitData]:
    """Fourteen trials of growing noise on 300 held-out rows."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=300)
    target = (rng.random(300) < 1 / (1 + np.exp(-2 * signal))).astype(np.int64)
    data = FitData(
        features=np.zeros((300, 1), np.float32), target=target, weight=np.ones(300), task="binary", num_classes=2,
        kinds=("numeric",), num_levels=(0,), monotone=(0,),
    )  # fmt: skip
    margins = [(2 * signal + 0.3 * number * rng.normal(size=300))[:, None] for number in range(14)]
    return [trial(number, margin, target) for number, margin in enumerate(margins)], data


def test_trials_are_ranked_by_figures_that_can_be_recomputed(search: tuple[list[Trial], FitData]) -> None:
    trials, data = search
    blend = Blend((trials[3],), (1.0,), "log-odds", trials[3].loss, trials[3].margin)
    board = build_leaderboard(trials[::-1], blend, data, metric="log_loss", seed=0)
    assert [entry.rank for entry in board.entries] == list(range(1, 15))
    losses = [entry.metrics["log_loss"] for entry in board.entries]
    assert losses == sorted(losses)
    by_number = {entry.trial: entry for entry in board.entries}
    assert [by_number[t.number].metrics["log_loss"] for t in trials] == pytest.approx([t.loss for t in trials])
    assert {"auc", "accuracy", "brier", "macro_f1", "average_precision"} <= set(board.entries[0].metrics)
    assert by_number[3].weight == 1
    assert by_number[3].difference.verdict == "identical"
    assert by_number[9].difference.verdict == "worse"
    assert by_number[9].difference.value == pytest.approx(trials[9].loss - trials[3].loss)
    measured = [entry.rank for entry in board.entries if entry.figure is not None]
    assert measured == list(range(1, MAX_INTERVALS + 1))
    assert parse_leaderboard(json.loads(json.dumps({"leaderboard": board.to_dict()}, allow_nan=False))) == board


def test_the_blend_is_ranked_with_its_parts(search: tuple[list[Trial], FitData]) -> None:
    trials, data = search
    margin = (trials[2].margin + trials[4].margin) / 2
    blend = Blend((trials[2], trials[4]), (0.5, 0.5), "log-odds", 0.0, margin)
    board = build_leaderboard(trials[2:], blend, data, metric="auc", seed=0)
    assert board.higher_is_better
    (whole,) = [entry for entry in board.entries if entry.trial is None]
    assert (whole.family, whole.difference.verdict) == ("blend", "identical")
    assert {entry.trial for entry in board.entries if entry.weight == 0.5} == {2, 4}
    values = [entry.metrics["auc"] for entry in board.entries]
    assert values == sorted(values, reverse=True)


def test_one_class_among_the_held_out_rows_takes_another_metric(search: tuple[list[Trial], FitData]) -> None:
    trials, data = search
    one = data.rows(np.flatnonzero(data.target == 0))
    few = [trial(number, trials[number].margin[data.target == 0], np.append(one.target[1:], 1)) for number in (0, 1)]
    blend = Blend((few[0],), (1.0,), "log-odds", 0.0, few[0].margin)
    assert build_leaderboard(few, blend, one, metric="average_precision", seed=0).metric == "log_loss"


def test_inspect_lists_the_trials(cancer_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(cancer_bundle), "--trials", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["leaderboard"]
    search = json.loads((cancer_bundle / "evidence/search.json").read_text("utf-8"))
    assert document == search["leaderboard"]
    losses = {
        entry["trial"]: entry["metrics"]["log_loss"] for entry in document["entries"] if entry["trial"] is not None
    }
    assert losses == pytest.approx({each["number"]: each["loss"] for each in search["trials"]})
    assert main(["inspect", str(cancer_bundle), "--trials"]) == 0
    assert "held-out rows, the best first (lower is better)" in capsys.readouterr().out
    assert main(["inspect", str(cancer_bundle), "--json"]) == 0
    assert "leaderboard" not in json.loads(capsys.readouterr().out), "only where it is asked for"
    assert inspect_bundle(cancer_bundle, trials=True).leaderboard.entries


def test_trials_of_an_older_bundle_are_ranked_by_their_loss() -> None:
    trials = [{"number": number, "family": "linear", "loss": loss} for number, loss in enumerate((0.3, 0.1))]
    board = parse_leaderboard({"trials": trials})
    assert [entry.trial for entry in board.entries] == [1, 0]
    assert (board.metric, board.num_rows) == ("loss", None)


@pytest.mark.parametrize(
    "search", [{}, {"trials": 3}, {"trials": [{"number": 1}]}, {"leaderboard": {"metric": 1}}, {"leaderboard": []}]
)
def test_what_is_no_leaderboard_is_refused(search: dict) -> None:
    with pytest.raises(IntegrityError, match=r"evidence/search\.json"):
        parse_leaderboard(search)


def test_a_bundle_without_a_search_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    from deepseek.cli.inspect import _leaderboard_parts

    assert "no search" in str(_leaderboard_parts(Leaderboard("", False, None, ()))[0])
