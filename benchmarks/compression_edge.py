"""What a model takes on a device, and whether it still answers as the model does: `deepseek export --edge`.

    python benchmarks/compression_edge.py [--quick] [--only CLAIM]

MobileNetV2 of torchvision (its 1,000 outputs, of which 10 are used, 64 x 64) and a small network (32 x 32) are trained
here for some minutes on ../shared/data/cifar10-jpeg, exported, and held to rows that they were not trained on.
Accuracies are of 1,000 pictures of the test file that nothing was chosen by, run through the compiled programs. A
bundle of trees is shown beside them.
Bars: runtime and model within 50 MB without torch; in C within 1 MB and 5 MB of RAM; each with parity, which is that
of the variant that is kept: the same class in 99 % of the rows for int8, else no difference above 1e-4.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import safetensors.numpy
import torch
from fraud_features import data_folder
from PIL import Image
from result import claim, finish, options
from torch import nn
from torchvision.models import mobilenet_v2

from deepseek.automl.ship import ship
from deepseek.compress.edge import EdgeExport, EdgeOptions, build, export_edge
from deepseek.compress.edge.program import Program
from deepseek.data.table.examples import load_example

CLAIMS = ("mobilenet_mb", "mobilenet_parity", "c_cnn_mb", "c_cnn_ram_mb", "c_cnn_parity", "c_trees")
#: Seconds of training each network, in full and with --quick.
TRAIN_S = {"mobilenet": (180.0, 90.0), "c_cnn": (60.0, 45.0)}
NUM_TEST, NUM_HELD = 1_000, 1_000
PARITY = 0.99


def pictures(file: str, num_rows: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first rows of a file as (N, 3, size, size) of -1 to 1, and their classes."""
    table = pyarrow.parquet.read_table(data_folder() / "cifar10-jpeg" / file).slice(0, num_rows)
    arrays = np.empty((table.num_rows, 3, size, size), np.float32)
    for place, data in enumerate(table["jpeg"].to_pylist()):
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        picture = picture if size == 32 else picture.resize((size, size), Image.Resampling.BILINEAR)
        arrays[place] = np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1
    return arrays, table["label"].to_numpy().astype(np.int64)


def small_network() -> nn.Module:
    """A small MobileNet for a microcontroller: 28,000 weights."""

    def block(narrow: int, wide: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(narrow, narrow, 3, stride, 1, groups=narrow, bias=False), nn.BatchNorm2d(narrow), nn.ReLU6(),
            nn.Conv2d(narrow, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
        ]  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(), *block(16, 32, 1), *block(32, 64, 2),
        *block(64, 64, 1), *block(64, 128, 2), *block(128, 64, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 10),
    )  # fmt: skip


def trained(model: nn.Module, size: int, budget_s: float) -> nn.Module:
    """Fitted on the first four files for a time, the rate falling to zero by its end."""
    x, y = (np.concatenate(each) for each in zip(*(pictures(f"train-{i}.parquet", 10_000, 32) for i in range(4)),
                                                strict=True))  # fmt: skip
    images, labels = torch.as_tensor(x), torch.as_tensor(y)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    start_s, draw = time.perf_counter(), torch.Generator().manual_seed(0)
    model = model.to(memory_format=torch.channels_last).train()  # 1.8 times the pictures a second
    while (done := (time.perf_counter() - start_s) / budget_s) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, 20 * done + 0.05) * (1 - done)
        rows = torch.randint(len(images), (64,), generator=draw)
        batch = images[rows]
        if torch.rand(1, generator=draw).item() < 0.5:
            batch = batch.flip(3)
        if size != 32:
            batch = nn.functional.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), labels[rows]).backward()
        optimizer.step()
    for layer in model.modules():  # their running means lag behind after so few steps: those of the last weights
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    with torch.no_grad():
        for rows in torch.randperm(len(images), generator=draw)[:1_920].split(64):
            batch = images[rows]
            if size != 32:
                batch = nn.functional.interpolate(batch, size=(size, size), mode="bilinear", align_corners=False)
            model(batch)
    return model.eval()


@dataclass(frozen=True)
class Exported:
    done: EdgeExport
    program: Program
    accuracy: float  # of the model in torch, on test pictures
    device_accuracy: float  # of the compiled program
    agreement: float  # of the two, on the same pictures


