"""Pre-alignment: pairs find each other, what is the same is no stranger, and a word looks at its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from deepseek.data.samples.preparer import PRESENT_SUFFIX
from deepseek.errors import InputError
from deepseek.nn.align import AlignedTokens, Aligner, Association, associate, contrastive_loss, match_scores
from deepseek.nn.encoders import ImageEncoder, TextEncoder
from deepseek.nn.fusion import MultimodalNet, MultimodalShape
from deepseek.train.multimodal.align import AlignConfig, prealign, retrieval

NUM, WIDTH = 96, 32


def corner(number: int) -> tuple[slice, slice]:
    return slice(8 * (number // 2), 8 * (number // 2) + 8), slice(8 * (number % 2), 8 * (number % 2) + 8)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """A picture that is bright in one of four corners, and a text that names it, between two words that say nothing."""
    draw = np.random.default_rng(0)
    places = draw.integers(0, 4, NUM)
    images = draw.integers(0, 60, (NUM, 1, 16, 16), np.uint8)
    ids = np.zeros((NUM, 5), np.int64)
    for row, place in enumerate(places):
        images[row, 0][corner(int(place))] += 120
        ids[row, :3] = 1, 2, 3 + place
    there = np.ones(NUM, bool)
    there[:3] = False
    return {"ct": images, "report": ids, "ct" + PRESENT_SUFFIX: np.ones(NUM, bool), "report" + PRESENT_SUFFIX: there}


def net() -> MultimodalNet:
    torch.manual_seed(0)
    encoders = {
        "ct": ImageEncoder((16, 16), 1, WIDTH, grid=2),
        "report": TextEncoder(7, 5, WIDTH, layers=1, dropout=0.0),
    }
    return MultimodalNet(encoders, 2, MultimodalShape(width=WIDTH))


@pytest.fixture(scope="module")
def aligned(arrays: Any) -> Aligner:
    config = AlignConfig(epochs=12, lr=3e-3, batch_size=16, width=16)
    return prealign(net(), arrays, ("report", "ct"), rows=np.arange(64), config=config)


def test_a_report_finds_its_slices_and_they_find_it(arrays: Any, aligned: Aligner) -> None:
    outcome = retrieval(aligned, arrays, np.arange(64, NUM), ks=(1, 5))
    assert outcome.recall["report -> ct"][1] == 1.0
    assert outcome.recall["ct -> report"][1] > 0.9
    assert outcome.chance["ct -> report"][1] == pytest.approx(1 / 4)  # four distinct reports
    assert outcome.num_rows == NUM - 64


def test_a_word_looks_at_its_place_and_the_place_at_the_word(arrays: Any, aligned: Aligner) -> None:
    hits = words = 0
    for row in range(64, NUM):
        ids, image = torch.from_numpy(arrays["report"][row][None]), torch.from_numpy(arrays["ct"][row][None])
        outcome = associate(aligned, ids, image, grid=(2, 2))
        place = int(ids[0, 2]) - 3
        hits += int(outcome.regions([2]).argmax()) == place
        words += int(outcome.words([divmod(place, 2)]).argmax()) == 2
        assert not outcome.interaction[3:].any()  # behind the end of the text
        assert not outcome.interaction[0].any()  # the start
    assert min(hits, words) > 0.9 * (NUM - 64)


def test_the_encoders_of_the_net_are_those_that_learn(arrays: Any) -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    prealign(model, arrays, ("report", "ct"), rows=np.arange(32), config=AlignConfig(epochs=1, batch_size=16))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in changed} == {"m_ct", "m_report"}
    assert all(name.startswith("encoders.") for name in changed)


def test_a_fit_is_the_best_of_the_others_tokens_weighed() -> None:
    one = AlignedTokens(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.25, 0.75]]))
    other = AlignedTokens(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[1.0, 0.0]]))
    # there: .25 * 1 + .75 * 0, the second token of the other being none; back: 1 * 1
    torch.testing.assert_close(match_scores(one, other), torch.tensor([[0.625]]))


def test_rows_that_belong_together_are_no_strangers_in_the_loss() -> None:
    fits, scale = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor(0.0)
    torch.testing.assert_close(contrastive_loss(fits, scale, torch.eye(2, dtype=torch.bool)), torch.tensor(math.log(2)))
    apart = contrastive_loss(torch.eye(2), scale, torch.eye(2, dtype=torch.bool))
    together = contrastive_loss(torch.eye(2), scale, torch.ones(2, 2, dtype=torch.bool))
    assert apart < math.log(2) < together


def test_a_sentence_looks_where_its_words_do() -> None:
    outcome = Association(0.5, torch.tensor([[[0.0, 1.0]], [[3.0, 0.0]], [[0.0, 0.0]]]))
    assert outcome.regions([0]).tolist() == [[0.0, 1.0]]
    assert outcome.regions().tolist() == [[3.0, 1.0]]
    assert outcome.words([(0, 0)]).tolist() == [0.0, 3.0, 0.0]
    assert outcome.words([(0, 0), (0, 1)]).tolist() == [1.0, 3.0, 0.0]


def test_what_cannot_be_aligned_is_named(arrays: Any) -> None:
    with pytest.raises(InputError, match="no modality 'cough' to align"):
        Aligner(net(), "report", "cough")
    with pytest.raises(InputError, match="1 training rows have both 'report' and 'ct'"):
        prealign(net(), arrays, ("report", "ct"), rows=np.arange(4))
    with pytest.raises(InputError, match="a picture of bytes"):
        associate(Aligner(net(), "report", "ct"), torch.ones(1, 5, dtype=torch.int64), torch.zeros(1, 1, 16, 16))
