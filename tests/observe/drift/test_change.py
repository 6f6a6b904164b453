"""A change is seen wherever it is: in a column, in the relation of two, in rare events, in many windows together; and
where nothing changes, nothing is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deepseek.contracts import Float64
from deepseek.observe.drift.change import ALARM, Change, ChangeDetector, Changes, Sign, WindowSummary
from deepseek.observe.drift.scores import ColumnValues, LevelColumn, NumberColumn, RowScorer, read_columns
from deepseek.observe.drift.words import sign_words

NUM_PAST, NUM_NOW = 1_500, 250
Rows = dict[str, Float64]


def draw(seed: int, num_rows: int) -> Rows:
    """A column that follows another, one by itself with two digits, and one of three levels."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=num_rows)
    return {
        "first": first, "second": 0.8 * first + 0.6 * rng.normal(size=num_rows),
        "amount": np.round(rng.gamma(2, 10, num_rows), 2), "level": rng.choice(3, num_rows, p=[0.6, 0.3, 0.1]),
    }  # fmt: skip


def columns_of(rows: Rows) -> list[ColumnValues]:
    names = np.array(["a", "b", "c", "new"], object)
    return [
        LevelColumn(name, names[values.astype(int)]) if name == "level" else NumberColumn(name, values)
        for name, values in rows.items()
    ]


@pytest.fixture(scope="module")
def detector() -> ChangeDetector:
    return ChangeDetector(columns_of(draw(0, NUM_PAST)))


def test_where_nothing_changes_nothing_is_said(detector: ChangeDetector) -> None:
    alarms = [
        detector.measure(detector.summarize(columns_of(draw(seed, NUM_NOW)))).p_value <= ALARM
        for seed in range(100, 200)
    ]
    assert sum(alarms) <= 4  # one is expected; more than four come once in 300 times, and these seeds stay


def _shift(rows: Rows) -> None:
    rows["amount"] = np.round(rows["amount"] + 6, 2)


def _shuffle(rows: Rows) -> None:
    rows["second"] = np.random.default_rng(3).permutation(rows["second"])


def _lose(rows: Rows) -> None:
    rows["first"][:8] = np.nan


def _round(rows: Rows) -> None:
    rows["amount"][:25] = np.round(rows["amount"][:25])


def _clip(rows: Rows) -> None:
    rows["first"] = np.minimum(rows["first"], 1.3)


def _add_level(rows: Rows) -> None:
    rows["level"][:7] = 3


def _scale_some(rows: Rows) -> None:
    rows["amount"][:8] *= 1_000


@pytest.mark.parametrize(
    ("change", "family", "columns"),
    [
        (_shift, "level", {"amount"}), (_shuffle, "relation", {"first", "second"}), (_lose, "event", {"first"}),
        (_round, "event", {"amount"}), (_clip, "event", {"first"}), (_add_level, "event", {"level"}),
        (_scale_some, "event", {"amount"}),
    ],
)  # fmt: skip
def test_a_change_is_found_and_named(
    detector: ChangeDetector, change: Callable[[Rows], None], family: str, columns: set[str]
) -> None:
    rows = draw(7, NUM_NOW)
    change(rows)
    measured = detector.measure(detector.summarize(columns_of(rows)))
    assert measured.p_value <= ALARM
    sign = sign_of(measured, family)
    assert sign.p_value <= ALARM
    assert set(sign.columns) == columns


def sign_of(change: Change, family: str) -> Sign:
    return next(sign for sign in change.signs if sign.family == family)


def test_a_change_too_small_for_one_window_shows_in_several(detector: ChangeDetector) -> None:
    rows = draw(11, 8 * NUM_NOW)
    rows["first"] = rows["first"] + 0.12
    rows["second"] = rows["second"] + 0.8 * 0.12
    windows = [
        detector.summarize(columns_of({name: values[first : first + NUM_NOW] for name, values in rows.items()}))
        for first in range(0, 8 * NUM_NOW, NUM_NOW)
    ]
    changes = Changes.of([detector.measure(windows[0]), detector.measure(WindowSummary.merge(windows))])
    assert changes.spans[0].p_value > ALARM
    assert changes.is_alarm


def test_columns_that_say_nothing_do_no_harm() -> None:
    past: list[ColumnValues] = [
        NumberColumn("same", np.ones(300)), NumberColumn("none", np.full(300, np.nan)),
        LevelColumn("never", np.full(300, None, object)), NumberColumn("twice", np.arange(300.0)),
        NumberColumn("twice too", np.arange(300.0)),
    ]  # fmt: skip
    detector = ChangeDetector(past)
    change = detector.measure(detector.summarize([type(each)(each.name, each.values[:60]) for each in past]))
    assert 0 <= change.p_value <= 1
    assert np.isfinite(RowScorer(past).past.components).all()


def test_columns_of_a_table_are_numbers_or_levels() -> None:
    import pyarrow as pa

    table = pa.table(
        {"n": [1, None], "x": [np.inf, 2.0], "b": [True, False], "t": ["a", None], "nothing": [None, None]}
    )
    columns = read_columns(table)
    assert [type(each).__name__ for each in columns] == ["NumberColumn"] * 3 + ["LevelColumn", "NumberColumn"]
    assert [each.missing.tolist() for each in columns] == [
        [False, True], [True, False], [False, False], [False, True], [True, True]
    ]  # fmt: skip


def test_whatever_differs_has_words() -> None:
    families = ("level", "shape", "relation", "structure", "overall")
    signs = [Sign(family, 1e-6, ("input.age", "input.income")) for family in families]
    kinds = ("missing", "beyond", "unseen", "level car", "value 3.5", "rounded 10")
    signs += [Sign("event", 1e-6, ("input.age",), kind) for kind in kinds]
    for sign in signs:
        words = sign_words(Change(1e-6, 100, (sign,)))
        assert len({words.en, words.zh, "—"}) == 3
    assert sign_words(Change(0.5, 100, (Sign("level", 0.5, ("input.age",)),))).en == "—"
    assert "age (10)" in sign_words(Change(1e-6, 100, (signs[-1],))).en
