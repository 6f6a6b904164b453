"""A folder of files: empty and broken ones, copies and pictures that nearly are; what was accepted is a new folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from deepseek.automl.clean.folder import apply_file_patch, find_file_problems, folder_digest, list_files
from deepseek.automl.clean.patch import write_patch
from deepseek.cli import main
from deepseek.errors import DeepseekError


def draw_picture(seed: int, size: int = 96) -> Any:
    """A picture of its own: waves and squares."""
    draw = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 2 * np.pi : size * 1j, 0 : 2 * np.pi : size * 1j]
    waves = sum(
        draw.normal() * np.sin(draw.integers(1, 4) * down + draw.integers(1, 4) * across + draw.uniform(0, 6))
        for _ in range(8)
    )
    pixels = 128 + 40 * waves
    for left, top in draw.integers(0, size - 12, (20, 2)):
        pixels[top : top + 12, left : left + 12] = draw.integers(0, 255)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures of two classes; a copy, a copy of the other class, a smaller one in less quality, and faults."""
    folder = tmp_path / "pictures"
    for name in ("good", "bad"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        draw_picture(number).save(folder / ("good" if number % 2 else "bad") / f"{number:02}.png")
    (folder / "bad" / "50.png").write_bytes((folder / "bad" / "00.png").read_bytes())
    (folder / "good" / "51.png").write_bytes((folder / "bad" / "02.png").read_bytes())
    draw_picture(1).resize((64, 64)).convert("RGB").save(folder / "good" / "52.jpg", quality=60)
    (folder / "good" / "53.png").write_bytes(b"")
    (folder / "good" / "54.png").write_bytes((folder / "good" / "01.png").read_bytes()[:300])
    (folder / "good" / "55.png").write_bytes(b"no picture at all")
    for number in (56, 57):
        Image.new("L", (40 + number, 40), number).save(folder / "good" / f"{number}.png")  # without anything on them
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def test_planted_faults_of_a_folder_are_found_and_nothing_else(pictures: Path) -> None:
    names = list_files(pictures)
    found = {(names[each.row - 1], each.kind, each.action) for each in find_file_problems(pictures).findings}
    assert found == {
        ("bad/50.png", "near_duplicate", "drop"), ("good/51.png", "label_conflict", "look"),
        ("good/52.jpg", "near_duplicate", "drop"), ("good/53.png", "broken_file", "drop"),
        ("good/54.png", "broken_file", "drop"), ("good/55.png", "broken_file", "drop"),
    }  # fmt: skip


def test_texts_that_are_nearly_equal_and_empty_ones_are_found(tmp_path: Path) -> None:
    words = "the pump has lost its pressure since the last inspection of the hall by the night shift"
    texts = [words, words.upper() + "!", "a valve was changed on monday and the leak has not come back since", "  \n"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    (tmp_path / "4.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "5.unknown").write_text("x")
    report = find_file_problems(tmp_path)
    assert [(each.row, each.kind) for each in report.findings] == [
        (2, "near_duplicate"), (4, "broken_file"), (5, "broken_file"),
    ]  # fmt: skip
    assert report.notes[0].startswith("1 files of unknown kinds")


def test_what_was_accepted_becomes_a_new_folder(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patch, out = pictures.with_name("patch.csv"), pictures.with_name("clean")
    assert main(["data", "clean", str(pictures), "--out", str(patch), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"label_conflict": 1, "near_duplicate": 2, "broken_file": 3}
    with patch.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["decision"] = "accept" if row["kind"] == "broken_file" else ""
    with patch.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    before = list_files(pictures)
    assert main(["data", "clean", str(pictures), "--apply", str(patch), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_dropped"] == 3
    assert list_files(pictures) == before
    assert set(before) - set(list_files(out)) == {"good/53.png", "good/54.png", "good/55.png"}
    assert main(["data", "clean", str(pictures), "--apply", str(patch), "--out", str(out)]) == 2  # is there already
    first = pictures / before[0]
    content = first.read_bytes()
    first.write_bytes(bytes([content[0] ^ 1]) + content[1:])  # of the same size
    with pytest.raises(DeepseekError, match="of another file, or the data has changed"):
        apply_file_patch(pictures, patch, pictures.with_name("other"))
    first.write_bytes(content)
    (pictures / "good" / "60.png").write_bytes(b"new")
    with pytest.raises(DeepseekError, match="of another file, or the data has changed"):
        apply_file_patch(pictures, patch, pictures.with_name("other"))
    with pytest.raises(DeepseekError, match="lies in the data itself"):
        apply_file_patch(pictures, patch, pictures / "clean")


def test_options_of_a_table_and_folders_without_files_are_refused(tmp_path: Path) -> None:
    assert main(["data", "clean", str(tmp_path), "--target", "kind"]) == 2
    assert main(["data", "clean", str(tmp_path)]) == 2
    (tmp_path / "a.bin").write_bytes(b"1")
    write_patch(find_file_problems(tmp_path), tmp_path.with_name("patch.csv"), folder_digest(tmp_path))
    assert len(tmp_path.with_name("patch.csv").read_text().splitlines()) == 1
