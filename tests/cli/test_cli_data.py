"""`deepseek data` from the shell: the card on the terminal, as JSON and as a file, and the page."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from deepseek.cli import main
from support.rows import mixed


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed.make_mixed(tmp_path_factory.mktemp("mixed"))


def test_the_card_is_json_on_stdout_and_in_a_file(table: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "card.json"
    assert main(["data", "card", str(table), "--target", "ill", "--out", str(out), "--json"]) == 0
    said, err = capsys.readouterr()
    card = json.loads(said)
    assert card == json.loads(out.read_text("utf-8"))
    assert (card["target"], card["num_rows"], card["num_files"], card["num_broken"]) == ("ill", 10, 31, 5)
    assert err == f"the card is in {out}\n"
    assert mixed.PATIENT.split("^")[0] not in said


def test_the_terminal_has_the_answer_first_then_what_is_broken(table: Path, capsys) -> None:
    assert main(["data", "card", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mixed.csv: 10 rows, 9 columns; 5 of 31 files are broken."
    assert lines[2].split() == ["row", "column", "what", "is", "wrong", "what", "to", "do"]
    assert [line.split()[:2] for line in lines[3:8]] == [
        ["1", "photo"], ["2", "photo"], ["3", "cough"], ["4", "cough"], ["7", "photo"],
    ]  # fmt: skip
    (ct,) = (line for line in lines if line.startswith("ct "))
    assert "DICOM; CT" in ct
    assert "between slices 2 mm" in ct
    assert any(line.startswith("photo: 2 rows hold the same file") for line in lines)


def test_a_name_cannot_drive_the_terminal(tmp_path: Path, capsys) -> None:
    name = "\x1b]0;owned\x07red[bold].png"  # click itself takes colours away
    (tmp_path / name).write_text("no picture")
    pd.DataFrame({"photo\x1b]0;owned\x07": [name] * 3}).to_parquet(tmp_path / "t.parquet")
    assert main(["data", "card", str(tmp_path / "t.parquet")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "is no picture but text" in out
    assert "red[bold].png" in out


def test_the_page_is_written_and_its_rows_are_said(table: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "look.html"
    words = ["data", "view", str(table), "--html", str(page), "--rows", "3", "--seed", "7", "--kind", "note=text"]
    assert main([*words, "--json"]) == 0
    out, err = capsys.readouterr()
    said = json.loads(out)
    html = page.read_text("utf-8")
    assert len(said["rows"]) == html.count("<h3>") == 3
    assert (said["num_broken"], said["size_bytes"]) == (5, page.stat().st_size)
    assert f"the page is in {page}" in err
    assert mixed.PATIENT.split("^")[0] not in html


def test_files_may_lie_elsewhere_and_kinds_may_be_told(table: Path, tmp_path: Path, capsys) -> None:
    moved = tmp_path / "t.csv"
    moved.write_bytes(table.read_bytes())
    words = ["data", "card", str(moved), "--files", str(table.parent), "--kind", "film=category", "--json"]
    assert main(words) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["num_broken"] == 5
    assert next(entry["kind"] for entry in card["columns"] if entry["name"] == "film") == "category"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["view", "TABLE"], "--html FILE is missing"),
        (["card", "TABLE", "--rows", "3"], "--rows is for deepseek data view"),
        (["card", "TABLE", "--html", "x.html"], "--html is for deepseek data view"),
        (["view", "TABLE", "--html", "x.html", "--out", "x.json"], "--out is for deepseek data card"),
        (["card", "TABLE", "--files", "nowhere"], "--files is nowhere"),
        (["card", "TABLE", "--target", "il"], "ill"),
        (["card", "TABLE", "--kind", "phot=image"], "photo"),
        (["card", "TABLE", "--out", "no/such/card.json"], "no such folder"),
        (["card", "gone.csv"], "there is no file gone.csv"),
        (["chart", "TABLE"], "'chart' is not one of 'card', 'view'"),
    ],
)
def test_what_cannot_be_done_is_said(table: Path, words: list[str], message: str, capsys) -> None:
    assert main(["data", *(str(table) if word == "TABLE" else word for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert not Path("x.html").exists()


def test_people_are_spoken_of_only_where_a_column_may_name_them(tmp_path: Path, capsys) -> None:
    path = tmp_path / "t.csv"
    path.write_text("age,height\n" + "".join(f"{20 + row},{160 + row}\n" for row in range(30)))
    assert main(["data", "card", str(path)]) == 0
    assert "people" not in capsys.readouterr().out
    path.write_text("age,email\n" + "".join(f"{20 + row},p{row}@mail.org\n" for row in range(30)))
    assert main(["data", "card", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no value is told of what may name people: email (e-mail addresses)" in out
    assert "mail.org" not in out
