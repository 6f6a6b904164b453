"""Tasks of benchmarks/optimizers.py that are not of the bench: seven UNSEEN ones, and three LARGER ones for wall time.

    python benchmarks/optimizer_tasks.py        # what AdamW reaches, the source of the targets

Tasks, sizes and targets were fixed before AdaptiveOptimizer was run on any of them, and none of its constants was
chosen here. A target is the lowest score that AdamW at 1e-3 has within 60 % of the budget on seed 0. Every score is a
loss on held-out data. Data: made from a seed, or public sets in $DEEPSEEK_DATA.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import time
import wave
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from fraud_features import data_folder
from torch import Generator, Tensor, nn
from torch.nn import functional

from deepseek.errors import MissingError

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Problem:
    """A model, fresh; where its batches come from; its loss on one; its score on held-out data."""

    model: nn.Module
    draw: Callable[[Generator], Batch]
    loss: Callable[[Batch], Tensor]
    score: Callable[[], float]


@dataclass(frozen=True)
class Task:
    """`make` is called after torch.manual_seed. Evaluated every `every` of `budget` steps."""

    make: Callable[[], Problem]
    budget: int
    every: int
    target: float

    @property
    def name(self) -> str:
        return self.make.__name__


class Run:
    """One optimizer at work on one task."""

    def __init__(self, task: Task, optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer], seed: int) -> None:
        torch.manual_seed(seed)
        self.task, self.problem = task, task.make()
        self.optimizer = optimizer(self.problem.model.parameters())
        self.generator = Generator().manual_seed(1000 + seed)
        self.step, self.wall_s, self.cpu_s = 0, 0.0, 0.0
        self.hit: int | None = None
        self.scores: list[float] = []

    @property
    def over(self) -> bool:
        return self.hit is not None or self.step >= self.task.budget

    def advance(self) -> None:
        """Train to the next evaluation, which is not timed."""
        self.problem.model.train()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for _ in range(self.task.every):
            batch = self.problem.draw(self.generator)
            self.optimizer.zero_grad()
            self.problem.loss(batch).backward()
            self.optimizer.step()
        self.wall_s += time.perf_counter() - wall_s
        self.cpu_s += time.process_time() - cpu_s
        self.step += self.task.every
        self.problem.model.eval()
        with torch.no_grad():
            self.scores.append(self.problem.score())
        if self.hit is None and self.scores[-1] <= self.task.target:
            self.hit = self.step


def supervised(
    model: nn.Module, train: Batch, test: Batch, loss: Callable[[Tensor, Tensor], Tensor], batch_size: int
) -> Problem:
    """Pairs of input and target; batches are drawn with replacement."""

    def draw(generator: Generator) -> Batch:
        rows = torch.randint(len(train[0]), (batch_size,), generator=generator)
        return train[0][rows], train[1][rows]

    return Problem(
        model, draw, lambda batch: loss(model(batch[0]), batch[1]), lambda: float(loss(model(test[0]), test[1]))
    )


# Unseen -------------------------------------------------------------------------------------------------------------


def xray_separable() -> Problem:
    """Depthwise separable convolutions without any norm, on chest X-rays (28, 28) of two classes."""
    arrays = np.load(public("pneumoniamnist/pneumoniamnist.npz"))
    train, test = [
        (torch.from_numpy(arrays[f"{part}_images"]).float()[:, None] / 128 - 1,
         torch.from_numpy(arrays[f"{part}_labels"]).long().squeeze(1))
        for part in ("train", "val")
    ]  # fmt: skip

    def separable(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs), nn.Conv2d(inputs, outputs, 1), nn.SiLU()]

    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.SiLU(), *separable(12, 24), *separable(24, 48), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(48, 2),
    )  # fmt: skip
    return supervised(model, train, test, functional.cross_entropy, 64)


class DilatedConvolutions(nn.Module):
    """(N, 32 bands, 48 frames) -> (N, 10): residual convolutions along time, each seeing twice as far."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(32, 40, 1)
        self.layers = nn.ModuleList(nn.Conv1d(40, 40, 3, padding=2**i, dilation=2**i) for i in range(4))
        self.leave = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for layer in self.layers:
            x = x + functional.relu(layer(x))
        out: Tensor = self.leave(x.mean(2))
        return out


def spoken_digits() -> Problem:
    """Which digit is said, from a spectrogram."""
    train, test = spectrograms()
    return supervised(DilatedConvolutions(), train, test, functional.cross_entropy, 32)


