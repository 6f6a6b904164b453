"""Mixing: the labels say how much of each class is in the picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deepseek.errors import InputError
from deepseek.nn.augment import Mix, MixShape
from deepseek.train import TrainConfig, fit

NUM, CLASSES = 8, 5


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture has the number of its class in each pixel."""
    labels = torch.arange(NUM) % CLASSES
    return labels.view(-1, 1, 1, 1).expand(-1, 3, 12, 20).to(torch.uint8), labels


@pytest.mark.parametrize("shape", [MixShape(mixup=0.4), MixShape(cutmix=1.0), MixShape(mixup=0.2, cutmix=1.0)])
def test_the_labels_say_how_much_of_each_class_is_in_a_picture(shape: MixShape) -> None:
    torch.manual_seed(0)
    images, labels = batch()
    seen = set()
    for _ in range(30):
        mixed, chances = Mix(shape, CLASSES)((images, labels))
        torch.testing.assert_close(mixed.float().mean((1, 2, 3)), chances @ torch.arange(5.0), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(chances.sum(1), torch.ones(NUM))
        assert ((chances > 0).sum(1) <= 2).all()
        seen.add((bool((mixed.amax((1, 2, 3)) != mixed.amin((1, 2, 3))).any()), bool((chances.amax(1) < 1).any())))
    if not shape.mixup:
        assert (True, True) in seen  # a picture of two parts
    elif not shape.cutmix:
        assert seen == {(False, True)}  # one level, between two
    else:
        assert {(True, True), (False, True)} <= seen
    assert images.dtype == torch.uint8
    assert torch.equal(images, batch()[0])  # what came in is as it was


def test_without_a_knob_nothing_is_mixed() -> None:
    images, labels = batch()
    mixed, chances = Mix(MixShape(), CLASSES)((images, labels))
    assert mixed is images
    assert torch.equal(chances.argmax(1), labels)


def test_the_loop_mixes_in_training_alone() -> None:
    data = [batch()] * 2
    batches: list[tuple[bool, float]] = []

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, CLASSES)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            batches.append((self.training, float((images.float() % 1).abs().max())))
            return self.head(images.float().mean((2, 3)))

    options = {"loss": nn.functional.cross_entropy, "validation": data, "change": Mix(MixShape(mixup=1.0), CLASSES)}
    fit(Net(), data, TrainConfig(epochs=2, lr=0.1), **options)  # type: ignore[arg-type]
    assert all((fraction > 0) == is_training for is_training, fraction in batches)
    assert {is_training for is_training, _ in batches} == {True, False}


@pytest.mark.parametrize("knobs", [{"mixup": -0.1}, {"cutmix": float("inf")}])
def test_a_knob_out_of_range_is_named(knobs: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"mix\.{next(iter(knobs))}"):
        MixShape(**knobs)
