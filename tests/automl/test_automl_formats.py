"""A table whose numbers and dates are texts: learned from as numbers and dates, and answered so."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepseek as ds
from deepseek.automl.options import ShipOptions
from deepseek.automl.split_data import open_data
from deepseek.errors import InputError

NUM_ROWS, NUM_TRAINING = 400, 320


def messy_rows() -> list[dict[str, str]]:
    rng = np.random.default_rng(0)
    amount, days, size = rng.gamma(2, 1_000, NUM_ROWS), rng.integers(0, 360, NUM_ROWS), rng.normal(size=NUM_ROWS)
    rent = amount / 2 + 300 * np.sin(days / 57) + 800 * size + 5_000
    return [
        {
            "price": f"${amount[row]:,.2f}",
            "when": (date(2020, 1, 1) + timedelta(days=int(days[row]))).strftime("%d/%m/%Y"),
            "size": "?" if row % 25 == 0 else f"{size[row]:.2f} m²",
            "rent": f"{rent[row]:,.0f}",
        }
        for row in range(NUM_ROWS)
    ]


def plain(row: Mapping[str, str]) -> dict[str, Any]:
    """The same row as a careful client sends it."""
    day, month, year = row["when"].split("/")
    return {
        "price": float(row["price"].lstrip("$").replace(",", "")), "when": f"{year}-{month}-{day}",
        "size": None if row["size"] == "?" else float(row["size"].split()[0]),
    }  # fmt: skip


def without_target(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return [{name: text for name, text in row.items() if name != "rent"} for row in rows]


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return messy_rows()


@pytest.fixture(scope="module")
def shipment(rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("formats")
    data = write(folder / "rents.csv", rows[:NUM_TRAINING])
    return ds.ship(data, target="rent", out=folder / "rents", trials=1, candidates=["xgboost"])


def test_every_column_is_read_and_it_is_said_how(shipment: Any) -> None:
    for start in ("column 'price' is read as numbers", "column 'when' is read as dates", "column 'size' is read as"):
        assert any(warning.startswith(start) for warning in shipment.warnings), start
    assert any("'?' count as missing" in warning for warning in shipment.warnings)
    assert shipment.metrics["r2"].value > 0.5  # without the columns it is 0


def test_texts_and_numbers_of_a_request_get_the_same_answers(shipment: Any, rows: list[dict[str, str]]) -> None:
    later = rows[NUM_TRAINING:]
    with ds.load(shipment.path) as runtime:
        texts = runtime.predict(without_target(later)).values
        numbers = runtime.predict([plain(row) for row in later]).values
        single = [runtime.predict([record]).values[0] for record in without_target(later[:5])]
    np.testing.assert_array_equal(texts, numbers)
    np.testing.assert_array_equal(single, texts[:5])


def test_a_row_alone_is_read_by_the_order_that_training_found(
    shipment: Any, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    """Its date could be either; its number without a comma could be any."""
    record = without_target(rows)[0] | {"when": "03/11/2020", "price": "$900"}
    path = write(tmp_path / "one.csv", [record])
    with ds.load(shipment.path) as runtime:
        of_file = runtime.predict(path).values
        of_day_first = runtime.predict([plain(record | {"when": "03/11/2020"})]).values
        of_month_first = runtime.predict([plain(record | {"when": "11/03/2020"})]).values
    np.testing.assert_array_equal(of_file, of_day_first)
    assert of_day_first[0] != of_month_first[0]


def test_figures_of_later_rows_are_those_of_the_numbers(
    shipment: Any, rows: list[dict[str, str]], tmp_path: Path
) -> None:
    later = rows[NUM_TRAINING:]
    numbers = [plain(row) | {"rent": float(row["rent"].replace(",", ""))} for row in later]
    of_texts = ds.evaluate(shipment.path, write(tmp_path / "texts.csv", later))
    of_numbers = ds.evaluate(shipment.path, write(tmp_path / "numbers.csv", numbers))
    assert of_texts.metrics["rmse"].value == of_numbers.metrics["rmse"].value


@pytest.mark.parametrize("change", [{"price": "€5"}, {"price": "5 kg"}, {"when": "31/31/2020"}, {"size": "5 ft²"}])
def test_a_text_of_another_form_is_refused_and_not_guessed(
    shipment: Any, rows: list[dict[str, str]], change: dict[str, str]
) -> None:
    with ds.load(shipment.path) as runtime, pytest.raises(InputError, match="does not fit"):
        runtime.predict([without_target(rows)[0] | change])


def test_what_is_explained_is_what_was_read(shipment: Any, rows: list[dict[str, str]], tmp_path: Path) -> None:
    explanation = ds.explain(shipment.path, write(tmp_path / "later.csv", without_target(rows[NUM_TRAINING:])))
    assert {column.column for column in explanation.importance} == {"price", "when", "size"}


def test_rows_whose_target_is_a_word_for_not_known_are_left_out_like_empty_ones(
    rows: list[dict[str, str]], tmp_path: Path
) -> None:
    some = [row | {"rent": "unknown"} if number % 20 == 0 else row for number, row in enumerate(rows)]
    data = write(tmp_path / "some.csv", some)
    with pytest.raises(InputError, match="missing in 20 of 400 rows"):
        ds.ship(data, target="rent", out=tmp_path / "a", trials=1, candidates=["xgboost"])
    options = ShipOptions("rent", drop_missing_target=True)
    assert open_data(data, options).table.num_rows == NUM_ROWS - 20


def test_classes_that_look_like_amounts_keep_their_names(rows: list[dict[str, str]], tmp_path: Path) -> None:
    classes = [row | {"rent": ("$10", "$20", "$30")[number % 3]} for number, row in enumerate(rows)]
    assert open_data(write(tmp_path / "classes.csv", classes), ShipOptions("rent")).labels == ("$10", "$20", "$30")


def test_words_that_are_called_dates_are_refused_by_their_row(rows: list[dict[str, str]], tmp_path: Path) -> None:
    data = write(tmp_path / "rents.csv", [row | {"rent": str(number)} for number, row in enumerate(rows)])
    with pytest.raises(InputError, match=r"'price', row 0: .* is not datetime"):
        ds.ship(data, target="rent", out=tmp_path / "a", trials=1, candidates=["xgboost"], kinds={"price": "datetime"})
