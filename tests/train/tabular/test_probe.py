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
    labels, rows, asked = np.arange(NUM) % 2, np.arange(60), np.arange(60, NUM)
    found = probe_margins(tower, pixels, labels, rows=rows, query_rows=asked)
    assert roc_auc_score(labels[asked], found) > 0.9
    pixels = np.concatenate([pixels[:60], pixels[60:, ..., ::-1]])
    again = probe_margins(tower, pixels, labels, rows=rows, query_rows=asked)
    np.testing.assert_allclose(again, found, atol=1e-5)
    alone = probe_margins(tower, pixels, labels, rows=rows, query_rows=asked, mirror=False)
    assert np.abs(alone - found).max() > 0.01


def test_the_middle_is_pooled_behind_its_stages(tower: PretrainedImageEncoder, pixels: np.ndarray) -> None:
    """Of eight stages with the head, the fourth to the sixth: behind blocks 8, 11 and 15."""
    told: list[torch.Tensor] = []
    hooks = [tower.net.blocks[at].register_forward_hook(lambda *given: told.append(given[2])) for at in (7, 10, 14)]
    with torch.no_grad():
        found = tower.middle(torch.from_numpy(pixels[:3]))
    for hook in hooks:
        hook.remove()
    wanted = [part for x in told for part in (x.mean((2, 3)), x.flatten(2).std(2, correction=0))]
    torch.testing.assert_close(found, torch.cat(wanted, 1))
    assert found.shape == (3, 2 * (80 + 112 + 192))


def test_one_class_is_refused(tower: PretrainedImageEncoder, pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="have one class"):
        probe_margins(tower, pixels, np.zeros(NUM, int), rows=np.arange(9), query_rows=np.arange(9))
