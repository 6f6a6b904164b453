"""The parts of texts, pictures, sounds and series of a bundle: they share what their column adds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepseek.cli import main
from deepseek.engines import MultimodalRuntime
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.media.parts import _inverse_stft, _stft, explain_parts
from deepseek.explain.shapley.partition import Budget
from support.nets.textfolders import make_text_folder
from support.rows.sampled import sampled_bundle

NOTE = "Coughs at night. Sleeps well, says nothing at night"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sampled_bundle(tmp_path_factory.mktemp("media") / "all", ("photo", "pulse", "cough", "note", "age"))


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are bright in a corner; the second row has no text."""
    root = tmp_path_factory.mktemp("visits")
    pixels = np.full((8, 8), 40, np.uint8)
    pixels[:2, 6:] = 250
    Image.fromarray(pixels).save(root / "0.png")
    lines = ["photo,pulse,cough,note,age,sex,ill", f'0.png,"[[9, 1], [2, null], [1, 1]]",,"{NOTE}",30,f,no']
    (root / "visits.csv").write_text("\n".join([*lines, '0.png,"[[1, 1]]",,,40,m,yes']) + "\n")
    return root / "visits.csv"


def test_parts_share_what_their_column_adds(bundle: Path, visits: Path, capsys: Any) -> None:
    assert main(["explain", str(bundle), str(visits), "--json", "--budget", "200"]) == 0
    first, second = json.loads(capsys.readouterr().out)["explanations"]
    parts = {part["column"]: part for part in first["parts"]}
    assert {name: part["kind"] for name, part in parts.items()} == {"photo": "image", "pulse": "series", "note": "text"}
    assert [part["column"] for part in second["parts"]] == ["photo", "pulse"]
    for name, inside in (("photo", "regions"), ("pulse", "stretches"), ("note", "tokens"), ("note", "sentences")):
        total = sum(each["value"] for each in parts[name][inside])
        assert total == pytest.approx(first["values"][name], abs=1e-6)
        assert parts[name]["num_evaluations"] <= 200
    cells = {(x, y): each["value"] / ((each["box"][2] - each["box"][0]) * (each["box"][3] - each["box"][1]))
             for each in parts["photo"]["regions"] for x in range(each["box"][0], each["box"][2])
             for y in range(each["box"][1], each["box"][3])}  # fmt: skip
    assert len(cells) == 64
    bright = [value for (x, y), value in cells.items() if x >= 6 and y < 2]
    assert min(bright) > max(value for (x, y), value in cells.items() if x < 6 or y >= 2)
    tokens, limited = parts["note"]["tokens"], parts["note"]
    assert [NOTE[each["start"] : each["end"]] for each in tokens] == [each["text"] for each in tokens]
    assert len(tokens) == 7  # that is as much as the model reads
    assert limited["is_cut"]
    assert "was cut" in limited["notes"][0]
    highest = max(parts["pulse"]["stretches"], key=lambda each: each["value"])
    assert highest["start"] <= 0 < highest["end"] or "left" in highest["channels"]


def test_a_sound_falls_into_bands_and_stretches(tmp_path: Path) -> None:
    """It is the only column, so without any of its parts there is no answer but the prior."""
    bundle = sampled_bundle(tmp_path / "alone", ("cough",))
    time_s = np.arange(800) / 8_000
    sound = (0.3 + np.sin(2 * np.pi * 440 * time_s) * (time_s > 0.05))[None].astype(np.float32)
    np.testing.assert_allclose(_inverse_stft(_stft(sound, 64)[None], 64, 800)[0], sound, atol=1e-6)
    with MultimodalRuntime.open(bundle) as runtime:
        samples = runtime.prepare([runtime.example]).tensors
        explainer = ModalityExplainer(runtime)
        samples.arrays["cough"][0] = sound
        whole = explainer.explain(samples)
        (part,) = explain_parts(explainer, samples, {}, whole.values[0], whole.target, Budget(150))
    assert part["kind"] == "audio"
    place = whole.names.index("cough")
    assert sum(cell["value"] for cell in part["cells"]) == pytest.approx(whole.values[0, place], abs=1e-6)
    # The model hears the mean alone, which lies in the lowest band; that there is a sound at all, in all alike.
    assert max(part["cells"], key=lambda cell: cell["value"])["hertz"][0] == 0
    low = sum(cell["value"] for cell in part["cells"] if cell["hertz"][0] == 0)
    assert low > 2 * (whole.values[0, place] - low) / 6  # of 7 bands


def test_a_text_model_is_explained_by_the_verb(tmp_path: Path, capsys: Any) -> None:
    folder = make_text_folder(tmp_path / "letters", "bert", "sequence-classification")
    (tmp_path / "rows.csv").write_text('text,other\n"the cat sat. berlin is big",1\nnot good,2\n')
    page = tmp_path / "why.html"
    assert main(["explain", str(folder), str(tmp_path / "rows.csv"), "--html", str(page)]) == 0
    said = capsys.readouterr().out
    assert "the log-odds of bad by" in said
    assert '"good" ' in said
    assert page.is_file()
    assert (
        main(["explain", str(folder), str(tmp_path / "rows.csv"), "--row", "1", "--target", "neither", "--json"]) == 0
    )
    (row,) = json.loads(capsys.readouterr().out)["explanations"]
    assert row["target"] == "neither"
    assert [token["text"] for token in row["parts"][0]["tokens"]] == ["not", "good"]
    (tmp_path / "rows.csv").write_text("texts\nnot good\n")
    assert main(["explain", str(folder), str(tmp_path / "rows.csv")]) == 2
    assert "no column 'text'" in capsys.readouterr().err
