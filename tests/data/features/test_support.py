"""Beyond training is flagged: numbers outside of their range, and rows that no training row is near to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deepseek.contracts import Flag
from deepseek.data import Preprocessor, Table, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.support import MARGIN, MIN_GROUP, TrainingSupport
from deepseek.errors import IntegrityError


def frame(num_rows: int, seed: int) -> Table:
    """People whose experience follows their age, with a pay that has a long tail."""
    draw = np.random.default_rng(seed)
    age = draw.uniform(20, 60, num_rows)
    columns = {
        "age": age,
        "experience": age - 18 + draw.normal(0, 0.5, num_rows),
        "pay": np.exp(draw.normal(8, 1, num_rows)),
        "city": np.array(["York", "Bonn"], object)[draw.integers(0, 2, num_rows)],
        "hired": np.datetime64("2020-01-01") + draw.integers(0, 900, num_rows).astype("timedelta64[D]"),
        "y": draw.integers(0, 2, num_rows),
    }
    return read_table(columns)


@pytest.fixture(scope="module")
def training() -> Table:
    return frame(2_000, 0)


@pytest.fixture(scope="module")
def prepared(training: Table) -> Preprocessor:
    preprocessor = fit_preprocessor(training, find_kinds(training, target="y"), target="y")
    return preprocessor.with_support(preprocessor.table(training.drop(["y"])).features)


ROW = {"age": 40.0, "experience": 22.0, "pay": 3_000.0, "city": "Bonn", "hired": "2021-05-05"}


def test_a_number_beyond_its_range_is_flagged_by_its_column(prepared: Preprocessor) -> None:
    assert prepared.rows([ROW]).flags == ()
    flags = prepared.rows([ROW, ROW | {"pay": 1e9}]).flags
    assert Flag(1, "pay", "outside") in flags
    assert Flag(1, "pay", "far") in flags
    assert {flag.row for flag in flags} == {1}


def test_a_row_is_far_though_each_number_is_in_its_range(prepared: Preprocessor) -> None:
    (flag,) = prepared.rows([ROW | {"age": 22.0, "experience": 40.0}]).flags
    assert (flag.row, flag.what) == (0, "far")
    assert flag.column in ("age", "experience")


def test_no_training_row_is_flagged_and_hardly_a_new_one(prepared: Preprocessor, training: Table) -> None:
    assert prepared.table(training.drop(["y"])).flags == ()
    flags = prepared.table(frame(2_000, 1).drop(["y"])).flags
    assert len({flag.row for flag in flags if flag.what == "far"}) <= 10
    assert len({flag.row for flag in flags}) <= 40


def test_dates_and_missing_values_are_not_outside(prepared: Preprocessor) -> None:
    flags = prepared.rows([ROW | {"hired": "2031-01-01"}, ROW | {"pay": None}]).flags
    assert [(flag.row, flag.what) for flag in flags] == [(1, "imputed")]


def test_a_table_and_its_records_have_the_same_flags_in_parts_too(prepared: Preprocessor) -> None:
    table = frame(500, 2).drop(["y"])
    records = table.records()
    records[7] |= {"age": 300.0}
    flags = prepared.rows(records).flags
    single = [Flag(row, flag.column, flag.what) for row in range(500) for flag in prepared.rows([records[row]]).flags]
    assert Flag(7, "age", "outside") in flags
    assert sorted(single, key=repr) == sorted(flags, key=repr)


def test_what_is_stored_reads_back_and_holds_no_training_row(prepared: Preprocessor, training: Table) -> None:
    again = Preprocessor.from_bytes(prepared.to_bytes())
    assert again.support == prepared.support
    assert again.to_bytes() == prepared.to_bytes()
    support = prepared.support
    assert support is not None
    features = prepared.table(training.drop(["y"])).features[:, list(support.places)]
    bent = np.arcsinh((features - np.array(support.center)) / np.array(support.spread))
    nearest = np.sqrt(((bent[:, None] - np.array(support.middles)[None]) ** 2).sum(axis=2)).min(axis=0)
    assert (nearest > 1e-4).all()
    assert len(support.middles) <= len(bent) / MIN_GROUP


def test_a_bundle_of_an_earlier_version_flags_nothing_of_this(prepared: Preprocessor) -> None:
    document = json.loads(prepared.to_bytes())
    del document["support"]
    old = Preprocessor.from_bytes(json.dumps(document).encode())
    assert old.support is None
    assert old.rows([ROW | {"pay": 1e9}]).flags == ()
    assert replace(prepared, support=None).to_bytes() == old.to_bytes()


@pytest.mark.parametrize(
    ("name", "value"), [("places", [0, 1, 99]), ("low", [0.0]), ("radii", []), ("spread", [0, 0, 0])]
)
def test_a_changed_support_is_refused(prepared: Preprocessor, name: str, value: list[float]) -> None:
    document = json.loads(prepared.to_bytes())
    document["support"][name] = value
    with pytest.raises(IntegrityError, match="support"):
        Preprocessor.from_bytes(json.dumps(document).encode())


def test_few_rows_and_single_columns_have_ranges_alone() -> None:
    few = TrainingSupport.of(np.arange(20, dtype=np.float32).reshape(10, 2), [0, 1])
    assert few is not None
    assert few.middles == ()
    assert few.flags(np.array([[0, 1], [50, 1]], np.float32), ["a", "b"]) == [Flag(1, "a", "outside")]
    assert TrainingSupport.of(np.zeros((10, 2), np.float32), []) is None
    constant = TrainingSupport.of(np.ones((500, 3), np.float32), [0, 1, 2])
    assert constant is not None
    assert constant.flags(np.ones((2, 3), np.float32), ["a", "b", "c"]) == []


def test_one_row_alone_has_the_flags_that_it_has_among_others(prepared: Preprocessor, training: Table) -> None:
    features = np.concatenate([prepared.table(training).features[:200]] * 3)
    features[200:400] *= np.float32(1.5)
    features[400:] *= np.random.default_rng(0).normal(size=features[400:].shape).astype(np.float32)
    support, owners = prepared.support, prepared.owners()
    assert support is not None
    together = support.flags(features, owners)
    alone = [
        replace(flag, row=row)
        for row in range(len(features))
        for flag in support.flags(features[row : row + 1], owners)
    ]
    assert len(together) > 100
    assert sorted(alone, key=repr) == sorted(together, key=repr)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_the_short_list_of_rows_that_may_be_far_has_all_that_are(
    prepared: Preprocessor, training: Table, scale: float
) -> None:
    """In float32 for speed, and then again as they were: at the very edge rounding must not decide."""
    assert prepared.support is not None
    support = prepared.support
    middles, radii = np.array(support.middles), np.array(support.radii)
    rng = np.random.default_rng(0)
    bent = np.repeat(middles, 50, axis=0) + rng.normal(scale=scale * 1e-2, size=(50 * len(middles), middles.shape[1]))
    out = rng.normal(size=bent.shape)
    out *= (MARGIN * np.repeat(radii, 50) * (1 + rng.normal(scale=1e-6, size=len(bent))) / np.linalg.norm(out, axis=1))[
        :, None
    ]
    bent[::2] += out[::2]  # half of them at the edge of their own ball
    squares = ((bent[:, None] - middles) ** 2).sum(axis=2) - (MARGIN * radii) ** 2
    far = np.flatnonzero(squares.min(axis=1) > 1e-9 * (bent**2).sum(axis=1))
    listed = support._maybe_far(bent)
    assert set(far) <= set(listed)
    assert scale > 1 or len(listed) < len(bent)
