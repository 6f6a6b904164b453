"""The recipe end to end on a small study that is made here: it shows its leaks, and its page asks for nothing."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deepseek.cli import main
from deepseek.errors import InputError
from deepseek.nn.pretrained_image import EFFICIENTNET_LITE, EfficientNetLite
from deepseek.recipes.ct_record import Choices, PretrainedPaths, Study, diagnose, run_study
from deepseek.recipes.ct_record_page import render_page

NUM = 96
QUICK = Choices(small_side=16, epochs=6, align_epochs=6, fusion_epochs=2, num_shown=2)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Positive slices are wider, bright in one half, and have a report that says which."""
    folder = tmp_path_factory.mktemp("study")
    draw = np.random.default_rng(0)
    lines = ["image,split,covid,patient,orig_w,orig_h,age,gender,captions"]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for row in range(NUM):
            ill, low = row % 2, row // 2 % 2
            pixels = draw.integers(0, 60, (16, 16), np.uint8)
            if ill:
                pixels[8 * low : 8 * low + 8] += 120
            Image.fromarray(pixels).save(folder / "one.png")
            archive.write(folder / "one.png", f"images/{row}.png")
            split = ("train", "train", "train", "val", "test", "train")[row // 4 % 6]
            place, sex = ("upper", "lower")[low], "MF"[row // 24 % 2]
            said = f"50,{sex},{place} lesion of slice {row // 2}. It grew" if ill else ",,"
            lines.append(f"{row}.png,{split},{ill},p{row // 2},{300 + 200 * ill},300,{said}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def found(study: Path) -> Any:
    return run_study(study, choices=QUICK)


def test_leaks_are_shown_and_kept_out(found: Any) -> None:
    assert found.size_auc > 0.99
    assert {each.name for each in found.presence if each.level == "refuse"} == {
        "presence:captions", "presence:age", "presence:gender",
    }  # fmt: skip
    assert found.diagnosis.encoder == "small"


def test_slices_are_diagnosed_and_reports_find_them(found: Any) -> None:
    assert found.diagnosis.test["auc"].value > 0.9
    assert found.retrieval["test"].num_rows == 8
    assert set(found.retrieval["test"].recall) == {"captions -> image", "image -> captions"}
    assert set(found.within_positive.auc) == {"fused", "added", "image", "captions"}
    json.dumps(found.to_dict(), allow_nan=False)


def test_with_weights_support_vectors_look_through_the_image_net(study: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(EfficientNetLite().state_dict(), tmp_path / "lite.safetensors")
    brought = PretrainedPaths(f"{EFFICIENTNET_LITE}:{tmp_path / 'lite.safetensors'}")
    opened = Study.open(study, tmp_path / "images")
    told = diagnose(opened, brought, replace(QUICK, diagnosis_side=32), tmp_path / "slices")
    assert told.encoder == EFFICIENTNET_LITE
    assert told.test["auc"].value > 0.9
    assert not list((tmp_path / "slices").glob("net-*"))  # no net was trained


def test_the_page_says_what_was_found(found: Any) -> None:
    html = render_page(found, "study", 0)
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<image ") == len(found.examples) == 2
    for each in found.examples:
        assert each.interaction.shape == (found.examples[0].interaction.shape[0], 7, 7)
        assert not each.interaction[0].any()


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "index.csv").write_text("image,covid\na.png,1\n")
    with pytest.raises(InputError, match="no column 'patient'"):
        run_study(tmp_path)
    assert main(["recipe", "ct_record", str(tmp_path)]) == 2
    assert "no column 'patient'" in capsys.readouterr().err
