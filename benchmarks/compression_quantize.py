"""What 8-bit floats save and cost, and what training with rounded weights wins back.

    python benchmarks/compression_quantize.py [--quick] [--only CLAIM]

Files: MiniLM fine-tuned on a real task (text_tasks.py), written in float32 by transformers and packed by us, whole
files on the disk; and a file in the shapes of BERT-base. Load: numpy as a server without torch reads it, float32 copied
out of the map against bytes through the table; interleaved, CPU time.

Seeds: the task is the one of banking77 and sst2 on which the float32 teacher errs more on validation rows. The teacher
is fine-tuned once; each of five seeds draws the order of the training rows and the dropout, and goes on from it for one
more epoch in float32 (the control) and with weights rounded to int4, embeddings too. So the spread is that of the
further training, not of the teacher. Post-training means: the control, rounded. 8-bit floats begin with the control,
and are trained for 64 more steps on rows of the seed's own; that is undone where the validation rows show no gain over
rounding alone, which is what a user of train_quantized(validation=...) gets. Accuracy is on all test rows, which
nothing was chosen on, by the engine that serves such folders; of 8-bit floats from the very packed file. Epochs and
rates were chosen on validation rows with other seeds.

From nothing: a perceptron on scikit-learn's digits learns in float32, int8, 8-bit floats, and torchao's 8-bit floats.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import numpy as np
import torch
from fraud_features import cache_folder
from quantize_files import load_claims, size_claims
from result import ROOT, claim, finish, options
from text_tasks import Batches, Rows, collate, load_classifier, load_task, teacher
from torch import nn
from torch.nn import functional

from deepseek.compress.quantize import QuantizeConfig, pack, quantize_weights, train_quantized
from deepseek.engines.text import TextEngine
from deepseek.train import ArrayStream, TrainConfig, fit

NAME = "compression_quantize"
SEEDS = (0, 1, 2, 3, 4)
TASKS = ("banking77", "sst2")
CLAIMS = ("size", "load", "accuracy", "int4", "fp8", "scratch")
#: Of the claims that need seeds: what they are made from.
PARTS = {"accuracy": ("post",), "int4": ("post", "post_int4", "int4"), "fp8": ("post", "fp8")}


@dataclass(frozen=True)
class Extra:
    """Further training. Chosen on validation rows."""

    num_rows: int | None = None  # None: all
    epochs: int = 1
    lr: float = 1e-4
    batch_size: int = 32
    precision: str = "bf16"

    def config(self, seed: int) -> TrainConfig:
        return TrainConfig(epochs=self.epochs, lr=self.lr, seed=seed, precision=self.precision)  # type: ignore[arg-type]

    def data(self, task: str, seed: int) -> Batches:
        rows = load_task(task).train
        chosen = np.random.default_rng(seed).permutation(len(rows))[: self.num_rows].tolist()
        return Batches(rows.pick(chosen), self.batch_size, seed)


EXTRA = Extra()  # of the control and of int4, from the teacher
AFTER = Extra(num_rows=2_048)  # of 8-bit floats, from the control


# ---- seeds


def harder() -> str:
    """The task whose teacher errs more on validation rows."""
    return min(TASKS, key=lambda name: json.loads((teacher(name) / "teacher.json").read_text())["validation"])


def by_engine(folder: Path, rows: Rows) -> float:
    """Accuracy of a folder, by the engine that serves it."""
    engine, batches, right = TextEngine.open(folder), Batches(rows, 64), 0
    for chosen in batches.order():
        batch = collate([rows.ids[row] for row in chosen], [rows.labels[row] for row in chosen])
        inputs = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
        right += int((engine.run(inputs)["logits"].argmax(1) == batch["labels"].numpy()).sum())
    engine.close()
    return right / len(rows)


def run_seed(task: str, seed: int, chosen: Iterable[str] = tuple(PARTS)) -> dict[str, float]:
    """Test accuracies and losses that the chosen claims speak of, in parts that are kept by what they depend on."""
    wanted = {part for each in chosen for part in PARTS[each]}
    control = cache(lambda: trained_control(task, seed))
    parts: dict[str, tuple[tuple[str, ...], Callable[[], dict[str, float]]]] = {
        "post": (("grid", "container"), lambda: post_fp8(task, control())),
        "post_int4": (("grid",), lambda: post_int4(task, control())),
        "int4": (("grid", "fake", "qat"), lambda: qat_int4(task, seed)),
        "fp8": (("grid", "fake", "qat", "container"), lambda: qat_fp8(task, seed, control())),
    }
    figures: dict[str, float] = {}
    for name, (sources, run) in parts.items():
        if name not in wanted:
            continue
        kept = kept_at(task, seed, name, sources)
        if not kept.exists():
            kept.write_text(json.dumps(run(), indent=1))
        figures |= json.loads(kept.read_text())
    return figures


def kept_at(task: str, seed: int, part: str, sources: tuple[str, ...]) -> Path:
    """Where the figures of one part stand, by the digest of the settings, of the teacher and of those sources."""
    settings = [asdict(EXTRA), asdict(AFTER)] if part == "fp8" else [asdict(EXTRA)]
    key = json.dumps([settings, task, seed, teacher(task).name, part])
    read = [(ROOT / "src/deepseek/compress/quantize" / f"{name}.py").read_bytes() for name in sources]
    digest = hashlib.sha256(key.encode() + b"".join(read)).hexdigest()[:12]
    return cache_folder("benchmarks") / f"quantize-{task}-{seed}-{part}-{digest}.json"


def trained_control(task: str, seed: int) -> nn.Module:
    """The teacher after the further training in float32; made once."""
    key = json.dumps([asdict(EXTRA), task, seed, teacher(task).name, torch.__version__])
    folder = cache_folder("benchmarks") / f"control-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not folder.exists():
        model = load_classifier(teacher(task))
        fit(model, EXTRA.data(task, seed), EXTRA.config(seed), progress=False)
        draft = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
        model.save_pretrained(draft)
        draft.rename(folder)
    return load_classifier(folder)


def post_fp8(task: str, control: nn.Module) -> dict[str, float]:
    """The control in float32, and packed."""
    test = load_task(task).test
    with saved(control, teacher(task)) as folder:
        packed = pack(folder, folder.with_name("small"))
        size_bytes = (folder / "model.safetensors").stat().st_size
        return {
            "fp32": by_engine(folder, test), "fp8_post": by_engine(packed.out, test),
            "fp8_ratio": size_bytes / packed.size_bytes,
        }  # fmt: skip


def post_int4(task: str, control: nn.Module) -> dict[str, float]:
    """The control, rounded to int4 in two ways."""
    figures = {}
    clips: dict[str, Literal["mse", "max"]] = {"int4_post": "mse", "int4_post_max": "max"}
    for name, clip in clips.items():
        rounded = copy.deepcopy(control)
        quantize_weights(rounded, QuantizeConfig("int4", clip=clip))
        with saved(rounded, teacher(task)) as folder:
            figures[name] = by_engine(folder, load_task(task).test)
    return figures


def qat_int4(task: str, seed: int) -> dict[str, float]:
    """The teacher after the control's further training, with its weights rounded."""
    model = load_classifier(teacher(task))
    done = train_quantized(model, EXTRA.data(task, seed), QuantizeConfig("int4"), EXTRA.config(seed), progress=False)
    with saved(model, teacher(task)) as folder:
        return {"int4_loss": done.fit.losses[-1], "int4_qat": by_engine(folder, load_task(task).test)}


