"""States of tokens behind a layer: those of the graph that embeds, whatever stands beside a text in its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")
pytest.importorskip("tokenizers")

from deepseek.engines.text.serve.embedding import FolderEncoder, normalize_rows
from deepseek.engines.text.serve.engine import TextEngine
from deepseek.errors import InputError
from support.nets.textfolders import LAYERS, make_text_folder

TEXTS = ["the cat sat on a mat", "berlin", "i am very happy , not sad at all !"]


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_mean_of_the_last_states_is_the_embedding(family: str, tmp_path: Path) -> None:
    encoder = FolderEncoder(make_text_folder(tmp_path / family, family), states_depth=LAYERS)
    states = encoder.token_states(TEXTS, 40)
    means = normalize_rows(np.stack([each.mean(axis=0) for each in states]))
    np.testing.assert_allclose(means, encoder.embed(TEXTS), atol=1e-5)


def test_a_text_alone_has_the_states_that_it_has_beside_others_and_is_cut(tmp_path: Path) -> None:
    encoder = FolderEncoder(make_text_folder(tmp_path / "bert"), states_depth=1)
    together = encoder.token_states(TEXTS, 40)
    for text, states in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.token_states([text], 40)[0], states, atol=1e-5)
    assert [len(each) for each in encoder.token_states(TEXTS, 4)] == [4, 3, 4]


def test_an_engine_without_states_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="states of"):
        TextEngine.open(make_text_folder(tmp_path / "bert"), precision="torch", states_depth=1)
