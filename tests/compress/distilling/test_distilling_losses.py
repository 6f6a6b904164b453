"""Losses by hand: softened answers, labels that are known, states and attention without padding."""

from __future__ import annotations

import math

import pytest
import torch

from deepseek.compress.distilling.losses import attention_loss, distillation_loss, hidden_loss, labels_loss


def test_softened_answers_by_hand() -> None:
    """At temperature 2 the logits 2 log 3 and 0 are chances of 3/4 and 1/4; the student knows nothing."""
    teacher, student = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    wanted = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert distillation_loss(student, teacher, 2.0).item() == pytest.approx(wanted, rel=1e-5)
    assert distillation_loss(student.expand(2, 3, 2), teacher.expand(2, 3, 2), 2.0).item() == pytest.approx(
        wanted, rel=1e-5
    )


def test_rows_without_a_label_count_in_nothing() -> None:
    logits = torch.tensor([[0.0, 0.0], [5.0, -5.0]])
    assert labels_loss(logits, torch.tensor([1, -100])).item() == pytest.approx(math.log(2))
    assert labels_loss(logits, torch.tensor([-100, -100])).item() == 0.0


def test_padding_counts_in_nothing() -> None:
    mask = torch.tensor([[1, 1, 0]])
    own, other = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 1.0], [3.0, 3.0], [99.0, 99.0]]])
    assert hidden_loss(own, other, mask, "mse").item() == pytest.approx(5.0)
    assert hidden_loss(other, -other, mask, "cosine").item() == pytest.approx(2.0)
    looks = torch.tensor([[[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]])
    even = torch.tensor([[[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]]])
    assert attention_loss(even, looks, mask).item() == pytest.approx(math.log(2) / 2, rel=1e-4)


def test_other_numbers_of_heads_are_compared_by_their_mean() -> None:
    one = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]]])
    assert attention_loss(torch.full((1, 1, 2, 2), 0.5), one, None).item() == pytest.approx(0.0, abs=1e-6)
