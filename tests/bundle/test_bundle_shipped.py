"""Bundles that a release before this one wrote open, verify, and answer as they did then.

shipped/*.zip were written by version 0.1.0 before its rooms and names changed (commit 97f8ff2), each with rows and what
that version answered to them: a linear model, gradient-boosted trees with a small net of three classes, trees with an
interval, samples with a picture, a sound, a text and a table, and a converted text encoder. All were trained on rows
made by a script, for a moment.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deepseek as ds
from deepseek.bundle import verify_bundle
from deepseek.cli import main

SHIPPED = Path(__file__).parent / "shipped"


@pytest.fixture(params=["linear", "grades", "prices", "media"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of a bundle; its rows and the answers of then lie beside it."""
    with zipfile.ZipFile(SHIPPED / f"{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path / request.param


def test_an_older_bundle_verifies_and_answers_as_it_did(bundle: Path) -> None:
    verify_bundle(bundle)
    assert ds.inspect(bundle).to_dict()["name"] == bundle.name
    rows = bundle.with_name(f"rows_{bundle.name}.csv")
    expected = pd.read_csv(bundle.with_name(f"pred_{bundle.name}.csv"))
    out = bundle.with_name("again.csv")
    assert main(["predict", str(bundle), str(rows), "--out", str(out)]) == 0
    answers = pd.read_csv(out)
    assert list(answers.columns) == list(expected.columns)
    for name in expected.columns:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(answers[name], expected[name], rtol=1e-4, atol=1e-6)
        else:
            assert answers[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize("bundle", ["linear", "grades", "prices"], indirect=True)
def test_an_older_bundle_is_explained_and_its_sum_closes(bundle: Path) -> None:
    explanation = ds.explain(bundle, bundle.with_name(f"rows_{bundle.name}.csv"), rows=[1])
    assert explanation.to_dict()["additivity"]["passes"]


def test_an_older_text_model_embeds_as_it_did(tmp_path: Path) -> None:
    from deepseek.engines.text import TextEngine, TextModel

    with zipfile.ZipFile(SHIPPED / "text.zip") as archive:
        archive.extractall(tmp_path)
    expected = [each["embedding"] for each in json.loads((tmp_path / "pred_text.json").read_text())["data"]]
    model, engine = TextModel.open(tmp_path / "text"), TextEngine.open(tmp_path / "text")
    (embeddings,) = engine.run(model.join(model.prepare(["hello world", "a loan"]))).values()
    engine.close()
    np.testing.assert_allclose(embeddings, expected, atol=1e-4)
