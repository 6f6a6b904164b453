"""Images in fewer operations: what pruning and int8 bring a ResNet50, and what they cost a net that was trained.

    python benchmarks/compression_vision.py [--quick] [--only CLAIM]

Speed: torchvision's ResNet50 (224 x 224, weights that were never trained: they do not matter for time) loses 30 % of
its parameters by prune's own allocation. It runs beside the whole one in onnxruntime and OpenVINO in fp32, then in int8
(as `deepseek compress` makes it) beside torch eager and OpenVINO fp32. One thread, batch 1, CPU time, in turn round by
round; a ratio is the median over the rounds. Uniform pruning is shown beside it.

Accuracy: the residual net of photo_task.py goes the same way with the same rule, is repaired by train.fit with the
unpruned net as its teacher, and quantised; rows of the test file are scored once, and its own speed-up is measured the
same way. Weights come from the cache of photo_task.py, or are trained here: some 60 minutes of one core.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import openvino
import torch
import torchvision
from photo_task import (
    Moved,
    Recipe,
    accuracy,
    cache_folder,
    digest_of,
    read_photos,
    smoothed_loss,
    trained,
)
from result import claim, finish, options
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from deepseek.compress import Pruning, TeacherConfig, prune, prune_and_repair, prune_to
from deepseek.compress.targets.post_training import quantize_onnx
from deepseek.train import TrainConfig

KNOBS = Pruning(drop=0.30, speed=0.6)  # the rule, one for both networks
EPOCHS, ROUNDS = 44, 1  # of the repair: epochs a round
TEACHING = TeacherConfig()
NUM_CALIBRATION = 300  # rows that the ranges of int8 are measured on
#: Claim -> bar on the ratio, or on points lost.
BARS = {
    "resnet50_pruned_onnxruntime": 2.1, "resnet50_pruned_openvino": 2.1, "resnet50_int8_over_eager": 12.0,
    "resnet50_int8_over_openvino": 7.5, "photos_pruned_points_lost": 1.0, "photos_pruned_onnxruntime": 2.1,
    "photos_pruned_openvino": 2.1, "photos_int8_points_lost": 1.0,
}  # fmt: skip
SHOWN = (
    "resnet50_uniform_onnxruntime", "resnet50_uniform_openvino", "photos_int8_over_eager", "photos_int8_over_openvino",
)  # fmt: skip
CLAIMS = (*BARS, *SHOWN)
Run = Callable[[], object]


# Engines ------------------------------------------------------------------------------------------------------------


def exported(module: nn.Module, example: Tensor, folder: Path) -> str:
    file = str(folder / f"{len(list(folder.glob('*.onnx')))}.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (example,), file, dynamo=False, opset_version=17, input_names=["x"],
            dynamic_axes={"x": {0: "rows"}},
        )  # fmt: skip
    return file


def in_onnxruntime(file: str, example: Tensor) -> Run:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {"x": example.numpy()})


def in_openvino(model: openvino.Model, example: Tensor) -> Run:
    fixed = model.clone()
    fixed.reshape(list(example.shape))
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(fixed, "CPU", settings).create_infer_request()
    return partial(request.infer, {0: example.numpy()})


def in_eager(module: nn.Module, example: Tensor) -> Run:
    def run() -> object:
        with torch.inference_mode():
            return module(example)

    module.eval()
    return run


def quantised(file: str, rows: Tensor) -> openvino.Model:
    """int8 as `deepseek compress` makes it: static, weights per channel."""
    out = Path(file).with_suffix(".int8.onnx")
    quantize_onnx(Path(file), [{"x": row[None].numpy()} for row in rows], out)
    return openvino.Core().read_model(str(out))


def measured(runs: dict[str, Run], num_rounds: int, num_calls: int) -> dict[str, list[float]]:
    """Seconds of CPU a call, for each of the rounds, in turn."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(num_rounds + 1):
        for name, run in runs.items():
            run()  # the caches are those of this one
            began_s = time.process_time()
            for _ in range(num_calls):
                run()
            if index:  # the first round warms up
                took[name].append((time.process_time() - began_s) / num_calls)
    return took


