"""Support vectors on the middle of a frozen image net."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from deepseek.errors import InputError
from deepseek.nn.pretrained_image import EFFICIENTNET_LITE, PretrainedImageEncoder
from deepseek.train.tabular.probe import probe_margins

NUM, SIDE = 80, 32


@pytest.fixture(scope="module")
def tower() -> PretrainedImageEncoder:
    torch.manual_seed(0)
    return PretrainedImageEncoder(EFFICIENTNET_LITE, (SIDE, SIDE))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Of equal light; those of odd rows have stripes, of another phase and slant each."""
    draw = np.random.default_rng(0)
    down, across = np.mgrid[:SIDE, :SIDE]
    images = draw.normal(128, 40, (NUM, 1, SIDE, SIDE))
    for row in range(1, NUM, 2):
        images[row] += 40 * np.sin(across + draw.uniform(-0.5, 0.5) * down + draw.uniform(0, 6))
    return images.clip(0, 255).astype(np.uint8)


def test_textures_are_told_apart_and_a_mirrored_picture_is_answered_alike(
    tower: PretrainedImageEncoder, pixels: np.ndarray
) -> None:
    labels, rows, query_rows = np.arange(NUM) % 2, np.arange(60), np.arange(60, NUM)
    margins = probe_margins(tower, pixels, labels, rows=rows, query_rows=query_rows)
    assert roc_auc_score(labels[query_rows], margins) > 0.9
    pixels = np.concatenate([pixels[:60], pixels[60:, ..., ::-1]])
    again = probe_margins(tower, pixels, labels, rows=rows, query_rows=query_rows)
    np.testing.assert_allclose(again, margins, atol=1e-5)
    alone = probe_margins(tower, pixels, labels, rows=rows, query_rows=query_rows, mirror=False)
    assert np.abs(alone - margins).max() > 0.01


def test_the_middle_is_pooled_behind_its_stages(tower: PretrainedImageEncoder, pixels: np.ndarray) -> None:
    """Of eight stages with the head, the fourth to the sixth: behind blocks 8, 11 and 15."""
    activations: list[torch.Tensor] = []
    hooks = [
        tower.net.blocks[at].register_forward_hook(lambda *hook_arguments: activations.append(hook_arguments[2]))
        for at in (7, 10, 14)
    ]
    with torch.no_grad():
        margins = tower.middle(torch.from_numpy(pixels[:3]))
    for hook in hooks:
        hook.remove()
    wanted = [part for x in activations for part in (x.mean((2, 3)), x.flatten(2).std(2, correction=0))]
    torch.testing.assert_close(margins, torch.cat(wanted, 1))
    assert margins.shape == (3, 2 * (80 + 112 + 192))


def test_one_class_is_refused(tower: PretrainedImageEncoder, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="have one class"):
        probe_margins(tower, pixels, np.zeros(NUM, int), rows=np.arange(9), query_rows=np.arange(9))
