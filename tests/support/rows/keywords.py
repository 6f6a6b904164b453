"""A classifier of texts that knows some words by heart, written without torch: its answer is a sum over the words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from support.nets.textfolders import (
    HIDDEN,
    change_json,
    make_text_folder,
    save_tensors,
    tensors_of,
    tokenizer_of,
)

TASK = "sequence-classification"
LABELS = ("bad", "good")
#: What each word says for "good".
WORDS = {"good": 3.0, "happy": 2.0, "very": 1.0, "bad": -3.0, "sad": -2.0, "not": -1.0}


def keyword_folder(folder: Path, *, labels: tuple[str, ...] = LABELS, words: Mapping[str, float] = WORDS) -> Path:
    """A BERT whose first attention takes the mean of all words and whose other layers do nothing. Of two classes the
    second is told by the words; a third one is never answered."""
    make_text_folder(folder, task=TASK)
    tokenizer = tokenizer_of("bert")
    change_json(folder, "config.json", id2label={str(at): label for at, label in enumerate(labels)},
                label2id={label: at for at, label in enumerate(labels)})  # fmt: skip
    tensors = tensors_of("bert", TASK, tokenizer.get_vocab_size())
    for name, array in tensors.items():
        if "LayerNorm" not in name:
            array[:] = 0.0
        else:
            array[:] = float(name.endswith("weight"))
    table = tensors["bert.embeddings.word_embeddings.weight"]
    table[:, 2:] = 0.3 * np.random.default_rng(0).standard_normal((len(table), HIDDEN - 2))
    for word, says in words.items():
        place = tokenizer.token_to_id(word)
        table[place, 0], table[place, 1] = says, -says  # their sum stays, so that no norm moves it
    first = "bert.encoder.layer.0.attention."
    for name in (f"{first}self.value.weight", f"{first}output.dense.weight", "bert.pooler.dense.weight"):
        tensors[name][:] = np.eye(HIDDEN)
    tensors["classifier.weight"] = np.zeros((len(labels), HIDDEN), np.float32)
    tensors["classifier.bias"] = np.zeros(len(labels), np.float32)
    tensors["classifier.weight"][:2, :2] = [[-4.0, 4.0], [4.0, -4.0]]
    tensors["classifier.bias"][2:] = -20.0
    save_tensors(folder, tensors)
    return folder
