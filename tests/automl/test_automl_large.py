"""A file that is larger than memory: as many rows as fit, drawn evenly, and said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepseek.automl import large
from deepseek.automl.large import StratifiedDraw, bytes_per_row, read_rows
from deepseek.automl.ship import ShipResult, ship
from deepseek.data import Table, read_table
from deepseek.data.batches import sources
from deepseek.errors import InputError, TooLargeError
from support.rows.loans import for_task, make_loans


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, float], int]:
    """Files are read in small parts, and libraries take nothing: the budget in which a share of a file's rows fits."""
    monkeypatch.setattr(large, "FIXED_BYTES", 0)
    monkeypatch.setattr(large, "MIN_ROWS", 10)
    monkeypatch.setattr(sources, "MAX_BATCH_ROWS", 64)

    def budget(path: Path, share: float) -> int:
        table = read_table(path)
        return int(share * table.num_rows * large.MEMORY_COPIES * bytes_per_row(table.take(np.arange(64))))

    return budget


def write(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def test_rows_come_evenly_from_every_class_and_in_their_order(tmp_path: Path, small_machine) -> None:
    labels = np.array((["common"] * 9 + ["some"]) * 300)
    labels[[17, 2_900]] = "rare"
    path = write(tmp_path, pd.DataFrame({"place": np.arange(3_000), "label": labels}))
    table, sample = read_rows(path, target="label", seed=3, memory_bytes=small_machine(path, 0.1))
    assert sample is not None
    assert (sample.num_rows, sample.num_used) == (3_000, table.num_rows)
    assert table.num_rows == pytest.approx(300, abs=8)
    counts = Counter(table.column("label"))
    share = table.num_rows / 3_000
    for label, there in Counter(labels).items():
        assert counts[label] >= 1
        assert abs(counts[label] - share * there) <= 2, label
    places = table.column("place")
    assert (np.diff(places) > 0).all()
    quarters = np.histogram(places, bins=4, range=(0, 3_000))[0]
    assert quarters.max() - quarters.min() <= 4


@pytest.mark.parametrize("num_parts", [1, 7, 100])
def test_a_draw_does_not_hang_on_where_the_parts_are_cut(num_parts: int) -> None:
    labels = np.array(list("abbccc") * 200, object)
    table = Table({"y": labels}, {"y": "text"})
    draw, drawn = StratifiedDraw(0.3, 5), []
    for rows in np.array_split(np.arange(len(labels)), num_parts):
        drawn.append(rows[draw.rows(table.take(rows), "y")])
    assert np.concatenate(drawn).tolist() == StratifiedDraw(0.3, 5).rows(table, "y").tolist()


def test_a_target_of_numbers_is_drawn_alike(tmp_path: Path, small_machine) -> None:
    values = np.random.default_rng(0).normal(size=4_000)
    path = write(tmp_path, pd.DataFrame({"x": np.arange(4_000), "y": values}))
    table, sample = read_rows(path, target="y", seed=0, memory_bytes=small_machine(path, 0.25))
    assert sample is not None
    assert table.num_rows < 2_100  # the values of the first parts are few enough to be taken for classes
    assert abs(np.median(table.column("y")) - np.median(values)) < 0.1


def test_what_fits_is_read_whole(tmp_path: Path, small_machine) -> None:
    path = write(tmp_path, for_task(make_loans(500), "binary"))
    for budget in (None, 10**12, small_machine(path, 1.5)):
        table, sample = read_rows(path, target="default", seed=0, memory_bytes=budget)
        assert table.digest() == read_table(path).digest()
        assert sample is None or sample.warning() is None


def test_the_errors_of_a_large_file(tmp_path: Path, small_machine) -> None:
    path = write(tmp_path, for_task(make_loans(500), "binary"))
    with pytest.raises(TooLargeError, match="500 rows, of which 2 fit into"):
        read_rows(path, target="default", seed=0, memory_bytes=small_machine(path, 0.005))
    with pytest.raises(InputError, match=r"has no column 'defalt'\. Did you mean 'default'"):
        read_rows(path, target="defalt", seed=0, memory_bytes=small_machine(path, 0.5))
    with pytest.raises(InputError, match="there is no file"):
        read_rows(tmp_path / "none.csv", target="y", seed=0, memory_bytes=1)


@pytest.mark.slow
def test_rows_with_texts_that_were_left_out_are_said_too(tmp_path: Path, small_machine) -> None:
    words = np.random.default_rng(0).choice(["slow", "warm", "red", "late"], (400, 6))
    frame = pd.DataFrame({"note": [" ".join(row) for row in words], "y": np.where(words[:, 0] == "slow", "a", "b")})
    path = write(tmp_path, frame)
    budget = small_machine(path, 0.4)
    shipped = ship(
        path, target="y", kinds={"note": "text"}, out=tmp_path / "b", trials=1, workers=0, memory_bytes=budget
    )
    rows = json.loads((shipped.path / "evidence/data.json").read_text())["rows"]
    assert rows["num_rows"] == 400
    assert 100 < rows["num_used"] < 250
    assert shipped.warnings[0].startswith(f"{rows['num_used']} of 400 rows are used")


@pytest.mark.slow
def test_what_is_used_is_in_the_warnings_and_in_the_evidence(
    tmp_path: Path, small_machine, quick_ship: Callable[..., ShipResult]
) -> None:
    frame = for_task(make_loans(1_200), "binary", keep=("since",))
    path = write(tmp_path, frame)
    budget = small_machine(path, 0.4)
    shipped = quick_ship(path, memory_bytes=budget, split="time:since")
    rows = json.loads((shipped.path / "evidence/data.json").read_text())["rows"]
    assert rows["num_rows"] == 1_200
    assert rows["num_used"] == pytest.approx(480, abs=10)
    assert rows["memory_bytes"] == budget
    assert shipped.warnings[0].startswith(f"{rows['num_used']} of 1,200 rows are used, for search, last fit and test")
    metrics = json.loads((shipped.path / "evidence/metrics.json").read_text())
    assert metrics["num_rows"] == pytest.approx(0.2 * rows["num_used"], abs=10)
    again = quick_ship(path, memory_bytes=budget, split="time:since")
    assert again.digest == shipped.digest


def test_a_budget_of_memory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="memory_bytes"):
        ship(tmp_path / "rows.csv", target="y", memory_bytes=0)


@pytest.mark.slow
@pytest.mark.soak
def test_a_table_beyond_its_budget_is_shipped_within_an_address_space_and_said(tmp_path: Path) -> None:
    """4,000,000 rows in 5 GB of addresses, of which 2 GB are the budget."""
    frame = for_task(make_loans(40_000), "binary")
    path = tmp_path / "rows.csv"
    for place in range(100):
        frame.to_csv(path, index=False, mode="a", header=place == 0)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (5 * 10**9,) * 2); "
        "from deepseek.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    args = ["ship", str(path), "--target", "default", "--trials", "2", "--candidates", "xgboost", "--json"]
    limits = {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code, *args, "--memory", "2GB", "--out", str(tmp_path / "sampled")],
        capture_output=True, text=True, check=False, env={**os.environ, **limits},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert " of 4,000,000 rows are used" in json.loads(done.stdout)["warnings"][0]
