"""The batches of the text tasks: each row once an epoch, rows of like length together, drawn anew by epoch and seed."""

from __future__ import annotations

from pathlib import Path

import torch
from text_tasks import Batches, Rows, collate, load_task


def make_rows(num: int = 230) -> Rows:
    lengths = torch.randint(3, 40, (num,), generator=torch.Generator().manual_seed(0)).tolist()
    return Rows([list(range(1, length + 1)) for length in lengths], list(range(num)))


def test_each_row_comes_once_an_epoch_in_another_order() -> None:
    batches = Batches(make_rows(), 8, seed=3)
    first = batches.order()
    assert sorted(row for batch in first for row in batch) == list(range(230))
    assert len(first) == len(batches) == 29
    assert batches.order() == first
    batches.set_epoch(1)
    assert batches.order() != first
    assert Batches(make_rows(), 8, seed=4).order() != first


def test_rows_of_a_batch_are_of_like_length() -> None:
    rows = make_rows()
    for order in (Batches(rows, 8, seed=3).order(), Batches(rows, 8).order()):
        spread = [
            max(len(rows.ids[row]) for row in batch) - min(len(rows.ids[row]) for row in batch) for batch in order
        ]
        assert sum(spread) / len(spread) < 5


def test_short_texts_are_filled_up_and_masked() -> None:
    batch = collate([[101, 7, 102], [101, 102]], [1, 0])
    assert batch["input_ids"].tolist() == [[101, 7, 102], [101, 102, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [1, 0]


def test_banking77_has_validation_rows_of_each_intent_that_it_is_not_trained_on(shared_data: Path) -> None:
    task = load_task("banking77")
    assert len(task.train) + len(task.validation) == 10_003
    assert len(task.test) == 2_079
    assert len(task.labels) == len(set(task.train.labels)) == 77
    assert len(set(task.validation.labels)) == 77
    assert max(map(len, task.train.ids)) <= 64
