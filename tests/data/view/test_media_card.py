"""The card of a table with files: real ones of every kind, some of them broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.data.view.media_card import MAX_LISTED, find_all_kinds, make_media_card
from deepseek.data.view.media_words import broken_rows, describe_copies, describe_entry, headline
from support.rows import mixed, scans


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mixed")
    mixed.make_mixed(place)
    return place


@pytest.fixture(scope="module")
def card(folder: Path) -> dict[str, Any]:
    table = read_table(folder / "mixed.csv")
    kinds = find_all_kinds(table, root=folder, target="ill", overrides={"note": "text"})
    return make_media_card(table, kinds, root=folder, target="ill")


def column(card: dict[str, Any], name: str) -> dict[str, Any]:
    (column_card,) = (entry for entry in card["columns"] if entry["name"] == name)
    return column_card


def test_every_kind_is_found_and_counted(card: dict[str, Any]) -> None:
    kinds = {entry["name"]: entry["kind"] for entry in card["columns"]}
    assert list(kinds.values())[:7] == ["numeric", "text", "image", "audio", "video", "volume", "series"]
    assert (card["num_rows"], card["num_files"], card["num_broken"]) == (10, 31, 5)
    photo = column(card, "photo")
    assert (photo["num_there"], photo["num_missing"], photo["num_broken"]) == (9, 1, 3)
    assert photo["missing_share"] == pytest.approx(0.1)
    assert column(card, "ill")["levels"] == []  # as make_card(): no level of a few rows is named
    assert column(card, "age")["max"] == 54


def test_sizes_rates_lengths_and_spacing_are_ranges(card: dict[str, Any]) -> None:
    photo, cough, film, ct, sensor = (
        column(card, name)["facts"] for name in ("photo", "cough", "film", "ct", "sensor")
    )
    assert photo["format"] == {"JPEG": 5, "PNG": 1}
    assert photo["width_px"] == {"min": 8, "median": 200, "max": 200}
    assert cough["rate_hz"] == {"min": 8_000, "median": 8_000, "max": 8_000}
    assert cough["seconds"]["median"] == pytest.approx(1.2)
    assert (film["frames"]["max"], film["width_px"]["max"], film["height_px"]["max"]) == (20, 64, 48)
    assert film["frames_per_s"]["median"] == pytest.approx(25)
    assert (ct["slices"]["max"], ct["rows"]["max"], ct["columns"]["max"]) == (12, 40, 32)
    assert (ct["slices_mm"]["min"], ct["rows_mm"]["min"]) == (2.0, 1.0)
    assert sensor["moments"]["max"] == 300
    assert column(card, "note")["facts"]["characters"]["min"] > 400


def test_each_broken_file_is_named_with_its_row_and_what_to_do(card: dict[str, Any]) -> None:
    broken = {each["row"]: each for each in column(card, "photo")["broken"]}
    assert list(broken) == [1, 2, 7]
    assert (broken[1]["value"], broken[1]["code"]) == ("p1.png", "broken_file")
    assert "is no picture but text" in broken[1]["message"]
    assert "truncated" in broken[2]["message"]
    assert all(each["fix"] and each["expected"] for each in broken.values())
    assert [(each["row"], each["code"]) for each in column(card, "cough")["broken"]] == [
        (3, "broken_file"), (4, "not_found"),
    ]  # fmt: skip
    assert [(row, name) for row, name, _ in broken_rows(card)] == [
        (1, "photo"), (2, "photo"), (3, "cough"), (4, "cough"), (7, "photo"),
    ]  # fmt: skip


def test_rows_with_the_same_bytes_are_told_whatever_the_name(card: dict[str, Any]) -> None:
    assert column(card, "photo")["copies"] == {
        "num_groups": 1, "num_rows": 2, "groups": [{"num_rows": 2, "rows": [5, 6]}],
    }  # fmt: skip
    assert column(card, "cough")["copies"]["num_groups"] == 0
    assert "rows 5, 6" in describe_copies(card)[0].en


def test_a_folder_under_other_names_is_a_copy(tmp_path: Path) -> None:
    for name, more in (("a", ""), ("b", "x")):
        (tmp_path / name).mkdir()
        for file, data in scans.series_of(np.zeros((3, 4, 4), np.int16)).items():
            source = tmp_path / "a" / file
            if more:
                shutil.copy(source, tmp_path / name / f"{more}{file}")
            else:
                source.write_bytes(data)
    table = Table({"ct": np.array(["a", "b"], object)}, {"ct": "text"})
    card = make_media_card(table, {"ct": "volume"}, root=tmp_path)
    assert card["columns"][0]["copies"]["groups"] == [{"num_rows": 2, "rows": [0, 1]}]
    assert card["num_rows"] == 2


def test_no_patient_is_in_it(card: dict[str, Any]) -> None:
    said = json.dumps(card, ensure_ascii=False, allow_nan=False)
    assert mixed.PATIENT.split("^")[0] not in said
    assert "ID-4711" not in said


def test_a_slice_that_is_cut_off_is_found_in_the_middle_of_a_series(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    files = scans.series_of(np.zeros((5, 8, 8), np.int16), PatientName=mixed.PATIENT)
    for name, data in files.items():
        (tmp_path / "ct" / name).write_bytes(data[:-40] if name == "002.dcm" else data)
    table = Table({"ct": np.array(["ct"], object)}, {"ct": "text"})
    card = make_media_card(table, find_all_kinds(table, root=tmp_path), root=tmp_path)
    (broken,) = card["columns"][0]["broken"]
    assert "002.dcm" in broken["message"]
    assert mixed.PATIENT.split("^")[0] not in json.dumps(card)


def test_many_broken_files_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    names = [f"{k}.png" for k in range(MAX_LISTED + 5)]
    others = [f"{k}.wav" for k in range(MAX_LISTED + 5)]
    columns = {"a": np.array(names, object), "b": np.array(others, object)}
    table = Table(columns, {"a": "text", "b": "text"})
    card = make_media_card(table, {"a": "image", "b": "audio"}, root=tmp_path)
    assert (card["num_broken"], len(card["columns"][0]["broken"])) == (50, MAX_LISTED)
    shown = broken_rows(card)
    assert len(shown) == 20
    assert {name for _, name, _ in shown} == {"a", "b"}  # one column's faults hide not the other's
    assert headline(card, "x.csv").en == "x.csv: 25 rows, 2 columns; 50 of 50 files are broken."


def test_addresses_are_not_fetched_and_said(tmp_path: Path) -> None:
    table = Table({"a": np.array(["https://example.org/a.png"], object)}, {"a": "text"})
    card = make_media_card(table, find_all_kinds(table, root=tmp_path), root=tmp_path)
    assert "is an address" in card["columns"][0]["broken"][0]["message"]


def test_the_user_goes_before_and_progress_is_told(tmp_path: Path) -> None:
    Image.new("L", (4, 3)).save(tmp_path / "x.png")
    table = Table({"a": np.array(["x.png"] * 4, object)}, {"a": "text"})
    assert find_all_kinds(table, root=tmp_path, overrides={"a": "category"}) == {"a": "category"}
    assert find_all_kinds(table, root=tmp_path, target="a") == {}
    heard: list[float] = []
    make_media_card(table, {"a": "image"}, root=tmp_path, progress=lambda _, share: heard.append(share))
    assert heard == [0, 0.25, 0.5, 0.75]


def test_columns_in_words(card: dict[str, Any]) -> None:
    assert describe_entry(column(card, "ct")).en.startswith("DICOM; CT; Maker; axial; slices 12; rows 40; columns 32")
    assert describe_entry(column(card, "cough")).en == "WAV; rate 8,000 Hz; channels 1; length 1.20 s"
    assert describe_entry(column(card, "age")).en == "30–54"
