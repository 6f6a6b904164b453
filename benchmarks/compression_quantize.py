"""What 8-bit floats save and cost, and what training with rounded weights wins back.

    python benchmarks/compression_quantize.py [--quick] [--only CLAIM]

Files: MiniLM fine-tuned on a real task (text_tasks.py), written in float32 by transformers and packed by us, whole
files on the disk; and a file in the shapes of BERT-base. Load: numpy as a server without torch reads it, float32 copied
out of the map against bytes through the table; interleaved, CPU time.

Seeds: the task is the one of banking77 and sst2 on which the float32 teacher errs more on validation rows. The teacher
is fine-tuned once; each of five seeds draws training rows of its own, their order and the dropout, and goes on from it
for the same steps in float32 (the control), and with weights rounded to int4 and 8-bit floats, embeddings too. So the
spread is that of the further training, not of the teacher. Post-training means: the control, rounded. Accuracy is on
all test rows, which nothing was chosen on, by the engine that serves such folders; of 8-bit floats from the very packed
file. Steps and rate were chosen on validation rows with seed 100.

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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Literal

import numpy as np
import torch
from fraud_features import cache_folder
from result import ROOT, claim, finish, options
from text_tasks import Batches, Rows, collate, load_classifier, load_task, teacher
from torch import nn
from torch.nn import functional

from deepseek.compress.quantize import QuantizeConfig, pack, quantize_weights, train_quantized
from deepseek.compress.quantize.grid import Method
from deepseek.engines.text import TextEngine
from deepseek.engines.text.weights import Weights
from deepseek.train import ArrayStream, TrainConfig, fit

NAME = "compression_quantize"
SEEDS = (0, 1, 2, 3, 4)
TASKS = ("banking77", "sst2")
CLAIMS = ("size", "load", "accuracy", "int4", "fp8", "scratch")
BERT_BASE = {"hidden": 768, "layers": 12, "wide": 3072, "vocab": 30_522, "positions": 512}


@dataclass(frozen=True)
class Extra:
    """The further training that every variant gets. Chosen on validation rows."""

    num_rows: int = 2_048
    epochs: int = 1
    lr: float = 1e-4
    batch_size: int = 32
    precision: str = "bf16"


EXTRA = Extra()


# ---- files


def size_claims() -> list[dict[str, Any]]:
    """Whole files: float32 over 8-bit floats."""
    made = []
    with tempfile.TemporaryDirectory() as place:
        for name, source, bar in (
            ("minilm", teacher(harder()), 3.9),
            ("bert_base", bert_base(Path(place) / "base"), 3.95),
        ):
            before = (source / "model.safetensors").stat().st_size
            after = pack(source, Path(place) / name).size_bytes
            made.append(
                claim(
                    f"fp8_size_{name}", ours=after / 1e6, rival=before / 1e6, rival_name="float32 safetensors",
                    ratio=before / after, unit="MB", op=">=", bar=bar, note="model.safetensors whole, scales included",
                )
            )  # fmt: skip
    return made


def bert_base(folder: Path) -> Path:
    """Random weights in the shapes of BERT-base, without a head."""
    import safetensors.torch

    draw = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=draw) * 0.04 for name, shape in bert_base_shapes().items()}
    folder.mkdir()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    return folder


def bert_base_shapes() -> dict[str, tuple[int, ...]]:
    """As transformers names and shapes them."""
    hidden, wide = BERT_BASE["hidden"], BERT_BASE["wide"]
    tables = {"word": BERT_BASE["vocab"], "position": BERT_BASE["positions"], "token_type": 2}
    dense, norms = {"pooler.dense": (hidden, hidden)}, ["embeddings.LayerNorm"]
    for index in range(BERT_BASE["layers"]):
        layer = f"encoder.layer.{index}"
        dense |= {f"{layer}.attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        dense |= {f"{layer}.attention.output.dense": (hidden, hidden)}
        dense |= {f"{layer}.intermediate.dense": (wide, hidden), f"{layer}.output.dense": (hidden, wide)}
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    shapes: dict[str, tuple[int, ...]] = {}
    shapes |= {f"embeddings.{name}_embeddings.weight": (num, hidden) for name, num in tables.items()}
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (hidden,), f"{name}.bias": (hidden,)}
    return shapes


def load_claims(rounds: int = 7) -> list[dict[str, Any]]:
    """CPU seconds until every tensor is a float32 array of its own."""
    source = teacher(harder())
    with tempfile.TemporaryDirectory() as place:
        packed = pack(source, Path(place) / "small").out
        took: dict[Path, list[float]] = {source: [], packed: []}
        for _ in range(rounds):
            for folder, seconds in took.items():
                start_s = time.process_time()
                weights = Weights.open(folder)
                for name in weights.names:
                    if weights.is_float(name) and not name.endswith("_scale"):
                        np.array(weights.array(name, weights.shape(name)))
                seconds.append(time.process_time() - start_s)
        ours, rival = median(took[packed]) * 1e3, median(took[source]) * 1e3
        opened = {folder: open_ms(folder) for folder in (source, packed)}
    note = (
        f"all tensors of MiniLM as float32 arrays, files in the page cache; TextEngine.open {opened[packed]:.0f} "
        f"against {opened[source]:.0f} ms of CPU. In memory both are float32."
    )
    return [
        claim(
            "fp8_load",
            ours=ours,
            rival=rival,
            rival_name="float32 safetensors",
            ratio=ours / rival,
            unit="ms CPU",
            note=note,
        )
    ]


def open_ms(folder: Path, rounds: int = 3) -> float:
    found = []
    for _ in range(rounds):
        start_s = time.process_time()
        TextEngine.open(folder).close()
        found.append((time.process_time() - start_s) * 1e3)
    return median(found)


# ---- seeds


def harder() -> str:
    """The task whose teacher errs more on validation rows."""
    return min(TASKS, key=lambda name: json.loads((teacher(name) / "teacher.json").read_text())["validation"])


def by_engine(folder: Path, rows: Rows) -> float:
    """Accuracy of a folder, by the engine that serves it."""
    engine, batches, right = TextEngine.open(folder), Batches(rows, 64), 0
    for chosen in batches.order():
        batch = collate([rows.ids[row] for row in chosen], [rows.labels[row] for row in chosen])
        given = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
        right += int((engine.run(given)["logits"].argmax(1) == batch["labels"].numpy()).sum())
    engine.close()
    return right / len(rows)


def further(task: str, method: Method | None, seed: int, extra: Extra = EXTRA) -> tuple[nn.Module, float]:
    """The teacher after the further training, rounded where there is a method; the mean training loss."""
    rows = load_task(task).train
    chosen = np.random.default_rng(seed).permutation(len(rows))[: extra.num_rows].tolist()
    data = Batches(rows.pick(chosen), extra.batch_size, seed)
    config = TrainConfig(epochs=extra.epochs, lr=extra.lr, seed=seed, precision=extra.precision)  # type: ignore[arg-type]
    model = load_classifier(teacher(task))
    if method is None:
        return model, fit(model, data, config, progress=False).losses[-1]
    return model, train_quantized(model, data, QuantizeConfig(method), config, progress=False).fit.losses[-1]


def run_seed(task: str, seed: int) -> dict[str, float]:
    """Test accuracies and training losses of every variant, in parts that are kept by what they depend on."""
    control = cache(lambda: further(task, None, seed))
    parts: dict[str, tuple[tuple[str, ...], Callable[[], dict[str, float]]]] = {
        "post": (("grid", "container"), lambda: post_fp8(task, *control())),
        "int4": (("grid", "fake", "qat"), lambda: post_int4(task, control()[0]) | trained("int4", task, seed)),
        "fp8": (("grid", "fake", "qat", "container"), lambda: trained("fp8", task, seed)),
    }
    found: dict[str, float] = {}
    for name, (sources, run) in parts.items():
        kept = kept_at(task, seed, name, sources)
        if not kept.exists():
            kept.write_text(json.dumps(run(), indent=1))
        found |= json.loads(kept.read_text())
    return found


def kept_at(task: str, seed: int, part: str, sources: tuple[str, ...]) -> Path:
    """Where the figures of one part stand, by the digest of the settings, of the teacher and of those sources."""
    told = json.dumps({**asdict(EXTRA), "task": task, "seed": seed, "teacher": teacher(task).name, "part": part})
    read = [(ROOT / "src/deepseek/compress/quantize" / f"{name}.py").read_bytes() for name in sources]
    digest = hashlib.sha256(told.encode() + b"".join(read)).hexdigest()[:12]
    return cache_folder() / "benchmarks" / f"quantize-{task}-{seed}-{part}-{digest}.json"


def post_fp8(task: str, control: nn.Module, loss: float) -> dict[str, float]:
    """The control in float32, and packed."""
    test = load_task(task).test
    with saved(control, teacher(task)) as folder:
        packed = pack(folder, folder.with_name("small"))
        size_bytes = (folder / "model.safetensors").stat().st_size
        return {
            "loss": loss, "fp32": by_engine(folder, test), "fp8_post": by_engine(packed.out, test),
            "fp8_ratio": size_bytes / packed.size_bytes,
        }  # fmt: skip


def post_int4(task: str, control: nn.Module) -> dict[str, float]:
    """The control, rounded to int4 in two ways."""
    found = {}
    clips: dict[str, Literal["mse", "max"]] = {"int4_post": "mse", "int4_post_max": "max"}
    for name, clip in clips.items():
        rounded = copy.deepcopy(control)
        quantize_weights(rounded, QuantizeConfig("int4", clip=clip))
        with saved(rounded, teacher(task)) as folder:
            found[name] = by_engine(folder, load_task(task).test)
    return found


def trained(method: Method, task: str, seed: int) -> dict[str, float]:
    """The teacher after the further training with its weights rounded; 8-bit floats from the packed file."""
    model, loss = further(task, method, seed)
    with saved(model, teacher(task)) as folder:
        served = pack(folder, folder.with_name("small")).out if method == "fp8" else folder
        return {f"{method}_loss": loss, f"{method}_qat": by_engine(served, load_task(task).test)}


@contextmanager
def saved(model: Any, beside: Path) -> Iterator[Path]:
    """A folder of this model, with the tokenizer of another folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        model.save_pretrained(folder)
        shutil.copy(beside / "tokenizer.json", folder / "tokenizer.json")
        yield folder