@cache
def spectrograms() -> tuple[Batch, Batch]:
    """Train and test: log spectrograms (N, 32, 48), standardised, and digits (N,)."""
    with public("fsdd/index.csv").open() as file:
        rows = list(csv.DictReader(file))
    inputs = torch.zeros(len(rows), 48 * 128 + 128)
    with zipfile.ZipFile(public("fsdd/recordings.zip")) as archive:
        for row, into in zip(rows, inputs, strict=True):
            with wave.open(io.BytesIO(archive.read(row["file"]))) as sound:
                samples = np.frombuffer(sound.readframes(len(into)), np.int16).astype(np.float32) / 32768
            into[: len(samples)] = torch.from_numpy(samples)
    window = torch.hann_window(256)
    power = torch.stft(inputs, 256, 128, window=window, center=False, return_complex=True).abs()[:, 1:, :48]
    bands = (power.unflatten(1, (32, 4)).mean(2) + 1e-4).log()
    bands = functional.pad(bands, (0, 48 - bands.shape[2]))
    digits = torch.tensor([int(row["digit"]) for row in rows])
    is_test = torch.tensor([row["split"] == "test" for row in rows])
    bands = (bands - bands[~is_test].mean()) / bands[~is_test].std()
    return (bands[~is_test], digits[~is_test]), (bands[is_test], digits[is_test])


class WordsConvolution(nn.Module):
    """Word numbers (N, 32) -> (N, 2): the strongest answer of each filter of three words."""

    def __init__(self, num_words: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_words, 32, padding_idx=0)
        self.filters = nn.Conv1d(32, 64, 3, padding=1)
        self.leave = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 2))

    def forward(self, words: Tensor) -> Tensor:
        out: Tensor = self.leave(functional.relu(self.filters(self.embed(words).transpose(1, 2))).amax(2))
        return out


def review_words() -> Problem:
    """Whether a sentence of a film review is kind."""
    train, test = sentences()
    return supervised(WordsConvolution(4000), train, test, functional.cross_entropy, 64)


@cache
def sentences() -> tuple[Batch, Batch]:
    """Train and the rest: the first 32 words (N, 32), 0 for none and 1 for rare ones, and labels (N,)."""
    rows = pq.read_table(public("sst2/sst2.parquet")).to_pylist()
    counts = Counter(word for row in rows if row["split"] == "train" for word in row["text"].split())
    number = {word: place for place, (word, _) in enumerate(counts.most_common(3998), start=2)}
    parts = []
    for is_train in (True, False):
        chosen = [row for row in rows if (row["split"] == "train") == is_train]
        words = torch.zeros(len(chosen), 32, dtype=torch.long)
        for row, into in zip(chosen, words, strict=True):
            ids = [number.get(word, 1) for word in row["text"].split()[:32]]
            into[: len(ids)] = torch.tensor(ids)
        parts.append((words, torch.tensor([row["label"] for row in chosen])))
    return parts[0], parts[1]


class PointSet(nn.Module):
    """Points (N, 48, 3) -> (N, 5), whatever their order."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96))
        self.all = nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, points: Tensor) -> Tensor:
        out: Tensor = self.all(self.each(points).amax(1))
        return out


def point_sets() -> Problem:
    """Which body points were scattered on: ball, cube, cylinder, cone or ring, turned about."""
    model, test = PointSet(), bodies(600, Generator().manual_seed(5))
    return Problem(
        model, lambda generator: bodies(32, generator),
        lambda batch: functional.cross_entropy(model(batch[0]), batch[1]),
        lambda: float(functional.cross_entropy(model(test[0]), test[1])),
    )  # fmt: skip


def bodies(count: int, generator: Generator) -> Batch:
    """(count, 48, 3) points on surfaces, with noise, and kinds (count,)."""
    kinds = torch.randint(5, (count,), generator=generator)
    u, v = torch.rand(2, count, 48, generator=generator)
    normal = torch.randn(count, 48, 3, generator=generator)
    ball = normal / normal.norm(dim=2, keepdim=True)
    cube = normal / normal.abs().amax(2, keepdim=True) * 0.8
    angle, height = 2 * math.pi * u, 2 * v - 1
    x, y = angle.cos(), angle.sin()
    cylinder = torch.stack([0.8 * x, 0.8 * y, height], 2)
    cone = torch.stack([v.sqrt() * x, v.sqrt() * y, 1 - 2 * v.sqrt()], 2)
    tube = 1 + 0.35 * (2 * math.pi * v).cos()
    ring = torch.stack([tube * x, tube * y, 0.35 * (2 * math.pi * v).sin()], 2)
    points = torch.stack([ball, cube, cylinder, cone, ring])[kinds, torch.arange(count)]
    turns = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))[0]
    return points @ turns + 0.03 * torch.randn(count, 48, 3, generator=generator), kinds


class Flow(nn.Module):
    """Affine couplings (arXiv 1605.08803): the negative log-likelihood of points (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(
            nn.Sequential(nn.Linear(1, 40), nn.Tanh(), nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 2)) for _ in range(6)
        )

    def forward(self, x: Tensor) -> Tensor:
        kept, moved = x[:, :1], x[:, 1:]
        log_det = torch.zeros_like(kept)
        for coupling in self.couplings:
            log_scale, shift = coupling(kept).chunk(2, 1)
            log_scale = log_scale.tanh()
            log_det = log_det + log_scale
            kept, moved = moved * log_scale.exp() + shift, kept
        square = 0.5 * (kept.square() + moved.square())
        return (square - log_det).mean() + math.log(2 * math.pi)


