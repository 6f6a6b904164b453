"""The recipe end to end on a small study that is made here: it shows its leaks, and its page asks for nothing."""

from __future__ import annotations

import json
import time
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
from deepseek.recipes.ct_record import diagnose, encoder_origins, run_study
from deepseek.recipes.ct_record_budget import StudyBudget
from deepseek.recipes.ct_record_page import render_page
from deepseek.recipes.ct_record_study import Choices, PretrainedPaths, Study
from support.pages.chinese import english_left_over

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
def progress_calls() -> list[tuple[str, float]]:
    """What was said of the progress of the run that `found` is of."""
    return []


@pytest.fixture(scope="module")
def findings(study: Path, progress_calls: list[tuple[str, float]]) -> Any:
    return run_study(
        study,
        choices=QUICK,
        budget=StudyBudget(progress=lambda message, share: progress_calls.append((message, share))),
    )


def test_leaks_are_shown_and_kept_out(findings: Any) -> None:
    assert findings.size_auc > 0.99
    assert {each.name for each in findings.presence if each.level == "refuse"} == {
        "presence:captions", "presence:age", "presence:gender",
    }  # fmt: skip
    assert findings.diagnosis.encoder == "small"


def test_slices_are_diagnosed_and_reports_find_them(findings: Any) -> None:
    assert findings.diagnosis.test["auc"].value > 0.9
    assert findings.retrieval["test"].num_rows == 8
    assert set(findings.retrieval["test"].recall) == {"captions -> image", "image -> captions"}
    assert set(findings.within_positive.auc) == {"fused", "added", "image", "captions"}
    json.dumps(findings.to_dict(), allow_nan=False)


def test_it_says_how_far_it_is(findings: Any, progress_calls: list[tuple[str, float]]) -> None:
    shares = [share for _, share in progress_calls]
    assert shares == sorted(shares)
    assert progress_calls[0] == ("reading the study", 0.0)
    assert "reports and slices find each other, epoch 6 of 6" in [message for message, _ in progress_calls]
    assert progress_calls[-1] == ("diagnosis from the slice alone, epoch 6 of 6", 0.97)
    assert findings.cost.epochs == {"retrieval": 6, "slice and report together": 2, "diagnosis": 6, "nets": 1}
    assert findings.cost.budget_s is None
    assert not findings.warnings


def test_the_page_has_no_english_left_over_in_chinese(findings: Any) -> None:
    warned = replace(findings, warnings=("the budget was enough for 1 of 6 epochs of diagnosis",))
    names = {"captions", "age", "gender", "study", *(word for each in findings.examples for word in each.text.split())}
    assert english_left_over(render_page(warned, "study", 0), names) == {}


def test_it_says_where_its_weights_come_from(findings: Any) -> None:
    listed = findings.to_dict()["weights"]
    assert [(entry["column"], entry["origin"], entry["file"], entry["seed"]) for entry in listed] == [
        ("image", "random", None, 0), ("captions", "random", None, 0),
    ]  # fmt: skip
    assert "began with random weights (seed 0)" in render_page(findings, "study", 0)


def test_a_budget_that_buys_nothing_leaves_one_epoch_and_says_so(study: Path, tmp_path: Path) -> None:
    budget = StudyBudget(budget_s=1e-6)
    diagnose(Study.open(study, tmp_path / "images"), PretrainedPaths(), QUICK, tmp_path / "slices", budget)
    assert budget.epochs == {"diagnosis": 1, "nets": 1}
    budget.finish()
    assert budget.warnings[0].startswith("the budget was enough to learn from 8 of 64 rows in diagnosis")
    assert budget.warnings[1] == "the budget was enough for 1 of 6 epochs of diagnosis"
    assert "the budget is" in budget.warnings[2]


class Clock:
    """CPU time that passes where it is said to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("is_frozen", "affordable"), [(False, 4.6), (True, 3.6)])
def test_a_budget_buys_epochs_by_what_a_few_rows_cost(
    monkeypatch: pytest.MonkeyPatch, is_frozen: bool, affordable: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "process_time", clock)
    budget = StudyBudget(budget_s=100)

    def pilot(num_epochs: int) -> None:  # the first epoch costs 2 s, each later one 1 s
        clock.now_s += 1 + num_epochs

    # three trials cost 2, 2 and 4 s of the 100; half of what is left buys 46 s, and an epoch of ten times the rows 10 s
    epochs = budget.affordable_epochs(pilot, num_times=10, share=0.5, is_frozen=is_frozen)
    assert epochs == pytest.approx(affordable)
    assert budget.choose_epochs("retrieval", 3, epochs) == 3
    assert not budget.warnings
    clock.now_s = 90.0
    budget.finish()
    assert not budget.warnings
    clock.now_s = 111.0
    budget.finish()
    assert "took 111 s" in budget.warnings[0]


def test_with_weights_support_vectors_look_through_the_image_net(study: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(EfficientNetLite().state_dict(), tmp_path / "lite.safetensors")
    brought = PretrainedPaths(f"{EFFICIENTNET_LITE}:{tmp_path / 'lite.safetensors'}")
    opened = Study.open(study, tmp_path / "images")
    choices, messages = replace(QUICK, diagnosis_side=32), []
    budget = StudyBudget(progress=lambda message, _: messages.append(message))
    diagnosis = diagnose(opened, brought, choices, tmp_path / "slices", budget)
    assert diagnosis.encoder == EFFICIENTNET_LITE
    assert diagnosis.test["auc"].value > 0.9
    assert messages[-1] == "diagnosis from the slice alone, features of slices"
    origin = encoder_origins(opened, brought, choices)[0]
    assert (origin.file, origin.is_trained) == ("lite.safetensors", False)
    assert f"weights of the file lite.safetensors (sha256 {origin.digest[:12]}), frozen" in origin.sentence().en
    assert not list((tmp_path / "slices").glob("net-*"))  # no net was trained


def test_the_page_says_what_was_found(findings: Any) -> None:
    html = render_page(findings, "study", 0)
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<image ") == len(findings.examples) == 2
    for each in findings.examples:
        assert each.interaction.shape == (findings.examples[0].interaction.shape[0], 7, 7)
        assert not each.interaction[0].any()


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "index.csv").write_text("image,covid\na.png,1\n")
    with pytest.raises(InputError, match="no column 'patient'"):
        run_study(tmp_path)
    assert main(["recipe", "ct_record", str(tmp_path)]) == 2
    assert "no column 'patient'" in capsys.readouterr().err
