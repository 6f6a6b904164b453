"""Several modalities in one sample: fused against each alone and against their product, and each alone on public sets.

    python benchmarks/multimodal.py [--quick] [--only CLAIM]

Everything goes through what a user calls: files are read by the readers, fit_multimodal trains. Figures are of test
rows,
five seeds, mean and spread; a finished seed is kept in the cache by the digest of what it depends on, so a run that was
cut off goes on. One thread; about an hour in all.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any

import torch
from fraud_features import cache_folder
from multimodal_digits import THREE, digits_of, sums_of
from multimodal_films import films_of
from multimodal_parity import parity_of
from multimodal_solo import chest_of, spoken_of
from result import ROOT, claim, finish, options

NAME, SEEDS = "multimodal", (0, 1, 2, 3, 4)
NOT_RUN = ("imagenet_top1",)  # needs a GPU and the data; the recipe itself is tested on a tiny folder
SOURCES = (
    "nn",
    "data/samples/preparer.py",
    "train/multimodal/fusion.py",
    "train/multimodal/unimodal_logits.py",
)  # what a seed depends on beside its script
Figures = Sequence[dict[str, float]]


def kept(make: Callable[[int], dict[str, float]], seed: int) -> dict[str, float]:
    """Figures of one seed, made or from the cache."""
    script = ROOT / "benchmarks" / f"{make.__module__}.py"
    files = [script, ROOT / "benchmarks" / "multimodal_data.py"]
    for source in SOURCES:
        place = ROOT / "src" / "deepseek" / source
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    file = cache_folder("benchmarks") / f"multimodal-{make.__name__}-{seed}-{digest}.json"
    if file.exists():
        figures: dict[str, float] = json.loads(file.read_text())
        return figures
    figures = make(seed)
    file.write_text(json.dumps(figures, indent=1))
    print(make.__name__, seed, {name: round(value, 4) for name, value in figures.items()}, flush=True)
    return figures


def interval(values: Sequence[float]) -> str:
    """Mean, spread and worst, for a note."""
    return f"mean {mean(values):.2f}, sd {stdev(values):.2f}, {min(values):.2f} to {max(values):.2f}"


def over_seeds(name: str, values: Sequence[float], note: str, **options: Any) -> dict[str, Any]:
    """A claim on the mean."""
    return claim(name, ours=mean(values), num_seeds=len(values), note=f"{interval(values)}; {note}", **options)


def digit_claims(figures: Figures) -> list[dict[str, Any]]:
    best = [max(each[f"alone_{name}"] for name in THREE) for each in figures]
    alone = ", ".join(f"{name} {mean(each[f'alone_{name}'] for each in figures):.1f}" for name in THREE)
    fused = [each["fused"] for each in figures]
    lost = [max(each[f"never_{name}"] - each[f"missing_{name}"] for name in THREE) for each in figures]
    each_lost = ", ".join(
        f"{name} {mean(each[f'never_{name}'] - each[f'missing_{name}'] for each in figures):+.2f}" for name in THREE
    )
    worst = max(mean(each[f"never_{name}"] - each[f"missing_{name}"] for each in figures) for name in THREE)
    return [
        over_seeds(
            "digits_fused_gain", [a - b for a, b in zip(fused, best, strict=True)],
            f"over the best alone ({alone}; fused {mean(fused):.2f})", unit="points", op=">=", bar=7.0,
        ),
        over_seeds(
            "digits_over_product", [each["fused"] - each["product"] for each in figures],
            f"over the calibrated product of the three ({mean(each['product'] for each in figures):.2f})",
            unit="points", op=">=", bar=0.0,
        ),
        claim(
            "digits_missing_lost", ours=worst, unit="points", op="<=", bar=1.0, num_seeds=len(figures),
            note=f"with one missing, against a net that never had it; mean of seeds for the worst modality: {each_lost}"
            f"; worst of one seed {max(lost):.2f}",
        ),
    ]  # fmt: skip


def sum_claims(figures: Figures) -> list[dict[str, Any]]:
    late = mean(each["late"] for each in figures)
    less = ", ".join(f"{name} {mean(each[f'without_{name}'] for each in figures):.1f}" for name in THREE)
    return [
        over_seeds(
            "sum_fused", [each["fused"] for each in figures],
            f"(spoken + written) mod 10; the caption names the spoken digit; late fusion {late:.2f}, chance 10; "
            f"without {less}", unit="percent right", op=">=", bar=95.0,
        )
    ]  # fmt: skip


def film_claims(figures: Figures) -> list[dict[str, Any]]:
    best = [max(each["film"], each["sound"]) for each in figures]
    return [
        over_seeds(
            "films_fused_gain", [each["fused"] - b for each, b in zip(figures, best, strict=True)],
            f"fused {mean(each['fused'] for each in figures):.2f}, film alone "
            f"{mean(each['film'] for each in figures):.2f}, sound alone {mean(each['sound'] for each in figures):.2f}; "
            f"frames in another order {mean(each['shuffled'] for each in figures):.2f}",
            unit="points", op=">=", bar=7.0,
        )
    ]  # fmt: skip


def spoken_claims(figures: Figures) -> list[dict[str, Any]]:
    cpu_s = [each["cpu_s"] for each in figures]
    return [
        over_seeds(
            "fsdd_right", [each["right"] for each in figures], "official split, sound alone", unit="percent right",
            op=">=", bar=98.5,
        ),
        over_seeds(
            "fsdd_minutes", [each / 60 for each in cpu_s],
            f"of CPU, one thread; wall {mean(each['wall_s'] for each in figures) / 60:.1f}", unit="minutes", op="<=",
            bar=3.0,
        ),
    ]  # fmt: skip


def chest_claims(figures: Figures) -> list[dict[str, Any]]:
    note = f"last epoch; validation AUC {mean(each['validation_auc'] for each in figures):.4f}"
    return [
        over_seeds("chest_auc", [each["auc"] for each in figures], note, unit="AUC", op=">=", bar=0.98),
        over_seeds(
            "chest_right", [each["right"] for each in figures], f"threshold from validation; {note}; goal 94.6",
            unit="percent right", op=">=", bar=92.0,
        ),
    ]  # fmt: skip


def parity_claims(figures: Figures) -> list[dict[str, Any]]:
    return [
        claim(
            "serving_path_differs", ours=max(each["difference"] for each in figures), unit="chance", op="<=", bar=1e-5,
            note="largest of 100 single samples: bytes -> readers -> ONNX graph, against the trained module in a batch",
        )
    ]  # fmt: skip


#: Claims -> how a seed is made, and what is said of all.
GROUPS: dict[tuple[str, ...], tuple[Callable[[int], dict[str, float]], Callable[[Figures], list[dict[str, Any]]]]] = {
    ("digits_fused_gain", "digits_over_product", "digits_missing_lost"): (digits_of, digit_claims),
    ("sum_fused",): (sums_of, sum_claims),
    ("films_fused_gain",): (films_of, film_claims),
    ("fsdd_right", "fsdd_minutes"): (spoken_of, spoken_claims),
    ("chest_auc", "chest_right"): (chest_of, chest_claims),
    ("serving_path_differs",): (parity_of, parity_claims),
}


def main() -> int:
    names = [name for group in GROUPS for name in group]
    arguments = options(__doc__, names, quick="Leaves out all but the serving path.").parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    claims, left = [], list(NOT_RUN)
    for group, (make, judge) in GROUPS.items():
        wanted = [name for name in group if arguments.only in (None, name)]
        if arguments.quick and make is not parity_of:
            left += wanted
        elif wanted:
            seeds = SEEDS[:1] if make is parity_of else SEEDS
            claims += [each for each in judge([kept(make, seed) for seed in seeds]) if each["claim"] in wanted]
    return finish(NAME, claims, not_run=left)


if __name__ == "__main__":
    sys.exit(main())
