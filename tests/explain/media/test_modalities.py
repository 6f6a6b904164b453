"""Shapley values of files, texts and the table beside them: against values by hand, and the verb that tells them."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import deepseek as ds
from deepseek.cli import main
from deepseek.engines import MultimodalRuntime
from deepseek.errors import InputError
from deepseek.explain.media.modalities import ModalityExplainer, shapley_values
from support.rows.sampled import BIAS, PRIORS, TOGETHER, sampled_bundle

LABELS = {0: (), 2: ("no", "yes"), 3: ("a", "b", "c")}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    base, columns = tmp_path_factory.mktemp("modalities"), ("photo", "pulse", "note", "age")
    return {num: sampled_bundle(base / f"of{num}", columns, labels=labels) for num, labels in LABELS.items()}


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with files beside it; the photo of row 2 is broken, row 1 has none."""
    root = tmp_path_factory.mktemp("visits")
    lines = ["photo,pulse,note,age,sex,ill"]
    for row in range(6):
        Image.fromarray(np.full((8, 8), 40 * row, np.uint8)).save(root / f"{row}.png")
        photo = "" if row == 1 else f"{row}.png"
        lines.append(f'{photo},"[[{row}, 1], [2, null]]",coughs at night,{20 + row},f,{("no", "yes")[row % 2]}')
    (root / "2.png").write_bytes(b"no picture")
    (root / "visits.csv").write_text("\n".join(lines) + "\n")
    return root / "visits.csv"


def by_hand(said: Any, there: Any, base: float) -> Any:
    """Of BIAS + a sum + TOGETHER * the product of the first two, where nothing at all gives `base`."""
    values = np.where(there, said + (BIAS - base) / there.sum(), 0.0)
    values[:2] += TOGETHER * said[0] * said[1] / 2
    return values


def test_values_are_those_by_hand_and_a_missing_column_has_none(bundles: dict[int, Path], visits: Path) -> None:
    for num in (0, 2):
        with MultimodalRuntime.open(bundles[num]) as runtime:
            samples = runtime.prepare(ds.data.read_table(visits).records()[:2], root=visits.parent).tensors
            attribution = ModalityExplainer(runtime).explain(samples)
            outputs = runtime.run(samples)
        base = PRIORS[0][0] if num == 0 else np.log(0.25 / 0.75)
        assert attribution.names == ("photo", "pulse", "note", "table")
        assert attribution.base_value.tolist() == pytest.approx([base, base])
        for row, there in enumerate(([True] * 4, [False, True, True, True])):
            expected = by_hand(outputs["gates"][row].astype(np.float64), np.array(there), base)
            np.testing.assert_allclose(attribution.values[row], expected, atol=1e-5)
        assert attribution.output.tolist() == pytest.approx(outputs["margin"][:, 0].tolist())
        assert np.abs(attribution.residual).max() < 1e-12
        assert attribution.scale == ("log-odds" if num else "target units")


def test_one_of_many_classes_is_told_against_the_others(bundles: dict[int, Path]) -> None:
    with MultimodalRuntime.open(bundles[3]) as runtime:
        samples = runtime.prepare([{**runtime.example, "photo": None, "note": None, "age": 1}]).tensors
        explainer = ModalityExplainer(runtime)
        shares = runtime.score(samples).output[0].astype(np.float64)
        for place, label in enumerate(LABELS[3]):
            attribution = explainer.explain(samples, target=label)
            assert attribution.output[0] == pytest.approx(np.log(shares[place] / (1 - shares[place])), abs=1e-4)
            assert attribution.base_value[0] == pytest.approx(np.log(PRIORS[3][place] / (1 - PRIORS[3][place])))
        assert explainer.explain(samples).target == LABELS[3][int(shares.argmax())]
        with pytest.raises(InputError, match="there is no class 'd'"):
            explainer.explain(samples, target="d")


def game(num: int) -> Any:
    draw = np.random.default_rng(num)
    alone, pairs = draw.normal(size=num), np.triu(draw.normal(size=(num, num)), 1)

    def value(masks: Any) -> Any:
        seen = np.asarray(masks, float)
        return seen @ alone + np.einsum("si,ij,sj->s", seen, pairs, seen)

    return value


def test_exact_values_are_the_mean_over_every_order() -> None:
    value = game(4)
    gains = np.zeros((24, 4))
    for at, order in enumerate(permutations(range(4))):
        for place, player in enumerate(order):
            masks = np.zeros((2, 4), bool)
            masks[0, list(order[:place])] = masks[1, list(order[: place + 1])] = True
            gains[at, player] = np.diff(value(masks))[0]
    shapley, error = shapley_values(value, 4, 0.0, float(value(np.ones((1, 4)))[0]))
    np.testing.assert_allclose(shapley, gains.mean(0), atol=1e-12)
    assert error == 0