def told(found: list[dict[str, float]], *names: str) -> str:
    return "; ".join(f"{name} {' '.join(f'{100 * each[name]:.2f}' for each in found)}" for name in names)


def int4_claims(task: str, found: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Points of accuracy that training with rounded weights is above the control, rounded in two ways. The bar is for
    the better one: against the plain one most of the gain is the clipping's, which training begins with."""
    made = []
    for name, post, bar, words in (
        ("clipped", "int4_post", 1.0, "each channel's end is where its squared error is least, as we do"),
        ("plain", "int4_post_max", None, "each channel's end is its largest weight"),
    ):
        gains = [100 * (each["int4_qat"] - each[post]) for each in found]
        apart = 100 * (min(each["int4_qat"] for each in found) - max(each[post] for each in found))
        made.append(
            claim(
                f"int4_qat_over_{name}", ours=mean(gains), unit="points", op=">=" if bar else None, bar=bar,
                num_seeds=len(found),
                note=f"{task}; over post-training int4, {words}; mean of pairs, sd {stdev(gains):.2f}, least "
                f"{min(gains):.2f}; worst seed against best without training {apart:+.2f}; "
                + told(found, "int4_qat", post, "fp32"),
            )
        )  # fmt: skip
    return made


def fp8_claims(task: str, found: list[dict[str, float]]) -> dict[str, list[dict[str, Any]]]:
    """By the name in CLAIMS."""
    kept = [each["fp8_post"] / each["fp32"] for each in found]
    gains = [100 * (each["fp8_qat"] - each["fp8_post"]) for each in found]
    loss = {name: mean(each[f"{name}loss"] for each in found) for name in ("", "int4_", "fp8_")}
    return {
        "accuracy": [
            claim(
                "fp8_accuracy_kept", ours=mean(100 * each["fp8_post"] for each in found),
                rival=mean(100 * each["fp32"] for each in found), rival_name="float32", ratio=min(kept), unit="% right",
                op=">=", bar=0.99, num_seeds=len(found),
                note=f"{task}; ratio: the least of the seeds, by the packed files, the largest of which is "
                f"{min(each['fp8_ratio'] for each in found):.3f}x smaller; {told(found, 'fp32', 'fp8_post')}",
            )
        ],
        "fp8": [
            claim(
                "fp8_qat_gain", ours=mean(gains), unit="points", op=">=", bar=0.0, num_seeds=len(found),
                note=f"{task}; over the control, packed; mean of pairs, least {min(gains):.2f}; "
                + told(found, "fp8_qat", "fp8_post"),
            ),
            claim(
                "fp8_qat_loss", ours=loss["fp8_"], rival=loss[""],
                rival_name="float32 training", ratio=mean(each["fp8_loss"] / each["loss"] for each in found),
                unit="loss", op="<=", bar=1.05, num_seeds=len(found),
                note=f"{task}; mean training loss of the further steps; int4 {loss['int4_']:.4f}",
            ),
        ],
    }  # fmt: skip


# ---- from nothing


def scratch_claims() -> list[dict[str, Any]]:
    """A perceptron that begins with random weights, rounded from its first step."""
    losses = {name: [learn(name, seed) for seed in SEEDS] for name in ("fp32", "int8", "fp8", "torchao")}
    fell = {name: mean(first - last for first, last in each) for name, each in losses.items()}
    ends = ", ".join(
        f"{name} {mean(each[0] for each in found):.3f} to {mean(each[1] for each in found):.4f}"
        for name, found in losses.items()
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
    given: list[Any] = [net, data, TrainConfig(epochs=12, lr=1e-3, seed=seed)]
    if method == "torchao":
        from torchao.quantization import quantize_
        from torchao.quantization.qat import Float8FakeQuantizeConfig, QATConfig

        each = Float8FakeQuantizeConfig()
        quantize_(net, QATConfig(activation_config=each, weight_config=each, step="prepare"))
    elif method != "fp32":
        train = train_quantized
        given.insert(2, QuantizeConfig(method, activations="token"))  # type: ignore[arg-type]
    done = train(*given, loss=functional.cross_entropy, progress=False)
    losses = done.losses if isinstance(done.__dict__.get("losses"), list) else done.fit.losses
    return losses[0], losses[-1]


def seeds(chosen: list[str]) -> list[dict[str, Any]]:
    """The claims that need seeds."""
    task = harder()
    found = [run_seed(task, seed) for seed in SEEDS]
    claims = {"int4": int4_claims(task, found)} | fp8_claims(task, found)
    return [each for name in chosen for each in claims[name]]


def main() -> int:
    given = options(__doc__, CLAIMS, quick="Leaves out what needs seeds that were not run before.").parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = [given.only] if given.only else list(CLAIMS)
    made: list[dict[str, Any]] = []
    not_run: list[str] = []
    for name, run in (("scratch", scratch_claims), ("size", size_claims), ("load", load_claims)):
        if name in chosen:
            made += run()
    seeded = [name for name in chosen if name in ("accuracy", "int4", "fp8")]
    if given.quick:
        not_run += seeded
    elif seeded:
        made += seeds(seeded)
    return finish(NAME, made, not_run=not_run)


if __name__ == "__main__":
    sys.exit(main())