def exported(model: nn.Module, size: int, options: EdgeOptions, folder: Path) -> Exported:
    """The network as a folder, and what both answer to test pictures."""
    held, _ = pictures("train-4.parquet", NUM_HELD, size)
    safetensors.numpy.save_file({"picture": held}, folder / "rows.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (torch.zeros(1, 3, size, size),), str(folder / "net.onnx"), input_names=["picture"],
            output_names=["scores"], dynamic_axes={"picture": {0: "N"}, "scores": {0: "N"}}, opset_version=17,
            dynamo=False,
        )  # fmt: skip
    done = export_edge(folder / "net.onnx", folder / "out", options, data=folder / "rows.safetensors", say=print)
    x, y = pictures("test.parquet", NUM_TEST, size)
    with torch.no_grad():
        scores = np.concatenate([model(rows).numpy() for rows in torch.as_tensor(x).split(100)])
    ours = scores.argmax(axis=1)
    program = Program({}, "float", x[0].size, scores.shape[1])
    with build.compile_program(folder / "out") as compiled_program:
        chosen = build.run_program(compiled_program, x.reshape(len(x), -1), program).classes
    return Exported(
        done, program, float((ours == y).mean()), float((chosen == y).mean()), float((chosen == ours).mean())
    )


@cache
def network(name: str, *, quick: bool) -> Exported:
    budget_s = TRAIN_S[name][quick]
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder:
        if name == "mobilenet":
            model = trained(mobilenet_v2(), 64, budget_s)
            return exported(model, 64, EdgeOptions(), Path(folder))
        return exported(trained(small_network(), 32, budget_s), 32, EdgeOptions("c", max_mb=1), Path(folder))


def said(export: Exported) -> str:
    """Every variant in words."""
    each = "; ".join(
        f"{tried.name} {tried.size_bytes / 1e6:.3f} MB, {tried.most_bytes / 1e6:.1f} MB of RAM, cold start "
        f"{tried.cold_start_s * 1e3:.1f} ms, p50 {tried.p50_s * 1e3:.2f} ms, {tried.parity.summary()}"
        + ("" if tried.parity.passes else " (refused)")
        for tried in export.done.measured
    )
    return (
        f"kept: {export.done.kept.name}; test accuracy {export.accuracy:.1%} in torch, {export.device_accuracy:.1%} on "
        f"the device, the same class in {export.agreement:.1%}; {each}"
    )


def measured(name: str, *, quick: bool) -> dict[str, Any]:
    """The claim of that name."""
    if name == "c_trees":
        return trees()
    export = network("mobilenet" if name.startswith("mobilenet") else "c_cnn", quick=quick)
    kept = export.done.kept
    if name.endswith("parity"):
        return claim(name, ours=export.agreement, unit="of test rows", op=">=", bar=PARITY,
                     note=f"kept {kept.name}: {kept.parity.summary()}")  # fmt: skip
    if name == "c_cnn_ram_mb":
        return claim(name, ours=kept.most_bytes / 1e6, unit="MB", op="<=", bar=5,
                     note=f"VmHWM of the process; buffers of {kept.static_bytes / 1e3:.0f} kB")  # fmt: skip
    return claim(name, ours=kept.size_bytes / 1e6, unit="MB", op="<=", bar=50 if name == "mobilenet_mb" else 1,
                 note=said(export))  # fmt: skip


def trees() -> dict[str, Any]:
    """Boosted trees on scikit-learn's digits: a row in C against the same graph in onnxruntime, both called from C."""
    table, target, _ = load_example("digits")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        ship(table, target=target, out=out / "digits", trials=2, candidates=("xgboost",))
        in_c = export_edge(out / "digits", out / "c", EdgeOptions("c")).kept
        rival = export_edge(out / "digits", out / "onnxruntime").kept
    note = (
        f"{in_c.size_bytes / 1e6:.2f} MB and {in_c.most_bytes / 1e6:.1f} MB of RAM against "
        f"{rival.size_bytes / 1e6:.1f} and {rival.most_bytes / 1e6:.1f}; largest difference "
        f"{in_c.parity.max_difference:.1g}"
    )
    return claim("c_trees", ours=in_c.p50_s * 1e6, rival=rival.p50_s * 1e6, rival_name="onnxruntime from C",
                 ratio=rival.p50_s / in_c.p50_s, unit="us a row", note=note)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = options(__doc__, CLAIMS, quick="train for 90 and 45 s instead of 180 and 60")
    args = parser.parse_args(argv)
    names = [args.only] if args.only else list(CLAIMS)
    if not (data_folder() / "cifar10-jpeg").is_dir():
        sys.exit(f"no cifar10-jpeg in {data_folder()}: set DEEPSEEK_DATA to the folder of public data sets")
    claims: list[dict[str, Any]] = []
    for name in names:
        claims.append(measured(name, quick=args.quick))
        left = [each for each in CLAIMS if each not in {each_claim["claim"] for each_claim in claims}]
        code = finish("compression_edge", claims, not_run=left)
    return code


if __name__ == "__main__":
    sys.exit(main())