def moons_flow() -> Problem:
    """The density of two interleaved half moons."""
    model, test = Flow(), moons(1000, Generator().manual_seed(6))
    return Problem(
        model, lambda generator: (moons(128, generator),), lambda batch: model(batch[0]), lambda: float(model(test))
    )


def moons(count: int, generator: Generator) -> Tensor:
    angle = math.pi * torch.rand(count, generator=generator)
    lower = torch.rand(count, generator=generator) < 0.5
    points = torch.stack([torch.where(lower, 1 - angle.cos(), angle.cos()) - 0.5,
                          torch.where(lower, 0.5 - angle.sin(), angle.sin()) - 0.25], 1)  # fmt: skip
    return points + 0.08 * torch.randn(count, 2, generator=generator)


class GatedResidual(nn.Module):
    """(N, 8) -> three quantiles (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(8, 48)
        self.norms = nn.ModuleList(nn.LayerNorm(48) for _ in range(3))
        self.opens = nn.ModuleList(nn.Linear(48, 128) for _ in range(3))
        self.closes = nn.ModuleList(nn.Linear(64, 48) for _ in range(3))
        self.leave = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for norm, opens, closes in zip(self.norms, self.opens, self.closes, strict=True):
            x = x + closes(functional.glu(opens(norm(x))))
        out: Tensor = self.leave(x)
        return out


def concrete_quantiles() -> Problem:
    """The 10th, 50th and 90th percentile of the strength of a concrete."""
    rows = torch.from_numpy(np.loadtxt(public("concrete/concrete.csv"), np.float32, delimiter=",", skiprows=1))
    rows = rows[torch.randperm(len(rows), generator=Generator().manual_seed(7))]
    rows = (rows - rows[:824].mean(0)) / rows[:824].std(0)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def pinball(predicted_values: Tensor, true: Tensor) -> Tensor:
        short = true[:, None] - predicted_values
        return torch.maximum(levels * short, (levels - 1) * short).mean()

    train, test = (rows[:824, :8], rows[:824, 8]), (rows[824:, :8], rows[824:, 8])
    return supervised(GatedResidual(), train, test, pinball, 32)


def oscillator_physics() -> Problem:
    """A net that solves u'' + u'/2 + 4 u = 0, u(0) = 1, u'(0) = 0 on [0, 4] by its residual (arXiv 1711.10561)."""
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    grid = torch.linspace(0, 4, 200)[:, None]
    omega = math.sqrt(4 - 1 / 16)
    exact = (-grid / 4).exp() * ((omega * grid).cos() + (omega * grid).sin() / (4 * omega))

    def loss(batch: Batch) -> Tensor:
        time = torch.cat([torch.zeros(1, 1), batch[0]]).requires_grad_()
        u = model(time)
        (first,) = torch.autograd.grad(u.sum(), time, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), time, create_graph=True)
        start = (u[0] - 1).square() + first[0].square()
        return (second + 0.5 * first + 4 * u).square().mean() + 10 * start.sum()

    def draw(generator: Generator) -> Batch:
        return (4 * torch.rand(64, 1, generator=generator),)

    return Problem(model, draw, loss, lambda: float(functional.mse_loss(model(grid), exact)))


# Larger -------------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.second, self.second_norm = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.around = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(functional.relu(self.first_norm(self.first(x)))))
        return functional.relu(inner + self.around(x))


def photo_resnet() -> Problem:
    """A residual net of eight convolutions on CIFAR-10."""
    train, test = photos()
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return supervised(model, train, test, functional.cross_entropy, 32)


@cache
def photos() -> tuple[Batch, Batch]:
    """10,000 photos (N, 3, 32, 32) to train on, 1,000 to test on, and their kinds."""
    from PIL import Image

    parts = []
    for name, count in (("train-0", 10_000), ("test", 1_000)):
        rows = pq.read_table(public(f"cifar10-jpeg/{name}.parquet")).slice(0, count)
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in rows["jpeg"].to_pylist()])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 64 - 2
        parts.append((images, torch.tensor(rows["label"].to_pylist())))
    return parts[0], parts[1]


class Layer(nn.Module):
    """Causal attention and two linear layers, each after a norm."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(seen)
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return out


