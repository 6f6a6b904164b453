"""`distill` is a method of compress where texts to train on are given: its student is judged, written and served."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from deepseek.bundle import verify_bundle
from deepseek.compress import Limits, optimize
from deepseek.compress.targets.opener import open_target
from deepseek.compress.targets.text import TextTarget
from deepseek.engines.text import TextModel
from deepseek.errors import InputError
from support.nets.textfolders import make_text_folder
from support.rows.moods import classes, make_moods, texts
from support.servers.serving import started

pytest.importorskip("transformers")
pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_moods(tmp_path_factory.mktemp("teacher") / "moods")


def write(path: Path, of: Sequence[str], labels: Sequence[object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(of, labels, strict=True))
    return path


@pytest.mark.slow
def test_a_student_is_judged_written_and_served(teacher: Path, tmp_path: Path) -> None:
    held = texts(80, 9)
    data = write(tmp_path / "held.csv", held, classes(held))
    (tmp_path / "train.txt").write_text("\n".join(texts(200, 1)))
    result = optimize(
        teacher, data, Limits(keep=0.9), train=tmp_path / "train.txt", methods=["distill", "int8"],
        out=tmp_path / "out", cache=tmp_path / "cache", budget_s=0.2,
    )  # fmt: skip
    rows = {row.measured.variant: row for row in result.rows}
    assert {"int8-weights", "distill", "distill+int8-weights"} <= set(rows)
    student, both = rows["distill"].measured, rows["distill+int8-weights"].measured
    assert student.size_bytes < result.originals[0].size_bytes / 4
    assert both.size_bytes < student.size_bytes / 2
    assert student.kept
    assert both.kept
    assert min(student.kept.value, both.kept.value) > 0.9
    assert "times fewer" in student.notes[0]
    assert result.chosen is not None
    assert result.chosen.variant.startswith("distill")
    assert not verify_bundle(tmp_path / "out")
    with started(tmp_path / "out", "--workers", "1", environ={"XDG_CACHE_HOME": str(tmp_path / "cache")}) as server:
        rows = {"instances": [{"text": text} for text in held]}
        answer = httpx.post(f"{server.url}/v1/models/moods:predict", json=rows).json()
    labels = TextModel.open(teacher).labels
    right = [row["label"] == labels[number] for row, number in zip(answer["predictions"], classes(held), strict=True)]
    assert sum(right) > 0.9 * len(held)


def test_texts_that_judge_teach_nothing_and_labels_may_be_missing(teacher: Path, tmp_path: Path) -> None:
    held, extra = texts(40, 9), texts(30, 1)
    data = write(tmp_path / "held.csv", held, classes(held))
    train = write(tmp_path / "train.csv", [*held, *extra], [*classes(held), *classes(extra)[:10], *[""] * 20])
    subject = TextTarget.open(teacher, data, train=train)
    pupil = subject._student
    assert pupil is not None
    assert pupil.texts == extra
    assert pupil.labels == [*classes(extra)[:10], *[-100] * 20]
    with pytest.raises(InputError, match="every text to train on"):
        TextTarget.open(teacher, data, train=data)
    assert "distill" not in TextTarget.open(teacher, data).methods()
    other = write(tmp_path / "other.csv", extra, ["joy"] * 30)
    with pytest.raises(InputError, match="'joy' is none of the model's"):
        TextTarget.open(teacher, data, train=other)


def test_what_has_no_students_is_refused_at_once(teacher: Path, tmp_path: Path) -> None:
    held = texts(40, 9)
    data = write(tmp_path / "held.csv", held, [""] * 40)
    distil = make_text_folder(tmp_path / "distil", "distilbert", "sequence-classification")
    with pytest.raises(InputError, match="no student is made of it"):
        optimize(distil, data, train=data, cache=tmp_path)
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="not trained while it is compressed"):
        open_target(tmp_path / "net.onnx", data, train=data)
