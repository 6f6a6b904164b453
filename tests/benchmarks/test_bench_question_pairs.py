"""The benchmark of pairs, on made-up pairs and a small encoder: a second run reads what the first kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("tokenizers")
pytest.importorskip("sklearn")
pq = pytest.importorskip("pyarrow.parquet")

import pyarrow as pa  # noqa: E402
import question_pairs  # noqa: E402

from support.nets.textfolders import make_text_folder  # noqa: E402


@pytest.mark.slow
def test_a_set_is_learned_and_scored_and_what_was_kept_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    folder = tmp_path / "data" / "zh-question-matching"
    folder.mkdir(parents=True)
    for part, num_pairs in (("dev", 160), ("test", 40)):
        kinds = draw.integers(2, size=(num_pairs, 2))
        words = np.array(["happy cat", "bad film"])
        columns = {
            "sentence1": [f"{words[one]} {row}" for row, (one, _) in enumerate(kinds)],
            "sentence2": [f"very {words[other]} {row}" for row, (_, other) in enumerate(kinds)],
            "label": (kinds[:, 0] == kinds[:, 1]).astype(int).tolist(),
        }
        pq.write_table(pa.table(columns), folder / f"bq_{part}.parquet")
    cache = tmp_path / "cache"
    make_text_folder(cache / "e5-small")
    monkeypatch.setattr(question_pairs, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(question_pairs, "cache_folder", lambda part="": cache)
    monkeypatch.setattr(question_pairs, "CHOICES", question_pairs.PairOptions(held_share=0.0, trained_layers=1))
    first = question_pairs.measure_set("bq")
    assert first["claim"] == "bq"
    assert first["bar"] == 79
    assert 0 <= first["ours"] <= 100
    assert first["rival"] > 60

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("what was kept is computed again")

    monkeypatch.setattr(question_pairs, "fit_pairs", forbidden)
    monkeypatch.setattr(question_pairs, "read_states", forbidden)
    assert question_pairs.measure_set("bq")["ours"] == first["ours"]
