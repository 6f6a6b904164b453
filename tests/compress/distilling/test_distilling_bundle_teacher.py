"""A bundle teaches a torch module by its calibrated chances, whatever it is made of; it is never a student."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepseek.compress import DistillConfig, distill
from deepseek.compress.distilling.bundle_teacher import BundleTeacher
from deepseek.data.table.examples import load_example
from deepseek.engines import Runtime
from deepseek.errors import InputError, MissingError
from deepseek.train import TrainConfig


@pytest.fixture(scope="module")
def features(cancer_bundle: Path) -> torch.Tensor:
    with Runtime.open(cancer_bundle) as runtime:
        return torch.from_numpy(
            runtime.prepare_table(load_example("cancer")[0].drop([runtime.manifest.target])).features
        )


def test_a_bundles_chances_are_what_is_taught(cancer_bundle: Path, features: torch.Tensor) -> None:
    with Runtime.open(cancer_bundle) as runtime:
        expected = runtime.score(features.numpy()).output
    teacher = BundleTeacher(cancer_bundle)
    np.testing.assert_allclose(teacher(features).exp().numpy(), np.clip(expected, 1e-7, 1), atol=1e-5)
    assert teacher.num_weights > 100


@pytest.mark.slow
def test_a_module_learns_of_a_bundle(cancer_bundle: Path, features: torch.Tensor) -> None:
    torch.manual_seed(0)
    width = features.shape[1]
    student = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, 2))
    done = distill(
        cancer_bundle, student, list(features[:400].split(50)), DistillConfig(alpha=1.0),
        TrainConfig(epochs=30, lr=2e-2), progress=False,
    )  # fmt: skip
    teacher = BundleTeacher(cancer_bundle)
    assert done.share == (4 * width + 2) / teacher.num_weights
    with torch.no_grad():
        same = student(features[400:]).argmax(1) == teacher(features[400:]).argmax(1)
    assert same.float().mean() > 0.93


def test_what_cannot_teach_or_learn_is_said(cancer_bundle: Path, features: torch.Tensor, tmp_path: Path) -> None:
    student = nn.Linear(features.shape[1], 2)
    with pytest.raises(InputError, match="is a bundle, which does not learn further"):
        distill(student, cancer_bundle, [features])
    with pytest.raises(InputError, match=rf"takes prepared features \(N, {features.shape[1]}\)"):
        distill(cancer_bundle, nn.Linear(3, 2), [torch.zeros(8, 3)])
    with pytest.raises(MissingError, match="no model at"):
        distill(tmp_path / "none", student, [features])
