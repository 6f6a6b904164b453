"""Corrupted written digits with a corrupted caption: ours against AutoGluon's multimodal predictor, on the same rows.

    python benchmarks/multimodal_autogluon.py [--quick] [--only CLAIM]

The rival runs in .venv-autogluon-multimodal (made by benchmarks/rivals/setup.sh) without a hub: its text encoder is
all-MiniLM-L6-v2 from a local folder, its image encoder a ResNet-18 that nothing has trained, for there are no weights
to be had; where it can reach a hub it would begin with better ones. It has no sound, so two modalities are all. Shown,
not judged; one seed, one thread each.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from multimodal_data import Part, digit_records, digits
from multimodal_digits import CORRUPTED, DIGITS, NUM_HELD, NUM_TRAIN, fitted, logits, percent
from result import ROOT, claim, finish, options
from serving_texts import minilm

NAME, CLAIMS, SEED = "multimodal_autogluon", ("autogluon_digits",), 0
NUM_TEST = 2_000
PYTHON = ROOT / ".venv-autogluon-multimodal" / "bin" / "python"
SIZES: dict[Part, int] = {"train": NUM_TRAIN, "validation": NUM_HELD, "test": NUM_TEST}


def write_rows(folder: Path) -> None:
    """PART.csv with columns written (a path), caption and digit."""
    for part, num_rows in SIZES.items():
        records, labels = digit_records(CORRUPTED, num_rows=num_rows, seed=SEED, part=part)
        (folder / part).mkdir()
        with (folder / f"{part}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["written", "caption", "digit"])
            for row, (record, label) in enumerate(zip(records, labels, strict=True)):
                path = folder / part / f"{row}.png"
                path.write_bytes(record["written"])
                table.writerow([path, record["caption"], label])


def rival() -> dict[str, Any]:
    """{"right", "cpu_s", "version"} of AutoGluon."""
    with tempfile.TemporaryDirectory() as place:
        write_rows(Path(place))
        script = ROOT / "benchmarks" / "multimodal_autogluon_rival.py"
        stdout = subprocess.run(
            [str(PYTHON), "-W", "ignore", str(script), place, str(minilm())],
            check=True, capture_output=True, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        ).stdout  # fmt: skip
    figures: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    return figures


def ours() -> dict[str, float]:
    names = ("written", "caption")
    train, test = (digits(CORRUPTED, num_rows=SIZES[part], seed=SEED, part=part) for part in ("train", "test"))
    began_s = time.process_time()
    net = fitted(names, train, DIGITS, SEED)
    return {"right": percent(logits(net, test), test), "cpu_s": time.process_time() - began_s}


def main() -> int:
    arguments = options(__doc__, CLAIMS, quick="Leaves it out.").parse_args()
    if arguments.quick or not PYTHON.exists():
        return finish(NAME, [], not_run=CLAIMS)
    torch.set_num_threads(1)
    mine, theirs = ours(), rival()
    shown = claim(
        "autogluon_digits", ours=mine["right"], rival=theirs["right"], unit="percent right",
        rival_name=f"AutoGluon multimodal {theirs['version']}, without a hub",
        note=f"{NUM_TRAIN} rows to train on, {NUM_TEST} of test; CPU seconds {mine['cpu_s']:.0f} and "
        f"{theirs['cpu_s']:.0f}; its ResNet-18 begins untrained, its MiniLM trained, ours both untrained",
    )  # fmt: skip
    return finish(NAME, [shown], not_run=[])


if __name__ == "__main__":
    sys.exit(main())