def qat_fp8(task: str, seed: int, control: nn.Module) -> dict[str, float]:
    """The control after a few more steps with its weights rounded, packed; the same steps in float32 for their loss."""
    config, rows = AFTER.config(seed), load_task(task)
    model, plain = copy.deepcopy(control), copy.deepcopy(control)
    done = train_quantized(
        model, AFTER.data(task, seed), QuantizeConfig("fp8"), config, validation=Batches(rows.validation, 64),
        progress=False,
    )  # fmt: skip
    loss = fit(plain, AFTER.data(task, seed), config, progress=False).losses[-1]
    with saved(model, teacher(task)) as folder:
        served = pack(folder, folder.with_name("small")).out
        return {
            "loss": loss, "fp8_loss": done.fit.losses[-1], "fp8_is_kept": float(done.is_kept),
            "fp8_qat": by_engine(served, rows.test),
        }  # fmt: skip


@contextmanager
def saved(model: Any, beside: Path) -> Iterator[Path]:
    """A folder of this model, with the tokenizer of another folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        model.save_pretrained(folder)
        shutil.copy(beside / "tokenizer.json", folder / "tokenizer.json")
        yield folder


def list_shares(runs: list[dict[str, float]], *names: str) -> str:
    return "; ".join(f"{name} {' '.join(f'{100 * each[name]:.2f}' for each in runs)}" for name in names)


def int4_claims(task: str, runs: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Points of accuracy that training with rounded weights is above the control, rounded in two ways. The bar is for
    the better one: against the plain one most of the gain is the clipping's, which training begins with."""
    claims = []
    for name, post, bar, words in (
        ("clipped", "int4_post", 1.0, "each channel's end is where its squared error is least, as we do"),
        ("plain", "int4_post_max", None, "each channel's end is its largest weight"),
    ):
        gains = [100 * (each["int4_qat"] - each[post]) for each in runs]
        apart = 100 * (min(each["int4_qat"] for each in runs) - max(each[post] for each in runs))
        claims.append(
            claim(
                f"int4_qat_over_{name}", ours=mean(gains), unit="points", op=">=" if bar else None, bar=bar,
                num_seeds=len(runs),
                note=f"{task}; over post-training int4, {words}; mean of pairs, sd {stdev(gains):.2f}, least "
                f"{min(gains):.2f}; worst seed against best without training {apart:+.2f}; "
                + list_shares(runs, "int4_qat", post, "fp32"),
            )
        )  # fmt: skip
    return claims


