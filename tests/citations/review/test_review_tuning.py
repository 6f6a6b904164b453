"""Encoders that learn the lines of a checklist: what they say after it, and that a bundle keeps it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import verify_bundle
from deepseek.citations.review.embedders import EncoderChoice, open_embedder
from deepseek.citations.review.labels import read_labelled
from deepseek.citations.review.lines import Checklist, ChecklistLine
from deepseek.citations.review.model import ReviewModel
from deepseek.citations.review.storage import open_model
from deepseek.citations.review.training import ReviewOptions, train_review
from deepseek.citations.review.tuning import TuneOptions, tune_encoders
from support.nets.textfolders import make_text_folder

CAT, FILM, OTHER = "the cat sat on a mat", "i am very happy good film", "berlin is big"
CHECKLIST = Checklist("two", (ChecklistLine("cat", "the cat"), ChecklistLine("film", "a good film")))
OPTIONS = TuneOptions(num_encoders=2, epochs=12, learning_rate=2e-3, trained_layers=1, batch_size=8)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    rows = ["document,line,state,quote"]
    for number in range(8):
        name, texts = f"{number}.txt", [OTHER, *([CAT] if number % 2 else []), *([FILM] if number % 4 < 2 else [])]
        (folder / name).write_text("".join(f"{place}. {text}.\n" for place, text in enumerate(texts, 1)))
        rows.append(f"{name},cat,{'holds' if number % 2 else 'not there'},{CAT if number % 2 else ''}")
        rows.append(f"{name},film,{'holds' if number % 4 < 2 else 'not there'},{FILM if number % 4 < 2 else ''}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.slow
def test_encoders_learn_lines_and_a_bundle_keeps_them(documents: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder"
    make_text_folder(encoder)
    labelled, _ = read_labelled(documents, CHECKLIST)
    groups = [[passage.text for passage in each.passages] for each in labelled]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tuned = tune_encoders(
        encoder, groups, [each.evidence for each in labelled], OPTIONS, scratch, lambda what, share: None
    )
    scores = tuned.view.scores([CAT, FILM, OTHER])
    assert scores[0].argmax() == 0
    assert scores[1].argmax() == 1
    assert scores[0, 0] > scores[2, 0]
    assert [held.shape for held in tuned.held] == [each.evidence.shape for each in labelled]

    choice = EncoderChoice("folder", str(encoder))
    options = ReviewOptions(tmp_path / "review", choice, tune=OPTIONS)
    result = train_review(CHECKLIST, labelled, options)
    assert verify_bundle(tmp_path / "review") == []
    assert "tuned on the lines" in result.judge
    from deepseek.bundle import open_bundle

    again = open_model(open_bundle(tmp_path / "review"))
    for each in labelled:
        for answer in again.answers(each.passages):
            assert np.isfinite(answer.probabilities).all()
    assert again.trained is not None
    assert again.trained.tuned is not None
    assert len(again.trained.tuned.encoders) == 2
    plain = ReviewModel.fit(CHECKLIST, labelled, open_embedder(choice))
    assert plain.trained is not None
    assert plain.trained.tuned is None
