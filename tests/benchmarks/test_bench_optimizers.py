"""The benches of optimizers: what a missed target counts, that the bench must be there, and a net for small photos."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from optimizer_photos import HIDDEN, PhotoNet, hide_squares, whiten

import optimizers
from deepseek.errors import MissingError


def test_a_missed_target_counts_twice_the_budget_and_loses_the_bar() -> None:
    base = {("a", 0): {"hit": 100, "budget": 400}, ("b", 0): {"hit": 100, "budget": 400}}
    good = {("a", 0): {"hit": 50, "budget": 400}, ("b", 0): {"hit": 2, "budget": 400}}
    miss = good | {("a", 0): {"hit": None, "budget": 400}}
    assert optimizers.steps_ratios(miss, base) == pytest.approx({"a": 8.0, "b": 0.02})
    assert optimizers.steps_claim("c", good, base, [0], 0.5)["holds"]
    assert optimizers.steps_claim("c", miss, base, [0], 0.5)["ours"] == pytest.approx(0.4)
    assert not optimizers.steps_claim("c", miss, base, [0], 0.5)["holds"]


def test_a_bench_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_BENCH", str(tmp_path))
    with pytest.raises(MissingError, match="set DEEPSEEK_BENCH"):
        optimizers.bench_rows("adamw", (9,))


def some_photos(num_photos: int) -> torch.Tensor:
    """Photos whose neighboring pixels are alike, as those of a camera are."""
    noise = torch.randn(num_photos, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1) * 3


def test_patches_come_out_of_the_first_layer_uncorrelated_and_of_one_variance() -> None:
    photos = some_photos(200)
    layer = whiten(photos)
    outputs = layer(photos).detach()
    half = outputs.shape[1] // 2
    assert torch.equal(outputs[:, :half], -outputs[:, half:])
    rows = outputs[:, :half].permute(0, 2, 3, 1).reshape(-1, half)
    assert torch.allclose(rows.T @ rows / len(rows), torch.eye(half), atol=0.02)
    assert not layer.weight.requires_grad


def test_a_photo_has_ten_scores() -> None:
    photos = some_photos(4)
    assert PhotoNet(photos)(photos).shape == (4, 10)


def test_one_square_of_each_photo_is_hidden() -> None:
    photos = torch.ones(50, 3, 32, 32)
    hidden = hide_squares(photos, torch.Generator().manual_seed(0)) == 0
    assert hidden.sum((1, 2, 3)).tolist() == [3 * HIDDEN**2] * 50
    assert hidden.any(3).sum(2).eq(HIDDEN).all()
    assert hidden.any(2).sum(2).eq(HIDDEN).all()
    assert len({tuple(photo.nonzero()[0].tolist()) for photo in hidden}) > 10
