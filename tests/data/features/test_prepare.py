"""Features: what each kind becomes, and that training and serving make the same of it, bit for bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepseek.contracts import Batch, Flag
from deepseek.data import Preprocessor, Table, find_kinds, fit_preprocessor, read_table
from deepseek.data.features.rows import MIN_COLUMNWISE_ROWS
from deepseek.errors import InputError, IntegrityError, TooLargeError


def fit(columns: dict[str, Any], **overrides: str) -> Preprocessor:
    table = read_table({**columns, "y": [0.5] * len(next(iter(columns.values())))})
    return fit_preprocessor(table, find_kinds(table, target="y", overrides=overrides), target="y")


def cells(batch: Batch) -> list[list[float]]:
    return [[round(float(value), 6) for value in row] for row in batch.features]


def test_a_number_is_itself_and_missing_becomes_the_median_with_an_indicator() -> None:
    prepared = fit({"age": [1.5, 2.5, None, 9.5]})
    assert prepared.feature_names == ("age", "age is missing")
    batch = prepared.rows([{"age": 3.25}, {"age": None}, {"age": "4.5"}])
    assert cells(batch) == [[3.25, 0], [2.5, 1], [4.5, 0]]
    assert batch.flags == ()


def test_a_missing_value_where_none_was_seen_is_imputed_and_flagged() -> None:
    prepared = fit({"age": [1.5, 2.5, 9.5], "city": ["a", "a", "b"], "on": [True, True, False]})
    batch = prepared.rows([{"age": None, "city": None, "on": None}])
    assert {(flag.column, flag.what) for flag in batch.flags} == {(name, "imputed") for name in ("age", "city", "on")}
    assert np.isfinite(batch.features).all()


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e39, 10**400, "1e400"])
def test_numbers_beyond_float32_count_as_missing_and_are_flagged(value: object) -> None:
    for column in ([1.5, 2.5, 9.5], [1.5, None, 9.5]):
        batch = fit({"age": column}).rows([{"age": value}])
        assert batch.flags == (Flag(0, "age", "imputed"),)
        assert np.isfinite(batch.features).all()


def test_an_integer_category_is_a_number_and_one_hot() -> None:
    prepared = fit({"rooms": [3, 3, 4, 5] * 20})
    assert prepared.feature_names == ("rooms", "rooms = 3", "rooms = 4", "rooms = 5")
    assert cells(prepared.rows([{"rooms": 4}, {"rooms": 9}])) == [[4, 0, 1, 0], [9, 0, 0, 0]]


def test_levels_are_numbered_by_frequency_then_name() -> None:
    prepared = fit({"city": ["b", "b", "b", "a", "a", "c", "c", "rare"]})
    assert prepared.feature_names == ("city", "city = b", "city = a", "city = c")
    assert prepared.features[0].num_levels == 4
    batch = prepared.rows([{"city": name} for name in ("b", "a", "c", "rare", "new")])
    assert cells(batch) == [[1, 1, 0, 0], [2, 0, 1, 0], [3, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert batch.flags == (Flag(3, "city", "unseen"), Flag(4, "city", "unseen"))


def test_two_levels_need_one_indicator() -> None:
    assert fit({"sex": ["f", "f", "m", "m", "m"]}).feature_names == ("sex", "sex = f")


def test_a_level_of_few_rows_is_not_kept() -> None:
    prepared = fit({"city": ["Rome"] * 500 + ["Oslo"] * 497 + ["a secret"] * 4})
    assert b"secret" not in prepared.to_bytes()


def test_a_level_is_known_in_the_spelling_of_another_file() -> None:
    """A whole column of 1.0 or true is read as numbers or booleans, though training read it as text."""
    prepared = fit({"c": ["1.0", "1.0", "true", "true", "x", "x"]})
    for levels in ([1.0], [True], ["x"], ["1.0"], ["true"]):
        assert prepared.table(read_table({"c": levels})).flags == ()
        assert prepared.rows([{"c": levels[0]}]).flags == ()
    assert prepared.rows([{"c": False}]).flags != ()


def test_booleans_in_every_spelling() -> None:
    prepared = fit({"on": [True, False, True, None]})
    spellings = [True, False, 1, 0.0, "true", "No", None, 2]
    batch = prepared.rows([{"on": value} for value in spellings])
    assert cells(batch) == [[1, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 1], [1, 0]]
    assert batch.flags == (Flag(7, "on", "unseen"),)


def test_dates_become_days_hours_weekdays_and_months_where_they_vary() -> None:
    days = np.arange("2020-01-01", "2021-12-31", dtype="datetime64[D]")
    prepared = fit({"day": days})
    assert prepared.feature_names == ("day days", "day weekday", "day month")
    assert cells(prepared.rows([{"day": "2020-02-01"}])) == [[31, 5, 2]]
    assert fit({"day": days[:40].astype("datetime64[ms]") + np.timedelta64(1, "h")}).feature_names == (
        "day days",
        "day weekday",
    )
    hours = np.arange("2020-01-01T00", "2020-01-03T00", dtype="datetime64[h]").astype("datetime64[ms]")
    assert cells(fit({"day": hours}).rows([{"day": "2020-01-02T06:30:00Z"}])) == [[1.270833, 6.5, 3]]


def test_neighbouring_large_numbers_stay_apart_in_float32() -> None:
    seconds = 1_700_000_000 + np.arange(0, 1000, 7) ** 1.01
    prepared = fit({"when": seconds})
    features = prepared.rows([{"when": value} for value in seconds.tolist()]).features
    assert len(np.unique(features[:, 0])) == len(seconds)


def test_identifiers_and_constants_are_left_out_with_a_note_and_accepted() -> None:
    columns = {
        "id": list(range(60)),
        "same": [1] * 60,
        "x": [0.5, 1.5] * 30,
    }
    prepared = fit(columns)
    assert prepared.feature_names == ("x",)
    assert [note.split("'")[1] for note in prepared.notes] == ["id", "same"]
    full = {"id": 3, "same": 1, "y": 0.5, "x": 0.5}
    assert prepared.rows([full]).features.tolist() == prepared.rows([{"x": 0.5}]).features.tolist()
    assert "id" in [column.name for column in fit(columns, id="category").columns]


def test_dropped_columns_are_accepted_and_not_read() -> None:
    table = read_table({"x": [1.5, 2.5], "weight": [1, 2], "y": [0, 1]})
    kinds = find_kinds(table, target="y")
    prepared = fit_preprocessor(table, kinds, target="y", drop=("weight",))
    assert prepared.owners() == ("x",)
    assert len(prepared.rows([{"x": 1, "weight": "anything"}])) == 1
    with pytest.raises(InputError, match="Did you mean 'weight'"):
        fit_preprocessor(table, kinds, target="y", drop=("weigth",))


def test_nothing_left_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="no column is left"):
        fit({"same": [1] * 60})


def test_too_many_features_are_refused() -> None:
    columns = {f"c{n}": [f"l{(n + row) % 24}" for row in range(72)] for n in range(801)}
    with pytest.raises(TooLargeError, match="features"):
        fit(columns)


def test_feature_names_are_all_different() -> None:
    prepared = fit({"a": [1.5, None, 3.5], "a is missing": [1.5, 2.5, 3.5]})
    assert len(set(prepared.feature_names)) == len(prepared.feature_names) == 3


MIXED = {
    "age": [31.5, 40.0, None, 18.25] * 20,
    "rooms": [3, 4, 5, 3] * 20,
    "on": [True, False, True, True] * 20,
    "sure": ["yes", "no", None, "yes"] * 20,
    "city": ["Rome", "Paris", None, "Oslo"] * 20,
    "when": np.array(["2020-01-31", "2021-06-01T12:30", "NaT", "2022-02-28"] * 20, "datetime64[ms]"),
}


def test_the_example_is_a_record_that_can_be_scored() -> None:
    prepared = fit(MIXED)
    example = json.loads(json.dumps(prepared.example()))
    assert example == {
        "age": 31.5, "rooms": 3, "on": True, "sure": "yes", "city": "Oslo", "when": "2021-06-01T12:30:00",
    }  # fmt: skip
    assert prepared.rows([example]).flags == ()


def test_inputs_describe_the_raw_columns() -> None:
    inputs = {item.name: (item.modality, item.dtype) for item in fit(MIXED).inputs()}
    assert inputs["city"] == ("category", "str")
    assert inputs["when"] == ("datetime", "datetime64[ms]")
    assert inputs["rooms"] == ("integer_category", "float64")


def test_bytes_and_back() -> None:
    prepared = fit(MIXED)
    data = prepared.to_bytes()
    again = Preprocessor.from_bytes(data)
    assert again == prepared
    assert again.to_bytes() == data == fit(MIXED).to_bytes()
    table = read_table(MIXED)
    assert np.array_equal(again.table(table).features, prepared.table(table).features)


@pytest.mark.parametrize(
    "change",
    [
        lambda top: top.pop("columns"),
        lambda top: top["columns"][0].pop("coder"),
        lambda top: top["columns"][0]["coder"].pop("median"),
        lambda top: top["columns"][0]["coder"].update(median="x"),
        lambda top: top["columns"][0].update(modality="smell"),
        lambda top: top.update(version=99),
        lambda top: top.update(columns=5),
    ],
)
def test_changed_preprocessing_is_refused(change: Any) -> None:
    top = json.loads(fit(MIXED).to_bytes())
    change(top)
    with pytest.raises((IntegrityError, InputError)):
        Preprocessor.from_bytes(json.dumps(top).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_preprocessing_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Preprocessor.from_bytes(data)


@pytest.mark.parametrize(
    ("column", "value"), [("age", "abc"), ("age", [1]), ("on", "maybe"), ("city", {"a": 1}), ("when", "x")]
)
@pytest.mark.parametrize("num_rows", [1, MIN_COLUMNWISE_ROWS + 1])
def test_a_wrong_type_names_row_column_value_and_what_was_expected(column: str, value: object, num_rows: int) -> None:
    prepared = fit(MIXED)
    records = [prepared.example() for _ in range(num_rows)]
    records[-1][column] = value
    with pytest.raises(InputError, match=f"row {num_rows - 1}, column '{column}'") as caught:
        prepared.rows(records)
    assert repr(value) in caught.value.message
    assert "null" in caught.value.expected


def test_a_wrong_type_in_a_table_is_named_the_same_way() -> None:
    prepared = fit(MIXED)
    rows = {name: [value, value] for name, value in prepared.example().items()} | {"age": ["3", "abc"]}
    with pytest.raises(InputError, match=r"row 1, column 'age': 'abc'"):
        prepared.table(read_table(rows))
    with pytest.raises(InputError, match="'when'"):
        prepared.table(read_table({**rows, "age": ["3", "4"], "when": [1.0, 2.0]}))


@pytest.mark.parametrize("num_rows", [1, MIN_COLUMNWISE_ROWS + 1])
def test_missing_and_unknown_columns_are_named_with_the_near_one(num_rows: int) -> None:
    prepared = fit(MIXED)
    good = prepared.example()
    misspelled = {("Age" if name == "age" else name): value for name, value in good.items()}
    with pytest.raises(InputError, match=f"row {num_rows - 1} has no column 'age'.*Did you mean 'Age'"):
        prepared.rows([good] * (num_rows - 1) + [misspelled])
    with pytest.raises(InputError, match=r"'citi' that the model does not know\. Did you mean 'city'"):
        prepared.rows([good] * (num_rows - 1) + [{**good, "citi": 1}])
    for bad in ([1, 2], "text", None, 5):
        with pytest.raises(InputError, match=f"row {num_rows - 1}"):
            prepared.rows([good] * (num_rows - 1) + [bad])  # type: ignore[list-item]


def test_missing_and_unknown_columns_of_a_table() -> None:
    prepared = fit(MIXED)
    table = read_table(MIXED)
    with pytest.raises(InputError, match="no column 'age'"):
        prepared.table(table.drop(["age"]))
    extra = Table({**table.columns, "citi": table.columns["city"]}, {**table.types, "citi": "text"})
    with pytest.raises(InputError, match=r"'citi'.*Did you mean 'city'"):
        prepared.table(extra)


def test_no_rows_give_no_features() -> None:
    assert fit(MIXED).rows([]).features.shape == (0, len(fit(MIXED).features))


NUMBERS = st.one_of(
    st.none(), st.floats(), st.integers(-(10**20), 10**20), st.booleans(), st.sampled_from(["3.5", "-1e3", "NA"])
)
WORDS = st.one_of(
    st.none(), st.sampled_from(["Rome", "Paris", " Rome ", "NA", "x", "7"]), st.text(max_size=3), st.integers(0, 9)
)
TRUTHS = st.one_of(
    st.none(), st.booleans(), st.sampled_from(["yes", "No", "TRUE", "0", ""]), st.integers(0, 2), st.floats(0, 1)
)
MOMENTS = st.one_of(
    st.none(),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(),
    st.dates(),
    st.sampled_from(["2020/1/2", "2020-01-02T03:04:05+08:00", "NA"]),
)
STRATEGIES = {"age": NUMBERS, "rooms": NUMBERS, "on": TRUTHS, "sure": TRUTHS, "city": WORDS, "when": MOMENTS}
TRAINED = [fit(MIXED), fit({name: list(values)[:2] * 20 for name, values in MIXED.items()})]
RECORDS = st.lists(st.fixed_dictionaries(STRATEGIES), min_size=1, max_size=6)


@settings(max_examples=300)
@given(records=RECORDS, which=st.sampled_from(TRAINED))
def test_one_row_many_rows_and_columns_give_the_same_features_bit_for_bit(
    records: list[dict[str, Any]], which: Preprocessor
) -> None:
    single = [which.rows([record]) for record in records]
    together = which.rows(records)
    by_column = which._encoder.encode_columns(
        [[record[column.name] for record in records] for column in which.columns], len(records)
    )
    features = np.concatenate([batch.features for batch in single])
    assert features.tobytes() == together.features.tobytes() == by_column.features.tobytes()
    assert np.isfinite(features).all()
    assert features.flags.c_contiguous
    flags = {(row, flag.column, flag.what) for row, batch in enumerate(single) for flag in batch.flags}
    assert flags == {(f.row, f.column, f.what) for f in together.flags}
    assert flags == {(f.row, f.column, f.what) for f in by_column.flags}


@settings(max_examples=200)
@given(records=RECORDS, which=st.sampled_from(TRAINED))
def test_a_table_and_its_records_give_the_same_features_bit_for_bit(
    records: list[dict[str, Any]], which: Preprocessor
) -> None:
    """Training reads a Table, serving reads records: of the same rows they make the same numbers."""
    columns = {name: [record[name] for record in records] for name in STRATEGIES}
    try:
        table = read_table(columns)
        expected = which.table(table)
    except InputError:  # a column that cannot be read together, such as dates among numbers
        return
    served = which.rows(table.records())
    assert served.features.tobytes() == expected.features.tobytes()
    assert set(served.flags) == set(expected.flags)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1), st.binary(max_size=3),
)  # fmt: skip


@settings(max_examples=300)
@given(
    records=st.lists(st.one_of(st.dictionaries(st.sampled_from([*MIXED, "y", "z"]), ANYTHING), ANYTHING), max_size=3),
    repeat=st.sampled_from([1, MIN_COLUMNWISE_ROWS]),
)
def test_hostile_records_give_features_or_a_named_error(records: list[Any], repeat: int) -> None:
    try:
        batch = TRAINED[0].rows(records * repeat)
    except InputError as error:
        if "row " not in str(error):
            raise
        return
    assert np.isfinite(batch.features).all()


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=5),
        st.one_of(*(st.lists(strategy, min_size=30, max_size=30) for strategy in (NUMBERS, TRUTHS, WORDS, MOMENTS))),
        min_size=1,
        max_size=3,
    ),
    st.data(),
)
def test_any_frame_is_prepared_or_refused_by_name_whatever_kinds_are_said(
    columns: dict[str, list[Any]], data: st.DataObject
) -> None:
    columns["target of it"] = [0, 1] * 15
    try:
        table = read_table(columns)
        kinds = find_kinds(table, target="target of it")
        for name in kinds:
            if data.draw(st.booleans()):
                kinds[name] = data.draw(
                    st.sampled_from(["numeric", "category", "boolean", "datetime", "integer_category"])
                )
        prepared = fit_preprocessor(table, kinds, target="target of it")
    except InputError:
        return
    batch = prepared.table(table)
    assert np.isfinite(batch.features).all()
    assert batch.features.shape == (30, len(prepared.features))
    again = Preprocessor.from_bytes(prepared.to_bytes())
    served = again.rows(table.records())
    assert served.features.tobytes() == batch.features.tobytes()
    assert set(served.flags) == set(batch.flags)
    assert again.rows([json.loads(json.dumps(again.example()))]).features.shape == (1, len(prepared.features))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "CUSTOMER_ID",
            np.arange(4_000) % 500 * 7,
            ("(500 values in 4,000 rows)", "--kind CUSTOMER_ID=integer_category"),
        ),
        ("row", np.arange(4_000), ("it counts the rows (4,000 values in 4,000 rows)", "--kind row=integer_category")),
        ("card", [f"c{row * 37}" for row in range(4_000)], ("its values hardly repeat", "--kind card=category")),
        ("unit", ["EUR"] * 4_000, ("has the same value in every row",)),
    ],
)
def test_a_column_that_is_left_out_gives_its_true_reason_and_the_option_that_keeps_it(
    name: str, values: Any, words: tuple[str, ...]
) -> None:
    table = read_table({name: list(values), "x": np.linspace(0, 1, 4_000), "y": np.arange(4_000) % 2})
    (note,) = fit_preprocessor(table, find_kinds(table, target="y"), target="y").notes
    assert all(word in note for word in words)
    assert ("--kind" in note) == (len(words) > 1)
    if len(words) > 1:
        kind = words[1].rpartition("=")[2]
        kept = fit_preprocessor(table, find_kinds(table, target="y", overrides={name: kind}), target="y")
        assert name in {column.name for column in kept.columns}


def test_a_column_without_a_name_is_known_to_bundles_that_called_it_otherwise() -> None:
    prepared = fit({"unnamed_1": [1.5, 2.5, 9.5], "age": [1.5, 2.5, 9.5]})  # as an earlier version named it
    table = read_table({"Unnamed: 0": [1.5], "age": [2.5]})
    assert cells(prepared.table(table)) == [[1.5, 2.5]]