def accuracy_claims(task: str, runs: list[dict[str, float]]) -> list[dict[str, Any]]:
    """What the packed control keeps."""
    kept = [each["fp8_post"] / each["fp32"] for each in runs]
    return [
        claim(
            "fp8_accuracy_kept", ours=mean(100 * each["fp8_post"] for each in runs),
            rival=mean(100 * each["fp32"] for each in runs), rival_name="float32", ratio=min(kept), unit="% right",
            op=">=", bar=0.99, num_seeds=len(runs),
            note=f"{task}; ratio: the least of the seeds, by the packed files, the largest of which is "
            f"{min(each['fp8_ratio'] for each in runs):.3f}x smaller; {list_shares(runs, 'fp32', 'fp8_post')}",
        )
    ]  # fmt: skip


def fp8_claims(task: str, runs: list[dict[str, float]]) -> list[dict[str, Any]]:
    """The bar is for the worst seed: what training might cost must be noticed by the validation rows."""
    gains = [100 * (each["fp8_qat"] - each["fp8_post"]) for each in runs]
    return [
        claim(
            "fp8_qat_gain", ours=min(gains), unit="points", op=">=", bar=0.0, num_seeds=len(runs),
            note=f"{task}; over the control, packed; the least of the pairs, mean {mean(gains):.2f}; training was kept "
            f"in {sum(each['fp8_is_kept'] for each in runs):.0f} of {len(runs)} seeds, else undone as the loss on "
            f"validation rows was no lower than that of rounding alone; {list_shares(runs, 'fp8_qat', 'fp8_post')}",
        ),
        claim(
            "fp8_qat_loss", ours=mean(each["fp8_loss"] for each in runs), rival=mean(each["loss"] for each in runs),
            rival_name="float32 training", ratio=mean(each["fp8_loss"] / each["loss"] for each in runs),
            unit="loss", op="<=", bar=1.05, num_seeds=len(runs), note=f"{task}; mean training loss of those steps",
        ),
    ]  # fmt: skip


