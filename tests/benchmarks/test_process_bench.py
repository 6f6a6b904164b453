"""The benchmark of studies: its optima are optima, and runs that were kept are not run again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import process
import process_tasks
import pytest

pytest.importorskip("scipy")
from deepseek.automl.study.press import POOR_RECIPE, Press


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("branin", {"a": np.pi, "b": 2.275}),
        ("disk", {"a": np.pi, "b": 2.275}),
        ("hartmann6", dict(zip("abcdef", (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573), strict=True))),
    ],
)
def test_an_optimum_is_reached_where_it_is_known_to_lie(name: str, recipe: dict[str, float]) -> None:
    task = process_tasks.TASKS[name]
    values = task.measure(recipe)
    assert values["value"] == pytest.approx(task.optimum, abs=1e-4)
    assert not task.definition.is_broken(values)


def test_no_drawn_recipe_of_the_press_that_holds_beats_its_optimum_and_the_poor_one_holds() -> None:
    material, bond, blister, tear = Press().at(np.random.default_rng(0).random((50_000, 5)))
    holds = (bond >= 0.60) & (blister <= 0.41) & (tear <= 0.38)
    assert 0.1 < holds.mean() < 0.2
    assert process_tasks.PRESS_OPTIMUM - 1.5 < material[holds].max() <= process_tasks.PRESS_OPTIMUM + 0.01
    assert not process_tasks.PRESS.is_broken(Press().measure(POOR_RECIPE))


def test_a_run_is_summed_up_and_kept(tmp_path: Path) -> None:
    rows = [{"value": 3.0, "outside": 9.0}, {"value": 1.0, "outside": 60.0}, {"value": 2.0, "outside": 50.0}]
    run = process.summarize(process_tasks.TASKS["disk"].definition, rows, 0.5)
    assert (run.loss, run.num_broken, run.num_trials) == (2.0, 1, 3)
    process.Runs(tmp_path / "runs").get("disk", "ours", 1, lambda: run)
    again = process.Runs(tmp_path / "runs").get("disk", "ours", 1, lambda: pytest.fail("it was kept"))
    assert again == run
    assert process.regrets(process_tasks.TASKS["disk"], [run])[0] == pytest.approx(2.0 - 0.39788735773)


def test_pools_have_rows_of_the_top_hundredth() -> None:
    if not (process_tasks.DATA / "olympus-process").is_dir():
        pytest.skip("the public data sets are not here")
    pool = process_tasks.read_pools()["crossed_barrel"]
    assert len(pool.recipes) == 600
    assert len(pool.best_rows) == 6
    assert min(pool.values[sorted(pool.best_rows)]) > np.quantile(pool.values, 0.98)
