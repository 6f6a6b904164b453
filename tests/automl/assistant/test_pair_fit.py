"""A judge of pairs: numpy says what torch said, the order of the two does not count, and it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("tokenizers")

from deepseek.automl.assistant.frozen_layers import open_tower  # noqa: E402
from deepseek.automl.assistant.labelled_pairs import LabelledPairs  # noqa: E402
from deepseek.automl.assistant.pair_fit import (  # noqa: E402
    PairBatches,
    PairOptions,
    best_threshold,
    fit_pairs,
    read_states,
    to_judge,
)
from deepseek.engines.assistant.pair_judge import MAX_TOKENS, PairJudge  # noqa: E402
from deepseek.engines.text.serve.embedding import FolderEncoder  # noqa: E402
from deepseek.nn.question_pairs import PairNet  # noqa: E402
from support.nets.textfolders import make_text_folder  # noqa: E402

HAPPY, BAD = ["happy cat", "very happy cat", "a happy cat"], ["bad film", "very bad film", "a bad film"]


def made_pairs(num_pairs: int) -> LabelledPairs:
    """Two questions of a kind ask the same; each pair has its own number, so that none hangs together with others."""
    draw = np.random.default_rng(0)
    first, second, same = [], [], []
    for number in range(num_pairs):
        kinds = draw.integers(2, size=2)
        one, other = ((HAPPY, BAD)[kind][draw.integers(3)] for kind in kinds)
        first.append(f"{one} {number}")
        second.append(f"{other} {number}")
        same.append(kinds[0] == kinds[1])
    return LabelledPairs(tuple(first), tuple(second), np.array(same))


def any_net(folder: Path) -> PairNet:
    torch.manual_seed(3)
    return PairNet(open_tower(folder), num_frozen=1, num_sources=2).eval()


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_numpy_says_what_torch_said_of_states_of_the_served_encoder(family: str, tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / family, family)
    tower = open_tower(folder)
    net = any_net(folder)
    with torch.no_grad():
        net.scale.fill_(1.5), net.bias.fill_(-0.25), net.other.normal_()
    pairs = made_pairs(40)
    questions = sorted({*pairs.first, *pairs.second})
    states = read_states(folder, questions, 1)
    joined, part = states.of(pairs, range(40))
    with torch.no_grad():
        wanted = net(torch.from_numpy(joined), torch.from_numpy(part), torch.zeros(40, dtype=torch.long)).numpy()
    judge = to_judge(net, tower, "encoder", 1)
    own = dict(zip(questions, FolderEncoder(folder, states_depth=1).token_states(questions, MAX_TOKENS), strict=True))
    said = judge.logits([(own[one], own[other]) for one, other in zip(pairs.first, pairs.second, strict=True)])
    np.testing.assert_allclose(said, wanted, atol=0.02)  # the states were kept in float16 and computed in bfloat16
    exact = judge.logits([(states[one], states[other]) for one, other in zip(pairs.first, pairs.second, strict=True)])
    np.testing.assert_allclose(exact, wanted, atol=1e-4)
    turned = judge.logits([(states[other], states[one]) for one, other in zip(pairs.first, pairs.second, strict=True)])
    np.testing.assert_allclose(turned, exact, atol=1e-4)
    again = PairJudge.from_arrays(judge.settings.to_dict(), judge.to_arrays())
    np.testing.assert_allclose(again.logits([(states[pairs.first[0]], states[pairs.second[0]])]), exact[:1], atol=0.02)


def test_a_pair_alone_is_judged_as_beside_longer_ones(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    judge = to_judge(any_net(folder), open_tower(folder), "encoder", 1)
    short, long = FolderEncoder(folder, states_depth=1).token_states(["cat", "the cat sat on a mat " * 9], MAX_TOKENS)
    assert len(long) == MAX_TOKENS
    together = judge.logits([(short, short), (short, long), (long, long)])
    alone = [judge.logits([pair])[0] for pair in ((short, short), (short, long), (long, long))]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert len(judge.logits([])) == 0


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    judge = to_judge(any_net(folder), open_tower(folder), "encoder", 1)
    arrays = judge.to_arrays()
    del arrays["pairs.layer0.norm1.bias"]
    with pytest.raises(KeyError, match=r"pairs\.layer0\.norm1\.bias"):
        PairJudge.from_arrays(judge.settings.to_dict(), arrays)


def test_batches_hold_every_pair_once_and_weigh_other_tables(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    pairs = made_pairs(30)
    states = read_states(folder, sorted({*pairs.first, *pairs.second}), 1)
    batches = list(PairBatches(states, [pairs, pairs], PairOptions(batch_size=16, other_weight=0.5)))
    wanted = torch.cat([each for _, each in batches])
    assert wanted[:, 1].tolist().count(0.5) == len(wanted) // 2 == 30
    assert int(wanted[:, 0].sum()) == 2 * int(pairs.same.sum())


@pytest.mark.slow
def test_a_judge_learns_what_asks_the_same(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    options = PairOptions(trained_layers=1, epochs=30, lr=3e-3, head_lr=1e-2, batch_size=32, precision="fp32")
    fitted = fit_pairs(folder, "bert", [made_pairs(400)], options)
    assert fitted.figures is not None
    assert fitted.num_learned[0] + fitted.figures.num_pairs == 400
    assert fitted.figures.accuracy["value"] > 0.9


def test_the_threshold_parts_both_kinds() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.3], np.float32)
    assert best_threshold(scores, np.array([True, False, True, False])) == np.float32(0.8)
    assert best_threshold(scores, np.array([False, False, False, False])) == float("inf")
    assert best_threshold(scores, np.array([True, True, True, True])) == np.float32(0.1)
