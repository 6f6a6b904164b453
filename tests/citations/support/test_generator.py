"""A real decoder as the generator: its numbers are those of transformers, and cite() takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepseek.citations import Ablation, CiteOptions, Corpus, FolderGenerator, cite
from deepseek.errors import InputError
from support.nets.tinylm import random_model

CLAUSES = ("A lease lasts two years.", "Fees are due.")
TEXT = ("A lease lasts two years.", "Fees are due.")


def test_log_probabilities_are_those_of_the_model(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    model = random_model("llama", tmp_path)
    log_probabilities = FolderGenerator(tmp_path).log_probabilities(CLAUSES[:1], TEXT)
    head, tokenizer = CLAUSES[0] + "\n\n", Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode(head + "\n".join(TEXT) + "\n").ids
    skipped = len(tokenizer.encode(head).ids)
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = sum(float(scores[place - 1, ids[place]]) for place in range(skipped, len(ids)))
    assert sum(log_probabilities) == pytest.approx(expected, abs=1e-3)
    assert all(number < 0 for number in log_probabilities)


def test_cite_asks_it_and_says_when_the_text_is_too_long(tmp_path: Path) -> None:
    random_model("llama", tmp_path)
    corpus = Corpus.of({"Act": "\n".join(f"Article {n} {clause}" for n, clause in enumerate(CLAUSES, 1))})
    options = CiteOptions(ablation=Ablation(num_masks=8, num_held=4))
    report = cite(" ".join(TEXT), corpus, FolderGenerator(tmp_path), options=options)
    assert (report.num_calls, report.problem) == (14, "")
    assert all(citation.caused in (True, False) for sentence in report.sentences for citation in sentence.citations)
    assert len(report.sentences[0].citations) == 1
    report = cite(" ".join(TEXT) + "x " * 200, corpus, FolderGenerator(tmp_path), options=options)
    assert report.is_partial
    assert "tokens. Expected: at most 128" in report.problem
    with pytest.raises(InputError, match="head has no"):
        FolderGenerator(tmp_path, head="x")