class Characters(nn.Module):
    """Character numbers (N, 64) -> what comes next (N, 64, num_characters)."""

    def __init__(self, num_characters: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_characters, 128)
        self.places = nn.Parameter(0.02 * torch.randn(64, 128))
        self.layers = nn.Sequential(*(Layer(128, 4) for _ in range(4)))
        self.leave = nn.Sequential(nn.LayerNorm(128), nn.Linear(128, num_characters))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.layers(self.embed(x) + self.places))
        return out


def shakespeare_transformer() -> Problem:
    """The next character of Shakespeare: 4 layers, 4 heads, 128 wide, context 64, batch 12 (nanoGPT's CPU setting)."""
    text = np.frombuffer(public("tinyshakespeare/input.txt").read_bytes(), np.uint8)
    kinds, numbers = np.unique(text, return_inverse=True)
    characters = torch.from_numpy(numbers).long()
    cut = len(characters) * 9 // 10
    model, test = Characters(len(kinds)), characters[cut : cut + 100 * 65].view(100, 65)

    def draw(generator: Generator) -> Batch:
        starts = torch.randint(cut - 65, (12, 1), generator=generator)
        return (characters[starts + torch.arange(65)],)

    def loss(batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch[0][:, :-1]).flatten(0, 1), batch[0][:, 1:].flatten())

    return Problem(model, draw, loss, lambda: float(loss((test,))))


def turbofan_mlp() -> Problem:
    """The share of its life that a turbofan has left, from the last ten cycles of 21 sensors."""
    train, test = turbofans()
    model = nn.Sequential(
        nn.Linear(210, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(),
        nn.Linear(256, 1), nn.Flatten(0),
    )  # fmt: skip
    return supervised(model, train, test, functional.mse_loss, 256)


@cache
def turbofans() -> tuple[Batch, Batch]:
    """Engines 1 to 80, and the rest: (N, 210) and cycles left (N,), at most 125, over 125."""
    table = pq.read_table(public("cmapss-fd001/train_FD001.parquet"))
    units = table["unit"].to_numpy()
    sensors = np.stack([table[f"s{i}"].to_numpy() for i in range(1, 22)], 1).astype(np.float32)
    known = sensors[units <= 80]
    sensors = (sensors - known.mean(0)) / np.maximum(known.std(0), 1e-3)
    parts = []
    for chosen in (range(1, 81), range(81, 101)):
        inputs, left = [], []
        for unit in chosen:
            cycles = torch.from_numpy(sensors[units == unit])
            inputs.append(cycles.unfold(0, 10, 1).flatten(1))
            left.append(torch.arange(len(cycles) - 10, -1, -1).clamp_max(125) / 125)
        parts.append((torch.cat(inputs), torch.cat(left)))
    return parts[0], parts[1]


def public(path: str) -> Any:
    """A file of the public data sets. MissingError where it is not."""
    file = data_folder() / path
    if not file.exists():
        raise MissingError(
            f"{file} is not there", expected="the public data sets", fix="set DEEPSEEK_DATA to their folder"
        )
    return file


UNSEEN = (
    Task(xray_separable, budget=500, every=10, target=0.3216),
    Task(spoken_digits, budget=400, every=10, target=0.6716),
    Task(review_words, budget=400, every=10, target=0.6703),
    Task(point_sets, budget=800, every=10, target=0.2511),
    Task(moons_flow, budget=800, every=10, target=1.21),
    Task(concrete_quantiles, budget=600, every=10, target=0.08118),
    Task(oscillator_physics, budget=1500, every=10, target=0.04994),
)
LARGER = (
    Task(photo_resnet, budget=300, every=10, target=1.721),
    Task(shakespeare_transformer, budget=400, every=10, target=2.412),
    Task(turbofan_mlp, budget=300, every=10, target=0.02096),
)
TASKS = {task.name: task for task in (*UNSEEN, *LARGER)}


def main() -> None:
    torch.set_num_threads(1)
    for name in sys.argv[1:] or TASKS:
        task = TASKS[name]
        run = Run(task, lambda params: torch.optim.AdamW(params, lr=1e-3), seed=0)
        while run.step < task.budget:
            run.advance()
        early = run.scores[: round(0.6 * len(run.scores))]
        print(
            f"{name:<26} least score in 60 % of the budget {min(early):.4g}; first {run.scores[0]:.4g}, last"
            f" {run.scores[-1]:.4g}, {1e3 * run.wall_s / run.step:.1f} ms a step",
            flush=True,
        )


if __name__ == "__main__":
    main()
