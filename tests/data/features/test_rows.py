"""The serving path: fast, and without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import timeit
from collections.abc import Callable

import numpy as np
import pytest

from deepseek.data import Preprocessor, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.rows import MIN_COLUMNWISE_ROWS

RNG = np.random.default_rng(0)
N = 400


def copy_by_json(records: object) -> object:
    return json.loads(json.dumps(records))


def numeric() -> Preprocessor:
    table = read_table({f"x{place}": RNG.normal(size=N) for place in range(30)} | {"y": RNG.integers(0, 2, N)})
    return fit_preprocessor(table, find_kinds(table, target="y"), target="y")


def mixed() -> Preprocessor:
    table = read_table(
        {f"x{place}": RNG.normal(size=N) for place in range(7)}
        | {f"c{place}": RNG.choice(["red", "green", "blue", "grey"], N) for place in range(5)}
        | {"when": np.datetime64("2020-01-01T00:00", "ms") + RNG.integers(0, 10**11, N).astype("timedelta64[ms]")}
        | {"on": RNG.integers(0, 2, N).astype(bool), "rooms": RNG.integers(3, 8, N), "y": RNG.integers(0, 2, N)}
    )
    return fit_preprocessor(table, find_kinds(table, target="y"), target="y")


@pytest.mark.parametrize("make", [numeric, mixed])
def test_one_row_costs_little_beside_its_json(make: object) -> None:
    """.4 and .8 of it on a quiet machine, 10 us; in turn, by CPU time: others count little."""
    prepared = make()  # type: ignore[operator]
    assert len(prepared.columns) in (15, 30)
    record = [prepared.example()]

    def seconds(work: Callable[[], object]) -> float:
        return timeit.timeit(work, number=200, timer=time.thread_time)

    in_turn = [(seconds(lambda: prepared.rows(record)), seconds(lambda: copy_by_json(record))) for _ in range(20)]
    row_s, json_s = (min(each) for each in zip(*in_turn, strict=True))
    assert row_s < 3 * json_s


def test_many_rows_cost_less_each_than_one() -> None:
    prepared = numeric()
    records = [prepared.example()] * 2_000
    timer = time.thread_time  # of the CPU: others on the machine do not count
    one_s = min(timeit.repeat(lambda: prepared.rows(records[:1]), number=200, repeat=10, timer=timer)) / 200
    many_s = min(timeit.repeat(lambda: prepared.rows(records), number=1, repeat=5, timer=timer)) / len(records)
    assert many_s < one_s
    assert len(records) > MIN_COLUMNWISE_ROWS


def test_serving_imports_nothing_heavy(tmp_path: object) -> None:
    data = mixed().to_bytes()
    code = (
        "import sys; from deepseek.data import Preprocessor\n"
        "p = Preprocessor.from_bytes(sys.stdin.buffer.read())\n"
        "p.rows([p.example()] * 100); p.rows([p.example()])\n"
        "heavy = {'pandas', 'pyarrow', 'sklearn', 'torch', 'polars', 'scipy', 'xgboost'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
