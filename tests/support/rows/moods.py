"""A small classifier of texts that has learnt something, and the texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from support.nets.textfolders import SENTENCE, config_of, make_text_folder, save_tensors, tokenizer_of, write_json

TASK = "sequence-classification"
UNUSED = "the"  # stands before all others in the vocabulary: a student without it numbers its pieces otherwise
MOODS = ("bad", "good", "berlin")  # the word that decides each class


def texts(number: int, seed: int) -> list[str]:
    """Six words of SENTENCE, in any order, of which one decides."""
    draw, words = np.random.default_rng(seed), [word for word in SENTENCE.split() if word not in (*MOODS, UNUSED)]
    rows = [[MOODS[draw.integers(3)], *draw.choice(words, 5)] for _ in range(number)]
    return [" ".join(draw.permutation(row)) for row in rows]


def classes(of: list[str]) -> list[int]:
    """What is true."""
    return [next(number for number, word in enumerate(MOODS) if word in text.split()) for text in of]


def make_moods(folder: Path) -> Path:
    """The folder of a BERT with wide layers, so that a ninth of it is still a BERT."""
    import torch
    import transformers

    from deepseek.compress.distilling import TextBatches
    from deepseek.engines.text import TextModel
    from deepseek.train import TrainConfig, fit

    make_text_folder(folder, task=TASK)
    config = config_of("bert", TASK, tokenizer_of("bert").get_vocab_size()) | {"intermediate_size": 1024}
    write_json(folder, "config.json", config)
    torch.manual_seed(0)
    module = transformers.BertForSequenceClassification(transformers.BertConfig(**config))
    save_tensors(folder, {name: each.detach().numpy() for name, each in module.state_dict().items()})
    rows = texts(300, 0)
    ids = [row.ids.tolist() for row in TextModel.open(folder).prepare(rows)]
    fit(module, TextBatches(ids, classes(rows), batch_size=32), TrainConfig(epochs=8, lr=2e-3))
    save_tensors(folder, {name: each.numpy() for name, each in module.state_dict().items()})
    return folder
