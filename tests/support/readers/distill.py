"""A small BERT that stands for a large one, a bundle, and its table."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import torch
import transformers
from torch import nn

from deepseek.data import read_table
from deepseek.engines import Runtime
from support.readers.loans import ship_loans
from support.readers.reader import Reader


def prepare(stack: ExitStack) -> Reader:
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32
    )
    teacher = transformers.BertForSequenceClassification(config).eval()
    rng = np.random.default_rng(0)
    batches = [{"input_ids": torch.from_numpy(rng.integers(1, 50, (4, 6)))} for _ in range(3)]
    ship_loans().drop(columns="default").to_csv("applications.csv", index=False)
    with Runtime.open("loans") as runtime:
        width = runtime.prepare_table(read_table("applications.csv")).features.shape[1]
    names = {"teacher": teacher, "batches": batches, "of_rows": nn.Linear(width, 2)}
    return Reader(names, {'distill("loans", student,': 'distill("loans", of_rows,'})  # each teacher has its own student