def test_above_eight_columns_orders_are_sampled_within_the_error_that_is_told() -> None:
    """Of pairs an order and its reverse tell all, so three columns are let speak together, too."""
    pairs = game(10)

    def value(masks: Any) -> Any:
        return pairs(masks) + 3.0 * masks[:, :3].all(1)

    whole = float(value(np.ones((1, 10), bool))[0])
    shapley, error = shapley_values(value, 10, 0.0, whole)
    assert shapley.sum() == pytest.approx(whole)
    unit = np.eye(10, dtype=bool)
    alone = pairs(unit)
    exact = np.array([alone[i] + sum(pairs(unit[[i]] | unit[[j]])[0] - alone[i] - alone[j] for j in range(10) if j != i)
                      / 2 for i in range(10)])  # fmt: skip
    exact[:3] += 1.0
    assert 0 < error < 0.3
    assert np.abs(shapley - exact).max() < 4 * error


def test_the_verb_tells_rows_by_files_and_masks_what_is_broken(
    bundles: dict[int, Path], visits: Path, tmp_path: Path, capsys: Any
) -> None:
    command = ["explain", str(bundles[2]), str(visits), "--row", "3", "--json"]
    assert main(command) == 2
    assert "2.png (row 2, column 'photo')" in capsys.readouterr().err
    page = tmp_path / "why.html"
    assert main([*command, "--row", "2", "--broken", "mask", "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    name = json.loads((bundles[2] / "bundle.json").read_text())["target"]
    third, second = document["explanations"]
    assert third["base_value"] + sum(third["values"].values()) + third["residual"] == pytest.approx(third["output"])
    assert any(f"photo = 3.png raises the log-odds of {name} = yes" in reason for reason in third["reasons"])
    assert second["values"]["photo"] == 0
    assert document["num_rows_explained"] == 6
    assert document["importance"][0]["column"] in third["values"]
    assert "photo = 3.png" in page.read_text()
    assert ds.explain(bundles[3], visits, rows=(0,), broken="mask")["by_class"].keys() == set(LABELS[3])


def test_words_and_regions_are_drawn_on_the_text_and_the_picture_that_the_model_was_given(
    bundles: dict[int, Path], visits: Path
) -> None:
    from deepseek.explain.media.previews import add_previews
    from deepseek.explain.records import OtherBars, RowReport
    from deepseek.explain.report.rows import row_sections

    record = ds.data.read_table(visits).records()[3]
    parts = [
        {
            "column": "note",
            "kind": "text",
            "tokens": [{"text": "night", "start": 10, "end": 15, "value": 0.5}],
            "notes": ["partial: <a limit> came first"],
        },
        {"column": "photo", "kind": "image", "regions": [{"box": [0, 0, 4, 4], "value": -0.5}]},
    ]
    with MultimodalRuntime.open(bundles[2]) as runtime:
        samples = runtime.prepare([record], root=visits.parent).tensors
        shown = add_previews(parts, record, runtime.preparer.media, samples, 0)
    high, wide = samples.arrays["photo"].shape[-2:]
    sound = {"column": "cough", "kind": "audio", "seconds": 2.0, "cells": [
        {"seconds": [0.0, 1.0], "hertz": [0.0, 1000.0], "value": 0.5},
        {"seconds": [1.0, 2.0], "hertz": [1000.0, 4000.0], "value": -0.25}]}  # fmt: skip
    pulse = {"column": "pulse", "kind": "series", "length": 8, "stretches": [
        {"channels": ["a", "b"], "start": 0, "end": 4, "value": 0.5}]}  # fmt: skip
    row = RowReport(
        target=None, scale="log-odds", method="", base_value=0.5, output=1.0, residual=0.0, adds_up=True, bars=(),
        other=OtherBars(), reasons=(), reasons_zh=(), parts=(*shown, sound, pulse),
    )  # fmt: skip
    (section,) = row_sections([row])
    assert shown[1]["size"] == [high, wide]
    assert "coughs at <span" in section.body
    assert section.body.count("data:image/jpeg") == 1
    assert "lit-down" in section.body
    assert "Raises it most: 0–1 s, 0–1000 Hz +0.500. Lowers it most: 1–2 s, 1000–4000 Hz −0.250." in section.body
    assert "Raises it most: a, b 0–4 +0.500." in section.body
    assert "partial: &lt;a limit&gt; came first" in section.body
