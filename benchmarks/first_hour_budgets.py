"""Whether a budget binds: the CPU seconds of `ship --budget`, by those that were asked, on tables, texts and pictures.

The rival is the budget itself: 70 to 110 % of it is the bar, on every case. CPU seconds are those that ship reports:
of its process, from the reading of the rows to the written bundle, all threads.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from first_hour_run import ship
from first_hour_texts import SETS
from fraud_features import data_folder
from PIL import Image
from result import claim

NUM_PICTURES = 2_500
LEAST, MOST = 0.7, 1.1


@dataclass(frozen=True)
class Case:
    """Rows that are written into a folder, and the budget that is asked."""

    write: Callable[[Path], list[str]]  # the words of the command
    budget_s: int


def example(name: str) -> Callable[[Path], list[str]]:
    return lambda _: ["--example", name]


def concrete(_: Path) -> list[str]:
    (file,) = (data_folder() / "concrete").glob("*.csv")
    target = file.open(encoding="utf-8").readline().strip().split(",")[-1].strip('"')
    return [str(file), "--target", target]


def texts(name: str) -> Callable[[Path], list[str]]:
    def write(scratch: Path) -> list[str]:
        data = SETS[name](data_folder())
        data.train.to_parquet(scratch / "rows.parquet", index=False)
        return [str(scratch / "rows.parquet"), "--target", data.target]

    return write


def pictures(scratch: Path) -> list[str]:
    archive = np.load(data_folder() / "pneumoniamnist" / "pneumoniamnist.npz")
    rows = np.random.default_rng(0).permutation(len(archive["train_images"]))[:NUM_PICTURES]
    lines = ["photo,ill"]
    for row in rows:
        Image.fromarray(archive["train_images"][row]).save(scratch / f"{row}.png")
        lines.append(f"{row}.png,{int(archive['train_labels'][row, 0])}")
    (scratch / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(scratch / "rows.csv"), "--target", "ill"]


CASES = {
    "table_cancer": Case(example("cancer"), 30),
    "table_concrete": Case(concrete, 30),
    "texts_sst2": Case(texts("sst2"), 20),
    "texts_banking77": Case(texts("banking77"), 60),
    "pictures_short": Case(pictures, 20),
    "pictures": Case(pictures, 60),
}
QUICK = ("table_cancer", "texts_sst2", "pictures_short")


def measure(quick: bool) -> tuple[list[dict[str, Any]], list[str]]:
    """The claims, and what was not run."""
    names = QUICK if quick else tuple(CASES)
    claims, shares = [], {}
    for name in names:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as scratch:
            try:
                words = case.write(Path(scratch))
            except (OSError, ValueError) as error:
                sys.exit(f"{error}: set DEEPSEEK_DATA to the folder of public data sets")
            ours = ship([*words, "--budget", f"{case.budget_s}s"], Path(scratch) / "bundle")
        shares[name] = ours["cpu_s"] / case.budget_s
        note = f"{ours['cpu_s']:.1f} of {case.budget_s} CPU s, {ours['wall_s']:.0f} s by the wall"
        print(f"{name}: {shares[name]:.2f}; {note}", flush=True)
        claims.append(claim(f"budget_{name}", ours=shares[name], unit="share of the budget", note=note))
    low, high = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
    for which, name, op, bar in (("least", low, ">=", LEAST), ("most", high, "<=", MOST)):
        note = f"{name}, of {len(shares)} cases"
        claims.append(
            claim(f"budgets_{which}", ours=shares[name], unit="share of the budget", op=op, bar=bar, note=note)
        )
    return claims, [f"case {name}" for name in CASES if name not in names]
