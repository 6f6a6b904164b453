"""The rows of a file that do not fit into memory: each comes once, and none that the split keeps from training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepseek.automl import large
from deepseek.automl.cluster.rest_rows import RestRows, _pack_part
from deepseek.automl.large import bytes_per_row
from deepseek.automl.options import ShipOptions
from deepseek.automl.split_data import open_data
from deepseek.automl.tabular_run import TabularRun
from deepseek.data import Table, concat, read_table
from deepseek.data.batches import sources
from deepseek.errors import InputError
from support.rows.loans import make_loans

NUM_ROWS, SHARE = 600, 0.4


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RestRows, TabularRun]]:
    """A table of which two fifths fit into memory, each row known by its place, and what is left of it."""
    monkeypatch.setattr(large, "FIXED_BYTES", 0)
    monkeypatch.setattr(large, "MIN_ROWS", 10)
    monkeypatch.setattr(sources, "MAX_BATCH_ROWS", 64)

    def opened(frame: pd.DataFrame | None = None, **options: Any) -> tuple[RestRows, TabularRun]:
        frame = make_loans(NUM_ROWS) if frame is None else frame
        frame = frame.drop(columns=["grade", "price"])
        path = tmp_path / "rows.csv"
        frame.assign(place=np.arange(len(frame))).to_csv(path, index=False)
        table = read_table(path)
        memory = int(SHARE * NUM_ROWS * large.MEMORY_COPIES * bytes_per_row(table.take(np.arange(64))))
        kinds = {"place": "numeric"}
        chosen = ShipOptions("default", out=tmp_path / "b", kinds=kinds, memory_bytes=memory, trials=1, **options)
        data = open_data(path, chosen)
        assert data.sample is not None
        assert data.sample.num_used < NUM_ROWS
        run = TabularRun.of(data, chosen)
        return RestRows(data, data.sample, chosen, run.preprocessor), run

    return opened


def rest_of(rest: RestRows) -> Table:
    parts = list(rest._parts())
    return concat(parts, ["rows.csv"] * len(parts))


def places(rest: RestRows, *, has_test_rows: bool = True) -> list[float]:
    """Of the rows that workers would fit on."""
    recipe = rest._recipe(has_test_rows=has_test_rows)
    names = [feature.column for feature in rest.preprocessor.features]
    blocks = [_pack_part(recipe, part)[0] for part in rest._parts()]
    return sorted(np.concatenate(blocks)[:, names.index("place")].tolist())


def test_every_row_is_in_memory_or_in_the_rest(opened) -> None:
    rest, run = opened()
    drawn = run.data.table.column("place").tolist()
    assert drawn == run.data.sample.rows.tolist()
    assert sorted(drawn + rest_of(rest).column("place").tolist()) == list(range(NUM_ROWS))
    assert places(rest) == sorted(set(range(NUM_ROWS)) - set(drawn))


def test_a_block_is_what_memory_would_make_of_the_rows(opened) -> None:
    rest, run = opened()
    part = next(rest._parts())
    block, facts = _pack_part(rest._recipe(has_test_rows=True), part)
    data = run.fit_data(part)
    np.testing.assert_array_equal(block[:, :-2], data.features)
    np.testing.assert_array_equal(block[:, -2], data.target)
    np.testing.assert_array_equal(block[:, -1], 1.0)
    assert facts.num_rows == part.num_rows


def test_moments_from_the_first_test_row_on_are_left_out(opened) -> None:
    rest, run = opened(split="time:since")
    first = run.data.test.column("place").min()
    assert max(places(rest)) < first
    assert max(places(rest, has_test_rows=False)) > first  # the last fit on all rows, once the model was measured


def test_groups_that_are_tested_on_are_left_out(opened) -> None:
    rest, run = opened(split="group:household")
    tested = set(run.data.test.column("household"))
    households = dict(zip(rest_of(rest).column("place"), rest_of(rest).column("household"), strict=True))
    assert tested & set(households.values())
    assert {households[place] for place in places(rest)} == set(households.values()) - tested


def test_weights_are_on_the_scale_of_those_in_memory(opened) -> None:
    frame = make_loans(NUM_ROWS).assign(weight=np.arange(NUM_ROWS) % 5 + 1.0)
    rest, run = opened(frame, weights="weight")
    part = next(rest._parts())
    block, _ = _pack_part(rest._recipe(has_test_rows=True), part)
    scale = run.data.development.column("weight").mean()
    np.testing.assert_allclose(block[:, -1], part.column("weight") / scale, rtol=1e-6)


def test_a_row_without_a_target_is_refused_or_left_out_as_in_memory(opened) -> None:
    frame = make_loans(NUM_ROWS)
    rest, _ = opened(frame)
    part = next(rest._parts())
    part.columns["default"][3] = None
    with pytest.raises(InputError, match="target 'default' is missing in 1"):
        _pack_part(rest._recipe(has_test_rows=True), part)
    rest, _ = opened(frame, drop_missing_target=True)
    assert _pack_part(rest._recipe(has_test_rows=True), part)[1].num_rows == part.num_rows - 1


def test_the_warning_says_what_has_all_rows(opened) -> None:
    _, run = opened()
    sample = run.data.sample
    assert "search, last fit and test alike" in sample.warning()
    object.__setattr__(sample, "has_rest_fit", True)
    assert "all but boosted trees (xgboost, of a table without texts), which has the others as well" in sample.warning()