def speed_up(name: str, took: dict[str, list[float]], ours: str, rival: str, note: str) -> dict[str, Any]:
    ratios = sorted(b / a for a, b in zip(took[ours], took[rival], strict=True))
    spread = (
        f"; rounds {ratios[len(ratios) // 10]:.2f} to {ratios[-1 - len(ratios) // 10]:.2f} without the outer tenths"
    )
    return claim(
        name, ours=1e3 * median(took[ours]), rival=1e3 * median(took[rival]), rival_name=rival, ratio=median(ratios),
        unit="ms of CPU per image", op=">=" if name in BARS else None, bar=BARS.get(name), num_seeds=len(ratios),
        note=note + spread,
    )  # fmt: skip


def speed_claims(
    prefix: str, whole: nn.Module, others: dict[str, nn.Module], rows: Tensor, *, num_rounds: int, num_calls: int
) -> list[dict[str, Any]]:
    """Claims of both engines in fp32 for each of the others, and in int8 for "pruned"."""
    example = rows[:1].contiguous()
    with tempfile.TemporaryDirectory() as place:
        files = {name: exported(each, example, Path(place)) for name, each in {"whole": whole, **others}.items()}
        core = openvino.Core()
        runs: dict[str, Run] = {"torch eager": in_eager(whole, example)}
        for name, file in files.items():
            runs[f"{name}, onnxruntime"] = in_onnxruntime(file, example)
            runs[f"{name}, OpenVINO"] = in_openvino(core.read_model(file), example)
        runs["int8"] = in_openvino(quantised(files["pruned"], rows), example)
        took = measured(runs, num_rounds, num_calls)
    claims = []
    for name, each in others.items():
        note = described(whole, each)
        for engine, key in (("onnxruntime", "onnxruntime"), ("OpenVINO", "openvino")):
            claims.append(speed_up(f"{prefix}_{name}_{key}", took, f"{name}, {engine}", f"whole, {engine}", note))
    for rival, key in (("torch eager", "eager"), ("whole, OpenVINO", "openvino")):
        claims.append(speed_up(f"{prefix}_int8_over_{key}", took, "int8", rival, "pruned, then int8 in OpenVINO"))
    return claims


def described(whole: nn.Module, smaller: nn.Module) -> str:
    sizes = [sum(p.numel() for p in each.parameters()) for each in (whole, smaller)]
    return f"{1 - sizes[1] / sizes[0]:.1%} of {sizes[0] / 1e6:.2f} million parameters gone"


# The two networks ---------------------------------------------------------------------------------------------------