# ---- from nothing


def scratch_claims() -> list[dict[str, Any]]:
    """A perceptron that begins with random weights, rounded from its first step."""
    losses = {name: [learn(name, seed) for seed in SEEDS] for name in ("fp32", "int8", "fp8", "torchao")}
    fell = {name: mean(first - last for first, last in each) for name, each in losses.items()}
    ends = ", ".join(
        f"{name} {mean(each[0] for each in losses_of_method):.3f} to {mean(each[1] for each in losses_of_method):.4f}"
        for name, losses_of_method in losses.items()
    )
    return [
        claim(
            "fp8_from_nothing", ours=fell["fp8"], rival=fell["int8"], rival_name="int8 training",
            ratio=fell["fp8"] / fell["int8"], unit="fall of loss", op=">=", bar=0.98, num_seeds=len(SEEDS),
            note=f"perceptron on digits, first to last epoch: {ends}",
        ),
        claim(
            "fp8_from_nothing_torchao", ours=fell["fp8"], rival=fell["torchao"],
            rival_name=f"torchao {version('torchao')}", ratio=fell["fp8"] / max(fell["torchao"], 1e-6),
            unit="fall of loss", num_seeds=len(SEEDS),
            note="torchao's Float8FakeQuantizeConfig, a scale for each row of the weight and of the input",
        ),
    ]  # fmt: skip


def learn(method: str, seed: int) -> tuple[float, float]:
    """Mean training loss of the first and of the last epoch."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    rows = (torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y))
    data = ArrayStream(rows, 64, torch.Generator().manual_seed(seed))
    train: Callable[..., Any] = fit
    arguments: list[Any] = [net, data, TrainConfig(epochs=12, lr=1e-3, seed=seed)]
    if method == "torchao":
        from torchao.quantization import quantize_
        from torchao.quantization.qat import Float8FakeQuantizeConfig, QATConfig

        each = Float8FakeQuantizeConfig()
        quantize_(net, QATConfig(activation_config=each, weight_config=each, step="prepare"))
    elif method != "fp32":
        train = train_quantized
        arguments.insert(2, QuantizeConfig(method, activations="token"))  # type: ignore[arg-type]
    done = train(*arguments, loss=functional.cross_entropy, progress=False)
    losses = done.losses if isinstance(done.__dict__.get("losses"), list) else done.fit.losses
    return losses[0], losses[-1]


def seeds(chosen: list[str]) -> list[dict[str, Any]]:
    """The claims that need seeds."""
    task = harder()
    runs = [run_seed(task, seed, chosen) for seed in SEEDS]
    make = {"accuracy": accuracy_claims, "int4": int4_claims, "fp8": fp8_claims}
    return [each for name in chosen for each in make[name](task, runs)]


def main() -> int:
    arguments = options(__doc__, CLAIMS, quick="Leaves out what needs seeds that were not run before.").parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [arguments.only] if arguments.only else list(CLAIMS)
    claims: list[dict[str, Any]] = []
    not_run: list[str] = []
    for name, run in (
        ("scratch", scratch_claims), ("size", lambda: size_claims(teacher(harder()))),
        ("load", lambda: load_claims(teacher(harder()))),
    ):  # fmt: skip
        if name in chosen:
            claims += run()
    seeded = [name for name in chosen if name in PARTS]
    if arguments.quick:
        not_run += seeded
    elif seeded:
        claims += seeds(seeded)
    return finish(NAME, claims, not_run=not_run)


if __name__ == "__main__":
    sys.exit(main())