def resnet50_claims(*, num_rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    whole = torchvision.models.resnet50().eval()
    rows = torch.randn(8, 3, 224, 224)
    pruned = prune(whole, rows[:1], KNOBS)
    even = prune(whole, rows[:1], Pruning(drop=KNOBS.drop, allocation="uniform"))
    print(pruned.report)
    others = {"pruned": pruned.module, "uniform": even.module}
    return speed_claims("resnet50", whole, others, rows, num_rounds=num_rounds, num_calls=2)


def repaired_folder(recipe: Recipe) -> Path:
    fields = {"net": recipe.digest, "knobs": asdict(KNOBS), "epochs": EPOCHS, "rounds": ROUNDS, **asdict(TEACHING)}
    return cache_folder() / f"photos-pruned-{digest_of(fields)}"


@cache
def repaired() -> tuple[nn.Module, nn.Module, str]:
    """The trained net, the pruned and repaired one, and where they come from."""
    recipe, photos = Recipe(), read_photos()
    whole, facts = trained(recipe)
    folder = repaired_folder(recipe)
    example, kept = photos.validation[0][:1].contiguous(), folder / "facts.json"
    source = f"whole net from {facts['from']} ({facts['cpu_s'] / 60:.0f} CPU-minutes, {recipe.epochs} epochs)"
    if kept.exists():
        smaller = whole
        figures = json.loads(kept.read_text())
        for left in figures["left"]:
            smaller = prune_to(smaller, example, left).module
        smaller.load_state_dict(load_file(folder / "weights.safetensors"))
        return whole, smaller.eval(), f"{source}; pruned net from the cache ({figures['cpu_s'] / 60:.0f} CPU-minutes)"
    began_s = time.process_time()
    config = TrainConfig(
        epochs=EPOCHS, lr=recipe.lr, weight_decay=recipe.weight_decay, precision="bf16", schedule="cosine", warmup=0.1,
        clip_norm=float("inf"), metric="accuracy", goal="max", validate_every=3, checkpoint_every=50,
    )  # fmt: skip

    def validate(module: nn.Module) -> dict[str, float]:
        share = accuracy(module, photos.validation)
        print(f"  repair, {time.process_time() - began_s:.0f} s of CPU: {share:.4f} of the validation rows", flush=True)
        return {"accuracy": share}

    result = prune_and_repair(
        whole, example, KNOBS, Moved(photos.train, recipe.batch_size, seed=1), config, loss=smoothed_loss(recipe),
        teaching=TEACHING, rounds=ROUNDS, checkpoints=folder / "checkpoints", validation=validate,
        progress=False,
    )  # fmt: skip
    print(result.reports[-1])
    cpu_s = time.process_time() - began_s
    weights = {name: value.contiguous() for name, value in result.module.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    kept.write_text(json.dumps({"left": [report.channels_left for report in result.reports], "cpu_s": cpu_s}))
    return whole, result.module, f"{source}; pruned and repaired in this run ({cpu_s / 60:.0f} CPU-minutes)"


def photo_speed(*, num_rounds: int) -> list[dict[str, Any]]:
    whole, smaller, _ = repaired()
    rows = calibration_rows()
    return speed_claims("photos", whole, {"pruned": smaller}, rows, num_rounds=3 * num_rounds, num_calls=20)


def calibration_rows() -> Tensor:
    """Of the validation part: the test rows are for the figures alone."""
    return read_photos().validation[0][:NUM_CALIBRATION].contiguous()


def photo_accuracy() -> list[dict[str, Any]]:
    whole, smaller, source = repaired()
    test = read_photos().test
    with tempfile.TemporaryDirectory() as place:
        file = exported(smaller, test[0][:1].contiguous(), Path(place))
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        int8 = openvino.Core().compile_model(quantised(file, calibration_rows()), "CPU", settings)

        def predict(rows: Tensor) -> Tensor:
            return torch.from_numpy(np.array(int8(rows.numpy())[0]))

        shares = {"whole": accuracy(whole, test), "pruned": accuracy(smaller, test), "int8": accuracy(predict, test)}
    return [
        claim(
            f"photos_{name}_points_lost", ours=100 * (shares["whole"] - shares[name]), unit="points of accuracy",
            op="<=", bar=BARS[f"photos_{name}_points_lost"],
            note=f"{100 * shares['whole']:.2f} -> {100 * shares[name]:.2f} % of 10,000 test rows, one seed; {source}",
        )
        for name in ("pruned", "int8")
    ]  # fmt: skip


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer rounds; the photos only where their weights are cached.").parse_args()
    torch.set_num_threads(1)
    num_rounds = 20 if args.quick else 40
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "resnet50": partial(resnet50_claims, num_rounds=num_rounds),
        "photos_speed": partial(photo_speed, num_rounds=num_rounds),
        "photos_accuracy": photo_accuracy,
    }
    if args.only:
        wanted = "resnet50" if args.only.startswith("resnet50") else (
            "photos_accuracy" if args.only.endswith("lost") else "photos_speed"
        )  # fmt: skip
        parts = {wanted: parts[wanted]}
    elif args.quick and not (repaired_folder(Recipe()) / "facts.json").exists():
        parts = {"resnet50": parts["resnet50"]}
    status, claims = 0, []
    for part in parts.values():
        claims += [each for each in part() if args.only in (None, each["claim"])]
        done = [each["claim"] for each in claims]
        status = finish("compression_vision", claims, not_run=[name for name in CLAIMS if name not in done])
    return status


if __name__ == "__main__":
    sys.exit(main())
